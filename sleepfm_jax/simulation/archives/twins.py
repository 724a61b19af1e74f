"""What the simulated archives of labelled wake EEG show: signals, findings, and what raters said.

Nothing here knows of files. Each twin renders one recording of one person; no single number (a
ratio of bands, the loudest channel) tells its classes apart, since what looks alike to it is drawn
for every class. Raters err: with a probability of their own a label is drawn from the classes'
shares, whatever was there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from sleepfm_jax.recordings.labels.intervals import TCP_MONTAGE
from sleepfm_jax.simulation.body import findings, waking
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.pathology import FOCI

KEY = 11  # first element of every random key; the ECG archives have 12
_PEOPLE = 90  # second element of a person's; recordings have the number of their archive

SHARES: dict[str, dict[str, float]] = {
    "tuab": {"normal": 0.505, "abnormal": 0.495},
    "tuev": {
        "bckg": 0.64, "pled": 0.07, "artf": 0.13, "eyem": 0.01, "gped": 0.14, "spsw": 0.01,
    },
    "tusl": {
        "normal": 1399 / 1677, "complex_background": 92 / 1677, "seizure": 92 / 1677,
        "slowing": 94 / 1677,
    },
    "chb_mit": {"no_seizure": 47565 / 47785, "seizure": 220 / 47785},
    "braincapture": {"normal": 0.62, "abnormal": 0.38},
}  # fmt: skip
"""Published shares of the classes."""
RARE = {
    "tuev": ("spsw", "eyem"),
    "tusl": ("complex_background", "seizure", "slowing"),
    "chb_mit": ("seizure",),
}
"""The classes that --rare makes more frequent."""
REDRAWN = {"tuab": 0.10, "tuev": 0.14, "tusl": 0.14, "chb_mit": 0.14, "braincapture": 0.14}
"""Share of the labels that are drawn anew: those that differ then are 5 to 10 % of them, or of a
rare class."""

TUH_SITES = {
    "FP1": "Fp1", "FP2": "Fp2", "F3": "F3", "F4": "F4", "C3": "C3", "C4": "C4", "P3": "P3",
    "P4": "P4", "O1": "O1", "O2": "O2", "F7": "F7", "F8": "F8", "T3": "T7", "T4": "T8",
    "T5": "P7", "T6": "P8", "A1": "A1", "A2": "A2", "FZ": "Fz", "CZ": "Cz", "PZ": "Pz",
}  # fmt: skip
"""What TUH calls the electrodes, and what they are called now."""
TUH = tuple(TUH_SITES.values())
CHB = tuple(dict.fromkeys((*(s for s in TUH if s not in ("A1", "A2")), "FT9", "FT10")))
NINETEEN = tuple(site for site in TUH if site not in ("A1", "A2"))


@dataclasses.dataclass(frozen=True)
class Event:
    """A stretch (s) of a recording that is `true` and that raters call `label`."""

    start: float
    stop: float
    label: str
    true: str
    channel: int = 0  # of TCP_MONTAGE, the first that it is marked on


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
      eeg: uV, float32 [C, T]. sites: of the C channels.
      label: of the whole recording, as rated; "" where events are labelled. true: what it is.
      latent: what the label is of: the larger, the more the last class of the two.
      events: in the order of time.
    """

    eeg: np.ndarray
    sites: tuple[str, ...]
    sfreq: int
    label: str = ""
    true: str = ""
    latent: float = 0.0
    events: tuple[Event, ...] = ()


def shares(archive: str, rare: float) -> dict[str, float]:
    """Shares of an archive's classes, the rare ones' times `rare`."""
    told = SHARES[archive]
    scaled = {name: told[name] * rare for name in RARE.get(archive, ())}
    rest = 1.0 - sum(scaled.values())
    common = sum(share for name, share in told.items() if name not in scaled)
    return {name: scaled.get(name, share * rest / common) for name, share in told.items()}


def rated(rng: np.random.Generator, archive: str, true: str, share: Mapping[str, float]) -> str:
    """What raters call it."""
    if rng.random() >= REDRAWN[archive]:
        return true
    return str(rng.choice(list(share), p=list(share.values())))


