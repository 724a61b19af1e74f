"""Mispaired examples: a control that differs from pretraining in one thing, what is paired.

Each modality of a row comes from a clip of another person. So whatever such a run learns, it did
not learn from modalities that were recorded together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sleepfm_jax.data.examples import Batch, Examples
from sleepfm_jax.errors import DatasetError

OF_CHANNELS = ("signals", "scale", "offset", "mask", "positions")
"""Arrays [B, C, …] of a batch; the others are about the row."""

_SWEEPS = 40  # each row may take part in one exchange a sweep: 20 mix a million


class Mispaired:
    """The rows of other examples, all modalities but the first from clips of other people; see
    `examples.Examples`.

    Every clip of every modality still stands in one row, so that a pass over the rows is a pass
    over the clips. Which clips meet is drawn once, from the seed and the modalities' names, and no
    matter of the batch, its order, or the process that makes it. Stages, labels, `index` and
    `person_of` are those of the first modality's clip. A clip without some modality lends its
    absence to the row that it is drawn for.

    Args:
      slots: channels of each modality in a batch, in their order (`Layout.slots`).
      seed: of the draw.

    Raises:
      DatasetError: one modality, or a person with more than half of the rows (one person alone
        among them): somebody would be left with their own.
    """

    def __init__(self, base: Examples, slots: Sequence[tuple[str, int]], seed: int):
        self.base = base
        self.name, self.metadata = f"mispaired {base.name}", base.metadata
        ends = np.cumsum([count for _, count in slots])
        self._places = [slice(end - count, end) for end, (_, count) in zip(ends, slots)]
        _, person = np.unique(
            np.array([base.person_of(i) for i in range(len(base))], np.str_), return_inverse=True
        )
        self.sources = draw(person, [name for name, _ in slots], seed, base.name)

    def __len__(self) -> int:
        return len(self.base)

    def batch(self, indices: np.ndarray, coins: Sequence[Any] | None = None) -> Batch:
        """As the base's."""
        indices = np.asarray(indices)
        batch = self.base.batch(indices, coins)
        for places, source in zip(self._places[1:], self.sources[1:]):
            lent = self.base.batch(np.where(indices >= 0, source[indices], -1), coins)
            for name in OF_CHANNELS:
                if name in batch:
                    batch[name][:, places] = lent[name][:, places]
        return batch

    def people(self) -> set[str]:
        """Of all rows."""
        return self.base.people()

    def person_of(self, index: int) -> str:
        """Of a row's first modality."""
        return self.base.person_of(index)

    def recording_of(self, index: int) -> str:
        """Of a row's first modality."""
        return self.base.recording_of(index)

    def dataset_of(self, index: int) -> int:
        """Of a row's first modality."""
        return self.base.dataset_of(index)


def draw(person: np.ndarray, modalities: Sequence[str], seed: int, name: str = "") -> np.ndarray:
    """From which row each modality of each row comes.

    Args:
      person: int [N], whose each row is.
      modalities: M names. name: of the rows, for the message.

    Returns:
      int [M, N]: permutations of the rows, the first the identity. No row of the others is of the
      row's own person; and no two are of one person, where nobody has more than 1/M of the rows
      (otherwise rarely, and hardly ever of one clip).

    Raises:
      DatasetError: it cannot be.
    """
    rows, most = len(person), int(np.bincount(person).max(initial=0))
    if len(modalities) < 2 or not rows or 2 * most > rows:
        why = f"one person has {most} of the {rows} rows" if most else "there is no row"
        why = "there is one modality" if len(modalities) < 2 else why
        raise DatasetError(
            f"config.data.mispaired: {name or 'the rows'} cannot be paired with other people's: "
            f"{why}"
        )
    rng = _rng(seed, "people")
    # People one after the other, in an order of the seed's: rolled by `most` or more and by
    # `rows - most` or less, nobody meets themselves. Modalities rolled by equal parts of all do
    # not meet either, as long as nobody has a larger part.
    shuffled = rng.permutation(rows)
    places = rng.permutation(int(person.max()) + 1)  # of people
    order = shuffled[np.argsort(places[person[shuffled]], kind="stable")]
    parts = len(modalities)
    found = np.empty((parts, rows), np.int64)
    for m in range(parts):
        by = m * rows // parts
        if m and most > rows // parts:  # some must meet; here, in other clips
            by = most + (m - 1) * (rows - 2 * most) // max(1, parts - 2)
        found[m, order] = np.roll(order, -by)
    rngs = [_rng(seed, modality) for modality in modalities]
    for _ in range(_SWEEPS):
        for m in range(1, parts):
            _exchange(found, m, person, rngs[m])
    return found


def _exchange(found: np.ndarray, m: int, person: np.ndarray, rng: np.random.Generator) -> None:
    """Rows, two by two, exchange their clips of a modality wherever that leaves nobody with their
    own and makes no further modalities meet in a person: people must not stay paired with people.
    Changes `found`."""
    source, others = found[m], np.delete(found, m, axis=0)  # the first of which are the rows
    half = source.size // 2
    dealt = rng.permutation(source.size)
    a, b = dealt[:half], dealt[half : 2 * half]

    def meetings(row, clip):
        """How often the clip's person is in the row already; two modalities of the very same clip
        would be a true pair, which is worse than any number of others."""
        there = others[:, row]  # [parts - 1, half]
        same = person[there] == person[clip]
        return same.sum(axis=0) + len(found) * (there == clip).sum(axis=0), same[0]

    (now_a, _), (now_b, _) = meetings(a, source[a]), meetings(b, source[b])
    (then_a, own_a), (then_b, own_b) = meetings(a, source[b]), meetings(b, source[a])
    swap = ~own_a & ~own_b & (then_a + then_b <= now_a + now_b)
    a, b = a[swap], b[swap]
    source[a], source[b] = source[b], source[a]


def _rng(seed: int, what: str) -> np.random.Generator:
    digest = hashlib.sha256(f"mispaired:{seed}:{what}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
