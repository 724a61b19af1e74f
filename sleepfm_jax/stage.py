"""A trained model of nights stages recordings: files in, hypnograms and statistics out."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import pretrained
from sleepfm_jax.data.nights import signals as night_signals
from sleepfm_jax.errors import CheckpointError, ConfigError, RecordingError, SleepFMError
from sleepfm_jax.hypnogram import figures, files, inputs, summary
from sleepfm_jax.hypnogram.night import StagedNight
from sleepfm_jax.hypnogram.plot import plot
from sleepfm_jax.report.figures import LIGHT, png
from sleepfm_jax.report.made_by import made_by
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.signals.night_layout import NightLayout
from sleepfm_jax.signals.token_layout import TokenLayout

_HOUR = 3600 // SLEEP_EPOCH_SECONDS
_OVERLAP = 4 * _HOUR  # of two pieces of a night that is longer than a row: an edge is 2 h away
VERSION = 1  # of what is written: raised when the same recording would give other files


@dataclasses.dataclass(frozen=True)
class Stager:
    """A staging objective with parameters that nothing changes any more, in evaluation mode.

    Attributes:
      objective: gives `probabilities` [B, E, K] of a batch of nights; its layout is a
        `NightLayout`.
      params, stats: of the objective.
      sfreq: Hz of the records that it was trained on.
      source, step: the checkpoint that it was read from.
    """

    objective: Any
    params: Any
    stats: Any
    sfreq: float = night_signals.SFREQ
    source: str = ""
    step: int | None = None

    @property
    def layout(self) -> NightLayout:
        return self.objective.layout

    @functools.cached_property
    def fingerprint(self) -> str:
        """Says which weights these are; see `pretrained.fingerprint_of`."""
        return pretrained.fingerprint_of((self.params, self.stats))

    def row(
        self, recording: Any, signals: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], night_signals.Night]:
        """The model's input of a recording, {"signal/ABD": float32 [E * n], …} of the signals that
        can be used, in the whole length of the night; and the night.

        Args:
          recording: `recordings.Recording`.
          signals: to look for; (): all that the layout has.

        Raises:
          RecordingError: it has none of them.
        """
        wanted = tuple(signals) or self.layout.names
        causal = self.layout.normalisation == "causal"
        night = night_signals.night_of_recording(recording, wanted, causal, self.sfreq)
        row = night_signals.row(night, self.layout)
        if not row:
            found = ", ".join(f"{name} ({label})" for name, label in night.channels.items())
            raise RecordingError(
                recording.path, f"no usable signal: {found} were found, and are flat or all gaps"
            )
        return row, night

    def probabilities(self, row: Mapping[str, np.ndarray], sleep_epochs: int) -> np.ndarray:
        """float32 [E, K] of a night of any length.

        A night that is longer than the layout's longest row is staged in pieces that overlap; each
        sleep_epoch is told by the piece in which it lies farthest from an edge.

        Args:
          row: of `row`. sleep_epochs: E.
        """
        longest = self.layout.longest
        size = min(longest, -(-sleep_epochs // _HOUR) * _HOUR)  # few shapes, so few compilations
        found = np.zeros((sleep_epochs, len(self.layout.classes)), np.float32)
        depth = np.full(sleep_epochs, -1.0)
        for start in pieces(sleep_epochs, longest):
            end = min(start + longest, sleep_epochs)
            batch = self._batch(row, start, end, size)
            said = _forward(self.objective)(self.params, self.stats, batch)
            p = np.asarray(jax.device_get(said), np.float32)[0, : end - start]
            at = np.arange(start, end)
            left = np.inf if start == 0 else at - start
            right = np.inf if end == sleep_epochs else end - 1 - at
            deep = np.broadcast_to(np.minimum(left, right), at.shape)
            better = deep > depth[at]
            found[at[better]], depth[at[better]] = p[better], deep[better]
        return found

    def _batch(
        self, row: Mapping[str, np.ndarray], start: int, end: int, size: int
    ) -> dict[str, np.ndarray]:
        """A batch of one night, padded to `size` sleep_epochs."""
        layout = self.layout
        batch: dict[str, np.ndarray] = {}
        present = np.zeros((1, len(layout.signals)), bool)
        for place, (name, samples) in enumerate(layout.signals):
            x = np.zeros((1, size * samples), np.float32)
            if (held := row.get(f"signal/{name}")) is not None:
                piece = held[start * samples : end * samples]
                x[0, : len(piece)] = piece
                present[0, place] = piece.any()  # all gap in this piece, and it is not there
            batch[f"signal/{name}"] = x
        return batch | {
            "present": present,
            "epoch_mask": (np.arange(size) < end - start)[None],
            "stages": np.full((1, size), -1, np.int32),
            "index": np.zeros(1, np.int32),
        }


def pieces(sleep_epochs: int, longest: int) -> list[int]:
    """Where the rows of a night begin: one, or as few as overlap by 4 h, evenly."""
    if sleep_epochs <= longest:
        return [0]
    overlap = min(_OVERLAP, longest // 2)
    count = -(-(sleep_epochs - overlap) // (longest - overlap))
    return np.linspace(0, sleep_epochs - longest, count).round().astype(int).tolist()


@functools.lru_cache(maxsize=8)
def _forward(objective: Any):
    """Compiled once a shape; an objective is a hashable description."""

    def predict(params, stats, batch):
        return objective.predict(params, stats, batch)["probabilities"]

    return jax.jit(predict)


def load(folder: str | Path, step: int | None = None) -> Stager:
    """The staging model of a run of launch.pretrain: its best weights, where the run's last
    evaluations were of these (`config.keep_best.restore`), otherwise the newest.

    Args:
      folder, step: see `pretrained.read`.

    Raises:
      As `pretrained.read`; CheckpointError also where it is no model of nights.
    """
    stored = pretrained.read(folder, step, "model that stages nights")
    best = Path(folder) / "best"
    if step is None and stored.config["keep_best"]["restore"] and best.is_dir():
        stored = pretrained.read(best, None, "model that stages nights")
    layout = stored.objective.layout
    if isinstance(layout, TokenLayout):
        raise CheckpointError(
            f"{folder}: its model reads an encoder's tokens of nights that are built; it stages "
            "no files"
        )
    if not isinstance(layout, NightLayout):
        kind = stored.config["objective"]["kind"]
        raise CheckpointError(f"{folder}: objective {kind!r} does not stage nights")
    return Stager(
        objective=stored.objective,
        params=jax.device_put(stored.params),
        stats=jax.device_put(stored.stats),
        sfreq=float(stored.about["preprocessing"]["sfreq"]),
        source=stored.source,
        step=stored.step,
    )


def stage_recording(
    stager: Stager, path: Path, name: str, signals: Sequence[str] = ()
) -> StagedNight:
    """One recording, staged; nothing is written.

    Args:
      name: of its files.
      signals: that may be used; (): all that the model knows.

    Raises:
      RecordingError: it cannot be read, or has none of the signals.
    """
    return _staged(stager, path, name, *_read(stager, path, signals))


def _read(stager: Stager, path: Path, signals: Sequence[str]):
    recording, scorer, notes = inputs.read(path)
    row, night = stager.row(recording, signals)
    return recording, scorer, notes, row, night


def _staged(stager, path, name, recording, scorer, notes, row, night) -> StagedNight:
    sleep_epochs = len(night.stages)
    probabilities = stager.probabilities(row, sleep_epochs)
    staged = np.zeros(sleep_epochs, bool)
    for values in row.values():  # 0 throughout is a gap
        staged |= (values.reshape(sleep_epochs, -1) != 0).any(axis=1)
    used = {s: label for s, label in night.channels.items() if f"signal/{s}" in row}
    flat = [f"{s} ({night.channels[s]}) is flat: not used" for s in night.channels if s not in used]
    said = {c.label: c.notes for c in reversed(recording.channels)}
    quality = [f"{s} ({label}): {note}" for s, label in used.items() for note in said[label]]
    scored = night.stages if scorer is not None and (night.stages >= 0).any() else None
    return StagedNight(
        name=name,
        file=str(path),
        start=recording.start,
        classes=stager.layout.classes,
        probabilities=probabilities,
        staged=staged,
        signals=used,
        absent=tuple(s for s in stager.layout.names if s not in used),
        scored=scored,
        notes=(*flat, *quality, *notes),
        about={
            "scored_by": None if scored is None else scorer or "the recording itself",
            "recording_notes": list(recording.notes),
        },
    )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a folder: stats.json of the nights that are staged now, and of how many that
    was so before; reasons of those that failed, by file; the page."""

    nights: list[dict[str, Any]]
    kept: int
    failed: dict[str, str]
    page: Path


