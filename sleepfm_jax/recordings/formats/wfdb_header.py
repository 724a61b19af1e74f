"""The text of a WFDB header → its fields, with the defaults that the format gives them.

The wfdb library parses each field through pandas, which takes longer than the samples of an exam of
10 s. Its grammar is kept, and the tests compare the fields with its own:
https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time

_RECORD = re.compile(
    r"""[ \t]*(?P<name>[-\w]+(?:\.\w+)?) /?(?P<segments>\d*) [ \t]+(?P<signals>\d+)
    [ \t]*(?P<fs>\d*\.?\d*) /*(?P<counter>-?\d*\.?\d*) \(?(?P<base>-?\d*\.?\d*)\)?
    [ \t]*(?P<length>\d*) (?P<start>.*)""",
    re.VERBOSE | re.DOTALL,
)
_START = re.compile(
    r"[ \t]*(?P<time>\d{,2}:?\d{,2}:?\d{,2}\.?\d{,6})[ \t]*(?P<date>\d{,2}/?\d{,2}/?\d{,4})"
)
# As CPSC's headers have it: the date first, and its month a word.
_DATE_FIRST = re.compile(r"[ \t]*(\d{1,2}[-/](?:\d{1,2}|[A-Za-z]{3})[-/]\d{4})[ \t]+(\d[\d:.]*)")
_SIGNAL = re.compile(
    r"""[ \t]*(?P<file_name>~?[-\w]*\.?[\w]*) [ \t]+(?P<fmt>\d+) x?(?P<samps_per_frame>\d*)
    :?(?P<skew>\d*) \+?(?P<byte_offset>\d*) [ \t]*(?P<adc_gain>-?\d*\.?\d*e?[\+-]?\d*)
    \(?(?P<baseline>-?\d*)\)? /?(?P<units>[\w\^\-\?%\/]*) [ \t]*(?P<adc_res>\d*)
    [ \t]*(?P<adc_zero>-?\d*) [ \t]*(?P<init_value>-?\d*) [ \t]*(?P<checksum>-?\d*)
    [ \t]*(?P<block_size>\d*) [ \t]*(?P<sig_name>[\S]?[^\t\n\r\f\v]*)""",
    re.VERBOSE,
)
_SEGMENT = re.compile(r"[ \t]*([-\w]*~?)[ \t]+(\d+)")
_DEFAULT_FS, DEFAULT_GAIN = 250.0, 200.0


@dataclass(frozen=True)
class Signal:
    """A line of a signal; None where it says nothing and the format has no default."""

    file_name: str | None
    fmt: str
    samps_per_frame: int
    skew: int
    byte_offset: int
    adc_gain: float
    calibrated: bool  # False: the gain is the format's default
    baseline: int
    units: str
    adc_res: int
    adc_zero: int
    checksum: int | None
    sig_name: str | None


@dataclass(frozen=True)
class Header:
    """A header's fields: `signals` of a record of one segment, `segments` of one of many."""

    num_signals: int
    fs: float
    sig_len: int | None  # frames
    base_time: time | None
    base_date: date | None
    signals: tuple[Signal, ...]
    segments: tuple[tuple[str, int], ...] | None  # name, frames
    comments: tuple[str, ...]  # without their #

    @property
    def file_names(self) -> list[str]:
        """The distinct names of its signal files, "" for none."""
        return list(dict.fromkeys(signal.file_name or "" for signal in self.signals))


def parse_header(text: str) -> Header:
    """The fields of a header's text.

    Raises:
      ValueError: a line that is none of a header's.
    """
    told = [line for raw in text.splitlines() if (line := raw.strip())]
    lines = [line for line in told if line[0] != "#"]
    record = _RECORD.match(lines[0]) if lines else None
    if record is None:
        raise ValueError("invalid syntax in record line")
    moment, day = _start(record["start"])
    many = record["segments"] != ""
    return Header(
        num_signals=int(record["signals"]),
        fs=float(record["fs"] or _DEFAULT_FS),
        sig_len=int(record["length"]) if record["length"] else None,
        base_time=moment,
        base_date=day,
        signals=() if many else tuple(map(_signal, lines[1:])),
        segments=tuple(map(_segment, lines[1:])) if many else None,
        comments=tuple(line.lstrip("#").strip() for line in told if line[0] == "#"),
    )


def _start(text: str) -> tuple[time | None, date | None]:
    if swapped := _DATE_FIRST.match(text):
        day, moment = swapped.groups()
        month = "%b" if day.split(day[-5])[1].isalpha() else "%m"
        day = datetime.strptime(day, day[-5].join(("%d", month, "%Y"))).date()
    else:
        found = _START.match(text)
        moment = found["time"]
        day = datetime.strptime(found["date"], "%d/%m/%Y").date() if found["date"] else None
    if not moment:
        return None, day
    pattern = ("%S", "%M:%S", "%H:%M:%S")[moment.count(":")] + (".%f" if "." in moment else "")
    return datetime.strptime(moment, pattern).time(), day


def _signal(line: str) -> Signal:
    found = _SIGNAL.match(line)
    if found is None:
        raise ValueError("invalid syntax in signal line")
    gain = float(found["adc_gain"] or 0)  # 0 is none

    def whole(name: str, default: int | None = 0) -> int | None:
        return int(found[name]) if found[name] else default

    zero = whole("adc_zero")
    return Signal(
        file_name=found["file_name"] or None,
        fmt=found["fmt"],
        samps_per_frame=whole("samps_per_frame", 1),
        skew=whole("skew"),
        byte_offset=whole("byte_offset"),
        adc_gain=gain or DEFAULT_GAIN,
        calibrated=gain != 0,
        baseline=whole("baseline", zero),
        units=found["units"] or "mV",
        adc_res=whole("adc_res"),
        adc_zero=zero,
        checksum=whole("checksum", None),
        sig_name=found["sig_name"] or None,
    )


def _segment(line: str) -> tuple[str, int]:
    found = _SEGMENT.match(line)
    if found is None:
        raise ValueError("invalid syntax in segment line")
    return found[1], int(found[2])
