"""The loop: what a run leaves, resuming, refusing, stopping, and who looks at it when."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from sleepfm_jax import train
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError, ConfigError, Preempted, TrainingStopped
from sleepfm_jax.report import page
from sleepfm_jax.training import checkpoint
from sleepfm_jax.training.metric_writer import MetricWriter
from tests.helpers.launched import launched
from tests.helpers.runs import fingerprint, logged, saved_state, smoke, watched


def pretrain(data_dir, workdir, config=None):
    """launch.pretrain without its report: reports are drawn by their own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_report", lambda workdir: None)
        return launched("pretrain").pretrain(config or smoke(), str(data_dir), str(workdir))


def without_nan(value):
    """As results.json has it: null."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_dir, tmp_path_factory):
    """A run of four steps; its workdir and what it returned."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return workdir, pretrain(tiny_data_dir, workdir)


@pytest.fixture
def sigterm_at(monkeypatch):
    """sigterm_at(step): SIGTERM when the line of that step is written; None: no more."""
    write = MetricWriter.write

    def arrange(when):
        def write_and_terminate(self, step, values):
            write(self, step, values)
            if step == when and "train/loss" in values:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(MetricWriter, "write", write_and_terminate)

    return arrange


# --- what a run leaves -------------------------------------------------------------------------


def test_a_run_leaves_what_it_promises(uninterrupted):
    workdir, results = uninterrupted
    within = results["retrieval"]["within_person"]  # one person is tested, of one night
    assert 0 <= within["top1"] <= 1 and within["chance"] == 1 / 12
    assert (within["nights"], within["clips"], within["candidates"]) == (1, 12, 12)
    assert np.isnan(results["retrieval"]["across_people"]["top1"])
    assert results["retrieval"]["person_probe"]["people"] == 0
    assert results["evaluations"]["test"].keys() == {"loss"}
    assert min(results["seconds"].values()) > 0
    assert {"config.json", "metrics.jsonl", "example_clip.npz", "results.json", "tensorboard"} <= {
        p.name for p in workdir.iterdir()
    }
    stored = json.loads((workdir / "results.json").read_text())
    for part in ("retrieval", "evaluations", "seconds", "versions"):
        assert stored[part] == without_nan(json.loads(json.dumps(results[part])))
    assert (workdir / "build_reports" / "simulated_psg.json").is_file()
    assert {p.name for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()} == {"2", "4"}
    assert not (workdir / "best").exists()  # nobody asked for it
    steps = logged(workdir)
    assert sorted(steps) == [1, 2, 3, 4]
    for line in steps.values():
        assert np.isfinite(list(line.values())).all() and line["train/skipped"] == 0
    assert len({line["train/example_order"] for line in steps.values()}) == 4
    assert len({line["train/loss"] for line in steps.values()}) == 4
    curve = logged(workdir, "validation/")
    assert sorted(curve) == [0, 2, 4]
    assert curve[4]["validation/loss"] != curve[0]["validation/loss"]
    for part in ("within_person", "across_people"):
        names = {f"validation/retrieval_{part}_{key}" for key in ("top1", "chance")}
        assert names <= curve[0].keys()
    # Two people of 12 clips each, and a limit of 16: eight of each, spread over their nights.
    assert curve[0]["validation/retrieval_within_person_nights"] == 2
    assert curve[0]["validation/retrieval_within_person_chance"] == 1 / 8
    assert not any("per_modality" in key or "→" in key for key in curve[0])
    assert not logged(workdir, "test/")
    assert saved_state(workdir, 4)[1]["config"] == json.loads((workdir / "config.json").read_text())


def test_a_checkpoint_says_how_it_was_made_and_whom_it_was_trained_on(uninterrupted, tiny_data_dir):
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    about = saved_state(uninterrupted[0], 4)[1]
    assert len(records.subjects()) == 3
    assert about["subjects"] == sorted(records.subjects())
    as_json = json.loads(json.dumps(records.metadata))
    assert about["preprocessing"] == as_json and about["datasets"] == {"simulated_psg": as_json}
    assert about["data_position"]["next_index"] == 4


def test_mispaired_pretraining_is_another_run_of_the_same_steps(
    uninterrupted, tiny_data_dir, tmp_path
):
    """Other pairs in training, the true ones in evaluation: step 0 is the same to the bit."""
    results = pretrain(tiny_data_dir, tmp_path, smoke(**{"data.mispaired": True}))
    found, wanted = (logged(where) for where in (tmp_path, uninterrupted[0]))
    for step, line in found.items():
        assert line["train/example_order"] == wanted[step]["train/example_order"]
        assert line["train/loss"] != wanted[step]["train/loss"]
    before, as_before = (logged(at, "validation/")[0] for at in (tmp_path, uninterrupted[0]))
    assert before == as_before
    assert results["retrieval"].keys() == uninterrupted[1]["retrieval"].keys()
    about = saved_state(tmp_path, 4)[1]
    assert about["config"]["data"]["mispaired"] and len(about["subjects"]) == 3
    with pytest.raises(CheckpointError, match=r"config\.data\.mispaired: True in the checkpoint"):
        pretrain(tiny_data_dir, tmp_path)


