"""Which files of a folder are recordings, what their results are called, and who scored them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.bids.events import add_events
from sleepfm_jax.recordings.bids.layout import CHANNELS, DESCRIPTION, EVENTS, EVENTS_JSON, Layout
from sleepfm_jax.recordings.bids.tables import add_channel_table, read_channel_table
from sleepfm_jax.recordings.read import Recording, read_recording, score

SUFFIXES = (".edf", ".bdf", ".gdf", ".vhdr", ".set", ".hea")
"""Endings of a recording's main file, in lower case."""

_HYPNOGRAM = re.compile(r"hypnogram", re.IGNORECASE)
_MODALITY = re.compile(r"_(eeg|ieeg|meg|nirs)$")  # the end of a name in BIDS


def recordings(source: Path, output: Path) -> list[Path]:
    """The recordings under a folder, sorted, or the one file that is given.

    Hidden files, files that are named as hypnograms, and what lies in `output` are none.

    Raises:
      RecordingError: no such file or folder, no recording in it, or `output` is that folder: the
        hypnograms would be taken for scorers' the next time.
    """
    if source.is_file() or Path(f"{source}.hea").is_file():
        if source.parent.resolve() == output.resolve():
            raise RecordingError(source, f"its folder is {output} too: give results another one")
        return [source]
    if not source.is_dir():
        raise RecordingError(source, "no such file or folder")
    if source.resolve() == output.resolve():
        raise RecordingError(source, "results need another folder than the recordings'")
    found = []
    seen = {output.resolve(), source.resolve()}  # a link may lead back to where it is
    for folder, below, names in os.walk(source, followlinks=True):
        entered = {name: (Path(folder) / name).resolve() for name in sorted(below)}
        below[:] = [n for n, at in entered.items() if not n.startswith(".") and at not in seen]
        seen.update(entered[name] for name in below)
        found += [
            Path(folder) / name
            for name in names
            if Path(name).suffix.lower() in SUFFIXES
            and not name.startswith(".")
            and not _HYPNOGRAM.search(name)
        ]
    if not found:
        endings = ", ".join(SUFFIXES)
        raise RecordingError(source, f"no recording in it: no file ends in {endings}")
    return sorted(found)


def names(paths: Sequence[Path], source: Path) -> list[str]:
    """What the results of each are called: the way from `source` to it, without its ending, unless
    two differ by nothing else."""
    root = source if source.is_dir() else source.parent
    ways = [path.relative_to(root) for path in paths]
    bare = [way.with_suffix("").as_posix() if way.suffix else way.as_posix() for way in ways]
    count = Counter(bare)
    return [name if count[name] == 1 else way.as_posix() for name, way in zip(bare, ways)]


def read(path: Path) -> tuple[Recording, str | None, list[str]]:
    """A recording with its stages, where they came from ("" of the file itself, None where there
    are none), and notes on a scoring that could not be read.

    In a BIDS folder `channels.tsv` says of what sensor a channel is whose label says nothing, and
    which are bad: these have no samples. It is read as a build of that folder reads it.

    Raises:
      RecordingError: it cannot be read, or its `channels.tsv` cannot.
    """
    tables = bids_tables(path)
    channels = [read_channel_table(file) for file in tables if file.name.endswith(CHANNELS)]
    modalities = channels[0].modalities if channels else None  # one at most
    recording = read_recording(path, subject=path.stem, modalities=modalities)
    for table in channels:
        add_channel_table(recording, table)
    notes: list[str] = []
    if events := [file for file in tables if file.name.endswith(EVENTS)]:
        before = recording.stages
        sidecars = [file for file in tables if file.name.endswith(EVENTS_JSON)]
        try:
            add_events(recording, events[0], sidecars, stages=True)
        except RecordingError as error:
            notes.append(f"hypnogram {events[0].name} not used: {error.cause}")
        if recording.stages is not before:
            return recording, events[0].name, notes
    for scoring in scorings_beside(path):
        try:
            if scoring.suffix == ".tsv":
                before = recording.stages
                sidecar = scoring.with_suffix(".json")
                add_events(recording, scoring, [sidecar] if sidecar.is_file() else [], stages=True)
                if recording.stages is before:
                    continue
            else:
                score(recording, scoring)
        except RecordingError as error:
            notes.append(f"hypnogram {scoring.name} not used: {error.cause}")
            continue
        return recording, scoring.name, notes
    return recording, None if recording.stages is None else "", notes


def bids_tables(path: Path) -> list[Path]:
    """The tables of a BIDS folder that speak of a recording in it (`bids.layout.Layout.sidecars`);
    none where it lies in no such folder.

    Raises:
      RecordingError: two tables speak of it alike.
    """
    path = path.absolute()
    root = next((p for p in path.parents if (p / DESCRIPTION).is_file()), None)
    if root is None or not path.relative_to(root).parts[0].startswith("sub-"):
        return []  # of derivatives/ and sourcedata/ these tables do not speak
    # Tables that apply are in the recording's folder or above it: the rest need not be listed.
    above = [p for p in path.parents if p == root or p.is_relative_to(root)]
    files = [
        p.relative_to(root).as_posix() for folder in above for p in folder.iterdir() if p.is_file()
    ]
    found, unclear = Layout(files, SUFFIXES).sidecars(path.relative_to(root).as_posix())
    if unclear:
        raise RecordingError(path, unclear)
    return [root / name for name in found]


def scorings_beside(path: Path) -> list[Path]:
    """Files beside a recording that hold its stages under one of the usual names."""
    stem = path.stem
    candidates = [f"{stem}-Hypnogram.edf", f"Hypnogram_{stem}.txt"]
    candidates += [f"{stem}.hypnogram.{ending}" for ending in ("edf", "txt", "csv")]
    candidates += [f"{stem}-nsrr.xml", f"{stem}-profusion.xml", f"{stem}.xml", f"{stem}.arousal"]
    candidates += [f"{_MODALITY.sub('', stem)}_events.tsv"]
    found = [path.parent / name for name in candidates]
    if stem.endswith("-PSG"):  # Sleep-EDF: SC4001E0-PSG.edf and SC4001EC-Hypnogram.edf
        found += sorted(path.parent.glob(f"{glob_safe(stem[:-5])}?-Hypnogram.edf"))
    return [file for file in found if file.is_file()]


def glob_safe(text: str) -> str:
    """A text as a pattern that finds nothing but itself."""
    return re.sub(r"([*?\[])", r"[\1]", text)