def person(seed: int, index: int, where: int = 0) -> waking.Person:
    """Who it is; `where` 0 are the people of the TUH, who are in several of its corpora."""
    return waking.draw_person(sn.generator(KEY, _PEOPLE, where, seed, index))


def _everyday(rng: np.random.Generator) -> waking.Mood:
    """A recording's state, whatever its class."""
    beta = rng.uniform(0.2, 0.8) if rng.random() < 0.25 else 0.0
    return waking.Mood(drowsiness=float(1.2 * rng.beta(1.0, 1.8)), beta=float(beta))


def _size(rng: np.random.Generator, typical: float, spread: float) -> float:
    return float(typical * np.exp(spread * rng.standard_normal()))


# --- TUAB -----------------------------------------------------------------------------------------


def tuab(
    seed: int, index: int, session: int, seconds: float, sfreq: int, tested: bool
) -> Recording:
    """Graded slowing, sometimes of one side; drowsiness, age and drugs that have nothing to do with
    it. The grade is the person's, and a little the day's.
    """
    who = person(seed, index)
    rng = sn.generator(KEY, 1, seed, index, session)
    grade = 0.95 * who.grade + np.sqrt(1 - 0.95**2) * rng.standard_normal()
    mood = dataclasses.replace(
        _everyday(rng), slowing=float(SLOWING_A_GRADE * np.clip(grade + 1.2, 0.0, 3.2))
    )
    if rng.random() < 0.35:
        depth, side = 0.45 * np.clip(grade, 0.0, 2.0), int(rng.choice([-1, 1]))
        mood = dataclasses.replace(mood, lesion=float(depth), side=side)
    threshold = 0.128 if tested else 0.0  # 45 % of the test set, half of the rest
    true = "abnormal" if grade > threshold else "normal"
    called = "abnormal" if grade + 0.12 * rng.standard_normal() > threshold else "normal"
    label = rated(rng, "tuab", called, SHARES["tuab"])
    eeg = waking.render(rng, who, TUH, seconds, sfreq, mood)
    for start in np.arange(0.0, seconds, 10.0):
        _everyday_artefacts(rng, eeg, TUH, start, 10.0, sfreq, 0.25)
    return Recording(eeg, TUH, sfreq, label, true, float(grade))


SLOWING_A_GRADE = 0.30


def _everyday_artefacts(
    rng: np.random.Generator,
    eeg: np.ndarray,
    sites: Sequence[str],
    start: float,
    seconds: float,
    sfreq: int,
    chance: float,
) -> None:
    """Perhaps a pop, perhaps a twitch of muscle, somewhere in the stretch."""
    if rng.random() < chance:
        only = np.zeros(len(sites))
        only[rng.integers(len(sites))] = _size(rng, SPIKE, 0.3)
        findings.add(eeg, sfreq, start + rng.uniform(0, seconds), findings.pop(rng, sfreq), only)
    if rng.random() < chance:
        at = str(rng.choice(["T7", "T8", "F7", "F8", "Fp1", "Fp2"]))
        burst = findings.muscle(rng, sfreq, rng.uniform(0.15, 0.6))
        gain = _size(rng, 22.0, 0.4) * findings.field(findings.place(tuple(sites)), at, 0.5)
        findings.add(eeg, sfreq, start + rng.uniform(0, seconds), burst, gain)


# --- TUEV -----------------------------------------------------------------------------------------

SPIKE = 130.0  # uV
_DISCHARGE = 90.0


def tuev(seed: int, index: int, seconds: float, sfreq: int, rare: float = 1.0) -> Recording:
    """Events of 1 s, four seconds from one to the next, the first and the last one at the
    recording's very ends. Every one has pops and muscle like any other.
    """
    who = person(seed, index)
    rng = sn.generator(KEY, 2, seed, index)
    share = shares("tuev", rare)
    eeg = waking.render(rng, who, TUH, seconds, sfreq, _everyday(rng))
    where = findings.place(TUH)
    events = []
    for start in (0, *range(4, int(seconds) - 6, 4), int(seconds) - 1):
        true = str(rng.choice(list(share), p=list(share.values())))
        channel = int(rng.integers(len(TCP_MONTAGE)))
        at = TUH_SITES[TCP_MONTAGE[channel].split("-")[0]]
        if true in ("pled", "gped") and abs(findings.place((at,))[0, 0]) < 0.1:
            at = str(rng.choice(["T7", "T8"]))
        _tuev_event(rng, eeg, where, true, at, float(start), sfreq)
        _everyday_artefacts(rng, eeg, TUH, start - 1.0, 3.0, sfreq, 0.35)
        label = rated(rng, "tuev", true, share)
        events.append(Event(start, start + 1, label, true, channel))
    return Recording(eeg, TUH, sfreq, events=tuple(events))


