"""Raw samples in, one sleep_epoch out: what comes is what the whole night gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sleepfm_jax.data.nights.examples import rows_of
from sleepfm_jax.data.nights.stream import NightStream
from sleepfm_jax.errors import ConfigError
from tests.helpers.nights import SFREQ, layout, recording

LAYOUT = layout(normalisation="causal")
LABELS, SIGNALS = ("ECG", "Pleth", "ABD", "THX"), ("ECG", "PPG", "ABD", "THX")


def streamed(made, wanted=LAYOUT):
    stream = NightStream(wanted, tuple((s, c.sfreq) for s, c in zip(SIGNALS, made.channels)), SFREQ)
    state, rows = stream.begin(), []
    for epoch in range(int(made.duration / 30)):
        raw = {
            signal: c.samples[round(epoch * 30 * c.sfreq) : round((epoch + 1) * 30 * c.sfreq)]
            for signal, c in zip(SIGNALS, made.channels)
        }
        state, batch = stream.step(state, raw)
        rows.append(batch)
    return rows, state


@pytest.mark.parametrize("sfreqs", [(64.0, 32.0, 16.0, 10.0), (100.0, 50.0, 32.0, 1.0)])
def test_a_stream_gives_what_the_whole_night_gives(sfreqs):
    made = recording(14, LABELS, sfreqs)
    rng = np.random.default_rng(4)
    for channel in made.channels:
        second = round(channel.sfreq)
        channel.samples[: 20 * second] = np.nan  # begins late
        channel.samples[95 * second : 260 * second] = np.nan  # longer than what a stream keeps
        channel.samples[300 * second : 302 * second] = np.nan
        channel.samples[rng.integers(310 * second, len(channel.samples), 5)] = np.nan
    _, (whole,) = rows_of(made, LAYOUT, SFREQ)
    rows, _ = streamed(made)
    for signal, n in LAYOUT.signals:
        expected = whole[f"signal/{signal}"].reshape(-1, n)
        found = np.concatenate([row[f"signal/{signal}"] for row in rows])
        np.testing.assert_array_equal(found == 0, expected == 0)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert found.any(axis=1).sum() > 6


def test_its_state_does_not_grow():
    made = recording(30, LABELS, (64.0, 32.0, 16.0, 10.0))
    sizes = {
        epochs: [
            len(seen.samples)
            for state in streamed(dataclasses.replace(made, duration=30.0 * epochs))[1].values()
            for seen in (state.native, state.clips)
        ]
        for epochs in (6, 30)
    }
    assert sizes[6] == sizes[30]


def test_a_signal_that_stops_is_a_gap():
    stream = NightStream(LAYOUT, (("ECG", 64.0), ("ABD", 16.0)), SFREQ)
    state, made = stream.begin(), recording(4)
    for epoch in range(4):
        raw = {"ECG": made.channels[0].samples[epoch * 1920 : (epoch + 1) * 1920]}
        state, batch = stream.step(state, raw)
    assert batch["signal/ECG"].any() and not batch["signal/ABD"].any()
    np.testing.assert_array_equal(batch["present"], [[True, True, False, False]])
    with pytest.raises(ValueError, match=r"ECG: \(5,\) samples"):
        stream.step(state, {"ECG": np.zeros(5)})


@pytest.mark.parametrize(
    "wanted,native,said",
    [
        (layout(), (("ECG", 64.0),), "night_normalisation='causal'"),
        (LAYOUT, (("EOG-L", 64.0),), "EOG-L is none of"),
        (LAYOUT, (("ECG", 199.99),), "no whole number"),
    ],
)
def test_what_cannot_be_streamed_is_refused(wanted, native, said):
    with pytest.raises(ConfigError, match=said):
        NightStream(wanted, native, SFREQ)
