"""Recordings and records → signals at a model's rates: which channel, gaps, rates, causality."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.data.nights import signals as night_signals
from sleepfm_jax.data.nights.signals import channels_of, night_of_recording, night_of_records, row
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.recording import Channel
from tests.helpers.nights import SFREQ, RecordsInMemory, layout, recording

ALL = ("ABD", "ECG", "EOG-L", "EOG-R", "PPG", "THX")


def from_records(made, wanted=ALL, epochs=8, **options):
    records = RecordsInMemory([made], **options)
    return night_of_records(records.items, SFREQ, epochs, wanted)


def of_file(made, wanted=ALL, causal=False):
    return night_of_recording(made, wanted, causal, SFREQ)


# --- which channel --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names,found",
    [
        (["C3-M2", "ECG", "ABD", "THX", "PPG"], {"ABD": 2, "ECG": 1, "PPG": 4, "THX": 3}),
        (["E1-M2", "E2-M2", "CHIN"], {"EOG-L": 0, "EOG-R": 1}),
        (["E1-E2", "E2", "E1"], {"EOG-L": 2, "EOG-R": 1}),
        (["E1", "E1-M2", "E2", "E2-M1"], {"EOG-L": 1, "EOG-R": 3}),
        (["V1", "II", "ECG R"], {"ECG": 1}),
        (["V1", "aVR"], {"ECG": 0}),
        (["ECG2", "ECG L", "ECG-M1"], {"ECG": 0}),
        (["ABD CALIBRATED", "ABD"], {"ABD": 1}),
        (["THX INDUCTANCE", "AIRFLOW", "PULSE", "SpO2"], {"THX": 0}),
        (["ECG", "ECG#2"], {"ECG": 0}),
        (["Cz", "EEG"], {}),
    ],
)
def test_a_signal_is_the_best_channel_that_may_be_it(names, found):
    assert channels_of(names, [True] * len(names)) == found


def test_a_flat_channel_is_passed_over_for_its_twin():
    assert channels_of(["ECG", "ECG#2", "II"], [False, True, True]) == {"ECG": 1}
    assert channels_of(["ECG", "V1"], [False, False]) == {}


def test_no_usable_signal_is_a_clear_error():
    made = recording(labels=("C3-M2", "Chin"))
    with pytest.raises(RecordingError, match=r"no usable signal: .*'C3-M2', 'Chin'"):
        of_file(made)
    flat = recording(labels=("ECG",))
    flat.channels[0].samples[:] = 4
    with pytest.raises(RecordingError, match="flat"):
        of_file(flat)
    with pytest.raises(RecordingError, match="of PPG none"):
        of_file(recording(labels=("ECG",)), wanted=("PPG",))


# --- from records as from the file ----------------------------------------------------------------


@pytest.mark.parametrize("epochs", [8, 7.4])
@pytest.mark.parametrize("normalisation", ["night", "causal", "causal_published"])
def test_a_file_gives_what_its_records_give_but_for_their_rounding(normalisation, epochs):
    """Down to the file's last, broken sleep_epoch, which no model sees."""
    made, wanted = recording(epochs), layout(normalisation=normalisation)
    stored = row(from_records(made, wanted.names, int(epochs)), wanted)
    read = row(of_file(made, wanted.names, causal=normalisation == "causal"), wanted)
    assert sorted(stored) == sorted(read) == [f"signal/{n}" for n in wanted.names]
    for name, samples in wanted.signals:
        z = stored[f"signal/{name}"]
        assert z.dtype == np.float32 and len(z) == int(epochs) * samples
        np.testing.assert_allclose(z, read[f"signal/{name}"], atol=2e-3)
    np.testing.assert_array_equal(
        from_records(made, wanted.names, int(epochs)).stages, np.arange(int(epochs)) % 5
    )


def test_gaps_and_lost_clips_stay_gaps():
    made = recording(8)
    made.channels[0].samples[64 * 45 : 64 * 75] = np.nan  # ECG, sleep_epochs 1.5 to 2.5
    for channel in made.channels:  # nobody recorded sleep_epochs 4 and 5: no such clip
        channel.samples[round(120 * channel.sfreq) : round(180 * channel.sfreq)] = np.nan
    stored = from_records(made)
    assert len(RecordsInMemory([made])) == 3
    for night in (stored, of_file(made)):
        z = row(night, layout())["signal/ECG"].reshape(8, 256)
        assert not z[4:6].any() and not z[1, 130:].any() and not z[2, :125].any()
        assert z[3].all() and z[1, :120].all() and np.isfinite(z).all()
        valid = z[z != 0]
        assert abs(valid.mean()) < 0.02 and abs(valid.std() - 1) < 0.02


