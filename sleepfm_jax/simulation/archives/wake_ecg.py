"""Simulated archives of 12-lead ECG: CPSC 2018, G12EC, PTB-XL as WFDB, CODE-15 as HDF5."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sleepfm_jax.recordings.formats.hdf5 import CODE15_LEADS
from sleepfm_jax.simulation.archives.faults import QUARANTINED
from sleepfm_jax.simulation.archives.wake_eeg import Written
from sleepfm_jax.simulation.archives.wake_files import (
    WFDB_FAULTS,
    Fault,
    write_dat,
    write_wfdb,
    write_whole,
)
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.exam import LABELS, SITES, Exam, draw_person, examine, render

_KEY = 12  # first element of every random key
_NUMBER = {"cpsc2018": 1, "g12ec": 2, "ptbxl": 3, "code15": 4}  # the second
LEADS = CODE15_LEADS
# Two spellings of the blocks: of any kind, and complete.
_CODES = {
    "1dAVb": ("270492004",), "RBBB": ("59118001", "713427006"),
    "LBBB": ("164909002", "733534002"), "SB": ("426177001",), "AF": ("164889003",),
    "ST": ("427084000",), "": ("426783006",),
}  # fmt: skip
# Findings that are no class: a ventricular premature beat, an incomplete right bundle block.
_PREMATURE, _INCOMPLETE = "164884008", "713426002"


def exams(
    name: str, index: int, seed: int, rare: float = 1.0
) -> list[tuple[Exam, float, np.random.Generator]]:
    """Exams of person `index` of an archive: latents and labels, length (s), and a stream of random
    numbers from which `exam.render` draws the rest.

    Args:
      rare: labels are as many times as frequent as published.
    """
    site, key = SITES[name], (_KEY, _NUMBER[name], seed, index)
    person = draw_person(sn.generator(*key, 0), site, rare)
    again = {"ptbxl": index % 5 == 2, "code15": index % 4 == 1}.get(name, False)
    found = []
    for visit in range(1 + again):
        rng = sn.generator(*key, 1, visit)
        held = examine(rng, person, site, rare)
        seconds = 10.0
        if name == "cpsc2018":
            seconds = float(rng.integers(7, 25))
        elif name == "g12ec" and index % 5 == 3:
            seconds = 5.0
        elif name == "code15" and rng.random() < 0.2:
            seconds = 7.0
        found.append((held, seconds, rng))
    return found


def _clips(labels: Sequence[str], classes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, 1) for name in classes if name in labels)


def _incomplete(held: Exam) -> bool:
    ill = held.person.pathology
    return ill.bundle == "right" and ill.qrs >= 0.11 and "RBBB" not in held.labels


# --- CinC Challenges ------------------------------------------------------------------------------


def _cinc(tree: Path, name: str, path: str, index: int, seed: int, rare: float, year: int) -> tuple:
    """Writes an exam, and the labels that its site annotates; returns them."""
    [(held, seconds, rng)] = exams(name, index, seed, rare)
    signals = render(rng, held, SITES[name], seconds)
    labels = [label for label in held.labels if label in _ANNOTATED[name]]
    codes = [str(rng.choice(_CODES[label])) for label in labels or ("",)]
    if held.person.pathology.ectopy > 0.05 and not held.fibrillates:
        codes.append(_PREMATURE)
    if _incomplete(held):
        codes.append(_INCOMPLETE)
    write_wfdb(tree / path, LEADS, signals, SITES[name].sfreq, codes, year=year)
    return tuple(labels)


# CPSC 2018 was not annotated for rates.
_ANNOTATED = {"cpsc2018": ("1dAVb", "RBBB", "LBBB", "AF"), "g12ec": LABELS}


def cpsc2018(tree: Path, index: int, seed: int, rare: float = 1.0) -> list[Written]:
    """One exam of 7 to 24 s; every fourth belongs to CPSC-Extra."""
    extra, number = index % 4 == 3, index // 4 if index % 4 == 3 else index - index // 4
    folder, letter = ("cpsc_2018_extra/g1", "Q") if extra else ("cpsc_2018/g1", "A")
    path = f"{folder}/{letter}{number + 1:04d}.hea"
    labels = _cinc(tree, "cpsc2018", path, index, seed, rare, 2020 if extra else 2021)
    return [Written(path, Path(path).stem, "", _clips(labels, LABELS))]


def g12ec(tree: Path, index: int, seed: int, rare: float = 1.0) -> list[Written]:
    """One exam of 10 s; every fifth of 5 s."""
    path = f"WFDB/E{index + 1:05d}.hea"
    labels = _cinc(tree, "g12ec", path, index, seed, rare, 2020)
    return [Written(path, Path(path).stem, "", _clips(labels, LABELS))]


# --- PTB-XL ---------------------------------------------------------------------------------------

_SCP = {"1dAVb": "1AVB", "RBBB": "CRBBB", "LBBB": "CLBBB", "SB": "SBRAD", "AF": "AFIB",
        "ST": "STACH", "IRBBB": "IRBBB", "": "NORM"}  # fmt: skip
_DIAGNOSTIC = {"1AVB": "CD", "CRBBB": "CD", "CLBBB": "CD", "NORM": "NORM", "IRBBB": "CD"}
_RHYTHM = ("SBRAD", "AFIB", "STACH", "SR")


def ptbxl(tree: Path, index: int, seed: int, rare: float = 1.0) -> list[Written]:
    """One patient's exam, or two, at 100 and 500 Hz; their rows are written last."""
    written = []
    for visit, (held, seconds, rng) in enumerate(exams("ptbxl", index, seed, rare)):
        signals = render(rng, held, SITES["ptbxl"], seconds)
        number = 2 * index + visit + 1
        name = f"{number:05d}"
        write_dat(tree / f"records500/00000/{name}_hr.hea", LEADS, signals, 500)
        slow = signals.reshape(12, -1, 5).mean(-1)
        path = f"records100/00000/{name}_lr.hea"
        write_dat(tree / path, LEADS, slow, 100)
        found = (*held.labels, *(("IRBBB",) if _incomplete(held) else ()))
        codes = [_SCP[label] for label in found or ("",)]
        split = ("train", "train", "train", "validation", "test")[index % 5]
        classes = [_DIAGNOSTIC[code] for code in codes if code in _DIAGNOSTIC]
        clips = tuple((c, 1) for c in ("NORM", "CD") if c in classes)
        clips += tuple((label, 1) for label in found)
        written.append(Written(path, f"patient{index + 1}", split, clips))
    return written


