"""Nights of a frozen encoder's tokens as examples.

Tokens of a night are made once, of its stored clips, and kept in a file each: the encoder is given
as a function, so that nothing here knows how it computes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.data.datasets import Records, check_made_alike, fingerprint_of_folder
from sleepfm_jax.data.examples import Batch
from sleepfm_jax.data.nights import signals as night_signals
from sleepfm_jax.data.nights.examples import CACHE, NightExamples
from sleepfm_jax.data.nights.index import Known
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, UNSCORED
from sleepfm_jax.signals.labels import MODALITIES
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.signals.token_layout import TokenLayout


@dataclasses.dataclass(frozen=True)
class TokenMaker:
    """What makes tokens of clips.

    Attributes:
      layout: of the clips that it is given (`clips_of`).
      embed: a batch of `batch_size` of them → tokens float32 [B, N, S, D] and their mask bool
        [B, N, S], N in the order of the layout's slots.
      fingerprint: says which tokens these are: weights, and anything else that changes them.
      folder: where they are kept.
      metadata: of the records that the encoder was trained on.
      batch_size: clips that it is given at once; what a batch lacks is filling rows.
    """

    layout: Layout
    embed: Callable[[Batch], tuple[np.ndarray, np.ndarray]]
    fingerprint: str
    folder: Path
    metadata: Mapping[str, Any]
    batch_size: int = 32


class TokenNights(NightExamples):
    """Nights as `token_layout` says; which rows there are and how long they are, as of nights of
    signals (`examples.NightExamples`).

    Args:
      maker: of the tokens. cache: GiB of nights that are kept in memory.

    Raises:
      DatasetError: no night has any of the sequences, the encoder's patches do not fit
        sleep_epochs, or it was trained on records that were made otherwise.
    """

    layout: TokenLayout

    def __init__(
        self, records: Records, layout: TokenLayout, maker: TokenMaker, cache: float = CACHE
    ):
        self._maker, self._making = maker, threading.Lock()
        self._fingerprints: dict[int, str] = {}
        check_made_alike(maker.metadata, records.metadata, ("config.data.encoder", records.name))
        self._clips = clips_of(records, layout, maker.layout)
        self._order = _order(layout)
        super().__init__(records, layout, cache)

    def _make(self, known: Known) -> dict[str, np.ndarray]:
        """A night's tokens [E, N, P, D] and mask [E, N, P], with its stages [E]."""
        path = self._maker.folder / f"{self._key(known)}.npz"
        if (made := _read(path)) is None:
            with self._making:  # threads would only take the encoder from each other
                if (made := _read(path)) is None:
                    made = self._embedded(known)
                    _write(path, made)
        return made

    def _embedded(self, known: Known) -> dict[str, np.ndarray]:
        e, layout, size = known.sleep_epochs, self.layout, self._maker.batch_size
        names, p = layout.names, layout.tokens
        tokens = np.zeros((e * p, len(names), layout.width), np.float32)
        mask = np.zeros((e * p, len(names)), bool)
        for begin in range(0, known.count, size):
            rows = np.arange(begin, begin + size)
            indices = np.where(rows < known.count, known.first + rows, -1)
            found, valid = self._maker.embed(self._clips.batch(indices))
            for row in np.flatnonzero(indices >= 0):
                at = self._first_token(self.records[int(indices[row])])
                length = min(found.shape[2], e * p - at)
                if length > 0:
                    there = valid[row][self._order, :length].T  # [S, N]
                    new = found[row][self._order, :length].swapaxes(0, 1)  # [S, N, D]
                    tokens[at : at + length] = np.where(there[..., None], new, 0)
                    mask[at : at + length] = there
        return {
            "tokens": tokens.reshape(e, p, len(names), -1).swapaxes(1, 2),
            "mask": mask.reshape(e, p, len(names)).swapaxes(1, 2),
            "stages": self._stages(known),
        }

    def _first_token(self, record: Record) -> int:
        """Where in its night a clip's tokens begin."""
        at = record.start * self.layout.tokens / SLEEP_EPOCH_SECONDS
        if abs(at - round(at)) > 1e-3:
            raise DatasetError(
                f"{self.name}: a clip of {record.recording} begins {record.start:g} s into its "
                f"night, between two tokens of {SLEEP_EPOCH_SECONDS / self.layout.tokens:g} s: "
                "build it with clips of whole sleep_epochs"
            )
        return round(at)

    def _stages(self, known: Known) -> np.ndarray:
        clips = [self.records[known.first + i] for i in range(known.count)]
        sfreq = self.metadata["sfreq"]
        return night_signals.night_of_records(clips, sfreq, known.sleep_epochs, ()).stages

    def _key(self, known: Known) -> str:
        """The same for the same tokens, whatever datasets are in use beside."""
        records, number = self.records, self.records.dataset_of(known.first)
        if number not in self._fingerprints:
            self._fingerprints[number] = fingerprint_of_folder(records.folders[number])
        said = (
            self._maker.fingerprint,
            *map(str, dataclasses.astuple(self._maker.layout)),
            *self.layout.names,
            self._fingerprints[number],
            records.person_of(known.first),
            records.recording_of(known.first).partition("/")[2],  # its number differs
            str(known.count),
        )
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]

    def _empty(self, indices: np.ndarray, e: int) -> Batch:
        b, n, p = len(indices), len(self.layout.names), self.layout.tokens
        return {
            "tokens": np.zeros((b, e, n, p, self.layout.width), np.float32),
            "token_mask": np.zeros((b, e, n, p), bool),
            "present": np.zeros((b, n), bool),
            "epoch_mask": np.zeros((b, e), bool),
            "stages": np.full((b, e), UNSCORED, np.int32),
            "index": indices.astype(np.int32),
        }

    def _fill(
        self, batch: Batch, place: int, made: dict[str, np.ndarray], start: int, length: int
    ) -> None:
        here = slice(start, start + length)
        batch["tokens"][place, :length] = made["tokens"][here]
        batch["token_mask"][place, :length] = made["mask"][here]
        batch["present"][place] = made["mask"][here].any((0, 2))
        batch["epoch_mask"][place, :length] = True
        batch["stages"][place, :length] = made["stages"][here]

    def _has_signals(self, night: Known) -> bool:
        there = [m.upper() for m in night.modalities] if self.layout.slots else night.signals
        return bool(set(there) & set(self.layout.names))