def stage(
    stager: Stager,
    source: Path,
    output: Path,
    *,
    signals: Sequence[str] = (),
    plots: bool = True,
    overwrite: bool = False,
    command: str = "",
) -> Outcome:
    """Stages every recording under `source`, and writes what `hypnogram` says under `output`.

    A recording that cannot be staged is reported and the others go on. What the same weights have
    staged before stays as it is, unless the recording's file is another now.

    Args:
      source: a folder, with all below it, or one file.
      signals: that may be used; (): all that the model knows.
      plots: draw each night? overwrite: stage again what is there?
      command: what the user typed, for the record.

    Raises:
      RecordingError: no recording there, or none that could be staged; the page says why.
      ConfigError: a signal that the model does not know.
    """
    if unknown := sorted(set(signals) - set(stager.layout.names)):
        raise ConfigError(
            f"signals={','.join(unknown)}: the model knows {', '.join(stager.layout.names)}"
        )
    paths = inputs.recordings(source, output)
    names = inputs.names(paths, source)
    made = made_by(command)
    model = {
        "checkpoint": stager.source,
        "step": stager.step,
        "weights": stager.fingerprint,
        "classes": ", ".join(stager.layout.classes),
        "signals": ", ".join(stager.layout.names),
        "normalisation": stager.layout.normalisation,
    }
    nights, failed, kept = [], {}, 0
    with tqdm(total=len(paths), unit="night", mininterval=0.5) as progress:
        for path, name in zip(paths, names):
            progress.set_postfix_str(name)
            key = _key(stager, path, signals)
            held = None if overwrite else _held(output, name, key)
            if held is not None:
                nights.append(held)
                kept += 1
            else:
                try:
                    read = _read(stager, path, signals)
                except Exception as error:  # of one file; it must not cost the others
                    failed[str(path)] = _reason(error)
                    logging.warning("%s: %s", path, failed[str(path)])
                    logging.debug("%s", path, exc_info=True)
                else:
                    night = _staged(stager, path, name, *read)
                    about = {"model": model, "made_by": made, "made_of": key}
                    night = dataclasses.replace(night, about={**night.about, **about})
                    nights.append(write(night, output, plots=plots))
            progress.update()
    said = {**model, "of these used": ", ".join(signals), **made}
    summary.write_summary(output, nights, failed)
    title = source.resolve().name
    page = summary.write_page(output, nights, failed, title=title, model=said)
    if not nights:
        first, reason = next(iter(failed.items()))
        more = f" (and {len(failed) - 1} more: {page})" if len(failed) > 1 else ""
        raise RecordingError(first, f"{reason}{more}")
    return Outcome(nights, kept, failed, page)


