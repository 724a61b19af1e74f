"""Is this process one of several? What its flags say, against what the cluster says around it.

Without this check N processes that nobody joined would be N runs of their own in one workdir.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Who started this process, as its environment tells.

    Attributes:
      name: for people.
      processes: how many there are; None: several, perhaps.
      tells_jax: jax.distributed finds out by itself which process this is (--distributed).
    """

    name: str
    processes: int | None
    tells_jax: bool = True


def detect(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster around a process that is one of several; None: it is alone, as far as one sees.

    Args:
      environment: variables; those that `srun`, `mpirun`, a TPU pod or slice, and an indexed
        Kubernetes Job or JobSet set in each of their processes.
    """
    for found in _KINDS:
        cluster = found(environment)
        if cluster and (cluster.processes is None or cluster.processes > 1):
            return cluster
    return None


def problem(
    environment: Mapping[str, str],
    *,
    distributed: bool | None,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
) -> str | None:
    """What is missing from the flags, in a line; None where they say one thing.

    Args:
      distributed: None: not said; False: said to be alone.
      coordinator, num_processes, process_id: None: not said.
    """
    numbers = {"--num_processes": num_processes, "--process_id": process_id}
    given = [name for name, value in numbers.items() if value is not None]
    cluster = detect(environment)
    if coordinator is None and not distributed:
        if given:
            return (
                f"{given[0]} without --coordinator: each process would train alone in one workdir; "
                "give --coordinator=HOST:PORT of process 0 on all of them, or --distributed where "
                "the cluster tells who is who"
            )
        if cluster and distributed is None:
            count = cluster.processes or "perhaps several"
            give = (
                "--distributed"
                if cluster.tells_jax
                else "--coordinator, --num_processes and --process_id"
            )
            return (
                f"this is one of {count} processes of {cluster.name}, and {give} not given: each "
                f"would train alone in one workdir; give {give}, or --nodistributed if this "
                "process is to train alone"
            )
    if coordinator is not None:
        if distributed is False:
            return "--coordinator and --nodistributed: one of them"
        missing = [name for name in numbers if name not in given]
        if missing and not (cluster and cluster.tells_jax):
            return f"--coordinator without {' and '.join(missing)}"
        if len(given) == 2 and not 0 <= process_id < num_processes:
            return (
                f"--process_id={process_id} with --num_processes={num_processes}: "
                "processes count from 0"
            )
    return None


def _count(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0


def _slurm(environment: Mapping[str, str]) -> Cluster | None:
    if "SLURM_PROCID" not in environment:  # a shell of salloc: nobody is beside it
        return None
    return Cluster("Slurm", max(_count(environment, "SLURM_NTASKS"), 1))


def _open_mpi(environment: Mapping[str, str]) -> Cluster | None:
    # jax finds the others through a variable that Open MPI 5 sets no more.
    tells = "OMPI_MCA_orte_hnp_uri" in environment
    return Cluster("Open MPI", _count(environment, "OMPI_COMM_WORLD_SIZE"), tells)


def _other_mpi(environment: Mapping[str, str]) -> Cluster | None:
    return Cluster("MPI", _count(environment, "PMI_SIZE"), tells_jax=False)


def _tpu(environment: Mapping[str, str]) -> Cluster | None:
    names = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES", "")
    hosts = len([name for name in names.split(",") if name])
    slices = max(_count(environment, "MEGASCALE_NUM_SLICES"), 1)
    return Cluster("a TPU pod", max(hosts, 1) * slices)


def _kubernetes(environment: Mapping[str, str]) -> Cluster | None:
    """Pods of an indexed Job know their number, and not how many there are."""
    if "KUBERNETES_SERVICE_HOST" not in environment or "JOB_COMPLETION_INDEX" not in environment:
        return None
    return Cluster("a Kubernetes Job or JobSet", None)


def _jax_variables(environment: Mapping[str, str]) -> Cluster | None:
    if "JAX_COORDINATOR_ADDRESS" not in environment:
        return None
    return Cluster("JAX_COORDINATOR_ADDRESS", None, tells_jax=False)


_KINDS: tuple[Callable[[Mapping[str, str]], Cluster | None], ...] = (
    _tpu,
    _slurm,
    _open_mpi,
    _other_mpi,
    _kubernetes,
    _jax_variables,
)
