"""Who may import whom (DESIGN.md §2), read from the source of every module."""

from __future__ import annotations

import ast

import pytest

LAYERS = (  # each may import what is above it, and what shares its line
    ("signals channel_aliases dsp losses metrics",),
    ("data", "models", "optim sharding train_state checkpoint metric_writer"),
    ("tasks evaluators interop",),
    ("experiment results report_figures report run_folder probing conversion train",),
)
PLACE = {
    name: (rank, group)
    for rank, groups in enumerate(LAYERS)
    for group in groups
    for name in group.split()
}
# import → the modules that may have it (prefixes), everywhere else it is forbidden
ONLY_IN = {
    "tensorflow_datasets": ("sleepfm_jax.data.pipeline", "data_builders"),
    "grain": ("sleepfm_jax.data.pipeline",),
    "mne": ("sleepfm_jax.signals", "sleepfm_jax.data.mne_files", "data_builders"),
    "mne_bids": ("data_builders",),
    # The modules of sleepfm_jax.data that read files through a library, each for one format.
    "wfdb": ("sleepfm_jax.data.wfdb_files", "sleepfm_jax.data.synthetic_scorers", "data_builders"),
    "h5py": ("sleepfm_jax.data.hdf5", "sleepfm_jax.data.synthetic_wake_ecg", "data_builders"),
    "openpyxl": ("sleepfm_jax.data.stages_xlsx", "data_builders"),
    "defusedxml": ("sleepfm_jax.data.stages_xml",),
    "xml": ("sleepfm_jax.data.stages_xml",),  # its types; defusedxml parses
    "edfio": ("sleepfm_jax.data.synthetic_edf",),
    "flax.nnx": tuple(
        f"sleepfm_jax.{name}" for name in ("models", "tasks", "train_state", "interop")
    ),
    "torch": ("sleepfm_jax.interop.files",),
    "safetensors": ("sleepfm_jax.interop.files",),
    "ml_collections": ("configs", "launch"),
    "configs": ("configs", "launch"),
    "launch": ("launch",),
    "data_builders": ("data_builders", "launch"),
}
NO_JAX = tuple(
    f"sleepfm_jax.{name}" for name in ("data", "signals", "channel_aliases", "dsp", "metrics")
)


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
            name, "ml_collections", "configs.common", "__future__"
        )
        forbidden |= (
            within(module, "data_builders")
            and within(name, "sleepfm_jax")
            and not within(
                name,
                *(f"sleepfm_jax.{part}" for part in ("signals", "channel_aliases", "dsp", "data")),
            )
        )
        if within(module, "sleepfm_jax") and within(name, "sleepfm_jax"):
            (rank, group), (other_rank, other_group) = (
                PLACE[path.split(".")[1]] for path in (module, name)
            )
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
        ("sleepfm_jax.models.encoder", "from sleepfm_jax.data import pipeline"),
        ("sleepfm_jax.models.encoder", "import configs.common"),
        ("sleepfm_jax.models.encoder", "from sleepfm_jax import sharding"),
        ("sleepfm_jax.data.pipeline", "import jax.numpy as jnp"),
        ("sleepfm_jax.data.pipeline", "def f():\n    from jax import numpy"),
        ("sleepfm_jax.data.records", "import tensorflow_datasets as tfds"),
        ("sleepfm_jax.data.records", "from sleepfm_jax.models.encoder import Encoder"),
        ("sleepfm_jax.dsp", "import mne"),
        ("sleepfm_jax.data.recording", "def f():\n    import wfdb"),
        ("sleepfm_jax.data.gdf", "import h5py"),
        ("sleepfm_jax.data.gdf", "def f():\n    import mne"),
        ("sleepfm_jax.data.bids_tables", "import mne_bids"),
        ("sleepfm_jax.data.hypnogram", "from xml.etree import ElementTree"),
        ("sleepfm_jax.dsp", "from sleepfm_jax.data import records"),
        ("sleepfm_jax.metrics", "import jax"),
        ("sleepfm_jax.train", "from flax import nnx"),
        ("sleepfm_jax.train", "import flax.nnx as nnx"),
        ("sleepfm_jax.train", "from . import experiment"),
        ("sleepfm_jax.tasks.contrastive", "from sleepfm_jax.train import train"),
        ("sleepfm_jax.evaluators.retrieval", "from data_builders import engine"),
        ("sleepfm_jax.report", "from launch import programs"),
        ("configs.pretrain", "import numpy as np"),
        ("configs.pretrain", "from configs import pretrain_simulated"),
        ("data_builders.engine", "from sleepfm_jax import train"),
    ],
)
def test_the_check_sees_a_violation(module, source):
    assert violations(module, "import math\n" + source) != []


def test_the_check_lets_pass_what_is_right():
    allowed = {
        "sleepfm_jax.train": "from sleepfm_jax import experiment, sharding\nimport jax",
        "sleepfm_jax.models.encoder": "from sleepfm_jax.models.dropout import Dropout",
        "sleepfm_jax.train_state": "import flax.struct\nfrom flax import nnx",
        "sleepfm_jax.optim": "from sleepfm_jax.sharding import path_string",
        "configs.pretrain": "from ml_collections import ConfigDict\nfrom configs import common",
        "sleepfm_jax.data.wfdb_files": "def f():\n    import wfdb",
        "data_builders.engine": "from sleepfm_jax.data.records import ClipSpec",
    }
    assert [v for module, source in allowed.items() for v in violations(module, source)] == []


def test_every_module_of_the_package_has_a_place(root):
    names = {p.stem for p in (root / "sleepfm_jax").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert names - {"__init__", "__pycache__"} <= set(PLACE)
