"""What every test shares: flags parsed once, and the way to the real recordings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Four virtual devices, before jax starts: sharded code is tested on every run, on any laptop.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest
from absl import flags

ROOT = Path(__file__).resolve().parents[1]
# launch, configs and data_builders are not in the wheel: they run from the checkout.
sys.path.insert(0, str(ROOT))

if not flags.FLAGS.is_parsed():  # Grain reads absl flags
    flags.FLAGS.mark_as_parsed()


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
