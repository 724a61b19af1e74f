"""What a night says of health, through the loop: Cox's model by a table beside a dataset, severity
of apnoea by the dataset's labels; from simulated sleepers on."""

from __future__ import annotations

import csv
import json

import jax
import numpy as np
import pytest

from configs.health import apnoea, survival
from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax.data import datasets
from sleepfm_jax.data.division import TRAIN, Division
from sleepfm_jax.errors import CheckpointError, DatasetError
from sleepfm_jax.experiment import make_examples, make_objective
from sleepfm_jax.simulation import cohorts, follow_up
from sleepfm_jax.train import train
from tests.helpers.runs import logged
from tests.helpers.untrained_runs import save_run
from tests.helpers.untrained_runs import smoke as of_encoder

PEOPLE = 6  # of splits train, validation, test: 3, 2, 1


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Compiling for four is half of what these take; sharding is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "device_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """(data_dir, table): six sleepers with diseases; of one in training nobody knows anything."""
    root = tmp_path_factory.mktemp("followed")
    cohorts.write_psg_cohort(
        root / "s", subjects=PEOPLE, hours=0.1, seed=1, coupling=1.0, signals=("ECG", "THX")
    )
    builder = Builder(
        source=root / "s",
        data_dir=root / "data",
        clip_seconds=30,
        label_column="apnoea",
        label_kind="classification",
    )
    builder.download_and_prepare()
    rows = list(csv.DictReader((root / "s" / "table.csv").read_text().splitlines()))
    lost = next(row["subject"] for row in rows if row["split"] == "train")
    lines = (root / "s" / follow_up.FILENAME).read_text().splitlines()
    table = root / "table.csv"
    table.write_text("\n".join(line for line in lines if not line.startswith(lost)) + "\n")
    return root / "data", table


def configured(table, **changes):
    config = survival.get_config("smoke").to_dict()
    config["objective"] |= {"table": str(table), "head_pooling_heads": 2} | changes
    config["data"]["slots"] = {"ecg": 1, "resp": 1}
    config["model"] |= {"width": 16, "heads": 2, "pooling_heads": 2, "mlp_dim": 16}
    config["model"]["position_encoding"] = "none"
    return config


def test_a_table_trains_and_is_scored(cohort, tmp_path):
    data_dir, table = cohort
    config = configured(table)
    objective = make_objective(config)
    division = Division(data_dir, config, objective.layout, make_examples)
    rows = division.training()
    assert len(rows.people()) == 2 and len(rows) == 24, "one of three is not in the table"
    assert np.isfinite(rows.batch(np.arange(3))["events"]).all()
    update = train(config, data_dir, tmp_path)
    assert sorted(logged(tmp_path)) == [1, 2, 3, 4]
    assert logged(tmp_path, "validation/").keys() == {0, 2, 4}
    labels = update["evaluations"]["test"]["labels"]
    assert list(labels) == ["death", "stroke", "heart_failure"]
    assert all(figure["people"] == 1 for figure in labels.values())
    json.dumps(update, default=float)
    # The same path, another follow-up: the run does not go on as if nothing were.
    other = tmp_path / "other.csv"
    head, _, *rest = table.read_text().splitlines()
    other.write_text("\n".join([head, *rest]) + "\n")
    with pytest.raises(CheckpointError, match="times to events: table is"):
        train(configured(other), data_dir, tmp_path)


@pytest.fixture(scope="module")
def encoder(cohort, tmp_path_factory):
    """A run of which nothing was trained, of nobody here."""
    workdir = tmp_path_factory.mktemp("encoder")
    metadata = datasets.open_records(cohort[0], ["simulated_psg"], "train").metadata
    save_run(workdir, of_encoder(), about={"preprocessing": metadata, "subjects": []})
    return workdir


def on_nights(config, encoder):
    """On its tokens of two modalities."""
    config["data"] |= {"encoder": str(encoder), "slots": {"ecg": 1, "resp": 1}}
    config["data"] |= {"night_hours": 0.1, "night_hours_longest": 0.1}
    config["model"]["token_width"] = of_encoder()["model"]["width"]
    return config | {"batch_size": 2, "steps": 2, "log_every": 1}


def test_nights_of_tokens_train_a_cox_head(cohort, encoder, tmp_path):
    data_dir, table = cohort
    config = on_nights(survival.get_config("simulated").to_dict(), encoder)
    config["objective"]["table"] = str(table)
    config["evaluators"]["validation"]["every"] = config["save_every"] = 1
    update = train(config, data_dir, tmp_path)
    assert sorted(logged(tmp_path)) == [1, 2]
    assert update["evaluations"]["test"]["labels"]["death"]["people"] == 1


def test_nights_of_tokens_train_a_classifier(cohort, encoder, tmp_path):
    data_dir, _ = cohort
    config = on_nights(apnoea.get_config("smoke").to_dict(), encoder)
    objective = make_objective(config)
    assert objective.layout.labels == cohorts.APNOEA_CLASSES
    update = train(config, data_dir, tmp_path)
    assert all(np.isfinite(line["train/loss"]) for line in logged(tmp_path).values())
    kept = update["evaluations"]["test"]["predictions"]
    assert kept.classes == list(cohorts.APNOEA_CLASSES) and len(kept.person) == 1
    nights = datasets.open_records(data_dir, ["simulated_psg"], "test")
    stored = nights.labels_of(cohorts.APNOEA_CLASSES)[0]
    assert stored[kept.label[0]] == 1


def test_who_is_in_no_table(cohort, tmp_path):
    data_dir, table = cohort
    with pytest.raises(DatasetError, match=r"objective\.table is ''"):
        train(configured(""), data_dir, tmp_path)
    strangers = tmp_path / "strangers.csv"
    strangers.write_text(table.read_text().replace("sim0", "other0"))
    with pytest.raises(DatasetError, match="none of its subjects"):
        train(configured(strangers), data_dir, tmp_path)
    config = configured(table, labels=("gout",))
    with pytest.raises(DatasetError, match="no column gout_time, gout_event"):
        train(config, data_dir, tmp_path)


def test_folds_are_of_people_who_are_followed(cohort):
    data_dir, table = cohort
    config = configured(table)
    config["data"] |= {"folds": 3}
    layout = make_objective(config).layout
    parts = [
        Division(
            data_dir, config | {"data": config["data"] | {"fold": fold}}, layout, make_examples
        )
        for fold in range(3)
    ]
    tested = [division.rows("test").people() for division in parts]
    assert sum(len(people) for people in tested) == len(set().union(*tested)) == PEOPLE - 1
    assert all(not d.rows(TRAIN).people() & t for d, t in zip(parts, tested))