def finish_ptbxl(tree: Path, written: list[Written]) -> None:
    """The two tables."""
    rows = []
    for exam in written:
        named = [name for name, _ in exam.clips]
        codes = [_SCP[name] for name in named if name in _SCP] or ["NORM"]
        number = Path(exam.path).stem.split("_")[0]
        fold = {"train": 1 + int(number) % 8, "validation": 9, "test": 10}[exam.split]
        scp = repr({code: 0.0 if code in _RHYTHM else 100.0 for code in codes})
        hr = f"records500/00000/{number}_hr"
        patient = f"{exam.subject.removeprefix('patient')}.0"
        rows.append([int(number), patient, scp, fold, exam.path.removesuffix(".hea"), hr])
    header = ["ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr"]
    _table(tree / "ptbxl_database.csv", header, rows)
    statements = [[code, "1.0", "", cls] for code, cls in _DIAGNOSTIC.items()]
    statements += [[code, "", "1.0", ""] for code in _RHYTHM]
    _table(
        tree / "scp_statements.csv", ["", "diagnostic", "rhythm", "diagnostic_class"], statements
    )


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_whole(path, out.getvalue().encode())


# --- CODE-15 --------------------------------------------------------------------------------------

_PER_FILE = 20  # exams; 20,000 in the archive
_CODE15_ORDER = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")  # of its columns


