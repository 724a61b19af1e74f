"""SIGTERM: asked once, for good, and given back."""

from __future__ import annotations

import os
import signal
import threading

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import multihost_utils

from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.stopping import Interrupted, StopSignal, told


@pytest.fixture(autouse=True)
def handler():
    """A handler of the test's own: a signal that nobody catches would end the session."""
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    yield caught
    signal.signal(signal.SIGTERM, before)


def test_one_process_catches_the_signal_itself_and_gives_it_back(handler):
    mine = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert not stop.requested()
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested() and stop.requested()
        with pytest.raises(Interrupted):
            stop.check()
        assert not handler
    assert signal.getsignal(signal.SIGTERM) is mine
    os.kill(os.getpid(), signal.SIGTERM)
    assert handler


def test_several_processes_hear_it_from_the_cluster_at_the_same_call(handler, monkeypatch):
    asked = []

    def reached(number):
        asked.append(number)
        return number == 3

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", reached)
    mine = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert signal.getsignal(signal.SIGTERM) is mine  # jax.distributed listens to it
        assert not stop.requested()
        stop.check()  # steps and batches of evaluations are one sequence
        assert stop.requested() and asked == [1, 2, 3]
    assert signal.getsignal(signal.SIGTERM) is mine


def test_in_a_thread_the_signal_is_left_alone(handler):
    mine = signal.getsignal(signal.SIGTERM)
    seen = []

    def run():
        with StopSignal() as stop:
            seen.append((signal.getsignal(signal.SIGTERM) is mine, stop.requested()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


def test_orbax_asks_nothing_where_the_loop_asks(tmp_path, monkeypatch):
    """It would ask with a step, and the loop's number would be passed unseen."""

    def reached(number):
        raise AssertionError("asked")

    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", reached)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": jnp.ones(2)}, {})
    checkpoints.close()


def test_what_it_says_is_so():
    assert told(3, 0).startswith("SIGTERM: saved at step 3; run again")
    assert told(3, 3).startswith("SIGTERM: still at step 3, which was saved before")
    assert told(0, 0).startswith("SIGTERM: at step 0, with nothing to save")
