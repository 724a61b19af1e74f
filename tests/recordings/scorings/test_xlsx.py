"""Workbooks: stages, and what is damaged or no workbook."""

from __future__ import annotations

import zipfile
from pathlib import Path

import openpyxl
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import read_stages
from tests.helpers.painting import night


def workbook(path: Path, rows: list[tuple], header=("Epoch", "Stage", "SpO2", "Events")) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["a sheet without stages"])
    sheet = book.create_sheet("Sheet1")
    for row in (header, *rows):
        sheet.append(row)
    book.save(path)
    return path


def test_xlsx(tmp_path: Path):
    stages = night(300, 5, unscored=False)
    names = ["W", "N1", "N2", "N3", "R"]
    rows = [(i + 1, names[s], 96, "AR,L Out" if i == 7 else None) for i, s in enumerate(stages)]
    del rows[50:53]
    rows += [(None, None, None, None), (None, None, "=COUNTIF(B2:B9,W)", None)]
    scored = read_stages(workbook(tmp_path / "a.xlsx", rows), start=None, duration=9030)
    assert scored.stages.tolist() == stages[:50] + [-1] * 3 + stages[53:] + [-1]
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [
        (210.0, 30.0, "AR"),
        (210.0, 30.0, "L Out"),
    ]


@pytest.mark.parametrize(
    ("rows", "header", "cause"),
    [
        ([(1, "W"), (2, "nap")], ("Epoch", "Stage"), "row 3: 'nap' is not a sleep stage"),
        ([(2, "W"), (1, "N2")], ("Epoch", "Stage"), "row 3: epoch '1' does not follow 2"),
        ([(1, "W"), ("x", "N2")], ("Epoch", "Stage"), "row 3: epoch 'x' does not follow 1"),
        (
            [(1, "W")],
            ("Epoch", "Phase"),
            "none of its sheets has a column 'Stage'",
        ),
        ([], ("Epoch", "Stage"), "an empty hypnogram"),
    ],
)
def test_xlsx_that_is_refused(tmp_path: Path, rows, header, cause: str):
    with pytest.raises(RecordingError, match=cause):
        read_stages(workbook(tmp_path / "a.xlsx", rows, header), start=None, duration=60)


def test_damaged_workbooks_and_bombs(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", [(1, "W")])
    raw = path.read_bytes()
    path.write_bytes(raw[:2000])
    with pytest.raises(RecordingError, match=r"is not a readable \.xlsx workbook"):
        read_stages(path, start=None, duration=60)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "no workbook")
    with pytest.raises(RecordingError, match=r"is a zip archive, but no \.xlsx workbook"):
        read_stages(path, start=None, duration=60)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * 60_000_000)
    with pytest.raises(RecordingError, match="unpacks to 60 MB"):
        read_stages(path, start=None, duration=60)
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet2.xml"].replace(b">W<", b">&a;<")
    assert b"&a;" in sheet
    parts["xl/worksheets/sheet2.xml"] = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + sheet
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(RecordingError, match="EntitiesForbidden"):
        read_stages(path, start=None, duration=60)
