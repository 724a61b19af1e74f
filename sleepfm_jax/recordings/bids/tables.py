"""Tables of BIDS (.tsv), and what `channels.tsv` says about the channels of a recording.

https://bids-specification.readthedocs.io: tab-separated, with a header; n/a where nothing is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import read_text
from sleepfm_jax.recordings.recording import FileChannel, Recording
from sleepfm_jax.signals import OTHER, clean_label, identify
from sleepfm_jax.signals.labels import is_eye, sensor_word

# Types of channels.tsv, in lower case; every other one (MISC, TRIG, PPG, ...) says nothing that a
# model could use.
_MODALITIES = {
    **dict.fromkeys(("eeg", "eog", "veog", "heog"), "bas"),
    "ecg": "ecg",
    "emg": "emg",
    "resp": "resp",
}
_BLANK = ("", "n/a")
_MAX_BYTES = 64_000_000  # an event for every sample of a stimulus


@dataclass(frozen=True)
class Table:
    """A table: the names of its columns in their order, and its rows, "" where n/a."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]  # (number of the line, cells by column)

    def column(self, name: str) -> str | None:
        """The column of a name, in any case; None where there is none."""
        if name in self.columns:
            return name
        return next((c for c in self.columns if c.lower() == name.lower()), None)


def parse_table(text: str) -> Table:
    """The table in a text.

    Raises:
      ValueError: two columns of one name, or a row with more cells than columns.
    """
    # Not csv: a quotation mark that nobody closed would swallow the rest of the file.
    lines = [
        (number, [_cell(cell) for cell in line.split("\t")])
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)
        if line.strip()
    ]
    if not lines:
        return Table((), ())
    columns = lines[0][1]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}")
    rows = []
    for number, cells in lines[1:]:
        if any(cells[len(columns) :]):
            raise ValueError(f"line {number} has {len(cells)} cells, and {len(columns)} columns")
        cells += [""] * (len(columns) - len(cells))
        rows.append((number, dict(zip(columns, cells))))
    return Table(tuple(columns), tuple(rows))


def _cell(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return "" if text.lower() in _BLANK else text


def read_table(path: str | Path, *needed: str) -> Table:
    """The table in a file, with the columns `needed`.

    Raises:
      RecordingError: no such file, no such table, or a column that it lacks.
    """
    path = Path(path)
    try:
        table = parse_table(read_text(path, "table", _MAX_BYTES))
    except ValueError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(path, str(error)) from error
    for name in needed:
        if table.column(name) is None:
            found = ", ".join(table.columns) or "none"
            raise RecordingError(path, f"no column named {name}; its columns are {found}")
    return table


# --- channels.tsv ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChannelRow:
    """What `channels.tsv` says of one channel; "" where it says nothing."""

    name: str
    type: str
    status: str
    reason: str  # why the status is bad

    @property
    def modality(self) -> str:
        """The modality of its type, `other` for types that have none."""
        return _MODALITIES.get(self.type.lower(), OTHER)

    @property
    def told(self) -> str:
        """The modality for a label that is not known: of its type, unless that is EEG and a word
        of the label names another sensor. Exporters call everything EEG that comes in by a cable.
        """
        word = sensor_word(self.name) if self.type.lower() == "eeg" else None
        return self.modality if word is None else word


class ChannelTable:
    """The rows of a `channels.tsv`, by label."""

    def __init__(self, path: Path, rows: list[ChannelRow]):
        self.path, self.rows = path, rows
        self._exactly = {row.name: row for row in rows}
        self._about = {clean_label(row.name).casefold(): row for row in rows}

    def __getitem__(self, label: str) -> ChannelRow | None:
        """The row of a channel, by its label or by one that differs in case or blanks only."""
        return self._exactly.get(label) or self._about.get(clean_label(label).casefold())

    @property
    def modalities(self) -> dict[str, str]:
        """{name: modality} of the rows that have one: for `read_recording`."""
        return {row.name: row.told for row in self.rows if row.told != OTHER}


def read_channel_table(path: str | Path) -> ChannelTable:
    """Read a `channels.tsv`; only its column `name` must be there.

    Raises:
      RecordingError: no such table, a row without a name, or two of one name.
    """
    path = Path(path)
    table = read_table(path, "name")
    columns = {key: table.column(key) for key in ("name", "type", "status", "status_description")}
    rows: dict[str, ChannelRow] = {}
    for number, cells in table.rows:
        name, kind, status, reason = (cells[c] if c else "" for c in columns.values())
        if not name:
            raise RecordingError(path, f"line {number}: no name")
        if name in rows:
            raise RecordingError(path, f"line {number}: channel {name!r} is there twice")
        rows[name] = ChannelRow(name, kind, status, reason)
    return ChannelTable(path, list(rows.values()))


def add_channel_table(recording: Recording, table: ChannelTable) -> None:
    """Notes what the table says of each channel and takes the samples of bad ones away (NaN)."""
    for channel in recording.channels:
        row = table[channel.label]
        if row is None:
            continue
        ours = identify(channel.label).modality
        if row.modality not in (OTHER, channel.modality):
            channel.notes.append(f"channels.tsv says that its type is {row.type}: not followed")
        elif row.type.lower() == "eeg" and is_eye(channel.name):
            channel.notes.append("channels.tsv says that its type is EEG, its label that it is EOG")
        elif row.modality != OTHER and (ours == OTHER or channel.name.startswith("BioSemi ")):
            channel.notes.append(f"taken for {channel.modality}: type {row.type} in channels.tsv")
        if row.status.lower() == "bad":
            channel.notes.append("bad in channels.tsv" + (f": {row.reason}" if row.reason else ""))
            length = (
                round(recording.duration * channel.sfreq)
                if isinstance(channel, FileChannel)
                else len(channel.samples)
            )
            channel.samples = np.broadcast_to(np.float32(np.nan), length)  # one value, no memory
    kept_out = [note for note in recording.notes if "kept out" in note]
    known = {table[channel.label] for channel in recording.channels}
    absent = [
        row.name
        for row in table.rows
        if row not in known and not any(f"signal {row.name!r} " in note for note in kept_out)
    ]
    if absent:
        names = ", ".join(absent[:8]) + (", …" if len(absent) > 8 else "")
        recording.notes.append(f"channels.tsv names {len(absent)} the file lacks: {names}")