def _tuev_event(
    rng: np.random.Generator,
    eeg: np.ndarray,
    where: np.ndarray,
    kind: str,
    at: str,
    start: float,
    sfreq: int,
) -> None:
    lo = round(start * sfreq)
    part = eeg[:, lo : lo + sfreq]
    if kind == "spsw":
        wave = _size(rng, SPIKE, 0.3) * findings.spike_wave(rng, sfreq)
        findings.add(eeg, sfreq, start + rng.uniform(0.0, 0.2), wave, findings.field(where, at))
    elif kind in ("pled", "gped"):
        size = _size(rng, _DISCHARGE, 0.3) * (0.8 if kind == "gped" else 1.0)
        both = kind == "gped"
        part += np.float32(size) * findings.discharges(rng, where, at, 1.0, sfreq, both)
    elif kind == "eyem":
        reach = np.clip(where[:, 1], 0.0, None) ** 2
        for late in rng.uniform(0.2, 0.8, 2):
            height = _size(rng, 110.0, 0.2)
            wave = height * findings.blink(rng, sfreq)
            findings.add(part, sfreq, late - 0.3, wave, reach)
    elif kind == "artf":
        if rng.random() < 0.5:
            burst = findings.muscle(rng, sfreq, rng.uniform(0.6, 1.0))
            gain = _size(rng, 40.0, 0.4) * findings.field(where, at, 0.6)
            findings.add(part, sfreq, 0.0, burst, gain)
        else:
            part += np.float32(_size(rng, 40.0, 0.4)) * findings.movement(rng, where, 1.0, sfreq)


# --- TUSL -----------------------------------------------------------------------------------------

RHYTHM = 27.0  # uV rms
_RHYTHMS = {
    "seizure": findings.seizure,
    "slowing": findings.slow_rhythm,
    "complex_background": findings.mixed_rhythm,
}


def tusl(seed: int, index: int, seconds: float, sfreq: int, rare: float = 1.0) -> Recording:
    """In every minute (of shorter recordings: in every 10 s) an event of 10 s or none. They have
    equal power in every band and place; so have, where there is none, movements now and then.
    """
    who = person(seed, index)
    rng = sn.generator(KEY, 3, seed, index)
    share = shares("tusl", rare)
    eeg = waking.render(rng, who, TUH, seconds, sfreq, _everyday(rng))
    where = findings.place(TUH)
    slot = 60 if seconds >= 60 else 10
    events = []
    for begin in range(0, int(seconds) - slot + 1, slot):
        true = str(rng.choice(list(share), p=list(share.values())))
        label = rated(rng, "tusl", true, share)
        start = begin + (int(rng.integers(2, 48)) if slot == 60 else 0)
        at = str(rng.choice(FOCI))
        part = eeg[:, start * sfreq : (start + 10) * sfreq]
        size = np.float32(_size(rng, RHYTHM, 0.3))
        if true in _RHYTHMS:
            part += size * _RHYTHMS[true](rng, where, at, 10.0, sfreq)
        elif rng.random() < 0.6:
            part += size * findings.movement(rng, where, 10.0, sfreq)
        _everyday_artefacts(rng, eeg, TUH, start, 10.0, sfreq, 0.3)
        events.append(Event(start, start + 10, label, true))
    return Recording(eeg, TUH, sfreq, events=tuple(events))


# --- CHB-MIT --------------------------------------------------------------------------------------

ICTAL = 26.0  # uV rms


