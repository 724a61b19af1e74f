"""Files damaged on their way: none is read as data without a word that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.recordings.transfer import refuse_text, surplus_hint, zeros_at_the_end
from tests.helpers import broken_files
from tests.recordings.formats.test_gdf import gdf

SECONDS, RATES = 20, {"C3-M2": 100, "ECG": 128, "Abdo": 16}


def traces(seed: int) -> dict[str, np.ndarray]:
    """Noise around zero, of another size for each seed."""
    rng = np.random.default_rng(seed)
    return {
        label: rng.normal(0, 10.0 ** (seed % 3), SECONDS * rate) for label, rate in RATES.items()
    }


def edf(folder: Path, seed: int, kind: str) -> Path:
    signal = edfio.BdfSignal if kind == "bdf" else edfio.EdfSignal
    signals = [
        signal(values, RATES[label], label=label, physical_dimension="uV")
        for label, values in traces(seed).items()
    ]
    notes = [edfio.EdfAnnotation(4.0 * i, 4.0, "Sleep stage W") for i in range(5)]
    path = folder / f"night.{kind[:3]}"
    (edfio.Bdf if kind == "bdf" else edfio.Edf)(
        signals, annotations=notes if kind != "edf" else None, data_record_duration=1
    ).write(path)
    return path


def general(folder: Path, seed: int) -> Path:
    events = [(250, 0x0300, 100), (40, 0x0410, 0)] if seed % 2 else ()
    gdf(folder / "night.gdf", [("C3", 500, 3), ("ECG", 1000, 3)], "2.20", events=events)
    return folder / "night.gdf"


def exam(folder: Path, seed: int) -> Path:
    broken_files.write_wfdb(folder, "exam", ("16", "212")[seed % 2])
    return folder / "exam.dat"


WRITE: dict[str, Callable[[Path, int], Path]] = {
    "EDF": lambda folder, seed: edf(folder, seed, "edf"),
    "EDF+": lambda folder, seed: edf(folder, seed, "edf+"),
    "BDF": lambda folder, seed: edf(folder, seed, "bdf"),
    "GDF": general,
    "WFDB": exam,
}


def as_utf8(raw: bytes, seed: int) -> bytes:
    if seed % 2:
        return raw.decode("latin-1").encode()
    return raw.decode("ascii", errors="replace").encode()


# What happens on the way, and words of which one must be said.
FAULTS: dict[str, tuple[Callable[[bytes, int], bytes], tuple[str, ...]]] = {
    "CRLF": (lambda raw, seed: raw.replace(b"\n", b"\r\n"), ("became CR LF",)),
    "UTF-8": (as_utf8, ("became EF BF BD", "became two bytes of UTF-8")),
    "truncated": (lambda raw, seed: raw[: len(raw) * (seed + 3) // 12], ("truncated", "complete")),
    "padded": (lambda raw, seed: raw + bytes(1 + 4096 * seed), ("all of them zero",)),
    "joined": (lambda raw, seed: raw + raw, ("not read",)),
    "filled up": (
        lambda raw, seed: raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2),
        ("nothing but zeros",),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_damaged_file_is_read_without_a_word(tmp_path: Path, fault: str):
    """40 files of five formats; sound, they are read without any."""
    damage, words = FAULTS[fault]
    for kind, write in WRITE.items():
        for seed in range(8):
            folder = tmp_path / f"{kind}{seed}"
            folder.mkdir()
            path = write(folder, seed)
            sound = read_recording(path, subject="s")
            said = " ".join([*sound.notes, *(n for c in sound.channels for n in c.notes)])
            assert not any(word in said for words in FAULTS.values() for word in words[1]), said
            path.write_bytes(damage(path.read_bytes(), seed))
            try:
                said = "; ".join(read_recording(path, subject="s").notes)
            except RecordingError as error:
                said = str(error)
            else:
                assert fault not in ("CRLF", "UTF-8"), f"{kind} {seed}: {said}"
            assert any(word in said for word in words), f"{kind} {seed}: {said}"


def test_a_flat_trace_of_line_ends_is_sound(tmp_path: Path):
    """2573 is 0D 0A: as many CR LF as there are samples of it, and the size is right."""
    path = tmp_path / "exam.dat"
    rng = np.random.default_rng(0)
    digital = np.stack([np.full(100, 2573), rng.integers(1000, 2000, 100)], axis=1)
    path.write_bytes(digital.astype("<i2").tobytes())
    assert path.read_bytes().count(b"\r\n") >= 100
    refuse_text(path, 400)
    with pytest.raises(RecordingError, match="became CR LF"):
        path.write_bytes(path.read_bytes() + b"\x0d")
        refuse_text(path, 400)


def test_line_ends_across_blocks(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 65_535 + b"\r\n" + b"\xff" * 9)
    with pytest.raises(RecordingError, match=r"CR LF \(1 of them\), and the file is 1 bytes"):
        refuse_text(path, path.stat().st_size - 1)
    path.write_bytes(b"x" * 65_536 + b"\n" + b"\xff" * 9)
    refuse_text(path, path.stat().st_size - 1)


def test_the_end_of_a_file(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"head" + bytes(100_000))
    assert zeros_at_the_end(path, 0, 100_004) == 100_000
    assert zeros_at_the_end(path, 50_000, 90_000) == 40_000
    assert zeros_at_the_end(path, 0, 3) == 0
    assert "filled up" in surplus_hint(path, 4)
    assert "joined" in surplus_hint(path, 0, b"head")
    assert surplus_hint(path, 0) == ""


def test_annotations_that_nobody_can_read(tmp_path: Path):
    """Bytes lost, so that neither size nor line ends tell: the clock of EDF+ does."""
    raw = edf(tmp_path, 0, "edf+").read_bytes()
    path = tmp_path / "lost.edf"
    begin = int(raw[184:192])
    rng = np.random.default_rng(0)
    noise = rng.integers(1, 255, len(raw) - begin, dtype=np.uint8)
    noise[::7] = 0
    path.write_bytes(raw[:begin] + noise.tobytes())
    with pytest.raises(RecordingError, match="no data record has a readable time, and"):
        read_recording(path, subject="s")


@pytest.mark.real
def test_damaged_files_of_an_archive(shared: Path, tmp_path: Path):
    folder = shared / "data" / "archives" / "eegmmidb_damaged"
    for path in sorted(folder.glob("*.edf")):
        with pytest.raises(RecordingError, match="CR LF" if "crlf" in path.name else "EF BF BD"):
            read_recording(path, subject="s")
    sound = shared / "data" / "formats" / "edfplus" / "eegmmidb_S001R02.edf"
    assert read_recording(sound, subject="s").notes == []
    shutil.copy(sound, tmp_path / "sound.edf")
    with (tmp_path / "sound.edf").open("ab") as file:
        file.write(bytes(6000))
    assert "all of them zero" in read_recording(tmp_path / "sound.edf", subject="s").notes[0]
