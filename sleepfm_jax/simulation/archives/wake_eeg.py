"""Simulated archives of labelled wake EEG: TUAB, TUEV, TUSL, CHB-MIT, and a folder with a table."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sleepfm_jax.recordings.labels.intervals import REC_LABELS, TCP_MONTAGE
from sleepfm_jax.simulation.archives.faults import QUARANTINED
from sleepfm_jax.simulation.archives.wake_files import EDF_FAULTS, Fault, write_edf, write_whole
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.clinical import add_finding, background

_KEY = 11  # first element of every random key; the ECG archives have 12


@dataclasses.dataclass(frozen=True)
class Written:
    """One recording on disk, and what a build should make of it: a row of truth.csv."""

    path: str  # in the build report
    subject: str  # the person
    split: str  # train or test where the archive says so, else ""
    clips: tuple[tuple[str, int], ...]  # labelled clips of each class


TUH_SITES = {
    "FP1": "Fp1", "FP2": "Fp2", "F3": "F3", "F4": "F4", "C3": "C3", "C4": "C4", "P3": "P3",
    "P4": "P4", "O1": "O1", "O2": "O2", "F7": "F7", "F8": "F8", "T3": "T7", "T4": "T8",
    "T5": "P7", "T6": "P8", "A1": "A1", "A2": "A2", "FZ": "Fz", "CZ": "Cz", "PZ": "Pz",
}  # fmt: skip
"""What TUH calls the electrodes, and what they are called now."""
_CHB_PAIRS = (
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
    t = np.arange(samples) / sfreq
    heart = 400 * np.exp(-0.5 * (((t * rng.uniform(1.0, 1.4)) % 1 - 0.5) / 0.012) ** 2)
    photic, trend = np.zeros(samples), np.zeros(samples)
    photic[:: 2 * sfreq] = 100
    labels = [f"EEG {name}-{suffix}" for name in TUH_SITES]
    labels += [f"EEG EKG1-{suffix}", f"PHOTIC-{suffix}", "IBI"]
    write_edf(path, labels, np.vstack([eeg, heart, photic, trend]), sfreq, subject=subject)


# --- TUAB -----------------------------------------------------------------------------------------


def tuab(tree: Path, index: int, seed: int) -> list[Written]:
    """One person of TUAB; every fifth is in eval, every fourth of the others has two sessions.

    Abnormal: slow background, and slowing on one side.
    """
    subject, official = tuh_id(index), "eval" if index % 5 == 4 else "train"
    written = []
    for session in range(2 if official == "train" and index % 4 == 1 else 1):
        label = ("normal", "abnormal")[(index // 5 + index + session) % 2]
        rng = sn.generator(_KEY, 1, seed, index, session)
        sfreq, seconds = (250, 256, 512)[index % 3], 130
        slow = 0.9 if label == "abnormal" else 0.0
        sites = tuple(TUH_SITES.values())
        eeg = background(rng, sites, seconds * sfreq, sfreq, slow)
        if label == "abnormal":
            at = ("T7", "T8")[int(rng.integers(2))]
            for start in range(5, seconds - 10, 20):
                add_finding(rng, eeg, sites, sfreq, "slowing", start, start + 8, at)
        path = f"edf/{official}/{label}/01_tcp_ar/{subject}_s{session + 1:03d}_t000.edf"
        _tuh_file(tree / path, rng, eeg, sfreq, subject, "REF")
        split = "test" if official == "eval" else "train"
        written.append(Written(path, subject, split, ((label, seconds // 60),)))
    return written


# --- TUEV -----------------------------------------------------------------------------------------


def tuev(tree: Path, index: int, seed: int) -> list[Written]:
    """One recording of TUEV and its `.rec`; every third person is in eval.

    An event takes 1 s and is marked on one to three channels, a line each; the first and the last
    one lie at the recording's very ends.
    """
    rng = sn.generator(_KEY, 2, seed, index)
    sfreq, seconds = 250, 60
    sites = tuple(TUH_SITES.values())
    eeg = background(rng, sites, seconds * sfreq, sfreq)
    codes = list(REC_LABELS)
    lines, counts = [], Counter()
    for number, start in enumerate((0, *range(4, seconds - 6, 4), seconds - 1)):
        code = codes[(number + index) % len(codes)]
        channel = int(rng.integers(len(TCP_MONTAGE)))
        at = TUH_SITES[TCP_MONTAGE[channel].split("-")[0]]
        add_finding(rng, eeg, sites, sfreq, REC_LABELS[code], start, start + 1, at)
        for line in range(int(rng.integers(1, 4))):
            marked = (channel + line) % len(TCP_MONTAGE)
            lines.append(f"{marked},{start}.0,{start + 1}.0,{code}")
            counts[REC_LABELS[code]] += 1
    if index % 3 == 2:  # eval: a folder a person, files named after a class
        subject, split = f"{index:03d}", "test"
        path = f"edf/eval/{subject}/{REC_LABELS[codes[index % 6]]}_{subject}_a_.edf"
    else:
        subject, split = tuh_id(index), "train"
        path = f"edf/train/{subject}/{subject}_00000001.edf"
    _tuh_file(tree / path, rng, eeg, sfreq, subject, "REF")
    write_whole((tree / path).with_suffix(".rec"), ("\n".join(lines) + "\n").encode())
    return [Written(path, subject, split, tuple(sorted(counts.items())))]


# --- TUSL -----------------------------------------------------------------------------------------

_TUSL_CODES = {"complex_background": "bckg", "seizure": "seiz", "slowing": "slow"}


def tusl(tree: Path, index: int, seed: int) -> list[Written]:
    """One recording of TUSL with a `.csv`, or for every third person a `.tse`.

    Every minute holds one 10-s event or none; the last 10 s of the recording are no whole clip.
    """
    rng = sn.generator(_KEY, 3, seed, index)
    sfreq, minutes, subject = (250, 256)[index % 2], 3, tuh_id(index)
    sites = tuple(TUH_SITES.values())
    eeg = background(rng, sites, (60 * minutes + 10) * sfreq, sfreq)
    kinds = ("complex_background", "seizure", "slowing", "normal")
    suffix = "LE" if index % 4 == 3 else "REF"
    counts: Counter[str] = Counter()
    csv_lines = ["# version = csv_v1.0.0", "# duration = 190.00 secs"]
    csv_lines += ["#", "channel,start_time,stop_time,label,confidence"]
    tse_lines = ["version = tse_v1.0.0", ""]
    for minute in range(minutes):
        kind = kinds[(minute + index) % 4]
        counts[kind] += 1
        if kind == "normal":
            continue
        start = 60 * minute + float(rng.integers(2, 48))
        add_finding(rng, eeg, sites, sfreq, kind, start, start + 10, ("T7", "T8")[minute % 2])
        code = _TUSL_CODES[kind]
        for channel in TCP_MONTAGE[: 1 + minute]:  # the same event, marked on each channel
            csv_lines.append(f"{channel},{start:.4f},{start + 10:.4f},{code},1.0000")
        tse_lines.append(f"{start:.4f} {start + 10:.4f} {code} 1.0000")
    folder = f"edf/{subject}/s001_2010/{'02_tcp_le' if suffix == 'LE' else '01_tcp_ar'}"
    path = f"{folder}/{subject}_s001_t000.edf"
    _tuh_file(tree / path, rng, eeg, sfreq, subject, suffix)
    kind, lines = (".tse", tse_lines) if index % 3 == 2 else (".csv", csv_lines)
    write_whole((tree / path).with_suffix(kind), ("\n".join(lines) + "\n").encode())
    return [Written(path, subject, "", tuple(sorted(counts.items())))]


# --- CHB-MIT --------------------------------------------------------------------------------------


def chb_mit(tree: Path, index: int, seed: int) -> list[Written]:
    """One child's case or cases: the first child has two, chb01 and chb21.

    Of each case's two recordings of 250 s, the second has a seizure: within one minute, over two,
    or one that merely touches a minute, which then is no clip of either class.
    """
    person = f"chb{index + 1 + (index >= 20):02d}"
    written = []
    for case in (person, "chb21") if index == 0 else (person,):
        summary = ["Data Sampling Rate: 256 Hz", "*************************", ""]
        summary += ["Channels in EDF Files:", "**********************"]
        summary += [f"Channel {i}: {label}" for i, label in enumerate(_CHB_PAIRS, 1)]
        for number in (1, 2):
            key = (_KEY, 4, seed, index, int(case[3:]), number)
            name = f"{case}_{number:02d}.edf"
            seizure, counts = None, {"no_seizure": 4}
            if number == 2:
                seizure, counts = (
                    ((70, 100), {"no_seizure": 3, "seizure": 1}),
                    ((80, 165), {"no_seizure": 2, "seizure": 2}),
                    ((105, 155), {"no_seizure": 2, "seizure": 1}),
                )[(index + int(case[3:])) % 3]
            _chb_file(tree / case / name, sn.generator(*key), case, seizure, dashes=number == 2)
            summary += ["", f"File Name: {name}", f"File Start Time: 1{number}:42:54"]
            summary += [f"File End Time: 1{number}:47:04"]
            summary += [f"Number of Seizures in File: {int(seizure is not None)}"]
            if seizure is not None:
                ordinal = " 1" if index % 2 else ""
                summary += [f"Seizure{ordinal} Start Time: {seizure[0]} seconds"]
                summary += [f"Seizure{ordinal} End Time: {seizure[1]} seconds"]
            written.append(Written(f"{case}/{name}", person, "", tuple(sorted(counts.items()))))
        write_whole(tree / case / f"{case}-summary.txt", ("\n".join(summary) + "\n").encode())
    return written


def _chb_file(
    path: Path,
    rng: np.random.Generator,
    case: str,
    seizure: tuple[int, int] | None,
    dashes: bool,
) -> None:
    sfreq, seconds = 256, 250
    now = {**{old: new for old, new in TUH_SITES.items() if old not in ("A1", "A2")}}
    now |= {"T7": "T7", "T8": "T8", "P7": "P7", "P8": "P8", "FT9": "FT9", "FT10": "FT10"}
    sites = tuple(dict.fromkeys(now.values()))
    eeg = background(rng, sites, seconds * sfreq, sfreq)
    if seizure is not None:
        add_finding(rng, eeg, sites, sfreq, "seizure", *seizure, "T7")
    rows = dict(zip(sites, eeg))
    labels, signals = list(_CHB_PAIRS), []
    for first, second in (pair.split("-") for pair in _CHB_PAIRS):
        signals.append(rows[now[first]] - rows[now[second]])
    if dashes:  # channels of the amplifier that nothing was plugged into
        labels = [*labels[:5], "-", *labels[5:], "-"]
        signals = [*signals[:5], np.zeros_like(signals[0]), *signals[5:], np.zeros_like(signals[0])]
    write_edf(path, labels, np.array(signals), sfreq, subject=case, limit=800.0)


# --- a folder with a table ------------------------------------------------------------------------


def braincapture(tree: Path, index: int, seed: int) -> list[Written]:
    """One person's recording of 120 s, normal or abnormal; the table is written last."""
    rng = sn.generator(_KEY, 5, seed, index)
    label, subject = ("normal", "abnormal")[index % 2], f"bc{index:04d}"
    sites = tuple(site for site in TUH_SITES.values() if site not in ("A1", "A2"))
    eeg = background(rng, sites, 120 * 256, 256, slow=0.9 * (label == "abnormal"))
    if label == "abnormal":
        for start in range(4, 110, 11):
            add_finding(rng, eeg, sites, 256, "spsw", start, start + 1, "T8")
    path = f"{subject}.edf"
    write_edf(tree / path, [f"EEG {site}-Ref" for site in sites], eeg, 256, subject=subject)
    return [Written(path, subject, "", ((label, 2),))]


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
    rng = sn.generator(_KEY, 6, seed, index)
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
            code = next(code for code in _TUSL_CODES.values() if code in text)
            labels.write_text(text.replace(code, "fnsz"))


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
