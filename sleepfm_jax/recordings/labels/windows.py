"""Which clips of a recording are labelled, and how: around events, on a grid, in the middle.

Each function fits `Recording.windows` once its other arguments are given:

    recording.windows = functools.partial(on_grid, recording, seizures, labels_of, "background")
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.labels.intervals import LabelledInterval
from sleepfm_jax.recordings.recording import Recording, Window

Labels = Mapping[str, tuple[float, ...]]
"""The labels float [K] of what an event is called."""


def one_hot(classes: Sequence[str]) -> Labels:
    """{class: its labels} of classes that exclude each other."""
    return {name: tuple(float(name == other) for other in classes) for name in classes}


def whole_clips(recording: Recording, clip_seconds: float) -> list[Window]:
    """One clip after the other, without the partial last one; a short recording is one clip."""
    count = math.floor(recording.duration / clip_seconds + 1e-6)
    rest = recording.duration - count * clip_seconds
    if count and rest > 1e-3:
        recording.notes.append(f"the last {rest:g} s are no whole clip and are left out")
    return [Window(i * clip_seconds) for i in range(max(count, 1))]


def middle(
    recording: Recording, clip_seconds: float, *, labels: tuple[float, ...] | None = None
) -> list[Window]:
    """The one clip in the middle of a recording, or all of a shorter one."""
    spare = max(0.0, recording.duration - clip_seconds)
    if spare > 1e-3:
        recording.notes.append(f"the middle {clip_seconds:g} of {recording.duration:g} s are kept")
    return [Window(spare / 2, labels)]


def around(
    recording: Recording, events: Sequence[LabelledInterval], labels: Labels, clip_seconds: float
) -> list[Window]:
    """One clip an event, the event in its middle; moved where it would leave the recording.

    Raises:
      RecordingError: no event lies in the recording.
    """
    inside = _inside(recording, events)
    if not inside:
        raise RecordingError(recording.path, "no labelled event lies within the recording")
    last = max(0.0, recording.duration - clip_seconds)
    starts = [(event.start + event.stop - clip_seconds) / 2 for event in inside]
    return [
        Window(min(max(0.0, start), last), labels[event.label])
        for start, event in zip(starts, inside)
    ]


def on_grid(
    recording: Recording,
    events: Sequence[LabelledInterval],
    labels: Labels,
    otherwise: str,
    clip_seconds: float,
) -> list[Window]:
    """One whole clip after the other, each with the event that it holds, or `otherwise`.

    A clip holds an event when half of the event lies in it, or the event fills half of the clip; of
    two events, the one with more seconds in it. A clip that an event merely touches is neither the
    one nor the other: it is left out.
    """
    inside = _inside(recording, events)
    windows, touched = [], 0
    for window in whole_clips(recording, clip_seconds):
        stop = min(window.start + clip_seconds, recording.duration)
        name, most, touches = otherwise, 0.0, False
        for event in inside:
            shared = min(stop, event.stop) - max(window.start, event.start)
            if shared <= 0:
                continue
            touches = True
            needed = min(event.stop - event.start, stop - window.start) / 2
            if shared >= needed - 1e-9 and shared > most:
                name, most = event.label, shared
        if touches and not most:
            touched += 1
            continue
        windows.append(Window(window.start, labels[name]))
    if touched:
        recording.notes.append(f"{touched} clips hold less than half of an event and are left out")
    return windows


def _inside(recording: Recording, events: Sequence[LabelledInterval]) -> list[LabelledInterval]:
    """Events that begin within the recording; the others are told of."""
    inside = [event for event in events if event.start < recording.duration]
    if lost := len(events) - len(inside):
        recording.notes.append(
            f"{lost} of {len(events)} events begin after the recording's end "
            f"({recording.duration:g} s) and are left out"
        )
    return inside
