"""Causal configurations of wav2sleep: no logit sees what comes later, and they can be streamed."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from sleepfm_jax.models.wav2sleep import streaming
from tests.helpers.tiny_nights import night, tiny, weights

CAUSAL = {
    "chunks, shared encoder": {"causal": "chunk", "encoders": ("BELTS", "ECG", "BELTS")},
    "convolutions": {"causal": "convolution", "norm": "layer"},
    "convolutions, rms and batch": {
        "causal": "convolution",
        "norm": "rms",
        "sequence_norm": "batch",
        "signal_embedding": True,
    },
}
causal = pytest.mark.parametrize("options", CAUSAL.values(), ids=CAUSAL)


def changed_from(batch, model, sleep_epoch, sample=0):
    """The batch with other samples from this one of each signal's sleep_epoch on."""
    other = dict(batch)
    for name, count in model.layout.signals:
        x = batch[f"signal/{name}"].copy()
        x[:, sleep_epoch * count + sample :] = 3.0
        other[f"signal/{name}"] = x
    return other


@causal
def test_the_future_changes_no_past_logit_bit_for_bit(options):
    model = tiny(**options)
    apply = functools.partial(jax.jit(model.apply), *weights(model))
    batch = night(model, sleep_epochs=12)
    before = np.asarray(apply(batch)[0]["logits"])
    for sleep_epoch in (1, 7, 11):
        after = np.asarray(apply(changed_from(batch, model, sleep_epoch))[0]["logits"])
        np.testing.assert_array_equal(after[:, :sleep_epoch], before[:, :sleep_epoch])
        assert np.abs(after[:, sleep_epoch] - before[:, sleep_epoch]).max() > 1e-4
    # The last sample of a sleep_epoch belongs to it, and to none before.
    after = np.asarray(apply(changed_from(batch, model, 5, 7))[0]["logits"])
    np.testing.assert_array_equal(after[:, :5], before[:, :5])


@pytest.mark.parametrize(
    ("options", "through"),
    [
        ({}, "causal='no'"),
        ({"causal": "convolution"}, "norm='instance'"),  # as published, and said to be causal
        ({"causal": "convolution", "norm": "auto"}, "norm='auto'"),
        ({"causal": "chunk", "sequence_causal": False}, "look both ways"),
        ({"causal": "chunk", "sequence_norm": "instance"}, "sequence_norm='instance'"),
    ],
)
def test_what_looks_ahead_says_so_and_does(options, through):
    model = tiny(**options)
    with pytest.raises(ValueError, match=f"cannot be streamed: .*{through}"):
        streaming.start(model)
    apply = functools.partial(jax.jit(model.apply), *weights(model))
    batch = night(model, sleep_epochs=12)
    other = changed_from(batch, model, 7)
    difference = np.abs(apply(batch)[0]["logits"] - apply(other)[0]["logits"])
    assert difference[:, :7].max() > 1e-4


@causal
def test_streaming_says_what_the_whole_night_says(options):
    model = tiny(**options)
    params, stats = weights(model)
    present = np.array([[True, True, False], [True, False, False], [True, True, True]])
    batch = night(model, rows=3, sleep_epochs=10, present=present)
    whole, _ = jax.jit(model.apply)(params, stats, batch)
    step = jax.jit(streaming.step, static_argnums=0)
    state = streaming.start(model, 3)
    for e in range(10):
        samples = {
            name: batch[f"signal/{name}"][:, e * count : (e + 1) * count]
            for name, count in model.layout.signals
        }
        like = jax.tree.map(np.shape, state)
        out, state = step(model, params, stats, state, samples, present)
        assert jax.tree.map(np.shape, state) == like
        for name in ("logits", "features"):
            np.testing.assert_allclose(out[name], whole[name][:, e], rtol=1e-5, atol=1e-5)
