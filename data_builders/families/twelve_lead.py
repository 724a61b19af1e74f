"""What builders of 12-lead ECG exams share: the published task's labels, leads, CinC headers."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from data_builders.engine import storage
from data_builders.engine.builder import Plan, RecordsBuilder
from data_builders.engine.splits import by_subject
from data_builders.engine.work_unit import Source
from sleepfm_jax.errors import BuildError, RecordingError
from sleepfm_jax.recordings.files import read_text
from sleepfm_jax.recordings.labels.windows import middle
from sleepfm_jax.recordings.read import Recording, read_recording
from sleepfm_jax.recordings.recording import Window

LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
"""CODE-15's: first-degree AV block, bundle branch blocks (complete ones), sinus bradycardia,
atrial fibrillation, sinus tachycardia."""

SFREQ, CLIP_SECONDS = 400.0, 9.6  # 30 patches of 128 samples (arXiv 2605.02500)
FRACTIONS = (0.8, 0.1, 0.1)

SIGNALS = {
    "filter": "none beyond the resampling's",
    "normalisation": "z-scored per lead and exam, mean and sd kept",
}
"""What every such dataset says about its signals."""
METADATA = {**SIGNALS, "patch_samples": 128}
"""The same, and the patch that the published recipe cuts them into."""

SNOMED = {
    "270492004": "1dAVb",
    "59118001": "RBBB",
    "713427006": "RBBB",  # complete
    "164909002": "LBBB",
    "733534002": "LBBB",  # complete
    "426177001": "SB",
    "164889003": "AF",
    "427084000": "ST",
}
"""SNOMED CT codes of the CinC Challenges 2020 and 2021. Incomplete blocks are not counted, as the
class counts of the paper show."""

ABBREVIATIONS = {
    "AF": "AF",
    "I-AVB": "1dAVb",
    "LBBB": "LBBB",
    "RBBB": "RBBB",
    **dict.fromkeys(("Normal", "PAC", "PVC", "STD", "STE")),
}
"""CPSC 2018's own names of its nine classes, as the first release of the Challenge 2020 has them:
the label of each, None for those that are none of ours."""

_DX = re.compile(r"#\s*Dx\s*:(.*)", re.IGNORECASE)


def check_leads(recording: Recording) -> Recording:
    """The recording, all of whose channels must be voltages.

    Raises:
        RecordingError: a lead is not.
    """
    for lead in recording.channels:
        if lead.unit != "uV":
            raise RecordingError(
                recording.path, f"lead {lead.label} is in {lead.unit!r}: expected a voltage"
            )
    return recording


def keep_middle(recording: Recording) -> Recording:
    """Gives an exam one clip, of its middle; its leads must be voltages (see `check_leads`)."""
    recording.windows = functools.partial(middle, check_leads(recording))
    return recording


# --- CinC Challenges ------------------------------------------------------------------------------


def diagnoses(header: Path) -> tuple[str, ...]:
    """The codes of a header's `#Dx:` line (SNOMED's, or `ABBREVIATIONS`), in its order.

    Raises:
        RecordingError: the header has none, more than one line of them, or another word there.
    """
    lines = read_text(header, "WFDB header").splitlines()
    found = [match[1] for line in lines if (match := _DX.match(line.strip()))]
    if len(found) != 1:
        raise RecordingError(header, f"has {len(found)} lines '#Dx:': its diagnosis is not known")
    codes = tuple(code.strip() for code in found[0].split(",") if code.strip())
    known = [code in ABBREVIATIONS or re.fullmatch(r"\d{6,18}", code) for code in codes]
    if not codes or not all(known):
        raise RecordingError(
            header,
            f"#Dx:{found[0][:80]!r} is no list of SNOMED codes or of CPSC's abbreviations "
            f"({', '.join(ABBREVIATIONS)})",
        )
    return codes


def read_exam(root: Path, source: Source, classes: Sequence[str]) -> Recording:
    """Reads one CinC exam at its native rate: the middle of it is a clip with its diagnoses.

    The diagnoses are looked up when that clip is asked for: plain clips need none.

    Raises:
        RecordingError: the exam cannot be read; its windows raise it too, where the header names
            no diagnosis.
    """
    recording = check_leads(
        read_recording(root / source.path, subject=source.subject, recording=source.recording)
    )
    recording.windows = functools.partial(_diagnosed, recording, root / source.path, classes)
    return recording


def _diagnosed(
    recording: Recording, header: Path, classes: Sequence[str], clip_seconds: float
) -> list[Window]:
    """The middle of an exam, with the labels that its header's diagnoses give it."""
    named = {SNOMED.get(code) or ABBREVIATIONS.get(code) for code in diagnoses(header)}
    labels = tuple(float(name in named) for name in classes)
    return middle(recording, clip_seconds, labels=labels)


class CincBuilder(RecordsBuilder, skip_registration=True):
    """Base class of the builders of one source of the CinC Challenges 2020 and 2021.

    The headers name no patient, so every exam is a subject of its own.
    """

    NAME: ClassVar[re.Pattern[str]]  # of a header, in full
    EXAMPLE: ClassVar[str]
    CLASSES: ClassVar[tuple[str, ...]]
    SFREQ = SFREQ
    CLIP_SECONDS = CLIP_SECONDS

    def plan(self) -> Plan:
        root = self.require_source()
        label_kind = check_label_kind(self.label_kind, self.name)
        listed = storage.listing(root)
        files = frozenset(listed)
        headers = [p for p in listed if p.endswith(".hea")]
        mine = [p for p in headers if self.NAME.fullmatch(PurePosixPath(p).name)]
        if not mine:
            others = f" but {len(headers)} other headers" if headers else ""
            raise BuildError(
                f"--source={root}: no header named like {self.EXAMPLE} in this folder or below "
                f"it{others}"
            )
        splits = by_subject((PurePosixPath(p).stem for p in mine), self.seed, FRACTIONS)
        sources, seen = [], {}
        for path in mine:
            name = PurePosixPath(path).stem
            signal = str(PurePosixPath(path).with_suffix(".mat"))
            problem = None if signal in files else f"missing file: {signal}"
            if name in seen:
                problem = f"a second exam of this name: {seen[name]} is built"
            seen.setdefault(name, path)
            sources.append(Source(path, name, name, splits[name], files=(signal,), problem=problem))
        notes = ["the headers name no patient: each exam is taken for a person"]
        if len(mine) < len(headers):
            notes.append(f"{len(headers) - len(mine)} headers of other sources are not used")
        classes = self.CLASSES if label_kind == "multilabel" else ()
        return Plan(tuple(sources), label_kind, classes, tuple(notes), dict(METADATA))


def check_label_kind(label_kind: str | None, name: str) -> str:
    """What the labels of a dataset of exams are.

    Raises:
        BuildError: one that it has no labels for.
    """
    if label_kind not in (None, "multilabel", "none"):
        raise BuildError(f"--label_kind={label_kind}: {name} is multilabel, or none")
    return label_kind or "multilabel"


def label_vector(row: Mapping[str, Any], classes: Sequence[str]) -> tuple[float, ...]:
    """Labels float [K] of a table's columns named as the classes; NaN where one is blank.

    Raises:
        ValueError: an entry is neither true nor false.
    """
    values = {
        "true": 1.0,
        "1": 1.0,
        "1.0": 1.0,
        "false": 0.0,
        "0": 0.0,
        "0.0": 0.0,
        "": float("nan"),
    }
    try:
        return tuple(values[str(row[name]).strip().lower()] for name in classes)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is neither True nor False") from None
