"""The table of keys: what it lets pass, what it refuses and how it says so, and older layouts."""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import inspect
import json

import pytest

from sleepfm_jax import config
from sleepfm_jax.config.checks import FORMS
from sleepfm_jax.config.keys import Kinded, Rows
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.models import encoder

NAN, INF = float("nan"), float("inf")

# As a run wrote it before sections had kinds.
FLAT = json.loads("""
{"batch_size": 8, "batch_statistics": "per_modality", "candidates": 64,
 "data": {"datasets": ["simulated_psg"], "num_threads": 2, "prefetch": 4,
          "slots": {"bas": 2, "emg": 1, "resp": 2}},
 "encoder": {"dropout": 0.1, "dtype": "float32", "encode_absent": false, "heads": 4, "layers": 1,
             "max_tokens": 128, "mean_over_padding": false, "mlp_dim": 64,
             "padding_in_statistics": false, "patch_samples": 640, "pooling_heads": 4,
             "position_encoding": "fourier", "single_channel_shortcut": true, "width": 32},
 "eval_clips": 16, "eval_every": 2, "keep": 2, "log_every": 1, "log_scale": 2.5,
 "loss": "pairwise", "max_log_scale": 4.6052, "max_skipped_in_a_row": 10, "mesh": {"data": -1},
 "optimiser": {"clip_norm": 1.0, "decay_every": 1000, "decay_factor": 0.1, "learning_rate": 0.002,
               "momentum": 0.9, "name": "adamw", "schedule": "cosine", "warmup_steps": 2,
               "weight_decay": 0.05},
 "save_every": 2, "seed": 3, "sharding_rules": [[".*", []]], "steps": 4, "test_clips": 24}
""")


def changed(name, value, base=None):
    """The defaults with one value changed ("model.width")."""
    out = copy.deepcopy(config.defaults() if base is None else base)
    *sections, key = name.split(".")
    functools.reduce(dict.__getitem__, sections, out)[key] = value
    return out


def every_key():
    """(path, key) of the whole table, all kinds included."""

    def walk(keys, where):
        for name, key in keys.items():
            if isinstance(key, config.Key):
                yield where + name, key
            elif isinstance(key, Kinded | Rows):
                for kind, inner in config.KINDS[key.section].items():
                    yield from walk(inner, f"{where}{name}:{kind}.")
            else:
                yield from walk(key, f"{where}{name}.")

    return list(walk(config.KEYS, ""))


def test_the_defaults_pass_their_own_bounds_and_every_key_says_what_it_is():
    assert config.check(config.defaults()) == []
    assert config.check(json.loads(json.dumps(config.defaults()))) == []  # with lists, from a file
    assert len(every_key()) > 55
    for path, key in every_key():
        assert key.about and (key.form in ("", *FORMS)), path
        plain = isinstance(key.default, bool | int | float | str)
        assert plain != bool(key.form) or key.form == "mesh", path
        assert (key.low is None and key.high is None) or not key.choices, path
        assert not key.choices or key.default in key.choices, path


def test_defaults_are_not_shared():
    config.defaults()["data"]["slots"]["bas"] = 99
    config.defaults()["evaluators"]["test"]["every"] = 99
    assert config.defaults()["data"]["slots"]["bas"] == 10
    assert config.defaults()["evaluators"]["test"]["every"] == 0