def clips_of(records: Records, layout: TokenLayout, clips: Layout) -> ClipExamples:
    """The encoder's input: clips, each modality's channels in its slots, or each signal's channel
    in the slot of its place in `layout.names`.

    Raises:
      DatasetError: a sleep_epoch is no whole number of its patches, `layout.tokens`.
    """
    seconds = clips.patch_samples / records.metadata["sfreq"]
    if abs(seconds * layout.tokens - SLEEP_EPOCH_SECONDS) > 1e-6:
        raise DatasetError(
            f"{records.name}: the encoder's tokens are of {seconds:g} s, so that a sleep_epoch has "
            f"{SLEEP_EPOCH_SECONDS / seconds:g}, but config.model.tokens is {layout.tokens}"
        )
    if layout.slots:
        return ClipExamples(records, clips)

    def by_signal(record: Record, _: Layout, coins: Any) -> tuple[np.ndarray, np.ndarray]:
        found = night_signals.channels_of(record.channel_names, record.sd > 0)
        places = [i for i, name in enumerate(layout.names) if name in found]
        chosen = [found[layout.names[i]] for i in places]
        return np.array(chosen, np.int64), np.array(places, np.int64)

    return ClipExamples(records, clips, choose=by_signal)


def clip_slots(layout: TokenLayout) -> tuple[tuple[str, int], ...]:
    """`Layout.slots` of the encoder's input. In evaluation a slot's modality means nothing where
    each channel is a sequence of its own."""
    return layout.slots or ((MODALITIES[0], len(layout.names)),)


def _order(layout: TokenLayout) -> np.ndarray:
    """Places among the encoder's sequences of `layout.names`."""
    if not layout.slots:
        return np.arange(len(layout.names))
    theirs = [modality.upper() for modality, _ in layout.slots]
    return np.array([theirs.index(name) for name in layout.names])


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """A night from its file; None where it is not there, or is damaged: then it is made again."""
    try:
        with path.open("rb") as held, np.load(held, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, made: dict[str, np.ndarray]) -> None:
    """Whole or not at all, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{secrets.token_hex(8)}.part")
    with part.open("wb") as file:
        np.savez(file, **made)
    os.replace(part, path)
