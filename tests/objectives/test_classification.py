"""Classification of clips: which labels count, and what a model with a head makes of a batch."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import ConfigError
from tests.helpers.runs import smoke

B, S, K, P = 4, 6, 3, 64


def configured(**changes):
    section = configuration.section_defaults("objective", "classification")
    section |= {"labels": ("AF", "LBBB", "RBBB"), "label_kind": "multilabel", "head": "linear"}
    section |= {"label_smoothing": 0.0}
    plain = {
        "objective": section,
        "evaluators": {},
        "data.slots": {"bas": 2, "ecg": 2},
        "model.patch_samples": P,
        "model.position_encoding": "none",
        "model.sequences": "channel",
    }
    config = smoke(**plain)
    for path, value in changes.items():
        *sections, key = path.split(".")
        functools.reduce(dict.__getitem__, sections, config)[key] = value
    return config


@functools.cache
def objective(**changes):
    config = configured(**changes)
    configuration.check(config)
    return experiment.make_objective(config)


@functools.cache
def parameters(chosen):
    return jax.jit(chosen.init)(jax.random.key(0))


def batch(seed=0, patches=S):
    rng = np.random.default_rng(seed)
    return {
        "signals": rng.integers(-1000, 1000, (B, 4, patches * P)).astype(np.int16),
        "scale": np.full((B, 4), 0.01, np.float32),
        "mask": np.ones((B, 4, patches), bool),
        "positions": np.full((B, 4, 3), np.nan, np.float32),
        "labels": np.eye(K, dtype=np.float32)[[0, 1, 2, 0]],
        "index": np.arange(B),
    }


@functools.partial(jax.jit, static_argnums=0)
def evaluated(chosen, params, stats, batch):
    """Loss, its gradient of the head, metrics and predictions, in evaluation mode."""

    def loss(head):
        value, (_, metrics) = chosen.loss(params | {"head": head}, stats, batch, None)
        return value, metrics

    (value, metrics), slope = jax.value_and_grad(loss, has_aux=True)(params["head"])
    return value, slope, metrics, chosen.predict(params, stats, batch)["probabilities"]


def test_an_unknown_label_and_a_filling_row_have_no_gradient():
    chosen = objective()
    params, stats = parameters(chosen)
    assert set(params) == set(stats) == {"encoder", "head"}
    assert chosen.layout.labels == ("AF", "LBBB", "RBBB") and not chosen.distinct_rows
    known = batch()
    known["labels"][:, 1] = np.nan
    known["labels"][2, 2] = np.nan
    known["index"][3] = -1
    value, slope, metrics, p = evaluated(chosen, params, stats, known)
    labels, p = known["labels"], np.asarray(p)
    counts = np.isfinite(labels) & (known["index"] >= 0)[:, None]
    by_hand = -np.log(np.where(labels > 0.5, p, 1 - p))[counts]
    np.testing.assert_allclose(value, by_hand.mean(), rtol=1e-5)
    assert [int(metrics[name][1]) for name in ("loss", "accuracy")] == [5, 5]
    right = ((p > 0.5) == (labels > 0.5))[counts].mean()
    np.testing.assert_allclose(metrics["accuracy"][0] / 5, right, rtol=1e-6)
    bias = np.asarray(slope["classify"]["bias"])
    assert bias[1] == 0 and bias[0] != 0 and bias[2] != 0
    assert (slope["classify"]["kernel"][:, 1] == 0).all()
    # What the filling row and the unknown labels hold reaches nothing.
    other = known | {"signals": known["signals"].copy(), "labels": known["labels"].copy()}
    other["signals"][3] += 500
    other["labels"][3] = 1 - other["labels"][3]
    same, other_slope, _, _ = evaluated(chosen, params, stats, other)
    np.testing.assert_array_equal(same, value)
    jax.tree.map(np.testing.assert_array_equal, other_slope, slope)
    nothing = known | {"labels": np.full((B, K), np.nan, np.float32)}
    value, slope, metrics, _ = evaluated(chosen, params, stats, nothing)
    assert value == 0 and int(metrics["loss"][1]) == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


def test_one_of_several_needs_exactly_one():
    chosen = objective(**{"objective.label_kind": "classification"})
    params, stats = parameters(chosen)
    one = batch()
    one["labels"][1] = (0, 0, 0)  # of none of these classes
    one["labels"][2] = (np.nan, 0, 1)  # a dataset that lacks a class
    one["labels"][3] = (1, 1, 0)
    value, _, metrics, p = evaluated(chosen, params, stats, one)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(value, -np.log([p[0, 0], p[2, 2]]).mean(), rtol=1e-5)
    assert int(metrics["accuracy"][1]) == 2


def test_an_exam_in_a_clip_of_twice_its_length_is_the_same_exam():
    """With channels as sequences, a lead less and a head that convolves along time."""
    chosen = objective(**{"objective.head": "resblocks_per_lead"})
    params, stats = parameters(chosen)
    short = batch()
    short["mask"][1, 3] = False
    long = batch(patches=2 * S)
    long["signals"][..., : S * P] = short["signals"]
    long["signals"][..., S * P :] = 9999
    long["mask"][..., :S], long["mask"][..., S:] = short["mask"], False
    found = [evaluated(chosen, params, stats, rows) for rows in (short, long)]
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-4)
    np.testing.assert_allclose(found[1][3], found[0][3], rtol=1e-4, atol=1e-5)


def test_channels_are_sequences_of_their_own():
    model = objective().model
    params, stats = parameters(objective())
    run = jax.jit(lambda rows: model.apply(params["encoder"], stats["encoder"], rows)[0])
    rows = batch()
    rows["mask"][0, 1] = False
    out = run(rows)
    assert out["tokens"].shape == (B, 4, S, model.width) and out["clip"].shape[:2] == (B, 4)
    np.testing.assert_array_equal(out["token_mask"], rows["mask"])
    np.testing.assert_array_equal(out["presence"], rows["mask"].any(-1))
    # A channel is what it is as the only one of a modality.
    alone = dataclasses.replace(model, sequences="modality", slots=(("bas", 1), ("ecg", 1)))
    few = {k: v[:, [0, 3]] if v.ndim > 1 and k != "labels" else v for k, v in rows.items()}
    two = jax.jit(lambda rows: alone.apply(params["encoder"], stats["encoder"], rows)[0])(few)
    for name in ("clip", "tokens", "presence", "token_mask"):
        np.testing.assert_allclose(out[name][:, [0, 3]], two[name], rtol=1e-4, atol=1e-5)
    raw = jax.jit(lambda rows: model.raw_tokens(params["encoder"], stats["encoder"], rows))(rows)
    assert raw.shape == out["tokens"].shape and (raw[0, 1] == 0).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"labels is \('AF',\); expected two or more"):
        configuration.check(
            configured(**{"objective.labels": ("AF",), "objective.label_kind": "classification"})
        )
    one = configured(**{"objective.labels": ("AF",)})
    assert configuration.check(one) == []
    pretraining = smoke(**{"model.sequences": "channel"})
    with pytest.raises(ConfigError, match="sequences must be 'modality'"):
        experiment.make_objective(pretraining)
