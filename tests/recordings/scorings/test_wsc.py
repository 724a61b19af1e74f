"""The Wisconsin Sleep Cohort's text files: stages equal to an independent parse."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import Hypnogram, read_stages
from tests.helpers.painting import bouts, night, painted

START = datetime.datetime(2020, 1, 2, 22, 41, 7)
HEADER = "Epoch\tUser-Defined Stage\tCAST-Defined Stage\r\n"
NUMBERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 5, -1: 7}
NAMES = {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "R", -1: "NO STAGE"}


def read(path: Path, text: str, duration: float, start=START) -> Hypnogram:
    path.write_bytes(text.encode("latin-1"))
    return read_stages(path, start=start, duration=duration)


# --- .stg.txt -------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [HEADER, ""])
@pytest.mark.parametrize("first", [1, 5])
def test_stg_equals_splitting_its_lines(tmp_path: Path, header: str, first: int):
    numbers = [NUMBERS[s] for s in night(800, 1)]
    numbers[50:60] = [4] * 10  # stage 4
    numbers[70:72] = [6] * 2  # movement
    rows = [(first + i, n) for i, n in enumerate(numbers) if i not in (300, 301)]  # two are absent
    text = header + "".join(f"{epoch}\t{n}\t{n}\r\n" for epoch, n in rows)
    scored = read(tmp_path / "wsc-visit1-10119-nsrr.stg.txt", text, 30.0 * 806)
    expected = [-1] * 806
    for line in text.split("\r\n")[bool(header) :]:
        if line:
            epoch, number = line.split("\t")[:2]
            expected[int(epoch) - 1] = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4}.get(int(number), -1)
    assert scored.stages.tolist() == expected
    assert scored.dialect == "WSC stg"


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ("1\t0\n2\t8a\n", "line 3: '2\\t8a' is not"),
        ("1\t0\n2\t15\n", "line 3: '2\\t15' is not"),
        ("0\t0\n", "line 2: '0\\t0' is not"),
        ("1\t0\n1\t2\n", "line 3: sleep_epoch 1 has two stages"),
        ("", "an empty hypnogram"),
        ("999999\t0\n", "do not overlap"),
    ],
)
def test_stg_that_is_refused(tmp_path: Path, rows: str, cause: str):
    with pytest.raises(RecordingError) as caught:
        read(tmp_path / "a.stg.txt", HEADER + rows, 300)
    assert cause in str(caught.value)


def test_the_log_must_start_with_the_signals(tmp_path: Path):
    log = tmp_path / "a.log.txt"
    text = HEADER + "1\t0\t0\n2\t2\t2\n"
    log.write_text("22:10:00 1\tImpedance check\n22:41:07 1\tRecording Started\n")
    assert read(tmp_path / "a.stg.txt", text, 60).stages.tolist() == [0, 2]
    # restarted: one of the starts is that of the signals
    log.write_text("16:10:00 1\tRecording Started\n22:41:08 1\tRecording Started\n")
    assert read(tmp_path / "a.stg.txt", text, 60).stages.tolist() == [0, 2]
    log.write_text("22:40:01 1\tRecording Started\n")
    with pytest.raises(RecordingError, match=r"started at 22:40:01, the signals start at 22:41:07"):
        read(tmp_path / "a.stg.txt", text, 60)
    assert read(tmp_path / "a.stg.txt", text, 60, start=None).stages.tolist() == [0, 2]


# --- .allscore.txt --------------------------------------------------------------------------------


def clock(seconds: float, start=START) -> str:
    moment = start + datetime.timedelta(seconds=seconds)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 10_000:02d}"


def allscore(stages: list[int], lead: float = 0.0, start=START) -> str:
    """`lead`: seconds from the start of the signals to the first stage."""
    lines = [
        (-3600.0, "IMPEDANCE CHECK"),
        (0.0, "START RECORDING"),
        (-10.0, "STAGE - NO STAGE"),
        *[(lead + 30.0 * i, f"STAGE - {NAMES[s]}") for i, _, s in bouts(stages)],
        (lead + 95.5, "HYPOPNEA - DUR: 21.3 SEC. - MIN SPO2: 91.0 %"),
        (lead + 30.0 * len(stages), "LIGHTS ON"),
        (lead + 30.0 * len(stages) + 4, "PATIENT DISCONNECTED\xb0"),
    ]
    return "".join(f"{clock(at, start)}\t{text}\r\n" for at, text in sorted(lines))


@pytest.mark.parametrize("lead", [0.0, 12.0, 600.0])
@pytest.mark.parametrize("late", [0.0, 90.0])
def test_allscore_equals_a_parse_by_the_clock(tmp_path: Path, lead: float, late: float):
    """The recording of over nine hours passes midnight; the signals may begin late."""
    stages = night(1100, 2)
    text = allscore(stages, lead)
    start = START + datetime.timedelta(seconds=late)
    duration = 30.0 * 1120
    scored = read(tmp_path / "wsc-visit1-10119-nsrr.allscore.txt", text, duration, start)
    code = {f"STAGE - {name}": number for number, name in NAMES.items()}
    told = []
    for line in text.split("\r\n")[1:-1]:
        moment, remark = line.split("\t")
        hour, minute, second = moment.split(":")
        seconds = int(hour) * 3600 + int(minute) * 60 + float(second)
        seconds += 86_400 if int(hour) < 12 else 0
        told.append((seconds - (22 * 3600 + 41 * 60 + 7 + late), remark))
    changes = [(at, code[remark]) for at, remark in told if remark in code]
    ends = [at for at, _ in changes[1:]] + [told[-1][0]]
    pieces = [(a, b, stage) for (a, stage), b in zip(changes, ends)]
    assert scored.stages.tolist() == painted(pieces, duration)
    (event,) = [e for e in scored.events if e.duration]
    assert (event.onset, event.duration) == (pytest.approx(lead + 95.5 - late), 21.3)
    assert event.text.startswith("HYPOPNEA - DUR")
    assert any("START RECORDING at 22:41:07" in n for n in scored.notes) == (late > 0)


def test_allscore_without_a_start_begins_with_its_own(tmp_path: Path):
    scored = read(tmp_path / "a.txt", allscore([0, 2, 4], start=START), 90, start=None)
    assert scored.stages.tolist() == [0, 2, 4]
    assert scored.notes[0].startswith("a start time is missing")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("STAGE - N2", "STAGE - N7", "'STAGE - N7' is not a sleep stage"),
        ("LIGHTS ON", "POWER FAILURE RECOVERY", "a power failure at 22:42:37"),
        ("22:42:37.00\tLIGHTS ON", "22:40:00.00\tLIGHTS ON", "its times are not in order"),
    ],
)
def test_allscore_that_is_refused(tmp_path: Path, old: str, new: str, cause: str):
    text = allscore([0, 2, 4])
    assert old in text
    with pytest.raises(RecordingError, match=cause):
        read(tmp_path / "a.txt", text.replace(old, new), 90)


def test_two_starts_need_the_signals_start(tmp_path: Path):
    text = allscore([0, 2, 4]).replace("IMPEDANCE CHECK", "START RECORDING")
    assert read(tmp_path / "a.txt", text, 90).stages.tolist() == [0, 2, 4]
    with pytest.raises(RecordingError, match="2 times START RECORDING"):
        read(tmp_path / "a.txt", text, 90, start=None)
