"""Twelve-lead exams of the hearts that sleepers have, as a site records them and a reader reads
them.

A person's latents (`Pathology`, and the rate) lie on continua; labels are cut from them by a reader
who measures with an error, overlooks some and sees some that are not there. What looks like a class
without being of it is more frequent than the class: incomplete bundle blocks, premature beats and
sinus arrhythmia as irregular as fibrillation, T waves that point away for other reasons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import signal, special

from sleepfm_jax.simulation.body import conduction
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.awake import LEAD_VECTORS
from sleepfm_jax.simulation.body.cardiorespiratory import beats_wave
from sleepfm_jax.simulation.body.pathology import Pathology

LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
PR_CUT, QRS_CUT, SLOW, FAST = 0.200, 0.120, 60.0, 100.0
CUTS = {"1dAVb": PR_CUT, "RBBB": QRS_CUT, "LBBB": QRS_CUT, "SB": -SLOW, "AF": 0.5, "ST": FAST}
"""Of each label's latent, from which up a reader without error says it."""

_COMPLETE = 0.36  # of the bundle blocks, that are 120 ms wide
_MISSED, _IMAGINED = 0.08, 0.12  # of the labels: overlooked; of no one who has it
# of a reader's measure of each: s, beats a minute
_ERROR = {"1dAVb": 0.005, "RBBB": 0.004, "LBBB": 0.004, "SB": 1.5, "AF": 0.0, "ST": 2.0}
_MOST = 0.30  # of the exams have any one label, however rare they are made


@dataclasses.dataclass(frozen=True)
class Site:
    """Where exams are made.

    Attributes:
      shares: of the exams that have each label, as published.
      sfreq: Hz. band: Hz, of the recorder. mains: Hz; notch: whether it is taken out. gain: of all
        amplitudes. muscle, drift: mV.
    """

    shares: Mapping[str, float]
    sfreq: int
    band: tuple[float, float]
    mains: int
    notch: bool
    gain: float
    muscle: float
    drift: float


def _of(total: int, **counts: int) -> dict[str, float]:
    return {name.removeprefix("_"): count / total for name, count in counts.items()}