def test_the_encoder_has_no_defaults_of_its_own():
    section = config.section_defaults("model", "sleepfm")
    for field in dataclasses.fields(encoder.EncoderConfig):
        assert field.default == section[field.name]
        assert type(field.default) is type(section[field.name])
    (source,) = ast.parse(inspect.getsource(encoder.EncoderConfig)).body
    fields = [node for node in source.body if isinstance(node, ast.AnnAssign) and node.value]
    assert not [node.target.id for node in fields if isinstance(node.value, ast.Constant)]


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seed", -1, "0 or more"),
        ("steps", 0, "1 or more"),
        ("steps", 4.0, "a whole number"),
        ("steps", True, "a whole number"),
        ("steps", "4", "a whole number"),
        ("batch_size", 0, "1 or more"),
        ("data.datasets", (), "a tuple of one name"),
        ("data.datasets", "simulated_psg", "a tuple of one name"),
        ("data.datasets", ("shhs", "shhs"), "each once"),
        ("model.kind", ".relative", "one of sleepfm"),
        ("data.slots.bas", -1, "0 or more"),
        ("data.slots", {"bas": 0, "ecg": 0}, "a channel of something"),
        ("data.slots", 7, "a section of bas, "),
        ("data.label_fraction", 0.0, "more than 0 and at most 1"),
        ("data.channel_dropout", 1.0, "0 or more and less than 1"),
        ("data.folds", 2, "0, or 3 or more"),
        ("data.fold", 1, "less than config.data.folds=0"),
        ("data.input_scaling", "volts", "one of zscore, published_uv"),
        ("data.prefetch", 0, "1 or more"),
        ("model.patch_samples", 0, "1 or more"),
        ("model.width", 0, "1 or more"),
        ("model.layers", 0, "1 or more"),
        ("model.heads", 0, "1 or more"),
        ("model.heads", 5, "a divisor of the width: width 128 is not divisible by 5 heads"),
        ("model.pooling_heads", 0, "1 or more"),
        ("model.pooling_heads", 3, "a divisor of the width"),
        ("model.mlp_dim", 0, "1 or more"),
        ("model.dropout", 1.5, "0 or more and less than 1"),
        ("model.dropout", 1, "0 or more and less than 1"),
        ("model.dropout", -0.1, "0 or more and less than 1"),
        ("model.max_tokens", 0, "1 or more"),
        ("model.position_encoding", "learned", "one of none, fourier, fourier_truncated"),
        ("model.dtype", "float31", "one of float32, bfloat16"),
        ("model.dtype", None, "one of float32, bfloat16"),
        ("model.batch_statistics", "both", "one of joint, per_modality"),
        ("model.sequences", "lead", "one of modality, channel"),
        ("model.encode_absent", 1, "True or False"),
        ("model.kind", "sleepfn", "one of sleepfm"),
        ("model", "sleepfm", "a section with a kind"),
        ("objective.kind", "triplet", "contrastive, or a module"),
        ("objective.loss", "triplet", "one of leave_one_out, pairwise"),
        ("objective.log_scale", 5.0, "at most max_log_scale=4.6052"),
        ("objective.log_scale", -1.0, "0 or more"),
        ("objective.max_log_scale", 100.0, "0 or more and at most 88"),
        ("optimiser.name", "lion", "one of adamw, adam, sgd"),
        ("optimiser.learning_rate", -1, "0 or more"),
        ("optimiser.learning_rate", NAN, "a finite number"),
        ("optimiser.learning_rate", INF, "a finite number"),
        ("optimiser.learning_rate", "1e-3", "a finite number"),
        ("optimiser.learning_rate", False, "a finite number"),
        ("optimiser.schedule", "linear", "one of cosine, constant, step"),
        ("optimiser.schedule", "plateau", "config.keep_best.figure to say"),
        ("optimiser.plateau_factor", 1.0, "more than 0 and less than 1"),
        ("optimiser.plateau_patience", -1, "0 or more"),
        ("optimiser.least_rate", -1, "0 or more"),
        ("optimiser.warmup_steps", -1, "0 or more"),
        ("optimiser.decay_every", 0, "1 or more"),
        ("optimiser.decay_factor", 0.0, "more than 0 and at most 1"),
        ("optimiser.weight_decay", -1, "0 or more"),
        ("optimiser.momentum", 1.0, "0 or more and less than 1"),
        ("optimiser.clip_norm", -1, "0 or more"),
        ("optimiser.groups", (("encoder", -1),), "rows"),
        ("optimiser.groups", (("(", 1.0),), "rows"),
        ("optimiser.groups", ("encoder", 0.1), "rows"),
        ("optimiser.layer_decay", 0.0, "more than 0 and at most 1"),
        ("frozen", "encoder", "a tuple of regular expressions"),
        ("frozen", ("[",), "a tuple of regular expressions"),
        ("initialise_from", None, "a string"),
        ("evaluators", ["test"], "named rows"),
        ("evaluators.test", {}, "one of classification, metrics, retrieval"),
        ("evaluators.test.kind", "retreival", "one of classification, metrics, retrieval"),
        ("evaluators.test.split", "dev", "one of train, validation, test"),
        ("evaluators.test.datasets", "ptbxl", "a tuple of names, each once"),
        ("evaluators.test.datasets", ("ptbxl", "ptbxl"), "a tuple of names, each once"),
        ("evaluators.test.every", -1, "0 or more"),
        ("evaluators.test.examples", 0, "1 or more"),
        ("evaluators.validation.candidates", 1, "2 or more"),
        ("keep_best.figure", "valid/loss", "a figure of test/…, validation/…"),
        ("keep_best.figure", "validation", "a figure of test/…, validation/…"),
        ("keep_best.largest", "yes", "True or False"),
        ("keep_best.patience", 3, "config.keep_best.figure to say"),
        ("keep_best.restore", True, "config.keep_best.figure to say"),
        ("mesh", {"data": 0}, "axis names"),
        ("mesh", {"data": -1, "model": -1}, "axis names"),
        ("mesh", 4, "axis names"),
        ("mesh", "data:0", "axis names"),
        ("mesh", "data", "axis names"),
        ("mesh", "data:2:3", "axis names"),
        ("mesh", "data:2,data:2", "axis names"),
        ("mesh", ":2", "axis names"),
        ("mesh", "", "axis names"),
        ("sharding_rules", ((".*", "data"),), "rows"),
        ("max_skipped_in_a_row", 0, "1 or more"),
        ("log_every", 0, "1 or more"),
        ("save_every", 0, "1 or more"),
        ("keep", 0, "1 or more"),
    ],
)
def test_values_that_cannot_be_are_named_in_one_line(name, value, expected):
    with pytest.raises(ConfigError) as caught:
        config.check(changed(name, value))
    message = str(caught.value)
    assert message.startswith(f"config.{name}") and expected in message and "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimiser.learning_rate", 1),
        ("optimiser.clip_norm", 0),
        ("optimiser.groups", [["^encoder/", 0.1], [".*", 1]]),
        ("frozen", ["^encoder/"]),
        ("evaluators", {}),
        ("keep_best.figure", "validation/loss"),
        ("evaluators.test.datasets", ["ptbxl_rhythm", "g12ec"]),
        ("evaluators.test.split", "all"),
        ("data.folds", 3),
        ("mesh", {"data": 2, "model": -1}),
        ("mesh", "data:4,fsdp:2"),
        ("mesh", "data:-1"),
        ("sharding_rules", (("kernel", (None, "model")), (".*", ()))),
        ("data.slots", {"bas": 1, "ecg": 1}),
    ],
)
def test_values_at_the_bounds_pass(name, value):
    assert config.check(changed(name, value)) == []


