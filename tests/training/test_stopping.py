"""SIGTERM: asked once, for good, and given back."""

from __future__ import annotations

import os
import signal

import jax
import pytest

from sleepfm_jax.training.stopping import StopSignal


class Announced:
    """Checkpoints whose cluster announces the end at step 3."""

    def preempted(self, step):
        return step == 3


@pytest.fixture(autouse=True)
def handler():
    """A handler of the test's own: a signal that nobody catches would end the session."""
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    yield caught
    signal.signal(signal.SIGTERM, before)


def test_one_process_catches_the_signal_itself_and_gives_it_back(handler):
    mine = signal.getsignal(signal.SIGTERM)
    stop = StopSignal()
    assert not stop.requested(Announced(), 3)  # nobody else is asked
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested(Announced(), 4) and stop.requested(Announced(), 5)
    assert not handler
    stop.restore()
    assert signal.getsignal(signal.SIGTERM) is mine
    os.kill(os.getpid(), signal.SIGTERM)
    assert handler


def test_several_processes_hear_it_from_the_cluster(handler, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    mine = signal.getsignal(signal.SIGTERM)
    stop = StopSignal()
    assert signal.getsignal(signal.SIGTERM) is mine  # jax.distributed listens to it
    assert [stop.requested(Announced(), step) for step in (2, 3, 4)] == [False, True, False]
    stop.restore()
    assert signal.getsignal(signal.SIGTERM) is mine
