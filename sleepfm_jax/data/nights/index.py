"""Which nights some records hold, and what is known of each before any of it is read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.nights.signals import channels_of, sleep_epochs_of
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES, UNSCORED


@dataclasses.dataclass(frozen=True)
class Known:
    """One night among records.

    Attributes:
      first, count: its clips are the records first, first + 1, …
      sleep_epochs: E.
      signals: those that it has. modalities: of its channels that are not flat.
      labels: of all its channels, for messages.
      stages: stage → sleep_epochs of it; of those that were scored.
    """

    first: int
    count: int
    sleep_epochs: int
    signals: tuple[str, ...]
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    stages: Mapping[str, int]


def nights_of(records: Records) -> list[Known]:
    """The nights in the records' order: from the build reports, or else from the records, which are
    then all read once."""
    told = records.told_of_recordings
    if told is None:
        return _from_records(records)
    firsts = itertools.accumulate((entry["clips"] for entry in told), initial=0)
    return [_from_report(entry, first) for entry, first in zip(told, firsts)]


def _from_report(entry: Mapping, first: int) -> Known:
    channels = entry["channels"]
    found = channels_of([c["name"] for c in channels], [c["valid"] > 0 for c in channels])
    return Known(
        first=first,
        count=entry["clips"],
        sleep_epochs=sleep_epochs_of(3600 * entry["hours"]),
        signals=tuple(found),
        modalities=tuple(dict.fromkeys(c["modality"] for c in channels if c["valid"] > 0)),
        labels=tuple(c["label"] for c in channels),
        stages={stage: entry["stages"].get(stage, 0) for stage in STAGES},
    )


def _from_records(records: Records) -> list[Known]:
    rows = range(len(records))
    found = []
    for _, group in itertools.groupby(rows, records.recording_of):
        clips = list(group)
        stages, seconds = dict.fromkeys(STAGES, 0), 0.0
        for index in clips:
            record = records[index]
            length = record.num_samples / records.metadata["sfreq"]
            seconds = max(seconds, record.start + length)
            # A clip of less than a sleep_epoch says the stage that others say, too.
            part = min(1.0, records.metadata["clip_seconds"] / SLEEP_EPOCH_SECONDS)
            for stage in record.stages[record.stages != UNSCORED]:
                stages[STAGES[stage]] += part
        found.append(
            Known(
                first=clips[0],
                count=len(clips),
                sleep_epochs=sleep_epochs_of(seconds),
                signals=tuple(channels_of(record.channel_names, record.sd > 0)),
                modalities=tuple(
                    dict.fromkeys(m for m, sd in zip(record.modalities, record.sd) if sd > 0)
                ),
                labels=tuple(record.channel_labels),
                stages=stages,
            )
        )
    return found
