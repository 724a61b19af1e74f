"""Reads that answer when the whole that asked for them has failed already.

Orbax asks for many arrays at once. One that fails ends the whole, and its event loop with it; the
others then complain to nobody, on stderr, below the one line that says what happened. (Threads of
tensorstore that write to a disk which is full still do, past every hook that Python has.)
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import sys
import traceback
import warnings


@functools.cache
def expect() -> None:
    """From now on what a failed read leaves behind is silent. Called before a read begins: other
    arrays may complain, each from a thread of its own, before the failure reaches its caller."""
    before = sys.unraisablehook

    def hook(found):
        closed = str(found.exc_value) == "Event loop is closed"
        if not (closed or inspect.iscoroutine(found.object)):
            before(found)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda r: "never retrieved" not in r.getMessage())
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def let_go(error: BaseException | None) -> None:
    """Drops what a failed read left behind, after `expect`."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
