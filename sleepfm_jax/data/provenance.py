"""build_report.json as it is stored beside the records.

An archive of hundreds of thousands of exams has the same few channels in all of them. So lists of
channels are stored once, under "channel_lists", and a recording's "channels" is a number in there;
in memory the recordings share the lists. One line a recording, for grep.

Reports of before nights were rows have no "stages" (scored sleep_epochs by stage) in a recording.
Reports of before the cohort was noted have no "age" (years or null) and "sex" (female, male or
"") in a recording, and fewer totals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILENAME = "build_report.json"
FEW = 5
"""Subjects: the mean of fewer says too much about each."""
PERSONAL = ("age", "sex")
"""What a recording's entry says about the person: for nobody but those who have the data."""


def share(recordings: list[dict[str, Any]], lists: dict[str, list]) -> None:
    """Makes recordings with equal channels hold one and the same list.

    Args:
        recordings: entries of a report; changed in place.
        lists: every list so far, by its JSON; more are added.
    """
    for recording in recordings:
        text = json.dumps(recording["channels"])
        recording["channels"] = lists.setdefault(text, recording["channels"])


def pack(report: dict[str, Any]) -> str:
    """A report, its recordings' channels as lists, as the text of its file."""
    lists: dict[str, int] = {}
    known: dict[int, int] = {}  # id of a shared list → its number
    recordings = []
    for recording in report["recordings"]:
        channels = recording["channels"]
        if id(channels) not in known:
            known[id(channels)] = lists.setdefault(_line(channels), len(lists))
        recordings.append(_line(recording | {"channels": known[id(channels)]}))
    rest = {k: v for k, v in report.items() if k != "recordings"}
    parts = [f'"recordings": [\n{_lines(recordings)}]', f'"channel_lists": [\n{_lines(lists)}]']
    parts += [f"{json.dumps(k)}: {_line(v)}" for k, v in rest.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def expand(report: dict[str, Any]) -> dict[str, Any]:
    """The report as it was packed: every recording with its (shared) list of channels."""
    lists = report.pop("channel_lists", [])
    for recording in report["recordings"]:
        if isinstance(recording.get("channels"), int):
            recording["channels"] = lists[recording["channels"]]
    if "spec" in report:
        report["spec"] = with_label_kind(report["spec"])
    return report


def without_people(text: str) -> str:
    """A report's file without the age and sex of each recording's person, ready to be passed on.

    Those of whole splits, in the totals, stay where they are of `FEW` subjects or more: else there
    is no mean and sd, and the sex of all is unknown. Text that is no report stays as it is: whoever
    reads it says what is wrong.
    """
    try:
        report = expand(json.loads(text))
        if not any(key in entry for entry in report["recordings"] for key in PERSONAL):
            return text  # one of before they were noted
        report["recordings"] = [
            {k: v for k, v in entry.items() if k not in PERSONAL} for entry in report["recordings"]
        ]
        for row in report["totals"]["splits"].values():
            _hide_few(row)
        return pack(report)
    except (ValueError, LookupError, TypeError, AttributeError):
        return text


def _hide_few(row: dict[str, Any]) -> None:
    age, sex = row["age"], row["sex"]
    if age["known"] < FEW:
        age["mean"] = age["sd"] = None
    if sum(sex.values()) - sex["unknown"] < FEW:
        row["sex"] = dict.fromkeys(sex, 0) | {"unknown": row["subjects"]}


def with_label_kind(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset's metadata, in today's words: the first datasets call their label_kind `task`."""
    found = dict(metadata)
    if "task" in found:
        found.setdefault("label_kind", found.pop("task"))
    return found


def load(folder: Path) -> dict[str, Any]:
    """The report of the dataset in `folder`."""
    return expand(json.loads((folder / FILENAME).read_text(encoding="utf-8")))


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(values) -> str:
    return ",\n".join(values) + "\n"
