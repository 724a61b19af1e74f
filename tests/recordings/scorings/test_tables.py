"""Noxturnal's events, tables with a header, `.xlsx`: stages equal to an independent parse."""

from __future__ import annotations

import csv
import datetime
import zipfile
from pathlib import Path

import openpyxl
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import Hypnogram, read_stages
from tests.helpers.painting import bouts, night, painted

START = datetime.datetime(2018, 7, 25, 23, 45, 40)
WAKE = {"fr": "Éveil", "en": "Wake", "de": "Wach"}


def read(path: Path, text: str, duration: float, start=START, encoding="utf-16") -> Hypnogram:
    path.write_bytes(text.encode(encoding))
    return read_stages(path, start=start, duration=duration)


# --- Noxturnal ------------------------------------------------------------------------------------


def noxturnal(
    stages: list[int],
    lead: float = 0.0,
    start=START,
    form: str = "%d/%m/%Y %H:%M:%S",
    wake: str = "Éveil",
    extra: tuple[tuple[float, float, str], ...] = ((95.0, 9.333, "Désat"), (99.0, 12.0, "Rapide")),
) -> str:
    names = [wake, "N1", "N2", "N3", "REM"]
    rows = [(lead + 30.0 * i, 30.0, names[s]) for i, s in enumerate(stages) if s >= 0]
    lines = []
    for at, length, name in sorted([*rows, *extra]):
        a, b = (start + datetime.timedelta(seconds=t) for t in (at, at + length))
        lines.append(f"{a.strftime(form)},{b.strftime(form)},{name},{length:g},")
    return "Heure de début,Heure de fin,Événement,Durée,\r\n[],[],[],[s],\r\n" + "\r\n".join(lines)


@pytest.mark.parametrize("lead", [0.0, 20.0, 4000.0])
@pytest.mark.parametrize("late", [0.0, 7.0])
def test_noxturnal_equals_a_parse_with_csv(tmp_path: Path, lead: float, late: float):
    text = noxturnal(night(900, 3), lead)
    start = START + datetime.timedelta(seconds=late)
    duration = 30.0 * 910
    scored = read(tmp_path / "events.csv", text, duration, start)
    code = {"Éveil": 0, "N1": 1, "N2": 2, "N3": 3, "REM": 4}
    pieces = []
    for row in list(csv.reader(text.splitlines()))[2:]:
        moments = [datetime.datetime.strptime(x, "%d/%m/%Y %H:%M:%S") for x in row[:2]]
        if row[2] in code:
            a, b = ((m - start).total_seconds() for m in moments)
            pieces.append((a, b, code[row[2]]))
    assert scored.stages.tolist() == painted(pieces, duration)
    assert [e.text for e in scored.events] == ["Désat", "Rapide"]  # rapid eye movements, no REM
    assert scored.events[0].onset == 95.0 - late


@pytest.mark.parametrize(
    ("form", "encoding", "language"),
    [
        ("%d/%m/%Y %H:%M:%S", "utf-16", "fr"),
        ("%m/%d/%Y %I:%M:%S %p", "utf-8-sig", "en"),
        ("%d.%m.%Y %H:%M:%S", "latin-1", "de"),
        ("%Y-%m-%d %H:%M:%S", "utf-8", "en"),
        ("%Y-%m-%dT%H:%M:%S", "utf-8", "en"),
    ],
)
def test_noxturnal_of_other_countries(tmp_path: Path, form: str, encoding: str, language: str):
    text = noxturnal([0, 1, 2, 3, 4], 10.0, form=form, wake=WAKE[language])
    scored = read(tmp_path / "events.csv", text, 180, encoding=encoding)
    assert scored.stages.tolist() == [0, 1, 2, 3, 4, -1]


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"])
def test_day_and_month_are_not_guessed(tmp_path: Path, form: str):
    evening = datetime.datetime(2018, 5, 6, 23, 59, 0)  # 6 May or 5 June
    text = noxturnal([0, 0, 2, 2], start=evening, form=form)  # past midnight: days must follow
    assert read(tmp_path / "a.csv", text, 120, evening).stages.tolist() == [0, 0, 2, 2]
    noon = datetime.datetime(2018, 5, 6, 12, 0, 0)
    text = noxturnal([0, 0, 2, 2], start=noon, form=form)
    assert read(tmp_path / "a.csv", text, 120, noon).stages.tolist() == [0, 0, 2, 2]
    anonymous = noon.replace(year=1985, month=1, day=1)
    assert read(tmp_path / "a.csv", text, 120, anonymous).stages.tolist() == [0, 0, 2, 2]
    week = noxturnal([0], start=noon, form=form, extra=((5 * 86_400.0, 1.0, "Note"),))
    with pytest.raises(RecordingError, match="could be day-month or month-day"):
        read(tmp_path / "a.csv", week, 120, None)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("Éveil", "Sommeil", "no sleep stage among its 3 events"),
        ("25/07/2018 23:46:10", "25/07/2018 23:16:10", "lasts -"),
        ("25/07/2018", "25/37/2018", "is not a date and time"),
    ],
)
def test_noxturnal_that_is_refused(tmp_path: Path, old: str, new: str, cause: str):
    with pytest.raises(RecordingError, match=cause):
        read(tmp_path / "a.csv", noxturnal([0]).replace(old, new), 60)


