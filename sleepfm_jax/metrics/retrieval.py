"""Retrieval: does a clip's vector in one modality find the same clip in the others?

The question the leave-one-out objective trains, asked of clips never trained on. The query is one
modality of a clip; its partner is the mean of the clip's other modalities that are present. Both
directions are asked, the query looking for its partner and the partner looking for the query.

Among whom decides what the answer says:

* `within_person`, the clips of the same person's night: who it is helps nobody, so what is found
  is found by the physiological state. This one leads.
* `across_people`, clips of all people: most of them are told apart by who they are of. Beside it
  stands what that alone would score in the very same groups (`identity_alone`).
* `other_people`, the own clip and clips of other people only: knowing the person finds it always.
  Where a person's clips are alike but nothing is paired, it is above chance all the same, up to one
  in the number of people: the own clip stands alone for its person, the others for each other.

Partners are brought back to unit length here (the loss leaves them as they are): otherwise clips
whose modalities agree have longer partners, and draw every query to themselves.

Ties count as a draw by lot: a constant embedding scores exactly chance.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

_TIE = 1e-6
"""Similarities closer than this are equal: far above rounding, far below any real difference."""

_ROWS = 1024  # queries at a time: a night may have 10,000 clips
_MEANS = ("top1", "top5", "median_rank", "chance", "identity_alone")


@threadpool_limits.wrap(limits=1)  # small products: threads that wait cost more than they bring
def retrieval(
    embeddings: np.ndarray,
    presence: np.ndarray,
    person: np.ndarray,
    recording: np.ndarray,
    *,
    candidates: int = 128,
    seed: int = 0,
    repeats: int = 10,
    names: Sequence[str] | None = None,
) -> dict:
    """Retrieval within nights, across people, and from modality to modality.

    Args:
      embeddings: float [M, N, D], one unit vector a modality and clip. What stands where a modality
        is absent is never read.
      presence: bool [M, N], True where the clip has the modality.
      person, recording: [N], of whom and of what each clip is; both together are its night.
      candidates: of `across_people`: clips a query is compared with, its own included. Clips are
        dealt into disjoint random groups of this many; the rest of a deal sits out. With fewer
        valid clips (modality and at least one other present), all of them form the one group.
      seed: of the deals. repeats: deals, averaged.
      names: of the M modalities.

    Returns:
      `within_person`, `across_people`, `other_people`: each {`top1`, `top5`, `median_rank`,
      `chance` (top-1 by lot), `identity_alone` (top-1 of an embedding that knows the person and
      nothing else): means over the modalities, each the mean over its queries; `people`, `clips`;
      `per_modality` {name: the same and "query_to_partner", "partner_to_query"}; `excluded`
      {name: reason}; `candidates` (the smallest, where modalities differ; within a person and of
      other people, the average of a modality)}. Within a person also `nights`, and
      `nights_left_out`, without two clips that can be asked for.
      `modality_pairs` {"a→b": {"within_person": {"top1", "chance"}, "across_people": {"top1",
      "chance", "identity_alone"}, "clips"}}: the vector of one modality among those of another.
      `clips_left_out`: with a vector of a present modality that is zero or not finite, and so has
      no direction; `excluded` {name: reason}: modalities with fewer than two valid clips.
      A figure that nobody could be asked for is NaN.

    Raises:
      ValueError: on shapes that disagree, or fewer than two candidates.
    """
    e = np.asarray(embeddings, np.float64)
    here = np.asarray(presence, bool)
    if e.ndim != 3 or here.shape != e.shape[:2]:
        raise ValueError(
            f"expected embeddings [M, N, D] and presence [M, N], got {e.shape} and {here.shape}"
        )
    if np.shape(person) != (e.shape[1],) or np.shape(recording) != (e.shape[1],):
        raise ValueError(
            f"expected person and recording [N] of {e.shape[1]} clips, got {np.shape(person)} and "
            f"{np.shape(recording)}"
        )
    if candidates < 2 or repeats < 1:
        raise ValueError(f"candidates={candidates} must be >= 2 and repeats={repeats} >= 1")
    names = [str(m) for m in range(len(e))] if names is None else list(names)
    if len(names) != len(e):
        raise ValueError(f"{len(names)} names for {len(e)} modalities")
    e, here, bad = directions(e, here)
    whose = _Whose.of_clips(person, recording)

    rng = np.random.default_rng(seed)
    asked = {name: _Asked({}, {}) for name in ("within_person", "across_people", "other_people")}
    excluded: dict[str, str] = {}
    total, others = e.sum(axis=0), here.sum(axis=0)  # [N, D], [N]
    for m, name in enumerate(names):
        valid = np.flatnonzero(here[m] & (others - here[m] >= 1))
        if valid.size < 2:
            excluded[name] = f"{valid.size} clips have it together with another modality"
            continue
        partner = _unit(total[valid] - e[m, valid])  # [V, D]; the mean's length does not matter
        mine = whose.take(valid)
        asked["within_person"].add(name, valid, _within(e[m, valid], partner, mine.night))
        for part, answers in zip(
            ("across_people", "other_people"),
            _across(e[m, valid], partner, mine.person, candidates, repeats, rng),
        ):
            asked[part].add(name, valid, answers)

    known = np.unique(whose.night[others > 0])
    found = {part: part_asked.summary(whose) for part, part_asked in asked.items()}
    nights = np.unique(whose.night[asked["within_person"].clips()])
    found["within_person"] |= {
        "nights": len(nights),
        "nights_left_out": len(known) - len(nights),
    }
    return {
        **found,
        "modality_pairs": _pairs(e, here, whose, names, candidates, seed, repeats),
        "clips_left_out": int(bad.sum()),
        "excluded": excluded,
    }


def directions(e: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors [M, N, D], 0 where absent; presence [M, N] without clips that have a vector
    without a direction; and which those are, bool [N]."""
    norms = np.linalg.norm(np.where(here[..., None], e, 1.0), axis=-1)  # [M, N]
    bad = ~(np.isfinite(norms) & (norms > 0)).all(axis=0)
    here = here & ~bad
    norms = np.where(here, norms, 1.0)
    return np.where(here[..., None], e, 0.0) / norms[..., None], here, bad


