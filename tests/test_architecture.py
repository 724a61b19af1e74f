"""Who may import whom (docs/design.md §2), read from the source of every module."""

from __future__ import annotations

import ast

import pytest

LAYERS = (  # each may import what is above it, and what shares its place in its line
    ("errors", "late_answers"),
    ("folders",),
    ("signals",),
    ("config",),
    ("recordings", "losses", "models", "metrics"),
    ("data", "simulation", "training"),
    ("objectives", "evaluators", "interop", "report"),
    ("experiment", "hypnogram"),
    ("pretrained",),
    ("labelled", "finetuned", "frozen_tokens", "evaluation", "row_models"),
    ("train", "probe", "stage", "interop.checkpoints", "report.run_folder"),
    ("transfer", "ablation", "staging"),
)
PLACE = {
    name: (rank, group)
    for rank, groups in enumerate(LAYERS)
    for group in groups
    for name in group.split()
}
# import → the modules that may have it (prefixes), everywhere else it is forbidden
ONLY_IN = {
    "tensorflow_datasets": ("sleepfm_jax.data.datasets", "data_builders", "launch.bench"),
    "grain": ("sleepfm_jax.data.stream",),
    "mne": (
        "sleepfm_jax.signals.electrodes",
        "sleepfm_jax.recordings.formats.brainvision_eeglab",
        "launch.bench",
    ),
    "mne_bids": ("data_builders", "sleepfm_jax.recordings.bids.layout"),
    # The modules that read or write files through a library, each for one format.
    "wfdb": ("sleepfm_jax.recordings.formats.wfdb_samples", "sleepfm_jax.simulation.archives"),
    "h5py": (
        "sleepfm_jax.recordings.formats.hdf5",
        "sleepfm_jax.simulation.archives",
        "launch.bench",
    ),
    "openpyxl": ("sleepfm_jax.recordings.scorings.xlsx", "data_builders"),
    "defusedxml": ("sleepfm_jax.recordings.scorings.xml_files",),
    "xml": ("sleepfm_jax.recordings.scorings.xml_files",),  # its types; defusedxml parses
    "edfio": ("sleepfm_jax.simulation.edf_writer", "sleepfm_jax.hypnogram.files"),
    "flax.nnx": tuple(f"sleepfm_jax.{name}" for name in ("models", "interop")),
    "torch": (
        *("sleepfm_jax.interop.files", "launch.bench.replica"),
        *("launch.bench.finetune", "launch.bench.staging"),
    ),
    "safetensors": ("sleepfm_jax.interop.files",),
    "yaml": ("sleepfm_jax.interop.files",),
    "ml_collections": ("configs", "launch"),
    "configs": ("configs", "launch"),
    "launch": ("launch",),
    "data_builders": ("data_builders", "launch"),
}
NO_JAX = tuple(
    f"sleepfm_jax.{name}"
    for name in (
        "errors",
        "folders",
        "signals",
        "config",
        "recordings",
        "data",
        "simulation",
        "metrics",
    )
)
BUILDERS_SEE = tuple(f"sleepfm_jax.{name}" for name in ("errors", "signals", "recordings", "data"))


def place(module: str) -> tuple[int, str]:
    """Layer and group of sleepfm_jax.…: those of the longest name in the table that it is in."""
    parts = module.split(".")[1:]
    for end in range(len(parts), 0, -1):
        if (found := PLACE.get(".".join(parts[:end]))) is not None:
            return found
    raise KeyError(module)


