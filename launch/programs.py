"""What the programs that use jax share: starting it on one host or many, and ending with one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Several hosts whose cluster (TPU pod, Slurm) tells jax who they are."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Several hosts: address HOST:PORT of process 0, the same on each."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Several hosts: how many processes.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Several hosts: which one this is, from 0.")


def start_jax() -> None:
    """Join the other processes, if there are any. Call before anything else touches jax."""
    import jax

    # Compiled programs are kept between runs where the user (or the quickstart) names a folder.
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if _COORDINATOR.value is None and not _DISTRIBUTED.value:
        return
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    logging.info(
        "process %d of %d: %d of %d devices",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
    )


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """app.run, with an error of the user's world as one line on stderr and exit code 1.

    Errors of ours (a bug) keep their traceback.
    """

    def wrapped(argv):
        logging.set_verbosity(logging.INFO)
        _quiet_libraries()
        from sleepfm_jax.checkpoint import CheckpointError
        from sleepfm_jax.data.pipeline import DatasetError
        from sleepfm_jax.experiment import ConfigError
        from sleepfm_jax.train import TrainingStopped

        try:
            return main(argv)
        except (CheckpointError, ConfigError, DatasetError, TrainingStopped) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return 1

    app.run(wrapped, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser, but --help is no failure, and a mistyped --config.KEY no traceback."""
    try:
        return app.parse_flags_with_usage(list(argv))
    except SystemExit as leaving:
        asked = {"--help", "-help", "-h", "--helpshort", "--helpfull"} & set(argv)
        raise SystemExit(0 if asked else leaving.code) from None
    except AttributeError as error:  # how ml_collections says it
        where = " ".join(a for a in argv if a.startswith(("--config.", "-config.")))
        cause = error
        while isinstance(cause, Exception) and cause.args:
            cause = cause.args[0]
        print(
            f"ConfigError: unknown key in {where}: {' '.join(str(cause).split())}", file=sys.stderr
        )
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
