"""N processes that nobody joined are refused, and one that is alone is not."""

from __future__ import annotations

import pytest

from launch.several_hosts import detect, problem
from tests.helpers.programs import environment, module, one_line, start

SRUN = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
POD = {"TPU_WORKER_HOSTNAMES": "t-0,t-1,t-2,t-3", "TPU_WORKER_ID": "2"}
JOB = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
MPI4 = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:1"}


def asked(environment=(), distributed=None, coordinator=None, num_processes=None, process_id=None):
    return problem(
        dict(environment),
        distributed=distributed,
        coordinator=coordinator,
        num_processes=num_processes,
        process_id=process_id,
    )


@pytest.mark.parametrize(
    ("around", "name", "processes"),
    [
        (SRUN, "Slurm", 8),
        (POD, "a TPU pod", 4),
        ({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, "a TPU pod", 2),
        ({"TPU_WORKER_HOSTNAMES": "t-0", "MEGASCALE_NUM_SLICES": "2"}, "a TPU pod", 2),
        (JOB, "a Kubernetes Job or JobSet", None),
        (MPI4, "Open MPI", 4),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI", 2),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, "MPI", 2),
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "JAX_COORDINATOR_ADDRESS", None),
    ],
)
def test_a_process_of_several_is_refused_until_its_flags_say_which(around, name, processes):
    found = detect(around)
    assert (found.name, found.processes) == (name, processes)
    said = asked(around)
    assert name in said and "--nodistributed" in said
    assert ("--distributed not given" if found.tells_jax else "--coordinator") in said
    assert asked(around, distributed=True) is None
    assert asked(around, distributed=False) is None
    assert asked(around, coordinator="h:1", num_processes=2, process_id=0) is None


@pytest.mark.parametrize(
    "around",
    [
        {},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"},  # the shell of salloc
        SRUN | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # any pod
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"PMI_SIZE": "1"},
    ],
)
def test_a_process_alone_is_not(around):
    assert detect(around) is None
    assert asked(around) is None


def test_each_flag_that_is_missing_is_named():
    assert asked(num_processes=2).startswith("--num_processes without --coordinator")
    assert asked(process_id=0).startswith("--process_id without --coordinator")
    assert asked(coordinator="h:1") == "--coordinator without --num_processes and --process_id"
    assert asked(coordinator="h:1", num_processes=2) == "--coordinator without --process_id"
    assert asked(SRUN, coordinator="h:1") is None  # Slurm tells the rest
    assert "processes count from 0" in asked(coordinator="h:1", num_processes=2, process_id=2)
    assert "one of them" in asked(coordinator="h:1", distributed=False, num_processes=1)


@pytest.mark.parametrize(
    ("flags", "around", "said"),
    [
        (["--num_processes=2"], {}, "--num_processes without --coordinator"),
        ([], SRUN, "one of 8 processes of Slurm, and --distributed not given"),
        (["--distributed"], {}, "no cluster that jax knows"),
    ],
)
def test_the_program_says_it_in_one_line_and_touches_nothing(tmp_path, flags, around, said):
    config = "--config=configs/pretrain_simulated.py:smoke"
    process = start(
        *module("pretrain", config, f"--workdir={tmp_path / 'run'}", *flags),
        env=environment() | around,
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert said in one_line(err, "UsageError: ")
    assert not (tmp_path / "run").exists()
