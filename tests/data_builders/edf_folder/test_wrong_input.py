"""Files as clinics hand them out: each beside a good recording, which is built all the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.edf_folder.edf_folder_dataset_builder import Builder
from data_builders.engine import report as build_report
from sleepfm_jax.data.record import decode
from sleepfm_jax.errors import BuildError


@pytest.fixture
def folder(tmp_path, write_edf):
    write_edf(tmp_path / "in" / "good.edf", seconds=60)
    return tmp_path / "in"


def report_of(folder, tmp_path, clip_seconds=30):
    """Builds, checks that the good recording is there, and returns (entries by path, records)."""
    builder = Builder(source=folder, data_dir=tmp_path / "out", sfreq=64, clip_seconds=clip_seconds)
    builder.download_and_prepare()
    report = build_report.load(builder.data_dir)
    entries = {r["path"]: r for r in report["recordings"]}
    found = {}
    for split in builder.info.splits:
        source = tfds.builder_from_directory(builder.data_dir).as_data_source(split)
        for i in range(len(source)):
            r = decode(source[i])
            found.setdefault(r.recording, []).append(r)
    assert entries["good.edf"]["status"] == "built"
    assert len(found["good"]) == entries["good.edf"]["clips"] > 0
    built = [e for e in entries.values() if e["status"] == "built"]
    assert report["totals"]["built"] == len(built)
    assert report["totals"]["quarantined"] == len(entries) - len(built)
    return entries, found


def quarantined(entries, path, word):
    entry = entries[path]
    assert entry["status"] == "quarantined"
    assert word in entry["reason"], entry["reason"]
    assert entry["clips"] == 0


def test_text_named_edf(folder, tmp_path):
    (folder / "notes.edf").write_text("Night of Monday. Slept well.\n" * 40, encoding="utf-8")
    entries, found = report_of(folder, tmp_path)
    quarantined(entries, "notes.edf", "EDF")
    assert set(found) == {"good"}


def test_a_file_of_no_bytes(folder, tmp_path):
    (folder / "nothing.edf").touch()
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "nothing.edf", "empty")


def test_a_file_cut_within_its_header(folder, tmp_path):
    (folder / "cut.edf").write_bytes((folder / "good.edf").read_bytes()[:700])
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "cut.edf", "header")


def test_a_file_cut_within_its_samples_is_listed_with_a_reason_or_a_note(folder, tmp_path):
    data = (folder / "good.edf").read_bytes()
    (folder / "cut.edf").write_bytes(data[: len(data) // 2])
    entries, found = report_of(folder, tmp_path)
    entry = entries["cut.edf"]
    if entry["status"] == "quarantined":
        assert "truncated" in entry["reason"]
    else:
        assert any("truncated" in note for note in entry["notes"]), entry["notes"]
        samples = sum(r.num_samples for r in found["cut"])
        assert 0.8 * 30 * 64 < samples < 30 * 64


def test_channels_that_no_model_reads(folder, tmp_path, write_edf):
    write_edf(folder / "light.edf", labels={"Ambient light": "lx", "Humidity": "%"})
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "light.edf", "no usable channel")
    assert "Ambient light" in entries["light.edf"]["reason"]


def test_only_flat_channels(folder, tmp_path, write_edf):
    write_edf(folder / "unplugged.edf", labels={"EEG C3-M2": "uV"}, flat="EEG C3-M2")
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "unplugged.edf", "no usable channel")


def test_one_flat_channel_is_kept_and_masked(folder, tmp_path, write_edf):
    write_edf(folder / "loose.edf", flat="ECG")
    entries, found = report_of(folder, tmp_path)
    channel = next(c for c in entries["loose.edf"]["channels"] if c["label"] == "ECG")
    assert any("no spread" in note for note in channel["notes"])
    for r in found["loose"]:
        assert not r.valid()[r.channel_labels.index("ECG")].any()
        assert r.valid()[0, : r.num_samples].all()


def test_two_channels_of_one_name(folder, tmp_path, write_edf):
    write_edf(folder / "twice.edf", labels=[("EEG C3-M2", "uV"), ("EEG C3-M2", "uV")])
    entries, found = report_of(folder, tmp_path)
    notes = [c["notes"] for c in entries["twice.edf"]["channels"]]
    assert len(notes) == 2
    assert all(any("2 channels are called" in note for note in n) for n in notes)
    assert found["twice"][0].signals.shape[0] == 2


def test_a_pause_in_an_edf_plus_d_file(folder, tmp_path, write_edf):
    """Data records of one second at 0…19 s and, after a pause, at 45…84 s."""
    write_edf(folder / "pause.edf", seconds=60)
    make_discontinuous(folder / "pause.edf", [*range(20), *range(45, 85)])
    entries, found = report_of(folder, tmp_path)
    assert entries["pause.edf"]["status"] == "built"
    clips = found["pause"]
    valid = np.concatenate([r.valid()[0] for r in clips])
    assert valid[: 19 * 64].all()
    assert not valid[21 * 64 : 44 * 64].any()
    assert valid[46 * 64 : 84 * 64].all()
    assert [r.num_samples for r in clips] == [1920, 1920, 25 * 64]


def make_discontinuous(path, onsets):
    """Marks an EDF file of one-second data records EDF+D and gives each record its onset."""
    data = path.read_bytes()
    signals = int(data[252:256])
    header_bytes = 256 * (signals + 1)
    fields = [16, 80, 8, 8, 8, 8, 8, 80, 8, 32]
    values = ["EDF Annotations", "", "", "-1", "1", "-32768", "32767", "", "20", ""]
    out = bytearray(data[:256])
    out[184:192] = f"{256 * (signals + 2):<8}".encode()
    out[192:236] = f"{'EDF+D':<44}".encode()
    out[252:256] = f"{signals + 1:<4}".encode()
    samples, at = 0, 256
    for size, value in zip(fields, values):
        column = data[at : at + size * signals]
        out += column + f"{value:<{size}}".encode()
        if size == 8 and value == "20":
            samples = sum(int(column[i : i + 8]) for i in range(0, len(column), 8))
        at += size * signals
    body = data[header_bytes:]
    for i, onset in enumerate(onsets):
        out += body[i * samples * 2 : (i + 1) * samples * 2]
        out += f"+{onset}\x14\x14\x00".encode().ljust(40, b"\x00")
    path.write_bytes(bytes(out))


def test_a_clip_longer_than_the_recording(folder, tmp_path):
    entries, found = report_of(folder, tmp_path, clip_seconds=300)
    assert any("shorter than a clip" in note for note in entries["good.edf"]["notes"])
    (r,) = found["good"]
    assert r.signals.shape[1] == 300 * 64
    assert r.num_samples == 60 * 64
    assert r.valid().sum(axis=1).tolist() == [60 * 64] * 4


def test_a_hypnogram_that_is_not_one(folder, tmp_path, write_edf):
    write_edf(folder / "odd.edf")
    (folder / "odd-Hypnogram.edf").write_bytes(b"\x00" * 300)
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "odd.edf", "odd-Hypnogram.edf")


def test_a_reader_that_fails_in_an_unforeseen_way_stops_nothing(
    folder, tmp_path, monkeypatch, write_edf
):
    from data_builders.edf_folder import edf_folder_dataset_builder

    write_edf(folder / "bad.edf")
    real = edf_folder_dataset_builder.read_recording

    def failing(path, **kwargs):
        if path.name == "bad.edf":
            raise ZeroDivisionError("a header of zero records")
        return real(path, **kwargs)

    monkeypatch.setattr(edf_folder_dataset_builder, "read_recording", failing)
    entries, _ = report_of(folder, tmp_path)
    quarantined(entries, "bad.edf", "ZeroDivisionError: a header of zero records")


def test_nothing_but_bad_files_is_an_error_that_lists_them(program, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "nothing.edf").touch()
    (folder / "notes.edf").write_text("no EDF", encoding="utf-8")
    with pytest.raises(BuildError, match="none of the 2 recordings could be built"):
        Builder(source=folder, data_dir=tmp_path / "out").download_and_prepare()
    done = program(
        "launch.build",
        "--dataset=edf_folder",
        f"--source={folder}",
        f"--data_dir={tmp_path / 'out'}",
        "--num_workers=0",
    )
    assert done.returncode == BuildError.exit_code
    assert done.stderr.startswith("BuildError: ")
    assert "none of the 2 recordings could be built" in done.stderr
    assert "notes.edf" in done.stderr
    assert "nothing.edf" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out" / "edf_folder").iterdir()) == []
