"""A heartbeat as waves of a moving dipole, and the rhythm beats come in: one heart for everybody.

Sleepers show it in one lead, labelled exams in twelve. Conduction widens and turns the waves, and
fibrillation and ectopy move the beats, without a step anywhere: what an incomplete bundle block
looks like is what a complete one looks like, narrower.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.pathology import Pathology

TABLE_SFREQ = 4000  # of a template; fine enough that the nearest sample will do
TABLE_LEVELS = 12  # R-R intervals it is drawn for, 0.4 to 1.5 s
P_BEFORE = 0.46  # s of the template of P before R: room for the longest PR
BEFORE = 0.10  # s of the template of QRS and T before R
_P_SECONDS, _SECONDS = 0.50, 0.90  # the templates' lengths

#: To the left, to the feet, to the front: where P, Q, R, S and T of a healthy heart point to (Q and
#: S, whose heights are negative, away from it).
DIRECTIONS = (
    (0.55, 0.80, 0.10),
    (0.50, -0.20, -0.70),
    (0.70, 0.70, -0.25),
    (0.49, 0.14, 1.26),
    (0.70, 0.55, 0.35),
)
#: Where the side that is late depolarises to.
_LATE = {"right": (-0.60, 0.0, 0.80), "left": (1.0, 0.1, -0.55)}
SLEEP_LEAD = (0.55, 0.75, -0.30)  # between the collarbones and the left flank, as sleepers wear it

_QRS = 0.094  # s, that the waves below take
_ONSET = -0.045  # s from R, of the QRS


class Wave(NamedTuple):
    """A Gaussian part of a beat: s from R, s, share of R, direction [3]."""

    centre: float
    width: float
    height: float
    toward: np.ndarray
    stretches: bool = False  # with the root of the R-R interval


def waves(
    pathology: Pathology,
    heights: np.ndarray,
    directions: np.ndarray | None = None,
    late_height: float = 1.0,
    habit: np.ndarray | None = None,
) -> list[Wave]:
    """A beat's waves, P first.

    Args:
      heights: [5], a person's own sizes of P, Q, R, S, T; 1 is typical.
      directions: [5, 3], the person's own; None: `DIRECTIONS`.
      late_height: the person's own size of the late wave of a bundle block.
      habit: [3], where someone's QRS ends anyway, and how large (share of R); drawn by
        `draw_habit`. It may look like a block's, or hide one.
    """
    toward = np.asarray(DIRECTIONS if directions is None else directions, float)
    more = max(pathology.qrs - _QRS, 0.0)
    wide = 1.0 if pathology.bundle else pathology.qrs / _QRS
    left = pathology.bundle == "left"
    parts = [
        Wave(-pathology.pr, 0.022, 0.11 * heights[0], toward[0]),
        Wave(-0.027 * wide, 0.009 * wide, (0.0 if left else -0.10) * heights[1], toward[1]),
        Wave(0.25 * more if left else 0.0, (0.011 + 0.15 * more * left) * wide, heights[2],
             toward[2]),
        Wave(0.03 * wide + 0.5 * more * left, 0.010 * wide, -0.22 * heights[3], toward[3]),
        Wave(0.29 + 0.5 * more, 0.050, 0.26 * heights[4], toward[4], True),
    ]  # fmt: skip
    # The late side: its end is the end of the QRS, so it grows out of the healthy one.
    width = 0.011 + 0.16 * more
    centre = _ONSET + pathology.qrs - 1.8 * width
    if habit is not None:
        parts.append(Wave(centre, width, 1.0, np.asarray(habit)))
    if not pathology.bundle:
        return parts
    toward_late = np.asarray(_LATE[pathology.bundle])
    grown = np.clip(more / 0.04, 0.0, 1.5)
    size = (0.42 if pathology.bundle == "right" else 0.40) * late_height * (0.8 + 0.2 * grown)
    parts.append(Wave(centre, width, size, toward_late))
    # T turns away from the side that is late.
    turned = toward[4] * 0.7 - (0.2 + 0.1 * grown) * toward_late
    parts[4] = parts[4]._replace(toward=turned)
    return parts


def draw_habit(rng: np.random.Generator) -> np.ndarray:
    """How someone's QRS ends, for `waves`: in any direction, mostly small."""
    toward = rng.standard_normal(3)
    return float(rng.exponential(0.55)) * toward / np.linalg.norm(toward)


def ventricular(parts: list[Wave]) -> list[Wave]:
    """A premature beat from the ventricle: no P, broad QRS, T the other way."""
    changed = [(0.0, 1.0), (-0.2, 2.8), (1.3, 2.8), (-1.0, 2.8), (-1.2, 1.3)]
    return [
        w._replace(height=size * abs(w.height), width=wide * w.width)
        for w, (size, wide) in zip(parts, changed)
    ]


