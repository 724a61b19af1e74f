"""Record lines of WFDB headers that are not by the standard."""

from __future__ import annotations

import pytest

from sleepfm_jax.recordings.formats.wfdb_record_line import standard_record_line


@pytest.mark.parametrize(
    "line",
    [
        "100 2 360 650000",
        "100 2 360 650000 0:0:0 0/0/0",
        "s0010_re 15 1000 38400 11:39:16 05/02/2020",
        "rec/3 2 360/360(1) 100 12:00",
        "a103l 3 250",
        "a.b 3 250 10",
        "",
    ],
)
def test_a_line_by_the_standard_is_left_alone(line: str):
    assert standard_record_line(line) == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A1 12 500 7500 05-Feb-2020 11:39:16", "A1 12 500 7500 11:39:16 5/2/2020"),
        ("E1.mat 12 500 5000 05-May-2020 14:50:55", "E1 12 500 5000 14:50:55 5/5/2020"),
        ("E1.mat 12 500 5000", "E1 12 500 5000"),
        ("E1.dat/2 12 500 5000", "E1/2 12 500 5000"),
        ("A1 12 500 7500 05/02/2020 11:39", "A1 12 500 7500 11:39:00 5/2/2020"),
        ("A1 12 500 7500 5-DEC-2020 1:39:16.25", "A1 12 500 7500 1:39:16.25 5/12/2020"),
        # neither a date nor a time: nothing is made of it
        ("A1 12 500 7500 31-Feb-2020 11:39:16", "A1 12 500 7500"),
        ("A1 12 500 7500 05-Foo-2020 11:39:16", "A1 12 500 7500"),
        ("A1 12 500 7500 05-Feb-2020 25:39:16", "A1 12 500 7500"),
    ],
)
def test_names_of_files_and_dates_before_times(line: str, expected: str):
    assert standard_record_line(line) == expected
