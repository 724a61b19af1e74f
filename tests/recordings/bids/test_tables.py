"""Tables of BIDS: cells, and what `channels.tsv` does to channels."""

from __future__ import annotations

from pathlib import Path

import edfio
import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.bids.tables import (
    add_channel_table,
    parse_table,
    read_channel_table,
    read_table,
)
from sleepfm_jax.recordings.read import read_recording
from sleepfm_jax.recordings.recording import Channel, Recording


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join("\t".join(row.split("|")) for row in rows) + "\n", encoding="utf-8")
    return path


def recording(*channels: Channel, seconds: float = 120.0) -> Recording:
    return Recording("a.edf", "s", "a", None, seconds, list(channels), [], None)


def channel(label: str, modality: str) -> Channel:
    return Channel(label, label, modality, 2.0, "uV", np.arange(240, dtype=np.float32))


def test_cells():
    table = parse_table('a\tB\tc\r\n1\tn/a\t"x y"\r\n\r\n2\r\n5" wide\tN/A\t3\t\r\n')
    assert table.columns == ("a", "B", "c")
    assert table.rows == (
        (2, {"a": "1", "B": "", "c": "x y"}),
        (4, {"a": "2", "B": "", "c": ""}),
        (5, {"a": '5" wide', "B": "", "c": "3"}),
    )
    assert table.column("b") == "B"
    assert table.column("d") is None
    assert parse_table("\n\n").columns == ()
    for text, words in (("a\ta\n", "two columns are called 'a'"), ("a\n1\t2\n", "line 2 has 2")):
        with pytest.raises(ValueError, match=words):
            parse_table(text)


def test_channels(tmp_path: Path):
    table = read_channel_table(
        written(
            tmp_path / "channels.tsv",
            "name|type|units|status|status_description",
            "C3|ECG|V|good|n/a",
            "box 1|VEOG|V|bad|fell off",
            "EMG7|EMG|V|BAD|n/a",
            "lost|EEG|V|good|n/a",
            "out|EEG|V|good|n/a",
            "trigger|TRIG|V|bad|n/a",
        )
    )
    assert table.modalities == {
        "C3": "ecg",
        "box 1": "bas",
        "EMG7": "emg",
        "lost": "bas",
        "out": "bas",
    }
    night = recording(
        channel("C3", "bas"),
        channel("Box 1", "bas"),
        channel("EMG7", "emg"),
        channel("trigger", "other"),
        channel("unlisted", "other"),
    )
    night.notes.append("signal 'out' kept out: it has no samples")
    add_channel_table(night, table)
    assert [c.notes for c in night.channels] == [
        ["channels.tsv says that its type is ECG: not followed"],
        ["taken for bas: type VEOG in channels.tsv", "bad in channels.tsv: fell off"],
        ["bad in channels.tsv"],
        ["bad in channels.tsv"],
        [],
    ]
    assert [bool(np.isnan(c.samples).all()) for c in night.channels] == [0, 1, 1, 1, 0]
    assert all(c.samples.shape == (240,) for c in night.channels)
    assert night.notes[1:] == ["channels.tsv names 1 the file lacks: lost"]


# What the README of ds005555 says of its groups of channels, not its channels.tsv.
BITBRAIN = {
    "bas": {"F3", "F4", "C3", "C4", "O1", "O2", "EOG", "EOGL", "EOGR"},
    "emg": {"EMG"},
    "resp": {"THOR", "ABD", "THER", "CAN", "PULSE", "SPO2"},
}


def bitbrain(label: str) -> str:
    """The modality of a channel of ds005555; the headband's own two are EEG."""
    device, _, sensor = label.partition("_")
    if device == "HB" and sensor.isdigit():
        return "bas"
    return next((m for m, names in BITBRAIN.items() if sensor in names), "other")


