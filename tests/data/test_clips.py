"""Records: cutting, standardising, masking and quantising a recording."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax import signals
from sleepfm_jax.data import clips
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import Channel, Recording


def make_recording(samples: dict[str, np.ndarray], sfreq: float = 128.0, stages=None) -> Recording:
    channels = []
    for label, x in samples.items():
        identity = signals.identify(label)
        x = np.asarray(x, np.float32)
        channels.append(Channel(label, identity.name, identity.modality, sfreq, "uV", x, []))
    duration = max((len(c.samples) / c.sfreq for c in channels), default=0.0)
    return Recording(
        path="night.edf",
        subject="s1",
        recording="night",
        start=None,
        duration=duration,
        channels=channels,
        annotations=[],
        stages=None if stages is None else np.asarray(stages, np.int8),
        notes=[],
    )


def noise(seconds: float, sfreq: float = 128.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(seconds * sfreq)) * 20 + 5).astype(np.float32)


def test_a_recording_becomes_clips_and_its_tail_a_masked_one():
    recording = make_recording({"C3-M2": noise(70), "ECG": noise(70, seed=1)})
    out = list(clips.clips(recording, ClipSpec(clip_seconds=30)))
    assert [r.clip for r in out] == [0, 1, 2]
    assert [r.start for r in out] == [0.0, 30.0, 60.0]
    assert [r.num_samples for r in out] == [3840, 3840, 1280]
    for r in out:
        assert r.signals.shape == (2, 3840)
        assert r.signals.dtype == np.int16
    assert out[0].gaps.shape == (0, 3)
    assert out[2].gaps.tolist() == [[0, 1280, 3840], [1, 1280, 3840]]
    assert not out[2].signals[:, 1280:].any()
    assert out[0].channel_labels == ["C3-M2", "ECG"]
    assert out[0].modalities == ["bas", "ecg"]
    assert any("10 of 30 s" in note for note in recording.notes)


def test_physical_values_come_back_and_statistics_are_of_the_recording():
    # The second half is ten times as large: statistics of a clip would hide that.
    x = noise(60)
    x[30 * 128 :] *= 10
    recording = make_recording({"C3-M2": x})
    out = list(clips.clips(recording, ClipSpec(clip_seconds=30)))
    for i, r in enumerate(out):
        assert r.mean[0] == pytest.approx(x.mean(), rel=1e-4)
        assert r.sd[0] == pytest.approx(x.std(), rel=1e-4)
        step = float(r.scale[0] * r.sd[0])
        wanted = x[i * 3840 : (i + 1) * 3840]
        np.testing.assert_allclose(r.physical()[0], wanted, atol=0.51 * step + 1e-3)
    z = [r.signals[0] * r.scale[0] for r in out]
    assert np.std(z[1]) == pytest.approx(10 * np.std(z[0]), rel=0.15)


def test_channels_of_other_rates_end_at_the_spec_rate():
    t = np.arange(60 * 200) / 200
    recording = make_recording({"C3-M2": np.sin(2 * np.pi * 3 * t) * 50}, sfreq=200)
    (r,) = clips.clips(recording, ClipSpec(sfreq=64, clip_seconds=60))
    assert r.signals.shape == (1, 60 * 64)
    assert r.native_sfreq.tolist() == [200]
    wanted = np.sin(2 * np.pi * 3 * np.arange(60 * 64) / 64) * 50
    np.testing.assert_allclose(r.physical()[0, 64:-64], wanted[64:-64], atol=1.0)


def test_channels_of_no_modality_are_kept():
    recording = make_recording({"C3-M2": noise(30), "Ambient light": noise(30, seed=1)})
    (r,) = clips.clips(recording, ClipSpec(clip_seconds=30))
    assert r.modalities == ["bas", signals.OTHER]
    assert r.positions.shape == (2, 3)
    assert np.isfinite(r.positions[0]).all()
    assert np.isnan(r.positions[1]).all()


def test_a_recording_shorter_than_a_clip_is_one_masked_clip():
    recording = make_recording({"C3-M2": noise(12)})
    (r,) = clips.clips(recording, ClipSpec(clip_seconds=300))
    assert r.num_samples == 12 * 128
    assert r.valid().sum() == 12 * 128
    assert any("shorter than a clip" in note for note in recording.notes)


@pytest.mark.parametrize("extra_samples", [1, 100])
def test_a_remainder_below_a_second_is_no_clip(extra_samples):
    recording = make_recording({"C3-M2": noise(60 + extra_samples / 128)})
    assert len(list(clips.clips(recording, ClipSpec(clip_seconds=30)))) == 2
    assert any("too short" in note for note in recording.notes)


def test_flat_channel_is_kept_and_masked():
    recording = make_recording({"C3-M2": noise(30), "C4-M1": np.full(30 * 128, 7.0)})
    (r,) = clips.clips(recording, ClipSpec(clip_seconds=30))
    assert r.sd[1] == 0
    assert r.mean[1] == pytest.approx(7.0)
    assert r.gaps.tolist() == [[1, 0, 3840]]
    assert not r.signals[1].any()
    assert any("no spread" in note for note in recording.channels[1].notes)
    assert recording.channels[0].notes == []


def test_gaps_are_masked_stored_as_zero_and_left_out_of_the_statistics():
    x = noise(60)
    x[1000:2000] = np.nan
    recording = make_recording({"C3-M2": x, "ECG": noise(60, seed=1)})
    (r,) = clips.clips(recording, ClipSpec(clip_seconds=60))
    assert r.gaps.tolist() == [[0, 1000, 2000]]
    assert not r.signals[0, 1000:2000].any()
    assert r.mean[0] == pytest.approx(np.nanmean(x), rel=1e-4)
    assert r.sd[0] == pytest.approx(np.nanstd(x), rel=1e-4)


def test_a_clip_without_a_valid_sample_is_left_out_and_said():
    x = noise(90)
    x[30 * 128 : 60 * 128] = np.nan
    recording = make_recording({"C3-M2": x})
    out = list(clips.clips(recording, ClipSpec(clip_seconds=30)))
    assert [r.clip for r in out] == [0, 2]
    assert [r.start for r in out] == [0.0, 60.0]
    assert any("1 of 3 clips" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({}, "holds no signal"),
        ({"Ambient light": noise(30)}, "none of 'Ambient light' was recognised"),
        ({"C3-M2": np.zeros(3840)}, "flat or empty"),
        ({"C3-M2": np.full(3840, np.nan)}, "flat or empty"),
        ({"C3-M2": noise(0.5)}, "0.5 s of recording"),
    ],
)
def test_a_recording_that_models_cannot_use_is_an_error(samples, words):
    with pytest.raises(RecordingError, match=words) as error:
        list(clips.clips(make_recording(samples), ClipSpec(clip_seconds=30)))
    assert "night.edf" in str(error.value)


@pytest.mark.parametrize(
    ("clip_seconds", "start", "wanted"),
    [
        (60, 0, [0, 1]),
        (60, 120, [4, -1]),  # the fifth sleep_epoch is the last one scored
        (60, 300, [-1, -1]),
        (10, 50, [1]),
        (20, 20, [-1]),  # 20–40 s: half in the first, half in the second sleep_epoch
        (20, 40, [1]),
        (45, 45, [-1, 2]),  # 45–75 s straddles two, 75–90 s does not
    ],
)
def test_stages_of_a_clip(clip_seconds, start, wanted):
    stages = np.array([0, 1, 2, 3, 4], np.int8)
    spec = ClipSpec(clip_seconds=clip_seconds)
    assert clips.stages_of_clip(stages, start, spec).tolist() == wanted
    assert clips.stages_of_clip(None, start, spec).tolist() == [-1] * len(wanted)


def test_stages_travel_with_their_clips():
    recording = make_recording({"C3-M2": noise(150)}, stages=[0, 1, 2, -1, 4])
    out = list(clips.clips(recording, ClipSpec(clip_seconds=60)))
    assert [r.stages.tolist() for r in out] == [[0, 1], [2, -1], [4, -1]]


def test_labels_are_given_to_each_clip_and_must_match_the_classes():
    spec = ClipSpec(clip_seconds=30, label_kind="multilabel", classes=("a", "b"))
    recording = make_recording({"C3-M2": noise(60)})
    out = list(clips.clips(recording, spec, (1.0, float("nan"))))
    for r in out:
        np.testing.assert_array_equal(r.labels, np.array([1, np.nan], np.float32))
    with pytest.raises(ValueError, match="labels"):
        list(clips.clips(recording, spec, (1.0,)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"sfreq": 0},
        {"sfreq": float("nan")},
        {"clip_seconds": 0.5},
        {"sfreq": 100.5, "clip_seconds": 1.25},
        {"label_kind": "regression"},
    ],
)
def test_an_impossible_spec_is_an_error(arguments):
    with pytest.raises(ValueError, match=r"sfreq|clip_seconds|label_kind"):
        ClipSpec(**arguments)
