"""Which clips of a recording are labelled, and the records that are cut there."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from sleepfm_jax.data import clips
from sleepfm_jax.data.clips import ClipSpec
from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.labels.intervals import LabelledInterval
from sleepfm_jax.recordings.labels.windows import around, middle, on_grid, one_hot, whole_clips
from sleepfm_jax.recordings.recording import Channel, Recording, Window

LABELS = one_hot(("none", "seizure", "slowing"))
SPEC = ClipSpec(32, 10, "classification", ("none", "seizure", "slowing"))


@pytest.fixture
def recording():
    """45 s of one channel that counts its own seconds, at 64 Hz."""
    samples = (np.arange(45 * 64) // 64).astype(np.float32)
    channel = Channel("Cz", "Cz", "bas", 64.0, "uV", samples)
    return Recording("a.edf", "a", "a", None, 45.0, [channel], [], None)


def event(start, stop, label="seizure"):
    return LabelledInterval(None, start, stop, label)


def test_whole_clips_leave_the_rest_out(recording):
    assert [w.start for w in whole_clips(recording, 10)] == [0, 10, 20, 30]
    assert recording.notes == ["the last 5 s are no whole clip and are left out"]
    assert [w.start for w in whole_clips(recording, 60)] == [0]
    recording.notes.clear()
    assert [w.start for w in whole_clips(recording, 15)] == [0, 15, 30]
    assert recording.notes == []


def test_the_middle(recording):
    assert middle(recording, 10) == [Window(17.5)]
    assert middle(recording, 60, labels=(1.0,)) == [Window(0.0, (1.0,))]


def test_events_lie_in_the_middle_of_their_clips_and_clips_in_the_recording(recording):
    events = [event(0, 1), event(20, 21, "slowing"), event(44, 45), event(45, 46), event(90, 91)]
    found = around(recording, events, LABELS, 5)
    assert [w.start for w in found] == [0, 18, 40]
    assert [w.labels for w in found] == [(0, 1, 0), (0, 0, 1), (0, 1, 0)]
    assert "2 of 5 events begin after the recording's end (45 s)" in recording.notes[0]
    with pytest.raises(RecordingError, match="no labelled event"):
        around(recording, events[3:], LABELS, 5)


@pytest.mark.parametrize(
    ("events", "names"),
    [
        ([], "none none none none"),
        ([event(12, 14)], "none seizure none none"),
        ([event(9, 11)], "seizure seizure none none"),  # half of it in each
        ([event(9, 14)], "- seizure none none"),  # the first clip is merely touched
        ([event(5, 38)], "seizure seizure seizure seizure"),  # it fills half of the first clip
        ([event(6, 38)], "- seizure seizure seizure"),
        ([event(10, 13), event(14, 19, "slowing")], "none slowing none none"),
        ([event(41, 44)], "none none none none"),  # in the part that is no whole clip
    ],
)
def test_clips_on_a_grid_have_the_event_that_they_hold(recording, events, names):
    found = {w.start: w.labels for w in on_grid(recording, events, LABELS, "none", 10)}
    wanted = {10 * i: LABELS[n] for i, n in enumerate(names.split()) if n != "-"}
    assert found == wanted
    told = [n for n in recording.notes if "less than half" in n]
    assert len(told) == ("-" in names)


def test_records_are_cut_where_the_windows_are(recording):
    recording.windows = lambda seconds: [Window(3.0, LABELS["slowing"]), Window(40.0), Window(2.5)]
    found = list(clips.clips(recording, SPEC, LABELS["none"]))
    assert [r.start for r in found] == [3.0, 40.0, 2.5]
    assert [r.clip for r in found] == [0, 1, 2]
    assert [r.labels.tolist() for r in found] == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert [r.num_samples for r in found] == [320, 160, 320]
    assert found[1].gaps.tolist() == [[0, 160, 320]]
    for r in found[:2]:
        second = round(r.physical()[0, 16])
        assert second == r.start


def test_windows_are_for_labelled_clips(recording):
    recording.windows = functools.partial(middle, recording)
    plain = list(clips.clips(recording, ClipSpec(32, 10)))
    assert [r.start for r in plain] == [0, 10, 20, 30, 40]


def test_wrong_windows_are_errors(recording):
    recording.windows = lambda seconds: [Window(44.5, LABELS["none"])]
    with pytest.raises(RecordingError, match=r"a clip from 44\.5 s, but the recording lasts 45 s"):
        list(clips.clips(recording, SPEC))
    recording.windows = lambda seconds: [Window(-1.0, LABELS["none"])]
    with pytest.raises(RecordingError, match="a clip from -1 s"):
        list(clips.clips(recording, SPEC))
    recording.windows = lambda seconds: [Window(0.0)]
    with pytest.raises(ValueError, match="0 labels"):
        list(clips.clips(recording, SPEC))
    with pytest.raises(ValueError, match="2 labels"):
        list(clips.clips(recording, SPEC, (0.0, 1.0)))
