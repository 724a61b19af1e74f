"""How the programs begin and end: flags understood, errors of the user's world as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app, logging


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """app.run, with an error of the user's world as one line on stderr and exit code 1.

    Errors of ours (a bug) keep their traceback.
    """

    def wrapped(argv):
        logging.set_verbosity(logging.INFO)
        _quiet_libraries()
        from sleepfm_jax.data.memory import keep_freed_memory
        from sleepfm_jax.errors import (
            CheckpointError,
            ConfigError,
            DatasetError,
            TrainingStopped,
            WeightsError,
        )

        keep_freed_memory(2**25)  # batches are loaded 1.8 times as fast
        try:
            return main(argv)
        except (
            CheckpointError,
            ConfigError,
            DatasetError,
            TrainingStopped,
            WeightsError,
        ) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return 1

    app.run(wrapped, flags_parser=parse)


def parse(argv: Sequence[str]) -> list[str]:
    """absl's parser, but --help is no failure, and a mistyped --config no traceback."""
    try:
        return app.parse_flags_with_usage(list(argv))
    except SystemExit as leaving:
        asked = {"--help", "-help", "-h", "--helpshort", "--helpfull"} & set(argv)
        raise SystemExit(0 if asked else leaving.code) from None
    except (AttributeError, KeyError, ValueError, OSError) as error:  # as ml_collections says it
        where = " ".join(a for a in argv if a.startswith(("--config", "-config")))
        cause = error
        while isinstance(cause, Exception) and cause.args and not isinstance(cause, OSError):
            cause = cause.args[0]
        said = " ".join(str(cause).split())
        kind = "unknown key in " if isinstance(error, AttributeError | KeyError) else ""
        print(f"ConfigError: {kind}{where}: {said}", file=sys.stderr)
        raise SystemExit(1) from None


def _quiet_libraries() -> None:
    """Orbax and jax log every save at INFO; warnings and errors still come through."""
    import logging as std

    for name in ("jax", "orbax", "grain"):
        std.getLogger(name).setLevel(std.WARNING)
    absl_logger = std.getLogger("absl")
    absl_logger.addFilter(
        lambda record: record.levelno >= std.WARNING or "site-packages" not in record.pathname
    )
