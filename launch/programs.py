"""How every program begins and ends: flags understood, errors of the user's world as one line.

A program ends with exit code 0 when it did what it says, and with one line on stderr, `Kind:
message`, and the kind's exit code (`sleepfm_jax/errors.py`) when a person can mend what was wrong:
flags and configurations (2), or a disk (StorageError), however deep in a library it was noticed. A
fault of ours keeps its traceback and ends with 1.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from absl import app, flags, logging

from launch.storage_errors import storage_error
from sleepfm_jax.errors import ConfigError, SleepFMError, StorageError, TrainingStopped

if TYPE_CHECKING:
    from launch.others import Others

_HELP = {"--help", "-help", "-h", "-?", "--helpshort", "--helpfull", "--helpxml"}
_WRITTEN = (
    "workdir",
    "to",
    "out",
    "output",
    "data_dir",
)  # flags that name where a program writes to

others: Others | None = None
"""The other processes of this run, where there are any; `launch.hosts` sets it."""

Declare = Callable[[Sequence[str]], str]
"""Defines flags that depend on others: from argv, before it is parsed; returns what there is to say
to somebody who gives a flag that is not there."""


def run(
    main: Callable[[Sequence[str]], int | None],
    *,
    declare: Declare | None = None,
    loads_batches: bool = False,
) -> NoReturn:
    """Runs a program and ends the process.

    Args:
        main: called with what is left of the command line; returns the exit code.
        declare: see `Declare`.
        loads_batches: the program reads batches of records all the time.
    """

    def wrapped(argv: Sequence[str]) -> int | None:
        debugging = flags.FLAGS.verbosity >= logging.DEBUG
        logging.set_verbosity(logging.DEBUG if debugging else logging.INFO)
        _quiet_libraries()
        died = _storage_errors_of_threads()
        if loads_batches:
            from sleepfm_jax.data.memory import keep_freed_memory

            keep_freed_memory(2**25)  # batches are loaded 1.8 times as fast
        try:
            code = main(argv)
            if died:  # not all that was to be written was
                raise died[0]
            return code
        except app.UsageError as error:
            return say("UsageError", error, ConfigError.exit_code)
        except KeyboardInterrupt:
            return _end("Interrupted", "stopped from outside", 130)
        except TrainingStopped as error:  # all processes stop together, and finish their save
            return say(type(error).__name__, error, error.exit_code)
        except Exception as error:
            storage = storage_error(error, _where_it_writes())
            if debugging and (storage or isinstance(error, SleepFMError)):
                traceback.print_exc()
            if storage:
                _leave(_end("StorageError", storage, StorageError.exit_code))
            if isinstance(error, SleepFMError):
                return _end(type(error).__name__, error, error.exit_code)
            if others:
                others.wait_for_their_reason(error)  # a collective may fail for the end of another
                _end(type(error).__name__, error, 1, traceback.format_exc())
            raise

    app.run(wrapped, flags_parser=lambda argv: parse(argv, declare))


def parse(argv: Sequence[str], declare: Declare | None = None) -> list[str]:
    """absl's parser, but --help is no failure, and a mistake is one line that names the nearest."""
    try:
        note = declare(argv) if declare else ""
        return flags.FLAGS(list(argv))
    except SystemExit as leaving:
        raise SystemExit(0 if _HELP & set(argv) else leaving.code) from None
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(flags.FLAGS), 1)
        asked = f": did you mean --{near[0]}?" if near else " (--help lists all)"
        said = f"--{error.flagname}: there is no such flag{asked}{note and ' ' + note}"
        raise SystemExit(say("UsageError", said, ConfigError.exit_code)) from None
    except (flags.Error, app.UsageError) as error:
        # absl's own words for a flag that is required: flag --x=None: Flag --x must have a …
        said = re.sub(
            r"^.*Flag (--\S+) must have a value other than None\.?", r"\1 not given", str(error)
        )
        # ml_collections quotes the traceback of a configuration file, whose end says it all.
        if "Traceback (most recent call last)" in said:
            said = f"{said.partition(': Error')[0]}: {said.strip().splitlines()[-1]}"
        raise SystemExit(say("UsageError", said, ConfigError.exit_code)) from None
    except SleepFMError as error:
        raise SystemExit(say(type(error).__name__, error, error.exit_code)) from None
    except (AttributeError, KeyError, ValueError, OSError) as error:  # as ml_collections says it
        where = " ".join(a for a in argv if a.startswith(("--config", "-config")))
        if not where:
            raise
        cause = error
        while isinstance(cause, Exception) and cause.args and not isinstance(cause, OSError):
            cause = cause.args[0]
        kind = "unknown key in " if isinstance(error, AttributeError | KeyError) else ""
        said = f"{kind}{where}: {' '.join(str(cause).split())}"
        raise SystemExit(say("ConfigError", said, ConfigError.exit_code)) from None


def say(kind: str, error: object, code: int) -> int:
    """One line on stderr, below a progress bar if there is one; returns the exit code.

    Line breaks in a message that lists things stay: what was left out of a build, say.
    """
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()
    print(f"{kind}: {str(error).strip()}", file=sys.stderr, flush=True)
    return code


def _end(kind: str, error: object, code: int, trace: str = "") -> int:
    """`say`; where there are other processes, to them too, and ends this one at once."""
    if not others:
        return say(kind, error, code)
    others.tell(kind, str(error).strip(), code)
    sys.stderr.write(trace)
    say(kind, error, code)
    others.wait_until_heard()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Ends the process at once.

    The threads with which Orbax saves, and the event loops and exit handlers of others, would try
    the same disk again on an ordinary way out, and print a hundred lines about it. Nothing that
    they could still do helps: a checkpoint that is not whole is dropped by the next run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _where_it_writes() -> str | None:
    values = (flags.FLAGS[name].value for name in _WRITTEN if name in flags.FLAGS)
    return next((str(value) for value in values if value), None)


def _storage_errors_of_threads() -> list[BaseException]:
    """What threads will have died of for want of a disk, in place of their tracebacks."""
    died: list[BaseException] = []
    otherwise = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and storage_error(args.exc_value):
            died.append(args.exc_value)
        else:
            otherwise(args)

    threading.excepthook = hook
    return died


def _quiet_libraries() -> None:
    """Orbax and jax log every save at INFO; warnings and errors still come through.

    Not those about a disk, though: Orbax and asyncio log each error once for every array and for
    every layer that it passes, before the program can say it once.
    """
    import logging as std

    for name in ("jax", "orbax", "grain"):
        std.getLogger(name).setLevel(std.WARNING)
    absl_logger = std.getLogger("absl")
    absl_logger.addFilter(
        lambda record: record.levelno >= std.WARNING or "site-packages" not in record.pathname
    )
    logging.get_absl_handler().addFilter(
        lambda record: (
            not (record.exc_info and record.exc_info[1] and storage_error(record.exc_info[1]))
        )
    )


def command(module: str) -> str:
    """What the user typed, to be typed again."""
    return f"python -m {module} {shlex.join(sys.argv[1:])}"
