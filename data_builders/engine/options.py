"""What a builder can be told beyond what all builders can: its own flags of launch.build."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Option:
    """An argument of a builder's constructor, given on the command line as --NAME=TEXT.

    Attributes:
        help: what it does, and what it is when not given.
        type: the argument from the text; raises ValueError where that cannot be.
        choices: the values that it may have; () for any.
    """

    help: str
    type: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()


def numbers(text: str) -> list[float]:
    """Numbers with commas between them.

    Raises:
        ValueError: something else is between the commas.
    """
    return [float(part) for part in text.split(",")]
