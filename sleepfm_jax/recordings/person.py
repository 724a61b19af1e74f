"""Age and sex of the person recorded, where a file says so and can be believed.

Headers are filled with placeholders as often as with facts. So an age is taken only from what is
written as an age, or from two whole dates neither of which is a first of January: programs that
have no date, or hide it, write that day. Numbers that stand for a sex (0, 1) mean different things
in different archives and are nothing here; the archive's builder knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

OLDEST = 120.0
"""Years; PTB-XL writes 300 for everybody above 89."""
SEXES = ("female", "male")
_SEX = {
    **dict.fromkeys(("f", "female", "woman", "girl"), "female"),
    **dict.fromkeys(("m", "male", "man", "boy"), "male"),
}
_AGE = re.compile(r"(\d{1,3}(?:[.,]\d+)?)\s*(?:y|yrs?|years?)?(?:\s+old)?\.?", re.IGNORECASE)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

# EDF+'s local patient identification: code, sex, birth date, then the name and more.
_EDF_PLUS = re.compile(r"\S+ +([FMX]) +(X|\d{1,2}-[A-Z]{3}-\d{4})(?: +(.*))?", re.IGNORECASE)
# What stands behind it in the TUH's corpora (Age:47) and in Sleep-EDF (Female_33yr).
_AGE_BEHIND = re.compile(r"(?:.*\s)?(?:Age:|(?:fe)?male_)(\d{1,3})(?:yr)?(?:\s.*)?", re.IGNORECASE)
# DREAMS: "DatabaseSpindles, excerpt3, man - 28/03/1957 - ...".
_DREAMS = re.compile(r"Database\w+, \w+, ((?:wo)?man) - (\d\d)/(\d\d)/(\d{4})\b.*", re.IGNORECASE)
# A comment of a WFDB header: "Age: 74", or "<age>: 47 <sex>: M".
_COMMENT = re.compile(r"\s*(age|sex|gender)\s*:(.*)", re.IGNORECASE)
_TAGS = re.compile(r"<(age|sex|gender)>:?\s*([^<\s]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Person:
    """Who was recorded, at the time.

    Attributes:
      age: years; None where nobody says, or says what cannot be.
      sex: female, male or "".
    """

    age: float | None = None
    sex: str = ""


def described(age: object, sex: object) -> Person:
    """A person as a table or header describes one; see `age_of` and `sex_of`."""
    return Person(age_of(age), sex_of(sex))


def age_of(said: object) -> float | None:
    """Years that an entry says (`74`, `74.0`, `33yr`), None for everything else (`n/a`, `90+`)."""
    found = _AGE.fullmatch(str(said).strip())
    age = float(found[1].replace(",", ".")) if found else OLDEST + 1
    return age if age <= OLDEST else None


def sex_of(said: object) -> str:
    """female or male where an entry is one of their words or F or M, else ""."""
    return _SEX.get(str(said).strip().lower(), "")


def age_at(birth: date | None, start: datetime | None) -> float | None:
    """Years from birth to a recording, to a tenth; None where either date is a placeholder."""
    if (
        birth is None
        or start is None
        or (1, 1) in ((birth.month, birth.day), (start.month, start.day))
    ):
        return None
    age = (start.date() - date(birth.year, birth.month, birth.day)).days / 365.2425
    return round(age, 1) if 0 <= age <= OLDEST else None


def of_edf(patient: str, start: datetime | None) -> Person:
    """The person of an EDF header's local patient identification.

    Only EDF+'s form and DREAMS' are understood: of free text nobody knows what a word means.
    """
    if free := _DREAMS.fullmatch(patient.strip()):
        return Person(age_at(_day(free[4], int(free[3]), free[2]), start), sex_of(free[1]))
    fields = _EDF_PLUS.fullmatch(patient.strip())
    if fields is None:
        return Person()
    if behind := _AGE_BEHIND.fullmatch(fields[3] or ""):
        age = age_of(behind[1])
    else:
        day, _, rest = fields[2].partition("-")
        month, _, year = rest.partition("-")
        known = month.upper() in _MONTHS
        birth = _day(year, _MONTHS.index(month.upper()) + 1, day) if known else None
        age = age_at(birth, start)
    return Person(age, sex_of(fields[1]))


def _day(year: str, month: int, day: str) -> date | None:
    try:
        return date(int(year), month, int(day))
    except ValueError:
        return None


def of_comments(comments: Iterable[str]) -> Person:
    """The person of a WFDB header's comments (without their #); the first that says counts."""
    age, sex = None, ""
    for comment in comments:
        whole = _COMMENT.fullmatch(comment)
        for name, said in [whole.groups()] if whole else _TAGS.findall(comment):
            if name.lower() == "age":
                age = age_of(said) if age is None else age
            else:
                sex = sex or sex_of(said)
    return Person(age, sex)
