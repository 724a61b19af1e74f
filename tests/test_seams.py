"""An objective and an evaluator from elsewhere train and report: no other line is edited."""

from __future__ import annotations

import json

import pytest

from configs import common
from sleepfm_jax import config as configuration
from sleepfm_jax.errors import ConfigError
from tests.helpers.launched import launched

OBJECTIVE, EVALUATOR = "tests.helpers.toy_objective", "tests.helpers.toy_evaluator"


def toy_config():
    """What a file under configs/ would say."""
    config = common.smoke(common.two_cores()).to_dict()
    config["objective"] = {"kind": OBJECTIVE}
    row = {"kind": EVALUATOR, "datasets": (), "split": "validation", "every": 2}
    row |= {"examples": 12, "percent": 80.0}
    config["evaluators"] = {
        "spread": row,
        "test": configuration.section_defaults("evaluator", "metrics") | {"every": 0},
    }
    return config


def test_a_toy_objective_and_a_toy_evaluator_train_and_report(tiny_data_dir, tmp_path):
    update = launched("pretrain").pretrain(toy_config(), str(tiny_data_dir), str(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    loss = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(loss) == 4 and loss[0] == 1 and loss[-1] < 1  # weights start at 0
    spreads = {line["step"]: line["spread/spread"] for line in lines if "spread/spread" in line}
    assert spreads[0] == 0 and sorted(spreads) == [0, 2, 4] and spreads[4] > 0
    assert all(line["spread/clips"] == 12 for line in lines if "spread/clips" in line)
    assert 0 < update["evaluations"]["test"]["loss"] < 1
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["evaluations"] == update["evaluations"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert "spread/spread" in page and f"{update['evaluations']['test']['loss']:.3f}" in page


def test_its_keys_are_checked_like_any_other(tmp_path):
    config = toy_config()
    config["evaluators"]["spread"]["percent"] = 0.0
    with pytest.raises(ConfigError, match=r"spread\.percent is 0\.0; expected more than 0"):
        configuration.check(config)
    config["evaluators"]["spread"] = {"kind": "tests.helpers.no_such"}
    with pytest.raises(ConfigError, match=r"spread\.kind is 'tests\.helpers\.no_such'; expected"):
        configuration.check(config)
