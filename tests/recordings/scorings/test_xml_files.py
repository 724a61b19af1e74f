"""NSRR, Profusion and Philips XML: stages equal to an independent parse; what is refused."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.scorings.hypnogram import Hypnogram, read_stages
from tests.helpers.broken_files import nsrr_xml, profusion_xml, rml
from tests.helpers.painting import bouts, night, painted

START = datetime.datetime(2020, 1, 2, 22, 0, 0)
NSRR_WORDS = {
    **{0: "Wake|0", 1: "Stage 1 sleep|1", 2: "Stage 2 sleep|2", 3: "Stage 3 sleep|3"},
    **{4: "REM sleep|5", -1: "Unscored|9"},
}


def read(tmp_path: Path, text: str | bytes, duration: float, start=START) -> Hypnogram:
    path = tmp_path / "night.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_stages(path, start=start, duration=duration)


# --- NSRR -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_nsrr_equals_a_parse_with_regular_expressions(tmp_path: Path, seed: int):
    stages = night(900, seed)
    events = [(NSRR_WORDS[s], 30.0 * i, 30.0 * n) for i, n, s in bouts(stages)]
    rng = np.random.default_rng(seed)
    events = [  # half of the N3 is scored as stage 4, some wake as movement, bouts in any order
        (("Stage 4 sleep|4" if w[-1] == "3" and rng.random() < 0.5 else w), a, b)
        for w, a, b in events
    ]
    events = [
        ("Movement|6" if w[-1] == "9" and rng.random() < 0.5 else w, a, b) for w, a, b in events
    ]
    text = nsrr_xml([events[i] for i in rng.permutation(len(events))])
    duration = 30.0 * 900 + 17  # the last sleep_epoch is partial, and nobody scored it
    scored = read(tmp_path, text, duration)
    code = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4}
    pieces = [
        (float(start), float(start) + float(length), code.get(int(number), -1))
        for number, start, length in re.findall(
            r"Stages\|Stages</EventType>\s*<EventConcept>[^|<]*\|(\d)</EventConcept>\s*"
            r"<Start>([\d.]+)</Start>\s*<Duration>([\d.]+)</Duration>",
            text,
        )
    ]
    assert len(pieces) == len(events)
    assert scored.stages.tolist() == painted(pieces, duration)
    assert set(scored.stages.tolist()) == {-1, 0, 1, 2, 3, 4}
    assert scored.dialect == "NSRR XML"
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [(33.5, 12.1, "Hypopnea")]


def test_nsrr_that_begins_late_and_ends_early(tmp_path: Path):
    scored = read(tmp_path, nsrr_xml([("Stage 2 sleep|2", 60, 90)]), 240)
    assert scored.stages.tolist() == [-1, -1, 2, 2, 2, -1, -1, -1]
    assert scored.notes == ["hypnogram covers 60 to 150 s of 240 s: the rest is unscored"]


def test_nsrr_times_off_the_grid_go_to_the_majority(tmp_path: Path):
    text = nsrr_xml([("Wake|0", 0, 40.5), ("REM sleep|5", 40.5, 79.5)])
    assert read(tmp_path, text, 120).stages.tolist() == [0, 4, 4, 4]


@pytest.mark.parametrize(
    ("stages", "cause"),
    [
        ([], "no sleep stage among its 1 NSRR events"),
        ([("Stage 7 sleep|12", 0, 30)], "stage 'Stage 7 sleep|12' at 0 s"),
        ([("Wake|2", 0, 30)], "its word and its number differ"),
        ([("Wake|0", "soon", 30)], "starts at 'soon' for '30': not seconds"),
        ([("Wake|0", 0, "nan")], "not seconds"),
        ([("Wake|0", 0, -30)], "not seconds"),
        ([("Wake|0", 0, 1e300)], "not seconds"),
        ([("Wake|0", 9000, 30)], "do not overlap"),
    ],
)
def test_nsrr_that_is_refused(tmp_path: Path, stages, cause: str):
    with pytest.raises(RecordingError) as caught:
        read(tmp_path, nsrr_xml(stages), 300)
    assert cause in str(caught.value)
    assert "night.xml" in str(caught.value)


# --- Profusion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_profusion_equals_a_parse_with_element_tree(tmp_path: Path, seed: int):
    numbers = [{4: 5, -1: 9}.get(s, s) for s in night(700, seed)]
    numbers[100:110] = [4] * 10  # stage 4
    numbers[200:203] = [6] * 3  # movement
    text = profusion_xml(numbers)
    code = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 3, "5": 4}
    elements = ElementTree.fromstring(text).find("SleepStages")
    expected = [code.get(element.text, -1) for element in elements]
    scored = read(tmp_path, text, 700 * 30.0)
    assert scored.stages.tolist() == expected
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [(61.2, 9.0, "Arousal ()")]
    longer = read(tmp_path, text, 702 * 30.0)
    assert longer.stages.tolist() == expected + [-1, -1]


def test_profusion_of_other_epochs(tmp_path: Path):
    text = profusion_xml([0, 0, 0, 2, 2, 2]).replace("<EpochLength>30", "<EpochLength>20")
    assert read(tmp_path, text, 120).stages.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("<SleepStage>2<", "<SleepStage>12<", "SleepStage 2 is '12'"),
        ("<SleepStage>2<", "<SleepStage>N2<", "SleepStage 2 is 'N2'"),
        ("<EpochLength>30", "<EpochLength>0", "EpochLength '0' is not"),
        ("<EpochLength>30", "<EpochLength>1e9", "EpochLength '1e9' is not"),
    ],
)
def test_profusion_that_is_refused(tmp_path: Path, old: str, new: str, cause: str):
    with pytest.raises(RecordingError, match=re.escape(cause)):
        read(tmp_path, profusion_xml([0, 2, 3]).replace(old, new), 90)


# --- Philips RML ----------------------------------------------------------------------------------

RML_NAMES = {0: "Wake", 1: "NonREM1", 2: "NonREM2", 3: "NonREM3", 4: "REM", -1: "NotScored"}


@pytest.mark.parametrize("seconds", [0, -40, 600, 12.5])
def test_rml_equals_a_parse_with_element_tree(tmp_path: Path, seconds: float):
    """`seconds`: how much earlier than the signals the study began."""
    stages = night(400, 7)
    text = rml([(RML_NAMES[s], 30.0 * i) for i, _, s in bouts(stages)])
    text = text.replace("<Duration>300</Duration>", "<Duration>12000</Duration>")
    start = START + datetime.timedelta(seconds=seconds)
    scored = read(tmp_path, text, 11_400.0, start)
    space = "{http://www.respironics.com/PatientStudy.xsd}"
    root = ElementTree.fromstring(text)
    told = [(e.get("Type"), float(e.get("Start"))) for e in root.iter(f"{space}Stage")]
    begun = datetime.datetime.fromisoformat(root.find(f".//{space}RecordingStart").text)
    shift = (begun - start).total_seconds()
    code = {name: number for number, name in RML_NAMES.items()}
    ends = [at for _, at in told[1:]] + [12_000.0]
    pieces = [(a + shift, b + shift, code[kind]) for (kind, a), b in zip(told, ends)]
    assert scored.stages.tolist() == painted(pieces, 11_400.0)
    assert [(e.onset, e.duration, e.text) for e in scored.events] == [
        (45.5 + shift, 13.0, "ObstructiveApnea")
    ]


def test_rml_of_an_anonymised_recording_goes_by_the_clock(tmp_path: Path):
    text = rml([("Wake", 0), ("REM", 60)])
    start = datetime.datetime(1985, 1, 1, 22, 1, 0)  # as the NSRR writes its dates
    scored = read(tmp_path, text, 240, start)
    assert scored.stages.tolist() == [4] * 8
    assert "placed by time of day" in scored.notes[0]
    text = rml([("Wake", 0), ("REM", 60)], start="2020-01-02T23:59:30")
    scored = read(tmp_path, text, 60, datetime.datetime(1985, 1, 1, 0, 0, 0))  # past midnight
    assert scored.stages.tolist() == [0, 4]
    with pytest.raises(RecordingError, match="another night's"):
        read(tmp_path, text, 60, datetime.datetime(2021, 1, 1, 0, 0, 0))


def test_rml_staged_by_the_machine_is_said(tmp_path: Path):
    text = rml([("Wake", 0)]).replace("UserStaging", "MachineStaging")
    assert "staged by the machine" in read(tmp_path, text, 300).notes[0]
    user = (
        "<UserStaging><NeuroAdultAASMStaging><Stage Type='REM' Start='0'/></NeuroAdultAASMStaging>"
    )
    text = text.replace("<MachineStaging>", f"{user}</UserStaging><MachineStaging>")
    scored = read(tmp_path, text, 300)
    assert (set(scored.stages.tolist()), scored.notes) == ({4}, [])
    with pytest.raises(RecordingError, match="nobody staged"):
        read(tmp_path, rml([]), 300)
    with pytest.raises(RecordingError, match="stage 'Nap' at '0' s"):
        read(tmp_path, rml([("Nap", 0)]), 300)


# --- XML that is no scoring, or a trap ------------------------------------------------------------


def test_entity_bombs_are_refused_unopened(tmp_path: Path):
    entities = "".join(
        f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9)
    )
    bomb = f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{entities}]>'
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
    body = nsrr_xml([("Wake|0", 0, 30)]).split("?>", 1)[1]
    for trap in (bomb, outside):
        with pytest.raises(RecordingError, match=r"XML with entities .*EntitiesForbidden"):
            read(tmp_path, trap + body.replace("Compumedics", "&a;"), 30)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("<PSGAnnotation><ScoredEvents>", "is not well-formed XML"),
        ("<html><body>Log in</body></html>", "(<html>), but neither"),
        ("<PatientStudy/>", "nobody staged"),
        ("<x>&nothing;</x>", "is not well-formed XML"),
        ("<" + "a" * 100, "is not well-formed XML"),
    ],
)
def test_xml_that_is_no_scoring(tmp_path: Path, text: str, cause: str):
    with pytest.raises(RecordingError) as caught:
        read(tmp_path, text, 30)
    assert cause in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str):
    text = nsrr_xml([("Wake|0", 0, 30)]).replace("Hypopnea|Hypopnea", "Hypopnée|Hypopnée")
    text = text.replace('encoding="UTF-8"', f'encoding="{encoding}"')
    scored = read(tmp_path, text.encode(encoding), 30)
    assert scored.stages.tolist() == [0]
    assert scored.events[0].text == "Hypopnée"