def imports(source: str) -> list[str]:
    """Every name imported anywhere in a module, as package.module.name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            found += [f"{package}.{alias.name}" for alias in node.names]
    return found


def within(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in packages)


def violations(module: str, source: str) -> list[str]:
    """What a module (named package.module) imports and should not."""
    found = []
    for name in imports(source):
        forbidden = name.startswith(".")
        forbidden |= any(
            within(name, library) and not within(module, *places)
            for library, places in ONLY_IN.items()
        )
        forbidden |= within(module, *NO_JAX, "data_builders") and within(
            name, "jax", "flax", "optax", "orbax"
        )
        forbidden |= within(module, "configs") and not within(
            name,
            *("ml_collections", "configs.common", "configs.transfer.common"),
            *("configs.staging.wav2sleep", "configs.staging.tokens"),
            "configs.staging.sleepppg_net",
            *("sleepfm_jax.config", "__future__"),
        )
        forbidden |= (
            within(module, "data_builders")
            and within(name, "sleepfm_jax")
            and not within(name, *BUILDERS_SEE)
        )
        forbidden |= (
            within(module, *NO_JAX) and within(name, "sleepfm_jax") and not within(name, *NO_JAX)
        )
        if within(module, "sleepfm_jax") and within(name, "sleepfm_jax"):
            (rank, group), (other_rank, other_group) = place(module), place(name)
            forbidden |= other_rank > rank or (other_rank == rank and other_group != group)
        if forbidden:
            found.append(f"{module} imports {name}")
    return found


def modules(root):
    """(package.module, source) of the package, the configs, the builders and the programs."""
    for folder in ("sleepfm_jax", "configs", "data_builders", "launch"):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(p for p in parts if p != "__init__"), path.read_text()


def test_imports_point_downward_only(root):
    found, seen = [], 0
    for module, source in modules(root):
        if module == "sleepfm_jax":
            assert not [n for n in imports(source) if within(n, "sleepfm_jax")]
            continue
        seen += 1
        found += violations(module, source)
    assert seen > 40, "the folders are not where this test looks"
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sleepfm_jax.models.encoder", "from sleepfm_jax.data import datasets"),
        ("sleepfm_jax.models.encoder", "import configs.common"),
        ("sleepfm_jax.models.encoder", "from sleepfm_jax.training import sharding"),
        ("sleepfm_jax.models.encoder", "from sleepfm_jax.training.sharding import DATA"),
        ("sleepfm_jax.recordings.formats.edf", "from sleepfm_jax.simulation import cohorts"),
        ("sleepfm_jax.recordings.read", "from sleepfm_jax.data.record import Record"),
        ("sleepfm_jax.data.datasets", "from sleepfm_jax.simulation.body import noise"),
        ("sleepfm_jax.data.datasets", "import jax.numpy as jnp"),
        ("sleepfm_jax.data.datasets", "def f():\n    from jax import numpy"),
        ("sleepfm_jax.data.clips", "import tensorflow_datasets as tfds"),
        ("sleepfm_jax.data.clips", "from sleepfm_jax.models.encoder import Encoder"),
        ("sleepfm_jax.signals.dsp", "import mne"),
        ("sleepfm_jax.signals.labels", "def f():\n    import mne"),
        ("sleepfm_jax.recordings.read", "def f():\n    import wfdb"),
        ("sleepfm_jax.recordings.formats.gdf", "import h5py"),
        ("sleepfm_jax.recordings.formats.gdf", "def f():\n    import mne"),
        ("sleepfm_jax.recordings.bids.tables", "import mne_bids"),
        ("sleepfm_jax.recordings.scorings.hypnogram", "from xml.etree import ElementTree"),
        ("sleepfm_jax.signals.dsp", "from sleepfm_jax.data import clips"),
        ("sleepfm_jax.metrics.classification", "import jax"),
        ("sleepfm_jax.metrics.linear_probe", "from sleepfm_jax.data import people"),
        ("sleepfm_jax.train", "from flax import nnx"),
        ("sleepfm_jax.train", "import flax.nnx as nnx"),
        ("sleepfm_jax.train", "from . import experiment"),
        ("sleepfm_jax.objectives.contrastive", "from sleepfm_jax.train import train"),
        ("sleepfm_jax.metrics.retrieval", "from data_builders import engine"),
        ("sleepfm_jax.report.page", "from launch import programs"),
        ("configs.pretrain", "import numpy as np"),
        ("configs.pretrain", "from sleepfm_jax import experiment"),
        ("sleepfm_jax.config.keys", "from sleepfm_jax.models.encoder import Encoder"),
        ("configs.pretrain", "from configs import pretrain_simulated"),
        ("data_builders.engine.builder", "from sleepfm_jax import train"),
    ],
)
def test_the_check_sees_a_violation(module, source):
    assert violations(module, "import math\n" + source) != []


def test_the_check_lets_pass_what_is_right():
    allowed = {
        "sleepfm_jax.train": "from sleepfm_jax import experiment\nimport jax",
        "sleepfm_jax.models.encoder": "from sleepfm_jax.models.dropout import Dropout",
        "sleepfm_jax.training.state": "import flax.struct",
        "sleepfm_jax.training.optim": "from sleepfm_jax.training.paths import path_string",
        "configs.common": "from ml_collections import ConfigDict\nfrom sleepfm_jax import config",
        "sleepfm_jax.recordings.formats.wfdb_samples": "def f():\n    import wfdb",
        "data_builders.engine.builder": "from sleepfm_jax.data.clips import ClipSpec",
    }
    assert [v for module, source in allowed.items() for v in violations(module, source)] == []


def test_every_module_of_the_package_has_a_place(root):
    for module, _ in modules(root):
        if module.startswith("sleepfm_jax."):
            place(module)