# --- going on ----------------------------------------------------------------------------------


def test_sigterm_saves_and_interrupted_equals_uninterrupted(
    uninterrupted, tiny_data_dir, tmp_path, sigterm_at
):
    """Stopped at step 3, between two saves, then started again: every bit is the same."""
    sigterm_at(3)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match="SIGTERM: saved at step 3; run again"):
        train.train(smoke(), tiny_data_dir, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert checkpoint.open_existing(tmp_path).latest() == 3
    assert sorted(logged(tmp_path)) == [1, 2, 3]
    sigterm_at(None)
    results = train.train(smoke(), tiny_data_dir, tmp_path)

    state, about = saved_state(tmp_path, 4)
    wanted, about_wanted = saved_state(uninterrupted[0], 4)
    assert about == about_wanted and state.keys() == wanted.keys() and len(state) > 100
    for path, leaf in state.items():
        np.testing.assert_array_equal(leaf, wanted[path], err_msg=path)
        assert leaf.dtype == wanted[path].dtype
    assert state["step"] == 4
    assert logged(tmp_path) == logged(uninterrupted[0])
    assert logged(tmp_path, "validation/") == logged(uninterrupted[0], "validation/")
    wanted = without_nan(uninterrupted[1]["retrieval"])
    how = wanted.pop("how")  # how it was made is said by the program, not by the loop
    assert how["split"] == "test" and how["step"] == 4 and len(how["datasets"]) == 1
    assert without_nan(results["evaluations"]["test"]["retrieval"]) == wanted


def test_a_finished_run_started_again_changes_nothing(uninterrupted, tiny_data_dir):
    workdir, results = uninterrupted
    before, lines = fingerprint(workdir / "checkpoints"), (workdir / "metrics.jsonl").read_text()
    again = pretrain(tiny_data_dir, workdir)
    assert without_nan(again["retrieval"]) == without_nan(results["retrieval"])
    assert again["evaluations"] == results["evaluations"]
    assert (workdir / "metrics.jsonl").read_text() == lines
    after = fingerprint(workdir / "checkpoints")
    assert {k: v for k, v in after.items() if not k.startswith("descriptor")} == {
        k: v for k, v in before.items() if not k.startswith("descriptor")
    }


def test_a_checkpoint_goes_on_only_with_its_configuration(uninterrupted, tiny_data_dir):
    workdir, _ = uninterrupted
    config_before = (workdir / "config.json").read_text()
    other = smoke(**{"optimiser.learning_rate": 0.5, "model.dropout": 0.2})
    with pytest.raises(CheckpointError) as error:
        pretrain(tiny_data_dir, workdir, other)
    message = str(error.value)
    assert "config.optimiser.learning_rate: 0.002 in the checkpoint, 0.5 now" in message
    assert "config.model.dropout: 0.1 in the checkpoint, 0.2 now" in message
    assert (workdir / "config.json").read_text() == config_before


def test_a_run_begins_with_what_another_learned_and_takes_it_once(
    tiny_data_dir, tmp_path, sigterm_at
):
    rows = {"curve": {}}
    config = watched(rows, **{"optimiser.learning_rate": 0.5, "optimiser.warmup_steps": 0})
    one, other = tmp_path / "one", tmp_path / "other"
    train.train(config, tiny_data_dir, one)
    learned = saved_state(one, 4, config)[0]["params/w"]
    assert abs(learned - 2) > 0.1
    config |= {"initialise_from": str(one)}
    sigterm_at(3)
    with pytest.raises(Preempted):
        train.train(config, tiny_data_dir, other)
    sigterm_at(None)
    stopped = saved_state(other, 3, config)[0]["params/w"]
    train.train(config, tiny_data_dir, other)
    curve = {step: line["curve/loss"] for step, line in logged(other, "curve/").items()}
    scale = mean_scale(tiny_data_dir, "validation")
    np.testing.assert_allclose(curve[0], learned * scale, rtol=1e-5)
    state = saved_state(other, 4, config)[0]
    np.testing.assert_allclose(curve[4], state["params/w"] * scale, rtol=1e-5)
    assert state["params/w"] < stopped < learned and state["step"] == 4


# --- refusing ----------------------------------------------------------------------------------


def test_updates_that_are_not_finite_end_the_run(tiny_data_dir, tmp_path, monkeypatch):
    original = train.stream.training

    class Spoilt:
        """The stream, with a NaN in every batch from the second on."""

        def __init__(self, *args, **kwargs):
            self.inner, self.count = original(*args, **kwargs), 0

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __next__(self):
            batch = dict(next(self.inner))
            self.count += 1
            if self.count >= 2:
                batch["scale"] = batch["scale"].copy()
                batch["scale"][3, 0] = np.nan
            return batch

    monkeypatch.setattr(train.stream, "training", Spoilt)
    config = smoke(max_skipped_in_a_row=2)
    with pytest.raises(TrainingStopped, match="step 3: 2 updates in a row were not finite"):
        train.train(config, tiny_data_dir, tmp_path)
    steps = logged(tmp_path)
    assert [steps[s]["train/skipped"] for s in (1, 2, 3)] == [0, 1, 2]
    # The second step was refused: what was saved after it is what the first one made.
    state, _ = saved_state(tmp_path, 2)
    assert state["step"] == 2 and state["skipped"] == 1
    assert all(np.isfinite(leaf).all() for leaf in state.values())
    counts = [v for k, v in state.items() if k.endswith("count")]
    assert counts and all(c == 1 for c in counts)


def test_keys_must_be_known_and_there(tmp_path):
    for change, message in (
        (lambda c: c.update(stpes=5), r"config: unknown key stpes; known: .*\bsteps\b"),
        (lambda c: c.pop("seed"), "config: missing key seed"),
        (lambda c: c["model"].update(depth=2), "config.model: unknown key depth"),
        (lambda c: c["data"]["slots"].update(eeg=2), "config.data.slots: unknown key eeg"),
        (lambda c: c["optimiser"].pop("clip_norm"), "config.optimiser: missing key clip_norm"),
        (lambda c: c.update(batch_size=0), "config.batch_size is 0; expected 1 or more"),
        (
            lambda c: c["evaluators"]["test"].update(examples=0),
            "config.evaluators.test.examples is 0; expected 1 or more",
        ),
    ):
        config = smoke()
        change(config)
        with pytest.raises(ConfigError, match=message):
            train.train(config, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective.loss": "triplet"}, r"objective\.loss is 'triplet'; expected one of"),
        ({"data.slots": {"bas": 2}}, "two modalities or more"),
        ({"model.position_encoding": "learned"}, "position_encoding is 'learned'; expected one of"),
        ({"optimiser.name": "lion"}, r"optimiser\.name is 'lion'; expected one of"),
        ({"optimiser.schedule": "linear"}, "schedule is 'linear'; expected one of"),
        ({"mesh": {"data": 3}}, "does not fit 4 devices"),
        ({"batch_size": 6}, "batch_size 6 is not a multiple of mesh axis .data.=4"),
        ({"mesh": {"model": 4}}, "has no axis .data."),
        ({"evaluators.test.candidates": 1}, "candidates is 1; expected 2 or more"),
        ({"sharding_rules": (("nothing", ()),)}, "no sharding rule fits"),
        ({"model.heads": 5}, "width 32 is not divisible by 5 heads"),
        ({"model.max_tokens": 3}, "6 patches of 640, more than config.model.max_tokens=3"),
        ({"model.dtype": "float31"}, "dtype is 'float31'; expected one of"),
        ({"frozen": ("^encodre/",)}, "config.frozen: '.encodre/' matches none of"),
        ({"frozen": (".*",)}, "leave nothing to train"),
        ({"optimiser.groups": (("haed", 0.1),)}, "config.optimiser.groups: 'haed' matches none"),
    ],
)
def test_values_that_cannot_be_are_config_errors(tiny_data_dir, tmp_path, change, message):
    """One line on the command line, not a traceback, and before anything is written."""
    with pytest.raises(ConfigError, match=message):
        train.train(smoke(**change), tiny_data_dir, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- who looks at it when ----------------------------------------------------------------------


def mean_scale(data_dir, split):
    """Of a split's clips: what `line_objective` weighs, by way of the examples."""
    from sleepfm_jax import experiment

    config = smoke()
    records = datasets.open_records(data_dir, ["simulated_psg"], split)
    examples = experiment.make_examples(records, experiment.make_objective(config).layout)
    return examples.batch(np.arange(len(examples)))["scale"].mean()


def test_rows_are_run_when_they_are_due_each_on_its_split(tiny_data_dir, tmp_path):
    """The curve is that of validation, the last figures that of test: their clips have other
    scales, and the line says whose it saw, weighed by the parameters of that step."""
    rows = {
        "curve": {},
        "rarely": {"split": "train", "every": 3, "examples": 5},
        "test": {"split": "test", "every": 0},
    }
    config = watched(rows, steps=5, save_every=5)
    found = train.train(config, tiny_data_dir, tmp_path)["evaluations"]
    curve, rarely = (logged(tmp_path, f"{name}/") for name in ("curve", "rarely"))
    assert sorted(curve) == [0, 2, 4, 5] and sorted(rarely) == [0, 3, 5]
    assert found.keys() == {"test"} and not logged(tmp_path, "test/")
    scale = {split: mean_scale(tiny_data_dir, split) for split in ("train", "validation", "test")}
    assert abs(scale["validation"] / scale["test"] - 1) > 1e-3
    w = saved_state(tmp_path, 5, config)[0]["params/w"]
    for step, line in curve.items():
        assert line["curve/trained"] == step
        assert line["curve/seen_rows"] == line["curve/seen_distinct"] == 24
        np.testing.assert_allclose(line["curve/x"], scale["validation"], rtol=1e-5)
    np.testing.assert_allclose(curve[0]["curve/loss"], 2 * scale["validation"], rtol=1e-5)
    np.testing.assert_allclose(curve[5]["curve/loss"], w * scale["validation"], rtol=1e-5)
    for step, line in rarely.items():  # five, spread over the 36, and no filling row among them
        assert line["rarely/trained"] == step and line["rarely/seen_last"] == 35
        assert line["rarely/seen_rows"] == line["rarely/seen_distinct"] == 5
    test = found["test"]
    assert test["trained"] == 5 and test["seen"] == {"rows": 12, "distinct": 12, "last": 11}
    np.testing.assert_allclose(test["loss"], w * scale["test"], rtol=1e-5)
    assert w < 2


def test_a_split_that_is_not_there_is_not_looked_at(tiny_data_dir, tmp_path, monkeypatch):
    has = datasets.has_split
    monkeypatch.setattr(
        train.datasets, "has_split", lambda *where: where[-1] != "test" and has(*where)
    )
    config = watched({"curve": {}, "test": {"split": "test", "every": 0}}, steps=1)
    assert train.train(config, tiny_data_dir, tmp_path)["evaluations"] == {}
    assert sorted(logged(tmp_path, "curve/")) == [0, 1]


FIGURES = (("0", 5.0), ("3", 1.0), ("6", 2.0), ("7", 3.0))


def keeping_best(**changes):
    """Looked at after 0, 3, 6 and 7 steps, best after 3; saved every two."""
    rows = {"curve": {"every": 3, "figures": FIGURES}}
    changes = {"keep_best.figure": "curve/planted", "steps": 7} | changes
    return watched(rows, **changes)


def test_the_best_step_is_kept_beside_the_newest(tiny_data_dir, tmp_path):
    config = keeping_best()
    train.train(config, tiny_data_dir, tmp_path)
    planted = {s: line["curve/planted"] for s, line in logged(tmp_path, "curve/").items()}
    assert planted == {0: 5, 3: 1, 6: 2, 7: 3}
    kept = {p.name for p in (tmp_path / "best").iterdir() if p.name.isdigit()}
    newest = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert kept == {"3"} and newest == {"6", "7"}
    state, about = saved_state(tmp_path / "best", 3, config)
    assert state["step"] == state["batch_stats/calls"] == 3
    best = {"figure": "curve/planted", "value": 1.0, "step": 3}
    assert about["best"] == best and saved_state(tmp_path, 7, config)[1]["best"] == best
    largest = tmp_path / "largest"
    train.train(keeping_best(**{"keep_best.largest": True}), tiny_data_dir, largest)
    assert checkpoint.open_existing(largest / "best").latest() == 0


def test_the_best_step_survives_restarts(tiny_data_dir, tmp_path, sigterm_at):
    """Also the second: it is in what is saved before anybody has looked again."""
    config = keeping_best()
    for step in (4, 5):
        sigterm_at(step)
        with pytest.raises(Preempted):
            train.train(config, tiny_data_dir, tmp_path)
        assert saved_state(tmp_path, step, config)[1]["best"]["step"] == 3
    sigterm_at(None)
    train.train(config, tiny_data_dir, tmp_path)
    assert checkpoint.open_existing(tmp_path / "best").latest() == 3
    assert saved_state(tmp_path, 7, config)[1]["best"]["step"] == 3


def test_a_checkpoint_names_no_best_step_that_is_not_on_disk(tiny_data_dir, tmp_path, monkeypatch):
    """Killed between the two, a run would go on with a best step that nobody has."""
    save, checked = checkpoint.Checkpoints.save, []

    def save_and_look(self, step, state, about):
        if self.folder.name == "checkpoints":
            best = about["best"]["step"]
            assert (tmp_path / "best" / str(best) / "state").is_dir()
            checked.append((step, best))
        save(self, step, state, about)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save_and_look)
    figures = (("0", 5.0), ("2", 4.0), ("4", 3.0))
    rows = {"curve": {"figures": figures}}
    train.train(watched(rows, **{"keep_best.figure": "curve/planted"}), tiny_data_dir, tmp_path)
    assert checked == [(2, 2), (4, 4)]