# --- tables with a header -------------------------------------------------------------------------


@pytest.mark.parametrize(("delimiter", "header"), [("\t", "stage"), (",", "trial_type")])
def test_bids_events(tmp_path: Path, delimiter: str, header: str):
    stages = night(500, 4)
    names = [f"Sleep stage {s}" for s in ("W", "1", "2", "4", "R", "?")]
    rows = [(30.0 * i, 30.0 * n, names[s]) for i, n, s in bouts(stages)]
    rows = rows if header == "stage" else [*rows, (100.0, 3.0, "Arousal")]
    text = delimiter.join(["onset", "duration", header, "channel"]) + "\n"
    text += "\n".join(delimiter.join([*map(str, row), "n/a"]) for row in rows)
    scored = read(tmp_path / "sub-1_events.tsv", text, 15_000, encoding="utf-8")
    pieces = [
        (a, a + b, names.index(name) if name[-1] != "?" else -1)
        for a, b, name in rows[:]
        if name in names
    ]
    assert scored.stages.tolist() == painted(pieces, 15_000) == stages
    assert [e.text for e in scored.events] == ["Arousal"] * (header == "trial_type")


def test_onsets_without_durations(tmp_path: Path):
    text = "onset,stage\n60,N2\n0,W\n120.5,REM\n"
    assert read(tmp_path / "a.csv", text, 180, encoding="utf-8").stages.tolist() == [
        *(0, 0, 2, 2, 4, -1)
    ]


@pytest.mark.parametrize("base", [0, 1])
def test_epochs_with_numbers(tmp_path: Path, base: int):
    rows = [(base + i, s) for i, s in enumerate(["W", "W", "1", "2", "3", "4", "R", "?"]) if i != 3]
    text = "Epoch;Stage;Remark\n" + "".join(f"{e};{s};x\n" for e, s in rows)
    scored = read(tmp_path / "a.csv", text, 240, encoding="utf-8")
    assert scored.stages.tolist() == [0, 0, 1, -1, 3, 3, 4, -1]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("epoch,stage\n1,W\n1,N2\n", "two rows have the same epoch number"),
        ("epoch,stage\n1,W\nx,N2\n", "is not a whole number"),
        ("epoch,stage\n1,W\n2,nap\n", "line 3: 'nap' is not a sleep stage"),
        ("onset,stage\n0,W\nsoon,N2\n", "line 3: onset 'soon'"),
        ("onset,duration,stage\n0,30,W\n30,-3,N2\n", "line 3: onset '30' and duration '-3'"),
        ("onset,duration,stage\n0,30,W\n30,,N2\n", "1 of its stages have no duration"),
        ("onset,duration,stage\n0,30,W\n30,30,nap\n", "line 3: 'nap' is not a sleep stage"),
        ("onset,duration,trial_type\n0,30,go\n", "an empty hypnogram"),
        ("epoch,stage\n", "an empty hypnogram"),
        ("epoch,stage\n1,0\n2,4\n", "4 may be REM (YASA) or stage 4 (R&K)"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, cause: str):
    with pytest.raises(RecordingError) as caught:
        read(tmp_path / "a.csv", text, 240, encoding="utf-8")
    assert cause in str(caught.value)


# --- .xlsx ----------------------------------------------------------------------------------------


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
