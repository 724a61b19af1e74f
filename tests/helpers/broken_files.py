"""Small sound files of every format, and the ways in which `fuzz_readers.py` damages them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path

import edfio
import h5py
import numpy as np

from tests.helpers.mne_files import write_brainvision, write_eeglab

RECORDS, RATES = 20, {"C3-M2": 100, "ECG": 128, "Abdo": 10}
STAGES = ("W", "N1", "N2", "N3", "R")
Mutation = Callable[[bytes, np.random.Generator], bytes]


# --- sound files ----------------------------------------------------------------------------------


def write_edf(path: Path, bdf: bool = False, records: int = RECORDS) -> Path:
    rng = np.random.default_rng(0)
    kind = edfio.BdfSignal if bdf else edfio.EdfSignal
    signals = [
        kind(rng.normal(size=records * rate), rate, label=label, physical_dimension="uV")
        for label, rate in RATES.items()
    ]
    annotations = [edfio.EdfAnnotation(4.0 * i, 4.0, f"Sleep stage {STAGES[i]}") for i in range(5)]
    file = (edfio.Bdf if bdf else edfio.Edf)(
        signals,
        annotations=annotations,
        data_record_duration=1,
        starttime=datetime.time(22, 0),
        recording=edfio.Recording(startdate=datetime.date(2020, 1, 2)),
    )
    file.write(path)
    return path


def write_discontinuous_edf(path: Path) -> Path:
    """Records 10 to 19 begin 90 s late; the field keeps its width."""
    raw = write_edf(path).read_bytes()
    for i in range(10, RECORDS):
        raw = raw.replace(f"+{i}\x14\x14".encode(), f"+{i - 10 + 30}\x14\x14".encode())
    path.write_bytes(raw[:192] + b"EDF+D" + raw[197:])
    return path


def write_wfdb(folder: Path, name: str, fmt: str = "16") -> Path:
    rng = np.random.default_rng(1)
    digital = rng.integers(-2000, 2000, (1250, 3))
    if fmt == "212":
        low, high = digital.reshape(-1, 2).T & 0xFFF
        triples = np.stack([low & 255, (low >> 8) | (high >> 8 << 4), high & 255], axis=1)
        raw = triples.astype(np.uint8).tobytes()
    else:
        raw = digital.astype("<i2").tobytes()
    (folder / f"{name}.dat").write_bytes(raw)
    lines = [f"{name} 3 125 1250 22:00:00 02/01/2020"]
    for i, label in enumerate(("II", "RESP,", "C3-M2")):
        check = int(digital[:, i].sum()) % 65536
        lines.append(f"{name}.dat {fmt} 200(3)/mV 12 0 {digital[0, i]} {check} 0 {label}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n# Age: 60\n")
    return folder / f"{name}.hea"


def write_segments(folder: Path) -> Path:
    for name in ("part_1", "part_2"):
        write_wfdb(folder, name)
    lines = ["whole/3 3 125 2750", "part_1 1250", "~ 250", "part_2 1250"]
    (folder / "whole.hea").write_text("\n".join(lines) + "\n")
    return folder / "whole.hea"


def write_annotations(path: Path) -> Path:
    """Stages every 60 s at 200 Hz, and arousals, as CinC 2018 writes them."""
    notes = []
    for i, stage in enumerate(STAGES):
        notes += [(12_000 * i, stage), (12_000 * i + 700, "(arousal_rera")]
        notes.append((12_000 * i + 1500, "arousal_rera)"))
    path.write_bytes(annotation_bytes(notes))
    path.with_suffix(".hea").write_text(f"{path.stem} 1 200 60000\n{path.stem}.mat 16 1 16 0\n")
    return path


def annotation_bytes(notes: list[tuple[int, str]]) -> bytes:
    """WFDB annotations (sample, note), all of code 22, a note."""
    raw, now = b"", 0
    for sample, note in notes:
        step, now = sample - now, sample
        skip = step.to_bytes(4, "little")
        raw += b"\x00\xec" + skip[2:] + skip[:2] if step > 1023 else b""
        raw += (22 << 10 | (0 if step > 1023 else step)).to_bytes(2, "little")
        text = note.encode()
        raw += (63 << 10 | len(text)).to_bytes(2, "little") + text + b"\x00" * (len(text) % 2)
    return raw + b"\x00\x00"


def nsrr_xml(stages: list[tuple[str, float, float]]) -> str:
    events = "".join(
        f"<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>{stage}</EventConcept>"
        f"<Start>{start}</Start><Duration>{length}</Duration></ScoredEvent>\n"
        for stage, start, length in stages
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnnotation>\n'
        "<SoftwareVersion>Compumedics</SoftwareVersion><EpochLength>30</EpochLength>\n"
        "<ScoredEvents><ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept>"
        "<Start>0</Start><Duration>300</Duration><ClockTime>00.00.00 22.00.00</ClockTime>"
        "</ScoredEvent>\n<ScoredEvent><EventType>Respiratory|Respiratory</EventType>"
        "<EventConcept>Hypopnea|Hypopnea</EventConcept><Start>33.5</Start><Duration>12.1</Duration>"
        f"<SignalLocation>AIRFLOW</SignalLocation></ScoredEvent>\n{events}"
        "</ScoredEvents></PSGAnnotation>\n"
    )


def profusion_xml(numbers: list[int]) -> str:
    return (
        '<?xml version="1.0"?>\n<CMPStudyConfig><EpochLength>30</EpochLength><ScoredEvents>'
        "<ScoredEvent><Name>Arousal ()</Name><Start>61.2</Start><Duration>9</Duration>"
        "<Input>EEG</Input></ScoredEvent></ScoredEvents><SleepStages>\n"
        + "\n".join(f"<SleepStage>{n}</SleepStage>" for n in numbers)
        + "\n</SleepStages></CMPStudyConfig>\n"
    )


def rml(stages: list[tuple[str, float]], start: str = "2020-01-02T22:00:00") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<PatientStudy xmlns="http://www.respironics.com/PatientStudy.xsd"><Acquisition><Sessions>'
        f"<Session><RecordingStart>{start}</RecordingStart><Duration>300</Duration></Session>"
        "</Sessions></Acquisition><ScoringData><Events>"
        '<Event Family="Respiratory" Type="ObstructiveApnea" Start="45.5" Duration="13" />'
        "</Events><StagingData><UserStaging><NeuroAdultAASMStaging>\n"
        + "\n".join(f'<Stage Type="{kind}" Start="{at}" />' for kind, at in stages)
        + "\n</NeuroAdultAASMStaging></UserStaging></StagingData></ScoringData></PatientStudy>\n"
    )


def write_others(folder: Path) -> dict[str, tuple[Path, ...]]:
    """BrainVision, EEGLAB and HDF5 recordings: 20 s of EEG and ECG."""
    rng = np.random.default_rng(2)
    signals = {label: rng.normal(0, 50, 2000) for label in ("C3-M2", "ECG")}
    vhdr, hdf5 = folder / "v.vhdr", folder / "h.h5"
    markers = [("Comment", "Sleep stage N2", 1, 1), ("Stimulus", "S  1", 500, 1)]
    write_brainvision(vhdr, {k: ("µV", v) for k, v in signals.items()}, 100.0, markers)
    # SciPy's reader dies of some damage to the structure, of which a file with samples has little.
    write_eeglab(folder / "s.set", signals, 100.0, [("N2", 1, 1000.0), ("boundary", 10.5, 0.0)])
    with h5py.File(hdf5, "w") as file:
        for label, values in signals.items():
            file[label] = values
            file[label].attrs["fs"] = 100.0
    parts = [vhdr.with_suffix(suffix) for suffix in (".eeg", ".vmrk")]
    return {
        "brainvision header": (vhdr, *parts),
        "eeglab": (folder / "s.set", folder / "s.fdt"),
        "hdf5": (hdf5,),
    }


def write_sound_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Kind -> the file to damage and open, then the others that it needs."""
    words = ("Wake|0", "Stage 1 sleep|1", "Stage 2 sleep|2", "Stage 4 sleep|4", "REM sleep|5")
    texts = {
        "nsrr": nsrr_xml([(word, 60.0 * i, 60.0) for i, word in enumerate(words)]),
        "profusion": profusion_xml([0, 0, 1, 2, 2, 3, 4, 5, 9, 6]),
        "rml": rml([("Wake", 0), ("NonREM2", 60), ("REM", 150), ("NotScored", 270)]),
    }
    for name, text in texts.items():
        (folder / f"{name}.xml").write_text(text)
    wfdb = {name: write_wfdb(folder, name, fmt) for name, fmt in (("w16", "16"), ("w212", "212"))}
    segments = write_segments(folder)
    arousal = write_annotations(folder / "stages.arousal")
    parts = [folder / f"part_{i}.{ending}" for i in (1, 2) for ending in ("hea", "dat")]
    return {
        "edf": (write_edf(folder / "a.edf"),),
        "edf+d": (write_discontinuous_edf(folder / "d.edf"),),
        "bdf": (write_edf(folder / "b.bdf", bdf=True),),
        "wfdb header": (wfdb["w16"], folder / "w16.dat"),
        "wfdb 212 header": (wfdb["w212"], folder / "w212.dat"),
        "wfdb samples": (folder / "w212.dat", wfdb["w212"]),
        "wfdb segments": (segments, *parts),
        "wfdb stages": (arousal, arousal.with_suffix(".hea")),
        **{name: (folder / f"{name}.xml",) for name in texts},
        **write_others(folder),
    }


