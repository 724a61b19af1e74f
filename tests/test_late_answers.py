"""What is left of a failed read complains to nobody; everything else still does."""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace

import pytest

from sleepfm_jax import late_answers
from sleepfm_jax.errors import DamagedCheckpoint
from sleepfm_jax.training.checkpoint import Checkpoints


@pytest.fixture
def heard(monkeypatch):
    """What reaches the hook that was there before, in a process that has read nothing yet."""
    said = []

    def hook(found):
        if hasattr(found, "by_this_test"):  # reads of other tests may still be answering
            said.append(str(found.exc_value))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    late_answers.expect.cache_clear()
    yield said
    late_answers.expect.cache_clear()


def complain(text):
    found = SimpleNamespace(exc_value=RuntimeError(text), object=None, by_this_test=True)
    sys.unraisablehook(found)


def test_complaints_that_come_before_the_failure_are_silent(heard, tmp_path):
    """Threads of other arrays answer while the failure is still on its way to the caller."""
    checkpoints = SimpleNamespace(folder=tmp_path)
    checkpoints._damaged = functools.partial(Checkpoints._damaged, checkpoints)
    with (
        pytest.raises(DamagedCheckpoint, match="step 2 is damaged"),
        Checkpoints._damage(checkpoints, 2),
    ):
        complain("Event loop is closed")
        complain("a fault of somebody else")
        raise ValueError("cut short")
    assert heard == ["a fault of somebody else"]
