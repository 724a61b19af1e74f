"""A program of launch/ as a module in the tests' own process."""

from __future__ import annotations

import importlib
from types import ModuleType

from absl import flags


def launched(name: str) -> ModuleType:
    """launch.NAME. Two programs may have a flag of one name, which absl refuses in one process:
    here the one that was imported last has it."""
    _may_be_defined_again()
    module = importlib.import_module(f"launch.{name}")
    _may_be_defined_again()
    return module


def _may_be_defined_again() -> None:
    for name in flags.FLAGS:
        flags.FLAGS[name].allow_override = True
