"""Simulated archives of labelled wake EEG: TUAB, TUEV, TUSL, CHB-MIT, and a folder with a table.

Their layouts. What they show is rendered by `twins`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sleepfm_jax.recordings.labels.intervals import REC_LABELS, TCP_MONTAGE
from sleepfm_jax.simulation.archives import twins
from sleepfm_jax.simulation.archives.faults import QUARANTINED
from sleepfm_jax.simulation.archives.twins import KEY, TUH_SITES
from sleepfm_jax.simulation.archives.wake_files import EDF_FAULTS, Fault, write_edf, write_whole
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.clinical import background

SECONDS = {"tuab": 130, "tuev": 60, "tusl": 190, "chb_mit": 250, "braincapture": 120}
"""Length of a recording, if not told otherwise, of the archives whose length can be told."""
RARE = tuple(twins.RARE)
"""Archives with classes so rare that a small one would lack them."""


@dataclasses.dataclass(frozen=True)
class Written:
    """One recording on disk, and what a build should make of it: a row of truth.csv."""

    path: str  # in the build report
    subject: str  # the person
    split: str  # train or test where the archive says so, else ""
    clips: tuple[tuple[str, int], ...]  # labelled clips of each class


CHB_PAIRS = (
    *("FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1"),
    *("FP2-F4", "F4-C4", "C4-P4", "P4-O2", "FP2-F8", "F8-T8", "T8-P8", "P8-O2"),
    *("FZ-CZ", "CZ-PZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8"),
)


def tuh_id(index: int) -> str:
    """Eight letters, as TUH calls people: aaaaaaaa, aaaaaaab, ..."""
    return "aaaa" + "".join(chr(97 + index // 26**power % 26) for power in (3, 2, 1, 0))


def _tuh_file(
    path: Path, rng: np.random.Generator, eeg: np.ndarray, sfreq: int, subject: str, suffix: str
) -> None:
    """A TUH recording: 21 electrodes, an ECG, the photic stimulator and a trend that is flat."""
    samples = eeg.shape[1]
    t = np.arange(samples, dtype=np.float32) / sfreq
    heart = 400 * np.exp(-0.5 * (((t * rng.uniform(1.0, 1.4)) % 1 - 0.5) / 0.012) ** 2)
    photic, trend = np.zeros(samples), np.zeros(samples)
    photic[:: 2 * sfreq] = 100
    labels = [f"EEG {name}-{suffix}" for name in TUH_SITES]
    labels += [f"EEG EKG1-{suffix}", f"PHOTIC-{suffix}", "IBI"]
    rows = np.vstack([eeg, np.stack([heart, photic, trend]).astype(np.float32)])
    write_edf(path, labels, rows, sfreq, subject=subject)


def _on_grid(
    events: Iterable[twins.Event], seconds: int, otherwise: str, clip: float = 60.0
) -> tuple[tuple[str, int], ...]:
    """Clips of each class: one that holds half of an event has its label, one that an event merely
    touches has none.
    """
    counts: Counter[str] = Counter()
    length = min(clip, seconds)
    for begin in range(max(1, int(seconds // clip))):
        inside = [
            (min(e.stop, (begin + 1) * length) - max(e.start, begin * length), e) for e in events
        ]
        inside = [(shared, e) for shared, e in inside if shared > 0]
        held = [
            (shared, e.label)
            for shared, e in inside
            if shared >= min(e.stop - e.start, length) / 2 - 1e-9
        ]
        if held:
            counts[max(held, key=lambda pair: pair[0])[1]] += 1
        elif not inside:
            counts[otherwise] += 1
    return tuple(sorted(counts.items()))


# --- TUAB -----------------------------------------------------------------------------------------


def tuab(tree: Path, index: int, seed: int, *, seconds: int = SECONDS["tuab"]) -> list[Written]:
    """One person of TUAB; two of five are in eval, every fourth of the others has two sessions."""
    subject, official = tuh_id(index), "eval" if index % 5 in (1, 4) else "train"
    written = []
    for session in range(2 if official == "train" and index % 4 == 0 else 1):
        sfreq = (250, 256, 512)[index % 3]
        found = twins.tuab(seed, index, session, seconds, sfreq, official == "eval")
        rng = sn.generator(KEY, 11, seed, index, session)
        path = f"edf/{official}/{found.label}/01_tcp_ar/{subject}_s{session + 1:03d}_t000.edf"
        _tuh_file(tree / path, rng, found.eeg, sfreq, subject, "REF")
        split = "test" if official == "eval" else "train"
        clips = ((found.label, max(1, seconds // 60)),)
        written.append(Written(path, subject, split, clips))
    return written


# --- TUEV -----------------------------------------------------------------------------------------


def tuev(
    tree: Path, index: int, seed: int, *, seconds: int = SECONDS["tuev"], rare: float = 1.0
) -> list[Written]:
    """One recording of TUEV and its `.rec`; two of five people are in eval.

    An event takes 1 s and is marked on one to three channels, a line each; the first and the last
    one lie at the recording's very ends.
    """
    sfreq = 250
    found = twins.tuev(seed, index, seconds, sfreq, rare)
    rng = sn.generator(KEY, 12, seed, index)
    codes = {label: code for code, label in REC_LABELS.items()}
    lines, counts = [], Counter()
    for event in found.events:
        for line in range(int(rng.integers(1, 4))):
            marked = (event.channel + line) % len(TCP_MONTAGE)
            lines.append(f"{marked},{event.start:.1f},{event.stop:.1f},{codes[event.label]}")
            counts[event.label] += 1
    if index % 5 in (2, 4):  # eval: a folder a person, files named after a class
        subject, split = f"{index:03d}", "test"
        path = f"edf/eval/{subject}/{found.events[0].label}_{subject}_a_.edf"
    else:
        subject, split = tuh_id(index), "train"
        path = f"edf/train/{subject}/{subject}_00000001.edf"
    _tuh_file(tree / path, rng, found.eeg, sfreq, subject, "REF")
    write_whole((tree / path).with_suffix(".rec"), ("\n".join(lines) + "\n").encode())
    return [Written(path, subject, split, tuple(sorted(counts.items())))]


# --- TUSL -----------------------------------------------------------------------------------------

_TUSL_CODES = {"complex_background": "bckg", "seizure": "seiz", "slowing": "slow"}


def tusl(
    tree: Path, index: int, seed: int, *, seconds: int = SECONDS["tusl"], rare: float = 1.0
) -> list[Written]:
    """One recording of TUSL with a `.csv`, or for every third person a `.tse`.

    Every minute holds one 10-s event or none; the last 10 s of the recording are no whole clip.
    """
    sfreq, subject = (250, 256)[index % 2], tuh_id(index)
    found = twins.tusl(seed, index, seconds, sfreq, rare)
    suffix = "LE" if index % 4 == 3 else "REF"
    csv_lines = ["# version = csv_v1.0.0", f"# duration = {seconds:.2f} secs"]
    csv_lines += ["#", "channel,start_time,stop_time,label,confidence"]
    tse_lines = ["version = tse_v1.0.0", ""]
    told = [event for event in found.events if event.label != "normal"]
    for number, event in enumerate(told):
        code = _TUSL_CODES[event.label]
        for channel in TCP_MONTAGE[: 1 + number]:  # the same event, marked on each channel
            csv_lines.append(f"{channel},{event.start:.4f},{event.stop:.4f},{code},1.0000")
        tse_lines.append(f"{event.start:.4f} {event.stop:.4f} {code} 1.0000")
    folder = f"edf/{subject}/s001_2010/{'02_tcp_le' if suffix == 'LE' else '01_tcp_ar'}"
    path = f"{folder}/{subject}_s001_t000.edf"
    rng = sn.generator(KEY, 13, seed, index)
    _tuh_file(tree / path, rng, found.eeg, sfreq, subject, suffix)
    kind, lines = (".tse", tse_lines) if index % 3 == 2 else (".csv", csv_lines)
    write_whole((tree / path).with_suffix(kind), ("\n".join(lines) + "\n").encode())
    return [Written(path, subject, "", _on_grid(told, seconds, "normal"))]


# --- CHB-MIT --------------------------------------------------------------------------------------


def chb_mit(
    tree: Path, index: int, seed: int, *, seconds: int = SECONDS["chb_mit"], rare: float = 1.0
) -> list[Written]:
    """One child's case or cases, of two recordings each: the first child has two, chb01 and chb21.

    A seizure may lie within one minute, over two, or merely touch one, which then is no clip of
    either class.
    """
    person = f"chb{index + 1 + (index >= 20):02d}"
    written = []
    for case in (person, "chb21") if index == 0 else (person,):
        summary = ["Data Sampling Rate: 256 Hz", "*************************", ""]
        summary += ["Channels in EDF Files:", "**********************"]
        summary += [f"Channel {i}: {label}" for i, label in enumerate(CHB_PAIRS, 1)]
        for number in (1, 2):
            name = f"{case}_{number:02d}.edf"
            found = twins.chb_mit(seed, index, int(case[3:]), number, seconds, 256, rare)
            told = [event for event in found.events if event.label == "seizure"]
            _chb_file(tree / case / name, found, case, dashes=number == 2)
            end = 42 * 60 + 54 + seconds
            summary += ["", f"File Name: {name}", f"File Start Time: 1{number}:42:54"]
            summary += [f"File End Time: 1{number}:{end // 60 % 60:02d}:{end % 60:02d}"]
            summary += [f"Number of Seizures in File: {len(told)}"]
            for event in told:
                ordinal = " 1" if index % 2 else ""
                summary += [f"Seizure{ordinal} Start Time: {event.start:.0f} seconds"]
                summary += [f"Seizure{ordinal} End Time: {event.stop:.0f} seconds"]
            clips = _on_grid(told, seconds, "no_seizure")
            written.append(Written(f"{case}/{name}", person, "", clips))
        write_whole(tree / case / f"{case}-summary.txt", ("\n".join(summary) + "\n").encode())
    return written


def _chb_file(path: Path, found: twins.Recording, case: str, dashes: bool) -> None:
    labels, signals = list(CHB_PAIRS), list(chb_pairs(found))
    if dashes:  # channels of the amplifier that nothing was plugged into
        flat = np.zeros_like(signals[0])
        labels = [*labels[:5], "-", *labels[5:], "-"]
        signals = [*signals[:5], flat, *signals[5:], flat]
    write_edf(path, labels, np.array(signals), found.sfreq, subject=case, limit=800.0)


def chb_pairs(found: twins.Recording) -> np.ndarray:
    """The differences that CHB-MIT records, float32 [23, T]."""
    now = {**TUH_SITES, "T7": "T7", "T8": "T8", "P7": "P7", "P8": "P8"}
    now |= {"FT9": "FT9", "FT10": "FT10"}
    rows = dict(zip(found.sites, found.eeg))
    pairs = (pair.split("-") for pair in CHB_PAIRS)
    return np.stack([rows[now[first]] - rows[now[second]] for first, second in pairs])


# --- a folder with a table ------------------------------------------------------------------------


def braincapture(
    tree: Path, index: int, seed: int, *, seconds: int = SECONDS["braincapture"]
) -> list[Written]:
    """One person's recording, normal or abnormal; the table is written last."""
    subject = f"bc{index:04d}"
    found = twins.braincapture(seed, index, seconds, 256)
    path = f"{subject}.edf"
    labels = [f"EEG {site}-Ref" for site in found.sites]
    write_edf(tree / path, labels, found.eeg, 256, subject=subject)
    return [Written(path, subject, "", ((found.label, max(1, seconds // 60)),))]


def finish_braincapture(tree: Path, written: list[Written]) -> None:
    """table.csv: which recording is whose and what it shows."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["path", "subject", "label"])
    table.writerows([w.path, w.subject, w.clips[0][0]] for w in written)
    write_whole(tree / "table.csv", out.getvalue().encode())


# --- EEGMAT ---------------------------------------------------------------------------------------


def eegmat(tree: Path, index: int, seed: int) -> list[Written]:
    """One student's rest and mental arithmetic, 62 s each: less alpha and a faster heart in it."""
    rng = sn.generator(KEY, 6, seed, index)
    subject, sfreq, seconds = f"Subject{index:02d}", 500, 62
    sites = tuple(site for site in TUH_SITES.values() if site not in ("A1", "A2"))
    rate = rng.uniform(62, 80)
    written = []
    for number, label in enumerate(("rest", "arithmetic"), 1):
        eeg = background(rng, sites, seconds * sfreq, sfreq, slow=-0.2 * (number - 1))
        t = np.arange(seconds * sfreq) / sfreq * (rate + 12 * (number - 1)) / 60
        heart = 800 * np.exp(-0.5 * ((t % 1 - 0.5) / 0.015) ** 2)
        ears = 4 * rng.standard_normal(seconds * sfreq)
        labels = [f"EEG {name.capitalize()}" for name in TUH_SITES if name not in ("A1", "A2")]
        path = f"{subject}_{number}.edf"
        signals = np.vstack([eeg, ears, heart])
        write_edf(tree / path, [*labels, "EEG A2-A1", "ECG ECG"], signals, sfreq, subject=subject)
        written.append(Written(path, subject, "train", ((label, 4),)))
    return written


def finish_eegmat(tree: Path, written: list[Written]) -> None:
    """subject-info.csv: who took part."""
    lines = ["Subject,Age,Gender,Recording year,Number of subtractions,Count quality"]
    lines += [f"{s},20,F,2011,15.2,1" for s in sorted({w.subject for w in written})]
    write_whole(tree / "subject-info.csv", ("\n".join(lines) + "\n").encode())


# --- faults of their own --------------------------------------------------------------------------


def _no_labels(*suffixes: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        for suffix in suffixes:
            path.with_suffix(suffix).unlink(missing_ok=True)

    return damage


def _bad_labels(path: Path) -> None:
    """A line in the recording's label file that says nothing."""
    for suffix in (".rec", ".csv", ".tse"):
        labels = path.with_suffix(suffix)
        if labels.exists():
            labels.write_text(labels.read_text() + "FP1-F7,12.0,eleven,xxxx,1.0\n")


def _unknown_label(path: Path) -> None:
    for suffix in (".csv", ".tse"):
        labels = path.with_suffix(suffix)
        if labels.exists():
            text = labels.read_text()
            codes = [code for code in _TUSL_CODES.values() if code in text]
            if codes:
                text = text.replace(codes[0], "fnsz")
            elif labels.suffix == ".csv":
                text += "FP1-F7,12.0,22.0,fnsz,1.0\n"
            else:
                text += "12.0 22.0 fnsz 1.0\n"
            labels.write_text(text)


def _not_in_summary(path: Path) -> None:
    """The summary names the recording otherwise."""
    summary = path.with_name(f"{path.parent.name}-summary.txt")
    summary.write_text(summary.read_text().replace(path.name, f"old_{path.name}"))


_EDF = tuple(EDF_FAULTS.items())
FAULTS: dict[str, dict[str, Fault]] = {
    "tuab": dict(_EDF),
    "tuev": {
        **dict(_EDF[:2]),
        "missing_labels": Fault(_no_labels(".rec"), QUARANTINED, "missing file"),
        "damaged_labels": Fault(_bad_labels, QUARANTINED, "is not channel 0 to 21"),
        **dict(_EDF[2:]),
    },
    "tusl": {
        **dict(_EDF[:2]),
        "missing_labels": Fault(_no_labels(".csv", ".tse"), QUARANTINED, "missing file"),
        "unknown_label": Fault(_unknown_label, QUARANTINED, "'fnsz' is none of"),
        "damaged_labels": Fault(_bad_labels, QUARANTINED, r"line \d+"),
        **dict(_EDF[2:]),
    },
    "chb_mit": {
        **dict(_EDF[:2]),
        "not_in_summary": Fault(_not_in_summary, QUARANTINED, "does not name it"),
        **dict(_EDF[2:]),
    },
    "braincapture": dict(_EDF),
    "eegmat": dict(_EDF),
}
ARCHIVES = {
    "tuab": tuab,
    "tuev": tuev,
    "tusl": tusl,
    "chb_mit": chb_mit,
    "braincapture": braincapture,
    "eegmat": eegmat,
}
FINISH = {"braincapture": finish_braincapture, "eegmat": finish_eegmat}
"""What is written when all recordings are."""