# --- who is asked, and what came out ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Whose:
    """Of each clip, int [N]: its person, and its night (person and recording)."""

    person: np.ndarray
    night: np.ndarray

    @classmethod
    def of_clips(cls, person, recording) -> _Whose:
        person = np.unique(np.asarray(person), return_inverse=True)[1].astype(np.int64)
        recording = np.unique(np.asarray(recording), return_inverse=True)[1]
        pairs = person * (recording.max(initial=0) + 1) + recording
        return cls(person, np.unique(pairs, return_inverse=True)[1])

    def take(self, rows) -> _Whose:
        return _Whose(self.person[rows], self.night[rows])


@dataclasses.dataclass(frozen=True)
class _Answers:
    """Of Q questions, each asked in both directions; `asker` says whose they are.

    Attributes:
      asker: int [Q], place of the clip among those that could ask.
      above, tied: int [2, Q], candidates that rank before the own one, and with it (itself too).
      size: int [Q], candidates. alone: float [Q], top-1 of knowing the person and nothing else.
    """

    asker: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    size: np.ndarray
    alone: np.ndarray

    def top(self, k: int) -> np.ndarray:
        """Share of a hit among the first k, float [2, Q]; within a tie, by lot."""
        return np.clip((k - self.above) / self.tied, 0.0, 1.0)

    def figures(self) -> dict[str, float]:
        """NaN where nobody was asked."""
        if not self.asker.size:
            return dict.fromkeys((*_MEANS, "query_to_partner", "partner_to_query"), float("nan"))
        top1 = self.top(1)
        return {
            "top1": float(top1.mean()),
            "top5": float(self.top(5).mean()),
            "median_rank": float(np.median(self.above + (self.tied + 1) / 2)),  # mean in a tie
            "chance": float((1 / self.size).mean()),
            "identity_alone": float(self.alone.mean()),
            "query_to_partner": float(top1[0].mean()),
            "partner_to_query": float(top1[1].mean()),
        }


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The answers of all modalities to one of the three questions."""

    answers: dict[str, _Answers]
    rows: dict[str, np.ndarray]  # clips that asked

    def add(self, name: str, valid: np.ndarray, answers: _Answers) -> None:
        self.answers[name], self.rows[name] = answers, valid[np.unique(answers.asker)]

    def clips(self) -> np.ndarray:
        rows = list(self.rows.values())
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, int)

    def summary(self, whose: _Whose) -> dict:
        per_modality, excluded = {}, {}
        for name, answers in self.answers.items():
            if not answers.asker.size:
                excluded[name] = "no clip has one to be told from: one person, or single clips"
                continue
            sizes = answers.size
            per_modality[name] = answers.figures() | {
                "candidates": _whole(sizes.mean()),
                "clips": len(self.rows[name]),
                "people": len(np.unique(whose.person[self.rows[name]])),
            }

        def mean(key: str) -> float:
            values = [figures[key] for figures in per_modality.values()]
            return float(np.mean(values)) if values else float("nan")

        clips = self.clips()
        return {
            **{key: mean(key) for key in _MEANS},
            "candidates": min((f["candidates"] for f in per_modality.values()), default=0),
            "clips": len(clips),
            "people": len(np.unique(whose.person[clips])),
            "per_modality": per_modality,
            "excluded": excluded,
        }


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else round(float(value), 1)


# --- the questions --------------------------------------------------------------------------------


def _within(query, partner, night) -> _Answers:
    """Among the clips of each night of two or more. query, partner: [V, D] of unit length."""
    askers, above, tied, sizes = [], [], [], []
    for clips in _groups(night):
        if len(clips) < 2:
            continue
        askers.append(clips)
        ranks = [_ranks(*pair) for pair in _both(query[clips], partner[clips])]
        above.append([greater for greater, _ in ranks])
        tied.append([equal for _, equal in ranks])
        sizes.append(np.full(len(clips), len(clips)))
    if not askers:
        return _nobody()
    size = np.concatenate(sizes)
    return _Answers(
        np.concatenate(askers),
        np.concatenate(above, axis=1),
        np.concatenate(tied, axis=1),
        size,
        1 / size,  # all of one person: knowing who it is is a draw by lot
    )


def _across(query, partner, person, candidates: int, repeats: int, rng):
    """Among clips of all people; and of these groups, among those of other people only."""
    clips = len(query)
    size = min(candidates, clips)
    groups = clips // size
    # With a single full group every deal is the same comparison.
    deals = 1 if size == clips else repeats
    everybody, others = [], []
    for _ in range(deals):
        dealt = rng.permutation(clips)[: groups * size].reshape(groups, size)
        for group in dealt:
            similarity = query[group] @ partner[group].T  # [size, size]
            own = np.diagonal(similarity)
            same = person[group][:, None] == person[group]
            kin = same.sum(axis=1)  # clips of one's own person, the own clip among them
            all_ranks, other_ranks = [], []
            for rows in (similarity, similarity.T):
                ahead = rows - own[:, None]  # [size, size], 0 on the diagonal
                greater, equal = ahead > _TIE, np.abs(ahead) <= _TIE
                all_ranks.append((greater.sum(axis=1), equal.sum(axis=1)))
                other_ranks.append(((greater & ~same).sum(axis=1), 1 + (equal & ~same).sum(axis=1)))
            everybody.append((group, all_ranks, np.full(size, size), 1 / kin))
            others.append((group, other_ranks, size - kin + 1, np.ones(size)))
    if len(np.unique(person)) < 2:
        return _nobody(), _nobody()
    return _joined(everybody), _joined(others, least=2)


def _joined(parts, least: int = 1) -> _Answers:
    """Questions with enough candidates of all parts: (asker, [(above, tied) of each direction],
    size, alone)."""
    size = np.concatenate([part[2] for part in parts])
    kept = size >= least
    ranks = np.concatenate([np.array(part[1]) for part in parts], axis=2)  # [2, above | tied, Q]
    return _Answers(
        np.concatenate([part[0] for part in parts])[kept],
        ranks[:, 0, kept],
        ranks[:, 1, kept],
        size[kept],
        np.concatenate([part[3] for part in parts])[kept],
    )


def _pairs(e, here, whose, names, candidates, seed, repeats) -> dict[str, dict]:
    """Modality to modality, both ways."""
    found: dict[str, dict] = {}
    rng = np.random.default_rng([seed, 1])
    for a, b in itertools.combinations(range(len(e)), 2):
        valid = np.flatnonzero(here[a] & here[b])
        if valid.size < 2:
            continue
        mine = whose.take(valid)
        pair = e[a, valid], e[b, valid]
        within = _within(*pair, mine.night).figures()
        across = _across(*pair, mine.person, candidates, repeats, rng)[0].figures()
        for one, other, way in ((a, b, "query_to_partner"), (b, a, "partner_to_query")):
            found[f"{names[one]}→{names[other]}"] = {
                "within_person": {"top1": within[way], "chance": within["chance"]},
                "across_people": {
                    "top1": across[way],
                    "chance": across["chance"],
                    "identity_alone": across["identity_alone"],
                },
                "clips": len(valid),
            }
    return found


def _nobody() -> _Answers:
    none = np.zeros(0, int)
    return _Answers(none, np.zeros((2, 0), int), np.ones((2, 0), int), none, np.zeros(0))


def _groups(night: np.ndarray) -> Iterator[np.ndarray]:
    """Places of the clips of each night."""
    order = np.argsort(night, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(night[order])) + 1)


def _both(query, partner) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield query, partner
    yield partner, query


def _ranks(query, partner) -> tuple[np.ndarray, np.ndarray]:
    """Of each query, how many partners are nearer than its own, and how many as near, [V]."""
    above, tied = np.empty(len(query), int), np.empty(len(query), int)
    for start in range(0, len(query), _ROWS):
        rows = slice(start, start + _ROWS)
        similarity = query[rows] @ partner.T
        own = similarity[np.arange(len(similarity)), start + np.arange(len(similarity))]
        ahead = similarity - own[:, None]
        above[rows] = (ahead > _TIE).sum(axis=1)
        tied[rows] = (np.abs(ahead) <= _TIE).sum(axis=1)
    return above, tied


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of unit length; a row whose modalities cancel out stays zero."""
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 1e-12)