def write(night: StagedNight, output: Path, *, plots: bool = True) -> dict[str, Any]:
    """Writes all files of a night; returns what its stats.json holds."""
    files.write_csv(night, output)
    files.write_edf(night, output)
    files.write_bids(night, output)
    if plots:
        files.write_bytes(output / f"{night.name}{files.PLOT}", png(plot, LIGHT, night))
    path = files.write_stats(night, output, figures.figures(night))
    return json.loads(path.read_text(encoding="utf-8"))


def _key(stager: Stager, path: Path, signals: Sequence[str]) -> dict[str, Any]:
    """What the files of a night are made of: other values, and they are made again."""
    try:
        said = path.stat()
        of_file = {"bytes": said.st_size, "changed": said.st_mtime_ns}
    except OSError:  # a WFDB record by its name; or gone, which reading it will say
        of_file = {}
    return {
        "version": VERSION,
        "weights": stager.fingerprint,
        "signals": sorted(signals),
        **of_file,
    }


def _held(output: Path, name: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stats.json of a night that was staged with the same before; None where it was not."""
    try:
        said = json.loads((output / f"{name}{files.STATS}").read_text(encoding="utf-8"))
        there = (output / f"{name}{files.CSV}").is_file()
        return said if there and said["made_of"] == dict(key) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, RecordingError):
        return error.cause
    return str(error) if isinstance(error, SleepFMError) else f"{type(error).__name__}: {error}"