@pytest.mark.parametrize(
    ("name", "section", "meant"),
    [
        ("stpes", "config", "steps"),
        ("model.wdith", "config.model", "width"),
        ("optimiser.learning_rat", "config.optimiser", "learning_rate"),
        ("evaluators.test.canditates", "config.evaluators.test", "candidates"),
        ("data.slots.emgs", "config.data.slots", "emg"),
        ("dropout", "config", "config.model.dropout"),  # it belongs to another section
        ("eval_clips", "config", "config.evaluators.validation.examples"),  # it moved
        ("zzz", "config", None),
    ],
)
def test_an_unknown_key_names_the_known_ones_and_the_nearest(name, section, meant):
    with pytest.raises(ConfigError) as caught:
        config.check(changed(name, 1))
    message, key = str(caught.value), name.rsplit(".", 1)[-1]
    assert message.startswith(f"{section}: unknown key {key}; known: ")
    if meant is None:
        assert "did you mean" not in message and "batch_size" in message
    else:
        assert message.endswith(f"; did you mean {meant}?")


def test_a_missing_key_is_named_but_a_modality_may_be_left_out():
    for section, key in (("optimiser", "clip_norm"), ("model", "width"), ("objective", "kind")):
        broken = config.defaults()
        del broken[section][key]
        with pytest.raises(ConfigError, match=f"config.{section}: missing key {key}"):
            config.check(broken)
    without = config.defaults()
    del without["data"]["slots"]["ecg"]
    assert config.check(without) == []


