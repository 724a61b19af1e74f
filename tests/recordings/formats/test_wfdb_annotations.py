"""WFDB annotations: against the wfdb library, and what it does not check."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.formats.wfdb_annotations import read_wfdb_annotations
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from tests.helpers import broken_files

with warnings.catch_warnings():  # wfdb 4.3 uses what pandas 3 deprecates, once imported
    warnings.simplefilter("ignore", DeprecationWarning)
    import wfdb

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # and when it writes


def test_stages_and_arousals_of_cinc_2018(tmp_path: Path):
    path = broken_files.write_annotations(tmp_path / "tr03-0001.arousal")
    scored = read_stages(path, start=None, duration=300)
    assert scored.stages.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert scored.dialect == "WFDB annotations"
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [
        (60.0 * i + 3.5, 4.0, "arousal_rera") for i in range(5)
    ]


def test_unscored_until_the_first_stage_and_when_undefined(tmp_path: Path):
    notes = [(6000, "W"), (12_000, "undefined"), (18_000, "N2"), (23_000, "(resp_hypopnea")]
    path = tmp_path / "x.arousal"
    path.write_bytes(broken_files.annotation_bytes(notes))
    with pytest.raises(RecordingError, match=r"its sampling rate is not known: put .*x\.hea"):
        read_stages(path, start=None, duration=150)
    (tmp_path / "x.hea").write_text("x 1 200 30000\n")
    scored = read_stages(path, start=None, duration=150)
    assert scored.stages.tolist() == [-1, 0, -1, 2, 2]
    assert "1 events lack their beginning or their end" in scored.notes


def test_annotations_are_wfdbs(tmp_path: Path):
    rng = np.random.default_rng(3)
    samples = np.cumsum(rng.integers(1, 5000, 400))
    symbols = [str(s) for s in rng.choice(list('NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r'), 400)]
    notes = [("(AFIB" if i % 7 == 0 else "") for i in range(400)]
    wfdb.wrann(
        "a",
        "atr",
        samples,
        symbols,
        aux_note=notes,
        fs=250,
        write_dir=str(tmp_path),
        chan=rng.integers(0, 2, 400),
        num=rng.integers(0, 3, 400),
        subtype=rng.integers(0, 3, 400),
    )
    ours, ticks = read_wfdb_annotations(tmp_path / "a.atr")
    theirs = wfdb.rdann(str(tmp_path / "a"), "atr")
    assert ticks == 250
    assert [a.sample for a in ours] == theirs.sample.tolist() == samples.tolist()
    assert [a.symbol for a in ours] == theirs.symbol
    assert [a.note for a in ours] == theirs.aux_note


def test_what_is_no_annotation_file(tmp_path: Path):
    path = tmp_path / "x.atr"
    for content, cause in (
        (b"", "truncated"),
        (b"\x01", "truncated"),
        (broken_files.annotation_bytes([(10, "W")])[:-2], "no end mark"),
        (broken_files.annotation_bytes([(10, "W")]) + b"more", "more after its end"),
        (bytes([0, 56 << 2, 0, 0]), "unknown code 56"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=cause):
            read_wfdb_annotations(path)
