"""Starting jax on one host, or on many that work as one."""

from __future__ import annotations

import os

from absl import flags, logging

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