def test_warnings():
    def warned(name, value):
        (warning,) = config.check(changed(name, value))
        return warning

    assert "warmup_steps is 100, more than config.steps=50" in warned("steps", 50)
    assert "config.data.slots.bas is 0" in warned("data.slots.bas", 0)
    assert "num_threads is 9, more than" in warned("data.num_threads", 9)
    chosen = changed("keep_best.figure", "test/loss")
    with pytest.raises(ConfigError, match=r"while the run goes on, but .*test\.every is 0"):
        config.check(chosen)
    chosen["evaluators"]["test"]["every"] = 100
    (flattered,) = config.check(chosen)
    assert "the test split chose" in flattered


def test_warnings_of_the_data():
    clips = {"train": 500, "validation": 24, "test": 2000}
    fits = config.defaults()
    fits["evaluators"]["validation"]["candidates"] = 24
    assert config.warnings_for_data(fits, clips, 38400) == []
    (few,) = config.warnings_for_data(config.defaults(), clips, 38400)
    assert "evaluators.validation.candidates is 128, but only 24 clips of split" in few
    assert config.warnings_for_data(config.defaults(), {}, 38400) == []  # no such split: no figure
    (odd,) = config.warnings_for_data(fits, clips, 3840 + 100)
    assert "patch_samples is 640, no divisor of a clip's 3940 samples" in odd and "540 zeros" in odd
    (long,) = config.warnings_for_data(fits, clips, 600)
    assert "longer than a clip's 600 samples" in long and "with 40 zeros" in long


def test_a_kind_is_one_entry(monkeypatch):
    keys = {"strength": config.Key(0.5, "of the toy", low=0)}
    monkeypatch.setitem(config.KINDS["objective"], "toy", keys)
    monkeypatch.setitem(config.KINDS["evaluator"], "counter", {"every": config.Key(1, "steps")})
    made = config.defaults(objective="toy")
    assert made["objective"] == {"kind": "toy", "strength": 0.5}
    assert {row["kind"] for row in made["evaluators"].values()} == {"metrics"}
    made["evaluators"]["mine"] = config.section_defaults("evaluator", "counter")
    assert config.check(made) == []
    made["objective"]["strength"] = -1
    with pytest.raises(ConfigError, match=r"config\.objective\.strength is -1; expected 0 or more"):
        config.check(made)
    with pytest.raises(ConfigError, match="contrastive, toy, or a module"):
        config.defaults(objective="toi")


# --- configurations of other runs --------------------------------------------------------------


def test_a_flat_configuration_is_brought_to_todays_layout():
    before = copy.deepcopy(FLAT)
    now = config.upgrade(FLAT)
    assert before == FLAT  # not changed in place
    assert config.check(now) == []
    model = {"kind": "sleepfm", "batch_statistics": "per_modality"} | FLAT["encoder"]
    assert now["model"] == config.section_defaults("model", "sleepfm") | model
    assert now["objective"] == {
        "kind": "contrastive",
        "loss": "pairwise",
        "log_scale": 2.5,
        "max_log_scale": 4.6052,
    }
    row = {"kind": "retrieval", "datasets": (), "candidates": 64}
    assert now["evaluators"] == {
        "validation": row | {"split": "validation", "every": 2, "examples": 16},
        "test": row | {"split": "test", "every": 0, "examples": 24},
    }
    newer = set(config.KEYS["optimiser"]) - set(FLAT["optimiser"])
    added = {key: config.KEYS["optimiser"][key].default for key in newer}
    assert now["optimiser"] == FLAT["optimiser"] | added and added["groups"] == ()
    newer = set(config.KEYS["data"]) - set(FLAT["data"])
    added = {key: config.KEYS["data"][key].default for key in newer}
    assert now["data"] == FLAT["data"] | added  # still without ECG
    assert added["input_scaling"] == "zscore" and not added["mispaired"] and not added["folds"]
    for key in ("seed", "steps", "batch_size", "save_every", "keep", "mesh"):
        assert now[key] == FLAT[key]
    assert config.upgrade(now) == now
    assert config.same_run(FLAT, now) == []


