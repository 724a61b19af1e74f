"""Labels of intervals: TUH's files of three kinds, CHB-MIT's summaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.labels.intervals import (
    TCP_MONTAGE,
    LabelledInterval,
    read_chb_summary,
    read_intervals,
)
from sleepfm_jax.signals import identify

SUMMARY = """Data Sampling Rate: 256 Hz
*************************
Channels in EDF Files:
**********************
Channel 1: FP1-F7
Channel 2: F7-T7

File Name: chb01_02.edf
File Start Time: 12:42:57
File End Time: 13:42:57
Number of Seizures in File: 0

File Name: chb01_03.edf
File Start Time: 13:43:04
File End Time: 25:43:04
Number of Seizures in File: 1
Seizure Start Time: 2996 seconds
Seizure End Time: 3036 seconds

Channels changed:
Channel 1: C3

File Name: chb24_04.edf
Number of Seizures in File: 2
Seizure 1 Start Time: 1088 seconds
Seizure 1 End Time: 1120 seconds
Seizure 2 Start Time:  1411 seconds
Seizure 2 End Time:  1438 seconds
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rec_names_the_channels_of_the_montage(tmp_path: Path):
    path = write(tmp_path / "a.rec", "0,36.0,37.0,6\n21,112.9,113.9,1\n13,4.5,5.5,3\n\n")
    assert read_intervals(path) == [
        LabelledInterval("FP1-F7", 36.0, 37.0, "bckg"),
        LabelledInterval("P4-O2", 112.9, 113.9, "spsw"),
        LabelledInterval("T4-A2", 4.5, 5.5, "pled"),
    ]
    assert len(TCP_MONTAGE) == 22
    assert all(identify(channel).modality == "bas" for channel in TCP_MONTAGE)


@pytest.mark.parametrize("suffix", [".tse", ".tse_bi", ".tse_agg"])
def test_tse(tmp_path: Path, suffix: str):
    text = "version = tse_v1.0.0\n\n0.0000 10.2775 bckg 1.0000\n10.2775 35.7775 GNSZ 0.9\n"
    assert read_intervals(write(tmp_path / f"a{suffix}", text)) == [
        LabelledInterval(None, 0.0, 10.2775, "bckg"),
        LabelledInterval(None, 10.2775, 35.7775, "gnsz"),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".csv_bi"])
def test_csv(tmp_path: Path, suffix: str):
    text = (
        "# version = csv_v1.0.0\n# bname = aaaaaaac_s001_t000\n# duration = 301.00 secs\n#\n"
        "channel,start_time,stop_time,label,confidence\n"
        "FP1-F7,0.0000,36.8868,bckg,1.0000\nTERM,36.8868,183.3055,seiz,1.0000\n"
    )
    assert read_intervals(write(tmp_path / f"a{suffix}", text)) == [
        LabelledInterval("FP1-F7", 0.0, 36.8868, "bckg"),
        LabelledInterval(None, 36.8868, 183.3055, "seiz"),
    ]


def test_a_file_without_events_is_an_empty_list(tmp_path: Path):
    header = "# version = csv_v1.0.0\nchannel,start_time,stop_time,label,confidence\n"
    assert read_intervals(write(tmp_path / "a.csv", header)) == []
    assert read_intervals(write(tmp_path / "a.rec", "")) == []
    assert read_intervals(write(tmp_path / "a.tse", "version = tse_v1.0.0\n")) == []


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("a.rec", "0,1.0,2.0,7\n", "line 1: '0,1.0,2.0,7' is not channel 0 to 21"),
        ("a.rec", "22,1.0,2.0,1\n", "is not channel 0 to 21"),
        ("a.rec", "0,1.0,2.0\n", "is not channel 0 to 21"),
        ("a.rec", "0,2.0,1.0,6\n", "line 1: '2.0' to '1.0' is no interval"),
        ("a.rec", "0,nan,1.0,6\n", "'nan' to '1.0' is no interval"),
        ("a.tse", "0.0 1.0\n", "line 1: '0.0 1.0' is not start, stop, label"),
        ("a.tse", "0.0 1.0 0.5 bckg\n", "is not start, stop, label"),
        ("a.csv", "0.0,1.0,bckg\n", "has no header with the columns channel, start_time"),
        ("a.csv", "", "has no header"),
        ("a.csv", "channel,start_time,stop_time,label\nTERM,0,1\n", "does not fit its header"),
        ("a.lbl", "", "is no label file"),
        ("a.tse", "\x00\x01", "is not text"),
    ],
)
def test_labels_that_are_refused(tmp_path: Path, name: str, text: str, cause: str):
    with pytest.raises(RecordingError) as caught:
        read_intervals(write(tmp_path / name, text))
    assert cause in str(caught.value)


def test_summary_of_chb_mit(tmp_path: Path):
    found = read_chb_summary(write(tmp_path / "chb01-summary.txt", SUMMARY))
    assert found == {
        "chb01_02.edf": [],
        "chb01_03.edf": [LabelledInterval(None, 2996.0, 3036.0, "seizure")],
        "chb24_04.edf": [
            LabelledInterval(None, 1088.0, 1120.0, "seizure"),
            LabelledInterval(None, 1411.0, 1438.0, "seizure"),
        ],
    }


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("in File: 2", "in File: 3", "chb24_04.edf: 3 seizures are announced, 2 have"),
        ("in File: 0", "in File: 1", "chb01_02.edf: 1 seizures are announced, 0 have"),
        ("Number of Seizures in File: 0\n", "", "an unsaid number of seizures"),
        ("in File: 0", "in File: none", "'none' is not a number"),
        ("chb01_03.edf", "chb01_02.edf", "is there twice"),
        ("Seizure 1 End Time: 1120 seconds\n", "", "the seizure before it has no end"),
        ("Seizure 2 End Time:  1438 seconds\n", "", "2 seizures are announced, 1 have"),
        ("2996 seconds", "3996 seconds", "ends before it starts"),
        ("2996 seconds", "noon", "'noon' is not a number of seconds"),
        ("File Name", "Name", "names no file"),
    ],
)
def test_summaries_that_are_refused(tmp_path: Path, old: str, new: str, cause: str):
    assert old in SUMMARY
    with pytest.raises(RecordingError, match=cause):
        read_chb_summary(write(tmp_path / "chb01-summary.txt", SUMMARY.replace(old, new)))