def chb_mit(
    seed: int, index: int, case: int, number: int, seconds: float, sfreq: int, rare: float = 1.0
) -> Recording:
    """Perhaps a seizure, from where this person's start; in any 10 s chewing or movement as loud.

    Monopolar: the archive writes differences of these electrodes.
    """
    who = person(seed, index, 4)
    rng = sn.generator(KEY, 4, seed, index, case, number)
    share = shares("chb_mit", rare)
    where = findings.place(CHB)
    eeg = waking.render(rng, who, CHB, seconds, sfreq, _everyday(rng))
    unit = 60 if seconds >= 60 else 10  # s of a clip
    length = min(float(rng.uniform(35.0, 90.0)), 0.6 * seconds)
    chance = min(0.75, share["seizure"] * seconds / max(length, unit))
    events = []
    if rng.random() < chance:
        start = float(np.floor(rng.uniform(1.0, seconds - length - 1.0)))
        length = float(np.floor(length))
        part = eeg[:, round(start) * sfreq : round(start + length) * sfreq]
        size = np.float32(_size(rng, ICTAL, 0.3))
        part += size * findings.seizure(rng, where, who.focus, length, sfreq)
        events.append(Event(start, start + length, "seizure", "seizure"))
    for begin in range(0, int(seconds), 10):
        if rng.random() < 0.45:
            span = min(float(rng.uniform(4.0, 10.0)), seconds - begin)
            part = eeg[:, begin * sfreq : begin * sfreq + round(span * sfreq)]
            kind = findings.chewing if rng.random() < 0.5 else findings.movement
            part += np.float32(_size(rng, ICTAL, 0.3)) * kind(rng, where, span, sfreq)
    events = _rated_seizures(rng, events, seconds, share, unit)
    return Recording(eeg, CHB, sfreq, events=tuple(events))


def _rated_seizures(
    rng: np.random.Generator,
    events: list[Event],
    seconds: float,
    share: Mapping[str, float],
    unit: int,
) -> list[Event]:
    """Seizures that are overlooked are no seizures, and as many are seen where none is."""
    out = [dataclasses.replace(e, label=rated(rng, "chb_mit", e.true, share)) for e in events]
    wrong = REDRAWN["chb_mit"] * share["seizure"] * seconds / unit
    if not events and rng.random() < wrong:
        length = max(5.0, np.floor(min(40.0, 0.6 * seconds)))
        start = float(np.floor(rng.uniform(1.0, seconds - length - 1.0)))
        out.append(Event(start, start + length, "seizure", "no_seizure"))
    return out


# --- BrainCapture ---------------------------------------------------------------------------------


def braincapture(seed: int, index: int, seconds: float, sfreq: int) -> Recording:
    """Abnormal: one to three spikes a minute, at this person's focus. Everybody has vertex waves
    and pops as large and as many.
    """
    who = person(seed, index, 5)
    rng = sn.generator(KEY, 5, seed, index)
    share = SHARES["braincapture"]
    abnormal = bool(rng.random() < share["abnormal"])
    true = "abnormal" if abnormal else "normal"
    label = rated(rng, "braincapture", true, share)
    where = findings.place(NINETEEN)
    eeg = waking.render(rng, who, NINETEEN, seconds, sfreq, _everyday(rng))

    def moments() -> np.ndarray:
        count = max(1, round(rng.uniform(1.0, 3.0) * seconds / 60.0))
        each = seconds / count
        return (np.arange(count) + rng.uniform(0.05, 0.9, count)) * each

    for start in moments():
        only = np.zeros(len(NINETEEN))
        only[rng.integers(len(NINETEEN))] = 1.0
        wave = _size(rng, SPIKE, 0.3) * findings.pop(rng, sfreq)
        findings.add(eeg, sfreq, start, wave, only)
    for start in moments():
        wave = _size(rng, SPIKE, 0.3) * findings.vertex_wave(rng, sfreq)
        findings.add(eeg, sfreq, start, wave, findings.field(where, "Cz", 0.55))
    if abnormal:
        gain = findings.field(where, who.focus)
        for start in moments():
            wave = _size(rng, SPIKE, 0.3) * findings.spike_wave(rng, sfreq)
            findings.add(eeg, sfreq, start, wave, gain)
    return Recording(eeg, NINETEEN, sfreq, label, true, float(abnormal))