def test_padding_and_a_nights_length_do_not_touch_its_statistics():
    made = recording(8)
    short = row(from_records(made), layout())
    longer = row(from_records(made, epochs=12), layout())
    for name, z in short.items():
        n = len(z) // 8
        np.testing.assert_allclose(longer[name][: 7 * n], z[: 7 * n], atol=5e-3)
        assert not longer[name][8 * n + 1 :].any()


def test_what_is_above_the_new_nyquist_frequency_does_not_come_back():
    made = recording(8, labels=("ABD",), sfreqs=(32.0,))
    seconds = np.arange(8 * 30 * 32) / 32
    wanted = layout("ABD")  # 64 samples in 30 s: 1.07 Hz
    slow, fast = np.sin(2 * np.pi * 0.25 * seconds), np.sin(2 * np.pi * 1.9 * seconds)
    made.channels[0].samples = (slow + 10 * fast).astype(np.float32)
    z = row(of_file(made), wanted)["signal/ABD"]
    at = np.arange(len(z)) * 30 / 64
    inside = slice(64, -64)
    np.testing.assert_allclose(
        z[inside], np.sqrt(2) * np.sin(2 * np.pi * 0.25 * at)[inside], atol=0.02
    )


def test_a_ppg_that_hardly_moves_is_none():
    made = recording(8)
    pleth = next(c for c in made.channels if c.name == "PPG")
    pleth.samples[32 * 60 :] = 50.0
    assert "signal/PPG" not in row(of_file(made), layout())
    pleth.samples[32 * 60 :] = np.nan  # not there is not still
    assert "signal/PPG" in row(of_file(made), layout())


def test_clips_that_are_no_sleep_epochs_long_tell_the_stages_they_know():
    for seconds, known in ((10.0, [0, 1, 2, 3]), (45.0, [0, -1, 2, -1]), (120.0, [0, 1, 2, 3])):
        night = from_records(recording(4), epochs=4, clip_seconds=seconds)
        np.testing.assert_array_equal(
            np.where(np.array(known) < 0, night.stages, known), night.stages
        )
    assert (from_records(recording(4, stages=False), epochs=4).stages == -1).all()


# --- nothing of the future ------------------------------------------------------------------------


@pytest.mark.parametrize("sfreq", [16.0, 32.0, 50.0, 100.0])
def test_the_future_of_the_raw_samples_changes_no_past_sleep_epoch_bit_for_bit(sfreq):
    """Native rate → the clips' rate → the layout's, gaps and all."""
    wanted, at = layout("ECG", normalisation="causal"), 5

    def read(change=None):
        made = recording(8, labels=("ECG",), sfreqs=(sfreq,))
        samples = made.channels[0].samples
        samples[round(40 * sfreq) : round(55 * sfreq)] = np.nan
        samples[round((30 * at - 20) * sfreq) : round((30 * at + 10) * sfreq)] = np.nan
        if change:
            change(samples[round(30 * at * sfreq) :])
        return row(of_file(made, causal=True), wanted)["signal/ECG"].reshape(8, 256)

    def other(samples):
        samples[:] = 1e4 * np.random.default_rng(9).normal(size=len(samples))

    def gone(samples):
        samples[:] = np.nan

    for change in (other, gone):
        changed = read(change)
        np.testing.assert_array_equal(changed[:at], read()[:at])
        assert (changed[at:] != read()[at:]).any()
    assert read()[:1].any()


def test_the_published_form_is_not_causal():
    wanted = layout("ECG", normalisation="causal_published")
    made, other = (recording(8, labels=("ECG",)) for _ in range(2))
    other.channels[0].samples[5 * 30 * 64 :] *= 4
    first, second = (row(of_file(r), wanted)["signal/ECG"][: 3 * 256] for r in (made, other))
    assert (first != second).any()


def test_a_causal_signal_is_late_by_what_resampling_looks_ahead():
    night = of_file(recording(8, labels=("ECG",), sfreqs=(64.0,)), causal=True)
    wanted = layout("ECG", normalisation="causal")
    # 64 → 32 Hz looks ahead 1 s, 32 → 8.53 Hz 3.75 s; 15 samples of 32 Hz are 4 of 8.53 Hz
    assert night_signals.delays(64.0, 32.0, 256 / 30) == (45, 33)
    assert night_signals.delay(night, "ECG", wanted) == 12 + 33
    same = of_file(recording(8, labels=("ECG",), sfreqs=(32.0,)), causal=True)
    assert night_signals.look_ahead(same.native["ECG"], same.sfreq) == 0


def test_a_channel_without_a_valid_sample_is_none():
    made = recording(8)
    made.channels.append(Channel("EOG L", "E1", "bas", 16.0, "uV", np.full(3840, np.nan, "f4")))
    assert "EOG-L" not in of_file(made).signals
    assert "EOG-L" not in from_records(made).signals
