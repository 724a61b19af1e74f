"""What one process of several dies of ends all of them, within seconds and with its reason.

Left alone, the others would wait in a collective for whoever is not there any more, and be ended by
jax minutes later with a stack trace. Here each process looks every second whether one has said why
it ends; the first process looks whether all are alive, and says it of those that are not.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import sys
import threading
import time
from typing import Any

from sleepfm_jax.errors import TrainingStopped

EVERY = 1.0
"""Seconds between two looks."""

GONE = 15.0
"""Seconds without a sign of life after which a process counts as gone."""

HEARTBEAT = 40
"""Seconds after which jax itself ends everything, should this here have failed to."""

_FAILED, _ALIVE, _HEARD = "sleepfm/failed", "sleepfm/alive/", "sleepfm/heard/"
_OF_A_COLLECTIVE = re.compile(
    r"gloo|nccl|collective|all.?(reduce|gather)|barrier|coordination|unavailable"
    r"|deadline.?exceeded|connection|socket|peer",
    re.IGNORECASE,
)


class Others:
    """The other processes of a run.

    Args:
      client: jax's, of its distributed runtime: a store of strings that all processes see.
      process, count: which one this is, and how many there are.
    """

    def __init__(self, client: Any, process: int, count: int):
        self._client, self._process, self._count = client, process, count
        self._ending = threading.Lock()  # held by the thread that ends this process
        self._done = False
        self._beats = 0
        self._seen = dict.fromkeys(range(count), ("", time.monotonic()))
        atexit.register(self._leave_in_peace)
        threading.Thread(target=self._watch, name="other processes", daemon=True).start()

    def tell(self, kind: str, message: str, code: int) -> None:
        """Says why this process is about to end; blocks for good where another has said why all
        end, and this process is being ended for it."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()
        failure = {"kind": kind, "message": message, "code": code, "process": self._process}
        with contextlib.suppress(Exception):  # somebody was first, or nobody hears any more
            self._client.key_value_set(_FAILED, json.dumps(failure))

    def wait_for_their_reason(self, error: BaseException) -> None:
        """Of a collective that failed: does not return where it was for the end of another."""
        if _OF_A_COLLECTIVE.search(f"{type(error).__name__} {error}"):
            time.sleep(GONE + 10 * EVERY)

    def _watch(self) -> None:
        while True:
            try:
                self._beats += 1
                if not self._done:
                    alive = f"{_ALIVE}{self._process}"
                    self._client.key_value_set(alive, str(self._beats), allow_overwrite=True)
                if failure := self._failure():
                    self._end(failure)
                if self._process == 0:
                    self._look_who_is_gone()
            except Exception as error:
                if self._done:
                    return
                if "UNAVAILABLE" in str(error):
                    self._end(_gone(0))
            time.sleep(EVERY)

    def _failure(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._client.key_value_try_get(_FAILED))
        except Exception as error:
            if "NOT_FOUND" in str(error):
                return None
            raise

    def _look_who_is_gone(self) -> None:
        now = time.monotonic()
        signs = {
            int(key.rpartition("/")[2]): sign
            for key, sign in self._client.key_value_dir_get(_ALIVE)
        }
        for process, (before, since) in self._seen.items():
            sign = signs.get(process, "")
            if sign != before:
                self._seen[process] = sign, now
            elif sign != "done" and now - since > GONE:
                with contextlib.suppress(Exception):
                    self._client.key_value_set(_FAILED, json.dumps(_gone(process)))

    def _end(self, failure: dict[str, Any]) -> None:
        """Ends this process for what another said, unless it is saying something itself."""
        time.sleep(2 * EVERY)  # it may be about to say the same of itself
        if not self._ending.acquire(blocking=False):
            return
        from launch import programs

        who = f"process {failure['process']} of {self._count}"
        programs.say(failure["kind"], f"{failure['message']} ({who})", failure["code"])
        sys.stdout.flush()
        self.wait_until_heard()
        os._exit(failure["code"])

    def wait_until_heard(self) -> None:
        """The last that a process does. The first one holds the store, and jax aborts the others
        when it goes: it waits, a little, until they are at their last, too."""
        with contextlib.suppress(Exception):
            self._client.key_value_set(f"{_HEARD}{self._process}", "")
        deadline = time.monotonic() + 5 * EVERY
        while self._process == 0 and time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                if len(self._client.key_value_dir_get(_HEARD)) == self._count:
                    deadline = 0.0
            time.sleep(EVERY / 10)

    def _leave_in_peace(self) -> None:
        """At the ordinary end, where jax waits until all are there."""
        self._done = True
        with contextlib.suppress(Exception):
            alive = f"{_ALIVE}{self._process}"
            self._client.key_value_set(alive, "done", allow_overwrite=True)


def _gone(process: int) -> dict[str, Any]:
    return {
        "kind": TrainingStopped.__name__,
        "message": (
            f"no sign of life for {GONE:.0f} s: killed, or its machine was lost; "
            "its own log may say more"
            if process
            else "it is not there any more: killed, or its machine was lost; its log may say more"
        ),
        "code": TrainingStopped.exit_code,
        "process": process,
    }
