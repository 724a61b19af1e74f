"""Three published steps of fine-tuning, EEG and ECG, reproduced by the loop's own step function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.interop import from_torch, to_torch
from sleepfm_jax.models import encoder, positions
from sleepfm_jax.models.heads import eeg
from sleepfm_jax.training import optim
from sleepfm_jax.training import state as train_state
from tests.helpers.golden_steps import compare, first_gradients, three_steps

pytestmark = pytest.mark.real

# The published code's own places of the fixture's channels Fp1, C3, O2, F7-T3, Pz and CP5, of two
# digits; those of the last two are the ones with which its first logits come out. x has no part in
# its position code.
PLACES = np.array(
    [
        [-0.31, 0.95, 0.0],
        [-0.64, 0.0, 0.77],
        [0.31, -0.95, 0.0],
        [-0.83, 0.295, -0.35],
        [0.0, -0.72, 0.69],
        [0.0, -0.31, 0.42],
    ],
    np.float32,
)
# Float32: what the reference's own rounding asks for (docs/golden.md). Float64: what is left is the
# storage of the fixtures' arrays in float32.
LIMIT = {
    "eeg": {
        "float64": {
            "losses": (1e-9,) * 3,
            "norms": (1e-9,) * 3,
            "gradient": 1e-6,
            "statistics": 1e-6,
            "changes": (1e-2, 1e-3),
        },
        "float32": {
            "losses": (1e-5, 1e-4, 5e-4),
            "norms": (2e-4, 0.1, 0.1),  # later ones are of parameters that rounding moved
            "gradient": 2e-4,
            "statistics": 5e-5,
            "changes": (0.2, 0.05),
        },
    },
    "ecg": {
        "float64": {
            "losses": (1e-9,) * 3,
            "norms": (1e-9,) * 3,
            "gradient": 1e-6,
            "statistics": 1e-6,
            "changes": (1e-3, 1e-3),
        },
        "float32": {
            "losses": (1e-5,) * 3,
            "norms": (1e-5,) * 3,
            "gradient": 1e-5,
            "statistics": 2e-6,
            "changes": (1e-3, 1e-3),
        },
    },
}
EEG = {  # variant → (of whose weights, changes of the configuration)
    "plain": ("plain", {}),
    "pe": ("pe", {"model.position_encoding": "fourier_truncated", "objective.pool_length": 4}),
    "frozen_eval": ("plain", {"frozen": ("^encoder/", "^head/mask_vector$")}),
    "plain_masked": (
        "plain",
        {
            "frozen": ("^encoder/time_pooling/",),
            "objective.time_mask": 0.1,
            "objective.feature_mask": 0.01,
        },
    ),
}


@pytest.fixture(scope="module")
def golden(shared):
    return lambda name: np.load(shared / "golden" / f"{name}.npz")


def configured(**changes):
    """A checked configuration of fine-tuning without randomness, and what it names."""
    config = configuration.defaults(objective="classification")
    for path, value in changes.items():
        *sections, key = path.split(".")
        part = config
        for section in sections:
            part = part[section]
        part[key] = value
    precision = config["model"].pop("precision", None)
    configuration.check(config)
    if precision:
        config["model"]["dtype"] = precision  # float64 is none that a configuration may ask for
    objective = experiment.make_objective(config)
    return objective, optim.optimiser(config["optimiser"], config["steps"], objective.frozen)


def eeg_configured(variant, precision):
    classes = 6 if variant == "pe" else 2
    return configured(
        **{
            "model.patch_samples": 128,
            "model.width": 32,
            "model.heads": 4,
            "model.pooling_heads": 4,
            "model.layers": 2,
            "model.dropout": 0.0,
            "model.position_encoding": "none",
            "model.precision": precision,
            "data.slots": {"bas": 6},
            "objective.labels": tuple("abcdef"[:classes]),
            "objective.head_dropout": 0.0,
            "objective.time_mask": 0.0,
            "objective.feature_mask": 0.0,
            "optimiser.learning_rate": 1e-3,
            "optimiser.schedule": "constant",
            "optimiser.warmup_steps": 0,
            "optimiser.weight_decay": 0.01,
            "optimiser.decay_all": True,
            "optimiser.clip_norm": 0.0,
            # PyTorch's optimiser passes over what has no gradient, its decay too.
            "frozen": ("^encoder/time_pooling/", "^head/mask_vector$"),
        }
        | EEG[variant][1]
    )


def eeg_start(golden, variant, objective, tx):
    """State and batch of the fixture."""
    whose = EEG[variant][0]
    names = ["sd/", f"{whose}/sd/"]
    sd = {k.removeprefix(n): golden[k] for n in names for k in golden.files if k.startswith(n)}
    weights = from_torch("linear_head", sd, heads=4, pooling_heads=4)
    trees = [split(tree) for tree in (weights.params, weights.batch_stats)]
    state = train_state.create(objective, tx, seed=0)
    assert jax.tree.structure(trees[0]) == jax.tree.structure(state.params)
    for leaf in jax.tree.leaves(trees):
        assert leaf.dtype == jnp.float32, "float64 where the fixture `precision` says so"
    params, stats = trees
    state = state.replace(params=params, batch_stats=stats, opt_state=tx.init(params))
    x, labels = golden["in/x"], golden[f"{whose}/labels"]
    b, c, t = x.shape
    batch = {
        "signals": x,
        "scale": np.ones((b, c), np.float32),
        "mask": np.ones((b, c, t // 128), bool),
        "positions": np.broadcast_to(PLACES.astype(jnp.float32), (b, c, 3)),
        "labels": np.eye(len(objective.labels), dtype=np.float32)[labels],
        "index": np.arange(b),
    }
    return state, batch


def split(tree):
    """One tree of the published model → ours: the encoder, and the head."""
    return {"encoder": tree["encoder"], "head": {k: v for k, v in tree.items() if k != "encoder"}}


def published_names(params, stats):
    trees = (tree["head"] | {"encoder": tree["encoder"]} for tree in (params, stats))
    return to_torch("linear_head", *trees)


@pytest.mark.parametrize(
    "precision, variant",
    [
        # Compiling in float64 takes most of a minute each.
        *(pytest.param("float64", name, marks=pytest.mark.slow) for name in EEG),
        ("float32", "plain"),
    ],
    indirect=["precision"],
)
def test_three_eeg_steps_are_the_published_ones(golden, monkeypatch, precision, variant):
    golden = golden("i_finetune_steps_eeg")
    masks = {mask.shape[1]: mask for mask in (golden["in/mask_t"], golden["in/mask_c"])}
    monkeypatch.setattr(eeg, "draw_spans", lambda _, valid, *__: masks[valid.shape[1]])
    if precision == "float64":  # codes of time and place differ in the last digit of float32
        table = golden["sd/encoder.positional_encoding.pe"][0]
        monkeypatch.setattr(encoder, "sinusoids", lambda *_: table)
        monkeypatch.setattr(
            positions, "_angular", lambda n, period: np.arange(n) * 2 * np.pi / period
        )
    objective, tx = eeg_configured(variant, precision)
    start, batch = eeg_start(golden, variant, objective, tx)
    states, *steps = three_steps(objective, tx, start, batch)
    grads = first_gradients(start, states[0])
    found = {
        "grads": published_names(grads, states[0].batch_stats),
        "statistics": published_names(grads, states[0].batch_stats),
        "before": published_names(start.params, start.batch_stats),
        "after": published_names(states[2].params, states[2].batch_stats),
    }
    checked = compare(golden, variant, found, steps, LIMIT["eeg"][precision])
    assert checked["grad0_64"] > 9 and checked["param_after3_64"] > 9
    if variant == "frozen_eval":
        for before, after in zip(
            jax.tree.leaves((start.params["encoder"], start.batch_stats["encoder"])),
            jax.tree.leaves((states[2].params["encoder"], states[2].batch_stats["encoder"])),
            strict=True,
        ):
            np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("precision", ["float64", "float32"], indirect=True)
@pytest.mark.parametrize("head", ["resblocks", "linear"])
def test_three_ecg_steps_are_the_published_ones(golden, precision, head):
    golden = golden("j_finetune_steps_ecg")
    objective, tx = configured(
        **{
            "model": {"kind": "tests.helpers.given_tokens", "width": 16},
            "data.slots": {"ecg": 3},
            "objective.labels": ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"),
            "objective.label_kind": "multilabel",
            "objective.head": head,
            "objective.head_dropout": 0.0,
            "objective.label_smoothing": 0.0,
            "optimiser.name": "adam",
            "optimiser.learning_rate": 1e-3,
            "optimiser.schedule": "constant",
            "optimiser.warmup_steps": 0,
            "optimiser.clip_norm": 0.0,
        }
    )
    before = {k: golden[k] for k in golden.files if k.startswith(f"{head}/sd/head.")}
    before = {k.removeprefix(f"{head}/sd/head."): v for k, v in before.items()}
    if head == "resblocks":
        tokens = golden["in/tokens"]
        weights = from_torch("resblocks_head", before)
        params, stats = weights.params, weights.batch_stats
    else:  # published: of the clip's vectors, which stand here as one token
        tokens = golden["in/pooled"][:, :, None]
        kernel, bias = (jnp.asarray(before[n].T, jnp.float32) for n in ("weight", "bias"))
        params, stats = {"classify": {"kernel": kernel, "bias": bias}}, {}
    params, stats = {"encoder": {}, "head": params}, {"encoder": {}, "head": stats}
    start = train_state.create(objective, tx, seed=0)
    assert jax.tree.structure(params) == jax.tree.structure(start.params)
    start = start.replace(params=params, batch_stats=stats, opt_state=tx.init(params))
    batch = {"tokens": tokens, "labels": golden["in/labels"], "index": np.arange(len(tokens))}
    states, *steps = three_steps(objective, tx, start, batch)

    def published(params, stats):
        if head == "linear":
            there = params["head"]["classify"]
            names = {"weight": np.asarray(there["kernel"]).T, "bias": np.asarray(there["bias"])}
        else:
            names = to_torch("resblocks_head", params["head"], stats["head"])
        return {f"head.{name}": value for name, value in names.items()}

    grads = first_gradients(start, states[0])
    found = {
        "grads": published(grads, states[0].batch_stats),
        "statistics": published(grads, states[0].batch_stats),
        "before": published(start.params, start.batch_stats),
        "after": published(states[2].params, states[2].batch_stats),
    }
    checked = compare(golden, head, found, steps, LIMIT["ecg"][precision])
    assert checked["grad0_64"] == checked["param_after3_64"] == len(golden[f"{head}/param_names"])
