"""Starting jax on one host, or on many that work as one."""

from __future__ import annotations

import os

from absl import app, flags, logging

from launch import others, programs, several_hosts

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    None,
    "Several hosts whose cluster (TPU pod, Slurm, Open MPI) tells jax who they are; "
    "--nodistributed: one process that trains alone, whatever the cluster says.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Several hosts: address HOST:PORT of process 0, the same on each."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Several hosts: how many processes.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Several hosts: which one this is, from 0.")


def start_jax() -> None:
    """Join the other processes, if there are any. Call before anything else touches jax.

    Raises:
      app.UsageError: the flags do not say which of several processes this is.
    """
    given = {
        "coordinator": _COORDINATOR.value,
        "num_processes": _NUM_PROCESSES.value,
        "process_id": _PROCESS_ID.value,
    }
    if said := several_hosts.problem(os.environ, distributed=_DISTRIBUTED.value, **given):
        raise app.UsageError(said)

    import jax

    if _COORDINATOR.value is None and not _DISTRIBUTED.value:
        if jax.process_count() > 1:  # TPUs whose pod shows in no variable
            raise app.UsageError("this is one of several hosts of a TPU pod: give --distributed")
        return
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(*given.values(), heartbeat_timeout_seconds=others.HEARTBEAT)
    except ValueError as error:  # as jax says that an address or a number is missing
        raise app.UsageError(
            f"--distributed: there is no cluster that jax knows ({error}): give --coordinator, "
            "--num_processes and --process_id"
        ) from error
    if jax.process_count() > 1:
        client = distributed_client()
        programs.others = others.Others(client, jax.process_index(), jax.process_count())
    logging.info(
        "process %d of %d: %d of %d devices",
        jax.process_index(),
        jax.process_count(),
        jax.local_device_count(),
        jax.device_count(),
    )


def distributed_client():
    """jax's store of strings that all processes see; it has no public name."""
    from jax._src import distributed

    return distributed.global_state.client