def code15(tree: Path, index: int, seed: int, rare: float = 1.0) -> list[Written]:
    """One patient's exam, or two, of 10 or 7 s, in a file of many that zeros fill up.

    Exams are written in their patients' order: their number in the file is known from `index`.
    """
    written = []
    for visit, (held, seconds, rng) in enumerate(exams("code15", index, seed, rare)):
        signals = render(rng, held, SITES["code15"], seconds)
        number = 1000 + 10 * index + visit
        part = tree / f".exams/{number}.npy"
        part.parent.mkdir(parents=True, exist_ok=True)
        np.save(part, signals)
        clips = _clips(held.labels, LABELS)
        written.append(Written(f"#{number}", f"patient{index + 1}", "", clips))
    return written


def finish_code15(tree: Path, written: list[Written]) -> list[Written]:
    """Puts the exams into their files and writes exams.csv; returns them with their paths."""
    import h5py  # the only archive that needs it

    done, rows = [], []
    for part, first in enumerate(range(0, len(written), _PER_FILE)):
        chunk = written[first : first + _PER_FILE]
        name = f"exams_part{part}.hdf5"
        tracings = np.zeros((len(chunk) + 1, 4096, 12), np.float32)
        ids = np.zeros(len(chunk) + 1, np.int64)  # the files end with a row of zeros
        for row, held in enumerate(chunk):
            exam = held.path[1:]
            file = tree / f".exams/{exam}.npy"
            signals = np.load(file)
            file.unlink()
            before = (4096 - signals.shape[1]) // 2
            tracings[row, before : before + signals.shape[1]] = signals.T
            ids[row] = int(exam)
            named = [label for label, _ in held.clips]
            truth = [str(label in named) for label in _CODE15_ORDER]
            rows.append([exam, 61, *truth, held.subject.removeprefix("patient"), name])
            done.append(Written(f"{name}#{exam}", held.subject, "", held.clips))
        with h5py.File(tree / name, "w") as file:
            file["exam_id"], file["tracings"] = ids, tracings
    (tree / ".exams").rmdir()
    header = ["exam_id", "age", *_CODE15_ORDER, "patient_id", "trace_file"]
    _table(tree / "exams.csv", header, rows)
    return done


def _code15_exam(change: Callable[[object, int], None]) -> Callable[[Path], None]:
    """A fault of one exam, whose path is that of its file, `#` and its number."""

    def damage(path: Path) -> None:
        import h5py

        name, _, exam = path.name.partition("#")
        with h5py.File(path.with_name(name), "r+") as file:
            change(file, int(np.flatnonzero(file["exam_id"][:] == int(exam))[0]))

    return damage


def _zeros(file, row: int) -> None:
    file["tracings"][row] = 0


def _renumbered(file, row: int) -> None:
    file["exam_id"][row] = 999_999


def _no_numbers(file, row: int) -> None:
    file["tracings"][row, 2000:2100, 3] = np.nan


def _blank_label(path: Path) -> None:
    exam = path.name.partition("#")[2]
    table = path.with_name("exams.csv")
    lines = table.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{exam},"))
    fields = lines[at].split(",")
    fields[2] = "perhaps"
    lines[at] = ",".join(fields)
    table.write_text("\n".join(lines) + "\n")


FAULTS: dict[str, dict[str, Fault]] = {
    "cpsc2018": WFDB_FAULTS,
    "g12ec": WFDB_FAULTS,
    "ptbxl": {kind: f for kind, f in WFDB_FAULTS.items() if kind != "no_diagnosis"},
    "code15": {
        "zeros": Fault(_code15_exam(_zeros), QUARANTINED, "nothing but zeros"),
        "not_in_file": Fault(_code15_exam(_renumbered), QUARANTINED, "holds exam .* 0 times"),
        "no_numbers": Fault(_code15_exam(_no_numbers), "noted", "samples are no numbers"),
        "bad_label": Fault(_blank_label, QUARANTINED, "neither True nor False"),
    },
}
ARCHIVES = {"cpsc2018": cpsc2018, "g12ec": g12ec, "ptbxl": ptbxl, "code15": code15}
FINISH = {"ptbxl": finish_ptbxl, "code15": finish_code15}
