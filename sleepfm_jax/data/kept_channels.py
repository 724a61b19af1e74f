"""Records with some of their channels alone: what would be there with fewer electrodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sleepfm_jax.data.datasets import Records
from sleepfm_jax.data.record import Record

_OF_CHANNELS = ("signals", "scale", "mean", "sd", "native_sfreq", "positions")  # arrays [C, …]
_LISTS = ("channel_labels", "channel_names", "units", "modalities")


class KeptChannels:
    """The same records, of each only the channels of these names; else as `datasets.Records`.

    Names are those of the field (`Record.channel_names`), which datasets share whatever their files
    call a channel. A recording without some of them has what it has.
    """

    def __init__(self, records: Records, names: Collection[str]):
        self.records, self.kept = records, frozenset(names)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return keep(self.records[index], self.kept)

    def with_classes(self, index: int) -> tuple[Record, Sequence[str]]:
        """As the records': what a layout with labels reads."""
        record, classes = self.records.with_classes(index)
        return keep(record, self.kept), classes

    def __getattr__(self, name: str) -> Any:
        if name == "records":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.records, name)


def keep(record: Record, names: Collection[str]) -> Record:
    """The record with the channels of these names alone, in its own order."""
    rows = [i for i, name in enumerate(record.channel_names) if name in names]
    arrays = {name: getattr(record, name)[rows] for name in _OF_CHANNELS}
    lists = {name: [getattr(record, name)[i] for i in rows] for name in _LISTS}
    place = np.full(len(record.channel_names) + 1, -1, record.gaps.dtype)
    place[rows] = np.arange(len(rows))
    gaps = record.gaps[place[record.gaps[:, 0]] >= 0]
    gaps = np.column_stack([place[gaps[:, 0]], gaps[:, 1:]]).astype(record.gaps.dtype)
    return dataclasses.replace(record, **arrays, **lists, gaps=gaps)
