"""Simulated scorings in the files of each archive: XML, text, EDF+ annotations, WFDB annotations.

A writer takes stages as the generator drew them (int8 [E], -1 unscored) and says them in its
dialect's own words and numbers.
"""

from __future__ import annotations

import datetime
import itertools
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS
from sleepfm_jax.simulation import edf_writer
from sleepfm_jax.simulation.edf_writer import Trace

MOVEMENT, UNSCORED_CODE = 6, 9
_DREAMS = {0: 5, 1: 3, 2: 2, 3: 1, 4: 0, 5: 4, MOVEMENT: -1, UNSCORED_CODE: -2}
_NSRR = {
    **{0: "Wake|0", 1: "Stage 1 sleep|1", 2: "Stage 2 sleep|2", 3: "Stage 3 sleep|3"},
    **{4: "Stage 4 sleep|4", 5: "REM sleep|5", MOVEMENT: "Movement|6"},
    UNSCORED_CODE: "Unscored|9",
}
_SLEEP_EDF = {i: f"Sleep stage {'W1234R'[i]}" for i in range(6)} | {
    MOVEMENT: "Movement time",
    UNSCORED_CODE: "Sleep stage ?",
}
_ALLSCORE = {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "N3", 5: "R", MOVEMENT: "MVT"}
_AROUSAL = {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "N3", 5: "R"}


@dataclass(frozen=True)
class Scored:
    """What a scorer saw of one night."""

    subject: str
    start: datetime.datetime
    stages: np.ndarray  # int8 [E]
    apnoeas: np.ndarray  # float64 [A, 2]: onset and duration in seconds
    rechtschaffen: bool  # stages 3 and 4 apart, as before 2007

    def codes(self) -> list[int]:
        """0 W, 1, 2, 3, 4, 5 REM, 6 movement, 9 unscored; one a sleep_epoch.

        N3 is a stage 3 in its first minute and a stage 4 from then on. A lone unscored sleep_epoch
        is a movement's.
        """
        codes: list[int] = []
        for stage, group in itertools.groupby(self.stages.tolist()):
            length = len(list(group))
            if stage == 3 and self.rechtschaffen:
                codes += ([3, 3] + [4] * length)[:length]
            elif stage < 0:
                codes += [MOVEMENT if length == 1 else UNSCORED_CODE] * length
            else:
                codes += [5 if stage == 4 else stage] * length
        return codes

    @property
    def seconds(self) -> float:
        return float(len(self.stages) * SLEEP_EPOCH_SECONDS)


def write_nsrr(path: Path, scored: Scored) -> None:
    """The NSRR's XML: an event for each run of equal stages, and respiratory events."""
    events = [
        ("", "Recording Start Time", 0.0, scored.seconds),
        *(
            ("Respiratory|Respiratory", "Obstructive apnea|Obstructive Apnea", onset, length)
            for onset, length in scored.apnoeas
        ),
        *(
            ("Stages|Stages", text, onset, length)
            for onset, length, text in edf_writer.runs([_NSRR[c] for c in scored.codes()])
        ),
    ]
    body = "".join(
        f"<ScoredEvent>\n<EventType>{kind}</EventType>\n<EventConcept>{concept}</EventConcept>\n"
        f"<Start>{onset:g}</Start>\n<Duration>{length:.1f}</Duration>\n</ScoredEvent>\n"
        for kind, concept, onset, length in events
    )
    _write_text(
        path,
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnnotation>\n'
        "<SoftwareVersion>Compumedics</SoftwareVersion>\n<EpochLength>30</EpochLength>\n"
        f"<ScoredEvents>\n{body}</ScoredEvents>\n</PSGAnnotation>\n",
    )


def write_profusion(path: Path, scored: Scored) -> None:
    """Compumedics Profusion's XML: a number for each sleep_epoch."""
    events = "".join(
        f"<ScoredEvent><Name>Obstructive Apnea</Name><Start>{onset:g}</Start>"
        f"<Duration>{length:.1f}</Duration><Input>THOR RES</Input></ScoredEvent>\n"
        for onset, length in scored.apnoeas
    )
    stages = "".join(f"<SleepStage>{code}</SleepStage>\n" for code in scored.codes())
    _write_text(
        path,
        '<?xml version="1.0"?>\n<CMPStudyConfig>\n<EpochLength>30</EpochLength>\n'
        f"<ScoredEvents>\n{events}</ScoredEvents>\n<SleepStages>\n{stages}</SleepStages>\n"
        "</CMPStudyConfig>\n",
    )


