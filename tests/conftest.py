"""What every test shares: flags parsed once, and the way to the real recordings."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Four virtual devices, before jax starts: sharded code is tested on every run, on any laptop. The
# two other flags cut compilation, which is most of what these tests do, to a third.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A program that several tests (or the processes that they start) run is compiled once a session.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="xla_of_tests_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import pytest
from absl import flags

ROOT = Path(__file__).resolve().parents[1]
# launch, configs and data_builders are not in the wheel: they run from the checkout.
sys.path.insert(0, str(ROOT))

if not flags.FLAGS.is_parsed():  # Grain reads absl flags
    flags.FLAGS.mark_as_parsed()


HEAVY = ("launch", "training", "interop", "models", "test_")
"""Files of these folders and names take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first: begun last, one would keep a core busy alone."""

    def place(item: pytest.Item) -> int:
        within = item.path.relative_to(ROOT / "tests").parts[0]
        return next((i for i, name in enumerate(HEAVY) if within.startswith(name)), len(HEAVY))

    items.sort(key=place)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real recordings and reference numbers beside the checkout; the test skips without them."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"SKIPPED FOR WANT OF REAL DATA: {path.name}/ is not beside the checkout")
    return path


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """program("launch.build", "--dataset=…") → its CompletedProcess (`helpers.warm_programs`)."""
    from tests.helpers.warm_programs import WarmPrograms

    programs = WarmPrograms(ROOT, tmp_path_factory.mktemp("programs"))
    yield programs
    programs.close()


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory) -> Path:
    """A data_dir with the dataset simulated_psg: six sleepers, 0.1 h each, in clips of 30 s.

    36 clips to train on (3 subjects), 24 to validate (2), 12 to test (1); one has no ECG.
    """
    from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
    from sleepfm_jax.simulation.cohorts import write_psg_cohort

    root = tmp_path_factory.mktemp("tiny")
    write_psg_cohort(root / "recordings", subjects=6, hours=0.1, seed=1)
    builder = Builder(source=root / "recordings", data_dir=root / "data", clip_seconds=30)
    builder.download_and_prepare()
    return root / "data"


@pytest.fixture(scope="session")
def resplit_data_dir(tmp_path_factory) -> Path:
    """A data_dir of the people of `tiny_data_dir`, split otherwise (`helpers.resplit`)."""
    from tests.helpers.resplit import build_resplit

    return build_resplit(tmp_path_factory.mktemp("resplit"))


@pytest.fixture(scope="session")
def labelled_data_dir(tiny_data_dir, tmp_path_factory) -> Path:
    """A data_dir of the people of `tiny_data_dir`, labelled (`helpers.labelled_dataset`)."""
    from tests.helpers.labelled_dataset import build_labelled

    return build_labelled(tiny_data_dir, tmp_path_factory.mktemp("labelled"))
