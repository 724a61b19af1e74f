"""Reads and writes that answer when the save or the read that asked for them has failed already.

Orbax asks for many arrays at once. One that fails ends the whole, and its event loop with it; the
others then complain to nobody, on stderr, below the one line that says what happened.
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import sys
import threading
import traceback
import warnings


@functools.cache
def ignore_closed_loops() -> None:
    """Threads of tensorstore that answer to a loop which is closed print no traceback."""
    otherwise = sys.excepthook

    def hook(kind, error, trace):
        elsewhere = threading.current_thread() is not threading.main_thread()
        if not (elsewhere and kind is RuntimeError and str(error) == "Event loop is closed"):
            otherwise(kind, error, trace)

    sys.excepthook = hook


@functools.cache
def _ignore_what_follows() -> None:
    """A read that failed leaves those of other arrays behind, unfinished. Each would complain on
    stderr, at some later time and from some thread, below the one line that says what happened."""
    ignore_closed_loops()
    before = sys.unraisablehook

    def hook(found):
        closed = str(found.exc_value) == "Event loop is closed"
        if not (closed or inspect.iscoroutine(found.object)):
            before(found)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda r: "never retrieved" not in r.getMessage())
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def let_go(error: BaseException | None) -> None:
    """Drops what a failed read left behind; see `_ignore_what_follows`."""
    _ignore_what_follows()
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