SITES = {
    "code15": Site(
        _of(345_779, _1dAVb=5716, RBBB=9672, LBBB=6026, SB=5605, AF=7033, ST=7584),
        400, (0.2, 100.0), 60, True, 1.0, 0.020, 0.10,
    ),
    # 6,877 exams and 3,453 of CPSC-Extra. Nobody annotated rates there: their shares are a guess.
    "cpsc2018": Site(
        _of(10_330, _1dAVb=828, RBBB=1971, LBBB=274, AF=1374, SB=1000, ST=800),
        500, (0.67, 45.0), 50, False, 1.25, 0.025, 0.05,
    ),
    "g12ec": Site(
        _of(10_344, _1dAVb=769, RBBB=556, LBBB=231, AF=570, SB=1677, ST=1261),
        500, (0.05, 120.0), 60, False, 0.85, 0.030, 0.12,
    ),
    "ptbxl": Site(
        _of(21_837, _1dAVb=797, RBBB=542, LBBB=536, SB=637, AF=1330, ST=826),
        500, (0.05, 150.0), 50, True, 1.0, 0.015, 0.08,
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Person:
    """What the exams of one person share.

    Attributes:
      pathology: as of sleepers. rate: beats a minute at rest, in sinus rhythm; fast: in
        fibrillation. ventricular: whether premature beats come from the ventricle. spread: of the
        intervals, in fibrillation; arrhythmia: share by which the sinus rhythm breathes.
      heights, directions, late, habit: of the waves; see `conduction.waves`. amplitude: of R, mV.
        electrodes: gains of V1 to V6. fibrillatory: mV.
    """

    pathology: Pathology
    rate: float
    fast: float
    ventricular: bool
    spread: float
    arrhythmia: float
    early: float
    heights: np.ndarray
    directions: np.ndarray
    late: float
    habit: np.ndarray
    amplitude: float
    electrodes: np.ndarray
    fibrillatory: float


@dataclasses.dataclass(frozen=True)
class Exam:
    """One exam before it is rendered: this day's latents, and what a reader said.

    `latents`: label → what it is cut from, larger with the label.
    """

    person: Person
    rate: float
    fibrillates: bool
    labels: tuple[str, ...]
    latents: Mapping[str, float]


def shares(site: Site, rare: float) -> dict[str, float]:
    """Share of each label where labels are `rare` times as frequent as published."""
    return {name: min(rare * share, max(share, _MOST)) for name, share in site.shares.items()}


def _quantile(z: float, low: float, middle: float, high: float, cut: tuple[float, float]) -> float:
    """A value of a continuous distribution whose median is `middle` and of which cut[0] lie below
    `low` and cut[1] above `high`; z: the standard normal draw."""
    below, above = special.ndtri(cut[0]), -special.ndtri(cut[1])
    return middle + (z * (middle - low) / -below if z < 0 else z * (high - middle) / above)


def draw_person(rng: np.random.Generator, site: Site, rare: float = 1.0) -> Person:
    """Someone whom this site examines; labels are `rare` times as frequent as published."""
    share = shares(site, rare)

    def log_normal(median: float, sd: float) -> float:
        return float(median * np.exp(sd * rng.standard_normal()))

    z = rng.standard_normal(6)
    rate = _quantile(z[0], SLOW, 75.0, FAST, (share["SB"], share["ST"]))
    pr = _quantile(z[1], 0.130, 0.160, PR_CUT, (0.05, share["1dAVb"]))
    bundle, qrs = "", float(np.clip(0.094 + 0.009 * z[2], 0.075, 0.118))
    kinds = np.array([share["RBBB"], share["LBBB"]]) / _COMPLETE
    kinds *= min(1.0, 0.7 / kinds.sum())
    draw = rng.random()
    if draw < kinds.sum():
        bundle = "right" if draw < kinds[0] else "left"
        # 36 % of a normal distribution lie above 0.120 s, around which it is densest
        qrs = float(np.clip(QRS_CUT - 0.0057 + 0.016 * z[3], 0.094, 0.160))
    elif rng.random() < 0.25:  # slow everywhere, neither bundle
        qrs = float(rng.uniform(0.102, 0.150))
    fibrillation = 0.0
    if rng.random() < 1.15 * share["AF"]:
        fibrillation = float(rng.choice([1.0, rng.uniform(0.3, 0.95)], p=[0.65, 0.35]))
    irregular = rng.random() < 0.35
    ectopy = float(rng.uniform(0.06, 0.30)) if irregular else float(rng.exponential(0.01))
    directions = np.array(conduction.DIRECTIONS) + 0.22 * rng.standard_normal((5, 3))
    axis = np.deg2rad(np.clip(40.0 + 32.0 * rng.standard_normal(), -45.0, 110.0))
    directions[2] = np.cos(axis), np.sin(axis), -0.25 + 0.3 * rng.standard_normal()
    heights = np.exp(0.35 * rng.standard_normal(5))
    if rng.random() < 0.35:  # ischaemia, strain: T is flat or turned, whatever the conduction
        heights[4] *= rng.uniform(-1.3, 0.6)
        directions[4] += 0.5 * rng.standard_normal(3)
    return Person(
        Pathology(
            fibrillation=fibrillation,
            ectopy=ectopy,
            pr=float(np.clip(pr, 0.11, 0.34)),
            qrs=qrs,
            bundle=bundle,
        ),
        rate=float(np.clip(rate, 38.0, 150.0)),
        fast=float(np.clip(log_normal(82.0, 0.22), 45.0, 150.0)),
        ventricular=bool(rng.random() < 0.3),
        spread=float(np.clip(log_normal(0.13, 0.40), 0.05, 0.28)),
        arrhythmia=float(np.clip(log_normal(0.05, 0.8), 0.003, 0.18)),
        early=float(rng.uniform(0.22, 0.42)),
        heights=heights,
        directions=directions,
        late=log_normal(0.75, 0.5),
        habit=conduction.draw_habit(rng),
        amplitude=log_normal(1.0, 0.35),
        electrodes=np.exp(0.30 * rng.standard_normal(6)),
        fibrillatory=log_normal(0.065, 0.4),
    )


def examine(rng: np.random.Generator, person: Person, site: Site, rare: float = 1.0) -> Exam:
    """One day's exam of a person, and its labels."""
    ill = person.pathology
    fibrillates = bool(rng.random() < ill.fibrillation)
    rate = float(np.clip(person.rate + 3.0 * rng.standard_normal(), 36.0, 155.0))
    if fibrillates:
        rate = float(np.clip(person.fast + 5.0 * rng.standard_normal(), 42.0, 155.0))
    today = dataclasses.replace(
        ill,
        pr=float(np.clip(ill.pr + 0.003 * rng.standard_normal(), 0.11, 0.35)),
        qrs=float(np.clip(ill.qrs + 0.002 * rng.standard_normal(), 0.07, 0.165)),
    )
    person = dataclasses.replace(person, pathology=today)
    sinus = not fibrillates
    latents = {
        "1dAVb": today.pr if sinus else 0.0,
        "RBBB": today.qrs * (today.bundle == "right"),
        "LBBB": today.qrs * (today.bundle == "left"),
        "SB": -rate if sinus else -200.0,
        "AF": float(fibrillates),
        "ST": rate if sinus else 0.0,
    }
    said = []
    for name, share in shares(site, rare).items():
        there = latents[name] + _ERROR[name] * rng.standard_normal() >= CUTS[name]
        draw = rng.random()
        if draw >= _MISSED if there else draw < _IMAGINED * share / (1.0 - share):
            said.append(name)
    # nobody calls a heart slow and fast, or both bundles blocked
    for one, other in (("SB", "ST"), ("AF", "SB"), ("AF", "ST"), ("AF", "1dAVb"), ("RBBB", "LBBB")):
        if one in said and other in said:
            said.remove(one if latents[one] < CUTS[one] else other)
    labels = tuple(name for name in LABELS if name in said)
    return Exam(person, rate, fibrillates, labels, latents)


def render(rng: np.random.Generator, exam: Exam, site: Site, seconds: float) -> np.ndarray:
    """Twelve leads in mV, float32 [12, T], as the site's recorder gives them."""
    person = exam.person
    samples = round(seconds * site.sfreq)
    beats = _beats(rng, exam, seconds)
    parts = conduction.waves(
        person.pathology, person.heights, person.directions, person.late, person.habit
    )
    variants = [parts, conduction.ventricular(parts)]
    axes = np.eye(3)
    from_ventricle = beats.premature & person.ventricular
    without = (beats.fibrillating | from_ventricle).astype(int)
    gains = person.amplitude * np.exp(0.03 * rng.standard_normal(len(beats.seconds)))
    dipole = np.zeros((3, samples), np.float32)
    for axis, (p, qrst) in enumerate(
        zip(conduction.p_table(parts, axes), conduction.qrst_table(variants, axes))
    ):
        for table, variant, before in (
            (p, without, conduction.P_BEFORE),
            (qrst, from_ventricle.astype(int), conduction.BEFORE),
        ):
            dipole[axis] += beats_wave(
                beats.seconds, table, gains, variant, site.sfreq, samples, before
            )
    if exam.fibrillates:
        atrium = conduction.fibrillatory(rng, samples, site.sfreq)
        toward = np.array([0.2, 0.6, 0.7]) + 0.2 * rng.standard_normal(3)
        dipole += (person.fibrillatory * toward).astype(np.float32)[:, None] * atrium
    leads = LEAD_VECTORS.astype(np.float32) @ dipole
    leads[6:] *= person.electrodes[:, None].astype(np.float32)
    return _recorded(rng, leads, site)


def _beats(rng: np.random.Generator, exam: Exam, seconds: float) -> conduction.Beats:
    """From some seconds before the exam to some after it."""
    person = exam.person
    count = int((seconds + 8.0) * exam.rate / 60.0 * 1.4) + 6
    interval = 60.0 / exam.rate
    breath = np.sin(
        2 * np.pi * (rng.uniform(0.15, 0.32) * interval * np.arange(count) + rng.random())
    )
    slow = np.cumsum(rng.standard_normal(count)) * 0.2
    log = person.arrhythmia * (breath + 0.4 * np.sin(slow)) + 0.008 * rng.standard_normal(count)
    sinus = np.cumsum(interval * np.exp(log))
    where = np.full(int(sinus[-1] * sn.STATE_SFREQ) + 1, exam.fibrillates)
    found = conduction.rhythm(
        rng, sinus, where, person.pathology.ectopy, spread=person.spread, early=person.early
    )
    shift = 3.0 + rng.random()
    near = (found.seconds > shift - 2.0) & (found.seconds < shift + seconds + 2.0)
    return conduction.Beats(
        found.seconds[near] - shift, found.premature[near], found.fibrillating[near]
    )


#: What leads I, II, III, aVR, aVL, aVF are of the first two.
_EINTHOVEN = np.array(
    [[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]], np.float32
)  # fmt: skip


def _recorded(rng: np.random.Generator, leads: np.ndarray, site: Site) -> np.ndarray:
    """Adds what electrodes add; then the recorder's filters."""
    samples = leads.shape[1]
    size = int(np.ceil(samples / site.sfreq)) * sn.STATE_SFREQ
    level = np.exp(0.45 * rng.standard_normal(8)).astype(np.float32)
    noise = np.float32(site.muscle) * sn.noise(rng, 8, samples)
    noise[:, 1:] = 0.7 * (noise[:, 1:] + 0.6 * noise[:, :-1])
    t = np.arange(samples) / site.sfreq
    hum = np.sin(2 * np.pi * site.mains * t + rng.uniform(0, 6.28)).astype(np.float32)
    for row in noise:
        row += sn.upsample(site.drift * sn.wander(rng, size, 1.5), site.sfreq, samples)
        row += np.float32(0.006 * np.exp(0.8 * rng.standard_normal())) * hum
    noise *= level[:, None]
    leads[:6] += _EINTHOVEN @ noise[:2]
    leads[6:] += noise[2:]
    high = site.band[1]
    order = [signal.butter(1, site.band[0], "highpass", fs=site.sfreq, output="sos")]
    order.append(signal.butter(2, high, "lowpass", fs=site.sfreq, output="sos"))
    if site.notch:
        order.append(signal.tf2sos(*signal.iirnotch(site.mains, 20.0, site.sfreq)))
    # as one that has been running for long: no transient at the start
    sections = np.concatenate(order)
    start = signal.sosfilt_zi(sections)[:, None, :] * leads[None, :, :1]
    out, _ = signal.sosfilt(sections, leads, axis=-1, zi=start)
    return (site.gain * out).astype(np.float32)