def check_bitbrain(folder: Path, path: Path) -> None:
    """Reads a made recording of the channels of a table, each of which is typed EEG or OTHER."""
    lines = path.read_text().splitlines()[1:]
    rows = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.normal(0, 20, 256), 64, label=x, physical_dimension="uV") for x in rows
    ]
    edfio.Edf(signals).write(folder / "a.edf")
    table = read_channel_table(path)
    night = read_recording(folder / "a.edf", subject="s", modalities=table.modalities)
    add_channel_table(night, table)
    assert {c.label: c.modality for c in night.channels} == {x: bitbrain(x) for x in rows}
    for c in night.channels:
        contradicted = rows[c.label] == "EEG" and (bitbrain(c.label) != "bas" or "EOG" in c.label)
        assert any("says that its type is EEG" in n for n in c.notes) == contradicted, c.label
    electrodes = [x.removeprefix("PSG_") for x in rows if x in ("PSG_F3", "PSG_O2")]
    assert {c.name for c in night.channels} >= set(electrodes)


def test_a_type_eeg_that_the_label_contradicts(tmp_path: Path):
    labels = [f"PSG_{name}" for names in BITBRAIN.values() for name in sorted(names)]
    labels += ["HB_1", "HB_2"]
    rows = [f"{label}|EEG|uV" for label in labels] + ["HB_IMU_1|OTHER|g", "PSG_BEAT|OTHER|bpm"]
    check_bitbrain(tmp_path, written(tmp_path / "channels.tsv", "name|type|units", *rows))


@pytest.mark.real
def test_real_types_that_the_labels_contradict(tmp_path: Path, shared: Path):
    folder = shared / "data" / "archives" / "bids_boas"
    tables = sorted(folder.rglob("*_channels.tsv"))
    assert len(tables) == 10
    for path in tables:
        check_bitbrain(tmp_path, path)


@pytest.mark.real
def test_a_real_type_that_no_sensor_of_its_label_is(shared: Path):
    """CHB-MIT's EKG1-CHIN is typed EEG, and is neither that nor clearly one of the two."""
    folder = shared / "data" / "archives" / "bids_chb_mit"
    tables = [read_channel_table(path) for path in sorted(folder.rglob("*_channels.tsv"))]
    typed = [row for table in tables for row in table.rows if row.type == "EEG"]
    assert {row.name for row in typed if row.told != "bas"} == {"EKG1-CHIN"}
    assert not any("EKG1-CHIN" in table.modalities for table in tables)


def test_a_word_in_a_label_that_is_not_known(tmp_path: Path):
    table = read_channel_table(
        written(
            tmp_path / "channels.tsv",
            *("name|type", "box2_EMG_raw|EEG", "x_position_y|EEG", "box 1|EEG", "q_EMG_w|EOG"),
        )
    )
    assert table.modalities == {"box2_EMG_raw": "emg", "box 1": "bas", "q_EMG_w": "bas"}
    night = recording(
        channel("box2_EMG_raw", "emg"), channel("x_position_y", "other"), channel("box 1", "bas")
    )
    add_channel_table(night, table)
    assert [c.notes for c in night.channels] == [
        ["channels.tsv says that its type is EEG: not followed"],
        ["channels.tsv says that its type is EEG: not followed"],
        ["taken for bas: type EEG in channels.tsv"],
    ]


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["label|type", "C3|EEG"], "no column named name; its columns are label, type"),
        (["name|type", "C3|EEG", "C3|EOG"], "line 3: channel 'C3' is there twice"),
        (["name|type", "n/a|EEG"], "line 2: no name"),
        (["name|name"], "two columns are called 'name'"),
        ([""], "no column named name; its columns are none"),
    ],
)
def test_wrong_channels(tmp_path: Path, rows: list[str], cause: str):
    with pytest.raises(RecordingError) as caught:
        read_channel_table(written(tmp_path / "channels.tsv", *rows))
    assert caught.value.cause == cause
    with pytest.raises(RecordingError, match="no such file"):
        read_table(tmp_path / "absent.tsv")