def real_files(paths: list[Path]) -> dict[str, tuple[Path, ...]]:
    """`write_sound_files` of files that are there already: EDF, BDF, WFDB headers, XML."""
    sound = {}
    for path in paths:
        kind = {".edf": "edf", ".bdf": "bdf", ".hea": "wfdb header"}.get(path.suffix, "nsrr")
        siblings = sorted(path.parent.glob(f"{path.stem}.*")) if path.suffix == ".hea" else []
        sound[f"{kind} of {path.name}"] = (path, *(p for p in siblings if p != path))
    return sound


# --- damage ---------------------------------------------------------------------------------------

_NUMBERS = (
    *("0", "-1", "1", "7", "255", "65535", "99999999", "-9999999", "1e9", "1e-9", "1e300", "nan"),
    *("inf", "-inf", "", "0.1", "3.0000001", "1,5", "--5", "2147483648", "4294967297", "١٢"),
)


def bit_flips(raw: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(raw)
    # often in the header, where it matters
    end = len(raw) if rng.random() < 0.4 else min(len(raw), 1500)
    for _ in range(rng.integers(1, 40 if len(raw) > 5000 else 4)):
        damaged[rng.integers(end)] ^= 1 << rng.integers(8)
    return bytes(damaged)


def truncation(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: rng.integers(len(raw))]


def splice(raw: bytes, rng: np.random.Generator) -> bytes:
    """A piece is cut out, doubled, or filled with one byte."""
    at, length = int(rng.integers(len(raw))), int(rng.integers(1, 600 if len(raw) > 5000 else 30))
    piece = raw[at : at + length]
    new = (b"", piece * 2, piece[:1] * len(piece))[rng.integers(3)]
    return raw[:at] + new + raw[at + length :]


def numbers(raw: bytes, rng: np.random.Generator) -> bytes:
    """Some numbers in a text become others: lying sizes, absurd rates, -1 of anything."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", raw[:200_000]))
    for _ in range(rng.integers(1, 3)):
        match = found[rng.integers(len(found))]
        value = str(rng.choice(_NUMBERS)).encode()
        raw = raw[: match.start()] + value + raw[match.end() :]
        found = list(re.finditer(rb"-?\d+(?:\.\d+)?", raw[:200_000]))
    return raw


def words(raw: bytes, rng: np.random.Generator) -> bytes:
    """A word of a text is swapped with another: labels twice, elements where they do not belong."""
    found = list(re.finditer(rb"[A-Za-z/]+", raw))
    first, second = sorted(rng.choice(len(found), 2))
    a, b = found[first], found[second]
    if rng.random() < 0.5:
        return raw[: a.start()] + b[0] + raw[a.end() :]
    return raw[: a.start()] + b[0] + raw[a.end() : b.start()] + a[0] + raw[b.end() :]


def _edf_field(raw: bytes, at: int, width: int, value: str) -> bytes:
    return raw[:at] + value.encode()[:width].ljust(width) + raw[at + width :]


def edf_field(raw: bytes, rng: np.random.Generator) -> bytes:
    """Fields of an EDF header: -1 records, records of 0 s, limits swapped, a label twice, lies."""
    told = raw[252:256].strip()
    count = int(told) if told.isdigit() and int(told) else 1
    for _ in range(rng.integers(1, 4)):
        signal = int(rng.integers(count))
        value = str(rng.choice(_NUMBERS))
        choice = rng.integers(8)
        if choice == 0:
            raw = _edf_field(raw, 236, 8, rng.choice(["-1", value]))
        elif choice == 1:
            raw = _edf_field(raw, 244, 8, rng.choice(["0", "0.0000001", "600000", value]))
        elif choice == 2:  # physical or digital limits swapped
            low = 256 + count * (104 if rng.random() < 0.5 else 120) + 8 * signal
            high = low + 8 * count
            a, b = raw[low : low + 8], raw[high : high + 8]
            raw = raw[:low] + b + raw[low + 8 : high] + a + raw[high + 8 :]
        elif choice == 3:  # a label twice, of the annotations too
            other = int(rng.integers(count))
            label = raw[256 + 16 * other : 272 + 16 * other].decode("latin-1")
            raw = _edf_field(raw, 256 + 16 * signal, 16, label)
        elif choice == 4:
            raw = _edf_field(raw, 256 + 216 * count + 8 * signal, 8, value)
        elif choice == 5:  # number of signals and length of the header agree, and lie
            signals = int(rng.integers(0, 9000))
            raw = _edf_field(raw, 252, 4, str(signals))
            raw = _edf_field(raw, 184, 8, str(256 * (signals + 1)))
        elif choice == 6:
            raw = _edf_field(
                raw, 256 + (104 + 8 * int(rng.integers(4))) * count + 8 * signal, 8, value
            )
        else:
            raw = _edf_field(raw, int(rng.choice([168, 176, 184, 236, 244, 252])), 4, value)
    return raw


def edf_onsets(raw: bytes, rng: np.random.Generator) -> bytes:
    """Times of data records and annotations: far away, backwards, no numbers."""
    found = list(re.finditer(rb"\+(\d+(?:\.\d+)?)(?=[\x14\x15])", raw))
    if not found:
        return bit_flips(raw, rng)
    for _ in range(rng.integers(1, 6)):
        match = found[rng.integers(len(found))]
        width = match.end() - match.start()
        value = str(rng.choice(_NUMBERS)).encode()
        # the room of an annotation list grows into the padding behind it
        new = b"+" + value
        raw = raw[: match.start()] + new + raw[match.end() :]
        extra = len(new) - width
        pad = raw.find(b"\x00" * max(extra, 1), match.start())
        if extra > 0 and pad > 0:
            raw = raw[:pad] + raw[pad + extra :]
        found = list(re.finditer(rb"\+(\d+(?:\.\d+)?)(?=[\x14\x15])", raw)) or found
    return raw


_ANY: tuple[Mutation, ...] = (bit_flips, truncation, splice)
_EDF: tuple[Mutation, ...] = (*_ANY, edf_field, edf_field, edf_field, edf_onsets)
_TEXT: tuple[Mutation, ...] = (*_ANY, numbers, numbers, words)


def mutations(kind: str) -> tuple[Mutation, ...]:
    """The ways to damage a file of one kind (`kind`, or `kind of name`)."""
    kind = kind.partition(" of ")[0]
    if kind in ("edf", "edf+d", "bdf"):
        return _EDF
    return _ANY if kind in ("wfdb samples", "wfdb stages", "eeglab", "hdf5") else _TEXT