def write_wsc_stg(path: Path, scored: Scored) -> None:
    """The Wisconsin cohort's `.stg.txt` and, beside it, the log that says when it began."""
    codes = [7 if code == UNSCORED_CODE else code for code in scored.codes()]
    rows = "".join(f"{i}\t{code}\t0\n" for i, code in enumerate(codes, 1))
    _write_text(path, f"Epoch\tUser-Defined Stage\tCAST-Defined Stage\n{rows}")
    log = path.with_name(path.name.removesuffix(".stg.txt") + ".log.txt")
    _write_text(log, f"{scored.start:%H:%M:%S}\tRecording Started\n")


def write_wsc_allscore(path: Path, scored: Scored) -> None:
    """The Wisconsin cohort's `.allscore.txt`: a clock time and a text, a stage where it changes."""
    texts = [_ALLSCORE.get(code, "NO STAGE") for code in scored.codes()]
    lines = [(0.0, "START RECORDING"), (0.0, "LIGHTS OUT")]
    lines += [(onset, f"STAGE - {text}") for onset, _, text in edf_writer.runs(texts)]
    lines += [
        (onset, f"APNEA - OBSTRUCTIVE - DUR: {length:.1f} SEC. - DESAT 3.0 %")
        for onset, length in scored.apnoeas
    ]
    lines.append((scored.seconds, "LIGHTS ON"))
    rows = [
        f"{scored.start + datetime.timedelta(seconds=onset):%H:%M:%S.%f}"[:11] + f"\t{text}\n"
        for onset, text in sorted(lines, key=lambda line: line[0])
    ]
    _write_text(path, "".join(rows))


def write_sleep_edf(path: Path, scored: Scored) -> None:
    """Sleep-EDF's hypnogram: EDF+ annotations in Rechtschaffen and Kales' stages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [_SLEEP_EDF[code] for code in scored.codes()]
    edf_writer.write_annotations(
        path, edf_writer.runs(texts), subject=scored.subject, start=scored.start
    )


def write_dreams(path: Path, scored: Scored) -> None:
    """DREAMS: a number every 5 s."""
    numbers = np.repeat([_DREAMS[code] for code in scored.codes()], SLEEP_EPOCH_SECONDS // 5)
    _write_text(path, "[Hypnogram]\n" + "".join(f"{n}\n" for n in numbers))


def write_arousal(path: Path, scored: Scored, sfreq: int) -> None:
    """CinC 2018: WFDB annotations; a stage where it changes, the ends of every apnoea."""
    texts = [_AROUSAL.get(code, "undefined") for code in scored.codes()]
    notes = [(onset, text) for onset, _, text in edf_writer.runs(texts)]
    for onset, length in scored.apnoeas:
        notes += [(onset, "(resp_obstructiveapnea"), (onset + length, "resp_obstructiveapnea)")]
    notes.sort()
    with warnings.catch_warnings():  # wfdb 4.3 uses what pandas 3 deprecates
        warnings.simplefilter("ignore")
        import wfdb  # most of a second to import, and only for this dialect

        wfdb.wrann(
            path.stem,
            path.suffix.removeprefix("."),
            sample=np.array([round(onset * sfreq) for onset, _ in notes]),
            symbol=['"'] * len(notes),
            aux_note=[text for _, text in notes],
            write_dir=str(path.parent),
        )


def write_wfdb(path: Path, traces: Sequence[Trace], *, start: datetime.datetime | None) -> None:
    """A WFDB record of one rate: `path` is its header; the signals are a MATLAB 4 file beside it.

    That file is a header of 24 bytes, then int16 sample by sample, which WFDB calls format 16+24.
    """
    digital = np.stack([trace.digital for trace in traces], axis=1)  # [T, C]
    matlab = path.with_suffix(".mat")
    head = struct.pack("<5i", 30, digital.shape[1], digital.shape[0], 0, 4) + b"val\x00"
    path.parent.mkdir(parents=True, exist_ok=True)
    matlab.write_bytes(head + digital.astype("<i2").tobytes())
    clock = "" if start is None else f" {start:%H:%M:%S %d/%m/%Y}"
    lines = [f"{path.stem} {len(traces)} {traces[0].sfreq:g} {len(digital)}{clock}"]
    for trace in traces:
        gain = 32767 / trace.physical_range[1]
        total = int(trace.digital.sum(dtype=np.int64))
        checksum = (total + 32768) % 65536 - 32768
        lines.append(
            f"{matlab.name} 16+24 {gain:.9g}(0)/{trace.unit or 'nu'} 16 0 {trace.digital[0]} "
            f"{checksum} 0 {trace.label}"
        )
    _write_text(path, "\n".join(lines) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
