"""The two systems meet: an encoder's run → frozen tokens → a head → the table of subsets."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from configs.staging import tokens
from sleepfm_jax import config as configuration
from sleepfm_jax import stage, train
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError, ConfigError, LeakError
from sleepfm_jax.staging import rows, tables
from tests.helpers.launched import launched
from tests.helpers.runs import logged
from tests.helpers.untrained_runs import save_run
from tests.helpers.untrained_runs import smoke as of_encoder


@pytest.fixture(scope="module")
def encoder(tiny_data_dir, tmp_path_factory):
    """A run of which nothing was trained, of the training people."""
    workdir = tmp_path_factory.mktemp("encoder")
    save_run(workdir, of_encoder(), about=said(tiny_data_dir, "train"))
    return workdir


def said(data_dir, split):
    records = datasets.open_records(data_dir, ["simulated_psg"], split)
    return {"preprocessing": records.metadata, "subjects": sorted(records.subjects())}


def smoke(encoder, **model):
    config = tokens.get_config("smoke").to_dict()
    config["data"]["encoder"] = str(encoder)
    config["steps"] = 2
    config["model"] |= model
    return config


def on_modalities(encoder, kind):
    config = smoke(encoder)
    config["model"] = configuration.section_defaults("model", kind) | {"token_width": 32}
    return config


def test_a_head_on_frozen_tokens_stands_in_the_table(tiny_data_dir, encoder, tmp_path):
    run = tmp_path / "mixer"
    update = launched("pretrain").pretrain(smoke(encoder), str(tiny_data_dir), str(run), "tested")
    assert set(update["evaluations"]["test"]["subsets"]) == {"all", "ECG"}
    assert all(np.isfinite(line["train/loss"]) for line in logged(run).values())
    made = sorted((run / "tokens").iterdir())
    assert len(made) == 6  # nights, each once: of training, validation and test
    with pytest.raises(CheckpointError, match="stages no files"):
        stage.load(run)
    rows.save(tmp_path, rows.gather({"mixer on tokens": [run]}))
    tables.write_tables(tmp_path)
    with (tmp_path / "subsets.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["model"], line["signals"]) for line in lines} == {
        ("mixer on tokens", "all"),
        ("mixer on tokens", "ECG"),
    }
    # The same run on what is kept: no night is embedded again, and the modalities' are others.
    again = on_modalities(encoder, "token_linear")
    again["data"]["token_folder"] = str(run / "tokens")
    found = train.train(again, tiny_data_dir, tmp_path / "linear")
    assert np.isfinite(found["evaluations"]["test"]["loss"])
    assert sorted((run / "tokens").iterdir())[0].exists() and len(made) * 2 == len(
        list((run / "tokens").iterdir())
    )
    # Another encoder of the same name is other data: the run does not go on.
    save_run(tmp_path / "other", of_encoder(), (5,), said(tiny_data_dir, "train"))
    with pytest.raises(CheckpointError, match="encoder: weights is"):
        train.train(smoke(tmp_path / "other") | {"steps": 4}, tiny_data_dir, run)


def test_what_cannot_be_is_said_before_anything_starts(tiny_data_dir, encoder, tmp_path):
    def refused(error, match, config):
        with pytest.raises(error, match=match):
            train.train(config, tiny_data_dir, tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints").exists()

    refused(ConfigError, "expected the workdir of a run", smoke(""))
    refused(ConfigError, "expected 32, the width", smoke(encoder, token_width=16))
    config = of_encoder()
    config["data"]["encoder"] = str(encoder)
    refused(ConfigError, "reads no tokens", config)
    save_run(tmp_path / "of_all", of_encoder(), about=said(tiny_data_dir, "test"))
    refused(LeakError, "config.data.encoder", smoke(tmp_path / "of_all"))
