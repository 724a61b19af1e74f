"""Noxturnal's events: stages equal to an independent parse."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import Hypnogram, read_stages
from tests.helpers.painting import night, painted

START = datetime.datetime(2018, 7, 25, 23, 45, 40)
WAKE = {"fr": "Éveil", "en": "Wake", "de": "Wach"}


def read(path: Path, text: str, duration: float, start=START, encoding="utf-16") -> Hypnogram:
    path.write_bytes(text.encode(encoding))
    return read_stages(path, start=start, duration=duration)


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