def p_table(parts: list[Wave], leads: np.ndarray) -> np.ndarray:
    """P of a beat in `leads` [L, 3]: float32 [L, 2 variants (with, without), levels, time]."""
    tau = np.arange(int(_P_SECONDS * TABLE_SFREQ)) / TABLE_SFREQ - P_BEFORE
    p = parts[0]
    curve = p.height * np.exp(-0.5 * ((tau - p.centre) / p.width) ** 2)
    one = (leads @ p.toward)[:, None] * curve
    out = np.zeros((len(leads), 2, TABLE_LEVELS, len(tau)), np.float32)
    out[:, 0] = one[:, None]
    return out


def qrst_table(variants: list[list[Wave]], leads: np.ndarray) -> np.ndarray:
    """QRS and T of beats in `leads` [L, 3]: float32 [L, variants, levels, time]."""
    tau = np.arange(int(_SECONDS * TABLE_SFREQ)) / TABLE_SFREQ - BEFORE
    stretch = np.sqrt(np.linspace(0.4, 1.5, TABLE_LEVELS))[:, None]
    out = np.zeros((len(leads), len(variants), TABLE_LEVELS, len(tau)), np.float32)
    edge = np.clip((tau + BEFORE) / 0.01, 0.0, 1.0)  # no step where a template begins
    for variant, parts in enumerate(variants):
        for wave in parts[1:]:
            factor = stretch if wave.stretches else 1.0
            shape = np.exp(-0.5 * ((tau - wave.centre * factor) / (wave.width * factor)) ** 2)
            gain = (leads @ wave.toward * wave.height).astype(np.float32)
            out[:, variant] += gain[:, None, None] * (edge * shape).astype(np.float32)
    return out


def in_fibrillation(rng: np.random.Generator, share: float, size: int) -> np.ndarray:
    """bool [size] on the state grid: episodes that take about `share` of the time."""
    if share <= 0.0 or share >= 1.0:
        return np.full(size, share >= 1.0)
    return sn.wander(rng, size, 400.0) < special.ndtri(share)


class Beats(NamedTuple):
    """A series of beats."""

    seconds: np.ndarray  # float64 [N], of the R peaks
    premature: np.ndarray  # bool [N]
    fibrillating: np.ndarray  # bool [N]


def rhythm(
    rng: np.random.Generator,
    sinus: np.ndarray,
    fibrillating: np.ndarray,
    ectopy: float,
    *,
    spread: float = 0.18,
    early: float = 0.35,
) -> Beats:
    """What becomes of sinus beats (s, float64 [N]) that fibrillation and ectopy disturb.

    Fibrillation keeps the slow course of the rate and takes the order away: intervals are
    independent, `spread` their coefficient of variation.

    Args:
      fibrillating: bool on the state grid. ectopy: share of premature beats where it does not
        fibrillate. early: by how much of an interval they come early.
    """
    count = len(sinus)
    at = np.clip((sinus * sn.STATE_SFREQ).astype(int), 0, len(fibrillating) - 1)
    steps = np.ones(count)
    inside = fibrillating[at]
    steps[inside] = np.exp(spread * rng.standard_normal(int(inside.sum())))
    place = np.cumsum(steps) - steps[0]
    place = place[place < count - 1]
    beats = np.interp(place, np.arange(count), sinus)
    inside = inside[: len(beats)]
    premature = (rng.random(len(beats)) < ectopy) & ~inside
    premature[:1] = False
    premature[1:] &= ~premature[:-1]
    interval = np.diff(beats, prepend=beats[0] - 1.0)
    return Beats(beats - early * interval * premature, premature, inside)


def sinus_of(beats: np.ndarray, ectopic: np.ndarray) -> np.ndarray:
    """A night's beats with the premature ones put back to where they were expected."""
    before = np.concatenate([beats[:1] - 1.0, beats[:-1]])
    return np.where(ectopic, (beats - 0.35 * before) / 0.65, beats)


def fibrillatory(rng: np.random.Generator, samples: int, sfreq: float) -> np.ndarray:
    """The fibrillating atrium: 4 to 8 Hz, never quite periodic; about unit variance: [T]."""
    size = int(np.ceil(samples / sfreq)) * sn.STATE_SFREQ + 1
    rate = rng.uniform(5.0, 7.5) + 0.7 * sn.wander(rng, size, 0.7)
    phase = np.cumsum(rate / sn.STATE_SFREQ, dtype=np.float64) + rng.random()
    level = np.exp(0.35 * sn.wander(rng, size, 1.0))
    t = np.arange(samples) * (sn.STATE_SFREQ / sfreq)
    grid = np.arange(size)
    # float64: after hours the phase is large
    angle = 2 * np.pi * (np.interp(t, grid, phase) % 1.0)
    wave = np.sin(angle) + 0.35 * np.sin(2 * angle + 1.0)
    return (1.3 * wave * np.interp(t, grid, level)).astype(np.float32)