def test_todays_layout_comes_back_unchanged_and_newer_keys_get_their_defaults():
    here = config.defaults()
    assert config.upgrade(here) == here
    older = copy.deepcopy(here)
    del older["optimiser"]["groups"], older["keep_best"], older["model"]["encode_absent"]
    del older["evaluators"]["test"]["candidates"]
    assert config.upgrade(older) == here


@pytest.mark.parametrize(
    "saved",
    [
        {"model": {"width": 128}, "seed": 7},
        {"model": 3, "evaluators": None, "data": "x"},
        changed("model.kind", "newer"),
        changed("evaluators.test", 5),
        FLAT | {"novel": 1},
        FLAT | {"encoder": FLAT["encoder"] | {"novel": 1}},
        {},
    ],
)
def test_what_cannot_be_understood_stays_for_the_check(saved):
    now = config.upgrade(saved)
    if saved:
        with pytest.raises(ConfigError):
            config.check(now)
    else:
        assert now == config.defaults()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "optimiser.learning_rate",
            0.2,
            "config.optimiser.learning_rate: 0.001 in the checkpoint, 0.2 now",
        ),
        ("model.dropout", 0.0, "config.model.dropout: 0.3 in the checkpoint, 0.0 now"),
        ("frozen", ("x",), "config.frozen: [] in the checkpoint, ['x'] now"),
        ("data.slots", {"bas": 10, "resp": 7, "ecg": 2, "emg": 0}, "config.data.slots.emg: 4 in"),
        ("data.input_scaling", "published_uv", "config.data.input_scaling: 'zscore' in the"),
        ("steps", 7, "config.steps: 1000 in the checkpoint, 7 now"),
    ],
)
def test_what_changes_numbers_is_another_run(name, value, said):
    saved = json.loads(json.dumps(config.defaults()))
    (found,) = config.same_run(saved, changed(name, value))
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mesh", {"data": 4}),
        ("sharding_rules", (("x", ()),)),
        ("max_skipped_in_a_row", 3),
        ("log_every", 3),
        ("save_every", 3),
        ("keep", 3),
        ("keep_best.figure", "validation/loss"),
        ("evaluators", {}),
        ("evaluators.test.examples", 3),
        ("data.num_threads", 3),
        ("data.prefetch", 3),
        ("data.datasets", ["simulated_psg"]),  # a list, as it comes from a file
    ],
)
def test_what_changes_no_number_is_the_same_run(name, value):
    assert config.same_run(config.defaults(), changed(name, value)) == []


def test_what_moves_the_rate_is_another_run():
    now = changed("optimiser.schedule", "plateau", changed("keep_best.figure", "validation/loss"))
    saved = json.loads(json.dumps(now))
    assert config.same_run(saved, changed("steps", 7, now)) == []
    assert config.same_run(saved, changed("evaluators.test.examples", 3, now)) == []
    (found,) = config.same_run(saved, changed("evaluators.validation.examples", 3, now))
    assert found.startswith("config.evaluators.validation.examples: 256 in the checkpoint, 3 now")
    (found,) = config.same_run(saved, changed("keep_best.largest", True, now))
    assert found.startswith("config.keep_best.largest: False in")


def test_a_modality_left_out_is_one_without_channels():
    without = config.defaults()
    del without["data"]["slots"]["ecg"]
    assert config.same_run(without, changed("data.slots.ecg", 0)) == []


def test_a_mesh_in_a_line_is_its_axes():
    assert config.mesh_axes("data:4,fsdp:2") == {"data": 4, "fsdp": 2}
    assert config.mesh_axes("data:-1, fsdp:2") == {"data": -1, "fsdp": 2}
    assert config.mesh_axes({"data": 4}) == {"data": 4}  # as in checkpoints from before
