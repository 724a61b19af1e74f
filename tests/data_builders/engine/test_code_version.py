"""An unfinished build goes on only where the code that made its shards is the code of today."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import py_compile
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from data_builders.engine import code_version as module
from data_builders.engine.code_version import ROOTS, code_version, sources
from data_builders.engine.work_unit import unit_key
from data_builders.ptbxl import ptbxl_dataset_builder
from data_builders.ptbxl_rhythm import ptbxl_rhythm_dataset_builder
from data_builders.shhs import shhs_dataset_builder
from sleepfm_jax.errors import BuildError

READERS = {
    "ptbxl": ptbxl_dataset_builder.read,
    "ptbxl_rhythm": ptbxl_rhythm_dataset_builder.read,
    "shhs": shhs_dataset_builder.Builder.read,
}


@pytest.fixture
def changed(monkeypatch):
    """changed(name): the readers whose version another line in a module changes."""

    def find(name: str) -> set[str]:
        before = {reader: code_version(read) for reader, read in READERS.items()}
        text = module._text

        def edited(spec):
            return text(spec) + ("\n# edited" if spec.name == name else "")

        with monkeypatch.context() as patch:
            patch.setattr(module, "_text", edited)
            module._version.cache_clear()
            after = {reader: code_version(read) for reader, read in READERS.items()}
        module._version.cache_clear()
        return {reader for reader in READERS if before[reader] != after[reader]}

    return find


PTBXL = "data_builders.ptbxl.ptbxl_dataset_builder"


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        (PTBXL, {"ptbxl", "ptbxl_rhythm"}),  # ptbxl_rhythm reads through it
        ("data_builders.ptbxl_rhythm.ptbxl_rhythm_dataset_builder", {"ptbxl_rhythm"}),
        ("data_builders.shhs.shhs_dataset_builder", {"shhs"}),
        ("data_builders.families.twelve_lead", {"ptbxl", "ptbxl_rhythm"}),
        ("data_builders.families.nsrr", {"shhs"}),
        ("data_builders.ptbxl", {"ptbxl", "ptbxl_rhythm"}),  # its __init__
    ],
)
def test_a_reader_follows_what_it_imports(changed, name, readers):
    assert changed(name) == readers


@pytest.mark.parametrize(
    "name",
    [
        "sleepfm_jax.signals",
        "sleepfm_jax.signals.dsp",
        "sleepfm_jax.data.clips",
        "sleepfm_jax.data.record",
        "sleepfm_jax.recordings.read",
        "sleepfm_jax.recordings.formats.wfdb_records",
        "data_builders.engine.work_unit",
        "data_builders.engine.record_features",
        "data_builders.engine.storage",
    ],
)
def test_what_all_shards_depend_on_changes_all(changed, name):
    assert changed(name) == set(READERS)


@pytest.mark.parametrize(
    "name",
    [
        "data_builders.engine.builder",
        "data_builders.engine.quality_page",
        "data_builders.engine.report",
        "data_builders.engine.runners",
        "data_builders.tuab.tuab_dataset_builder",
        "sleepfm_jax.simulation.cohorts",
        "sleepfm_jax.simulation.body.eeg",
        "sleepfm_jax.data.datasets",
        "sleepfm_jax.train",
    ],
)
def test_what_no_shard_depends_on_changes_none(changed, name):
    assert importlib.util.find_spec(name), "it is not where this test looks"
    assert changed(name) == set()


def test_the_key_of_a_unit_follows_the_version():
    before = unit_key("inputs", READERS["ptbxl_rhythm"])
    assert unit_key("inputs", READERS["ptbxl_rhythm"]) == before
    assert unit_key("other inputs", READERS["ptbxl_rhythm"]) != before
    assert unit_key("inputs", READERS["ptbxl"]) != before


def test_nothing_installed_is_followed_and_everything_of_ours_is_found():
    found = sources(PTBXL, *ROOTS)
    assert {name.partition(".")[0] for name in found} == {"sleepfm_jax", "data_builders"}
    assert set(ROOTS) <= set(found)
    loaded = set(sys.modules)
    code_version(READERS["ptbxl"])
    assert set(sys.modules) == loaded, "following imports imports nothing"


def test_it_is_fast():
    sources(PTBXL, *ROOTS)  # the disk
    module.forget()
    begun = time.process_time()
    code_version(READERS["ptbxl_rhythm"])
    first = time.process_time() - begun
    begun = time.process_time()
    code_version(READERS["ptbxl_rhythm"])
    again = time.process_time() - begun
    print(f"{first:.3f} s, then {again * 1e6:.0f} µs")
    assert first < 1.5 and again < 0.01


# --- builders that are not of the checkout -----------------------------------------------------

BUILDER = {
    "their_archive/__init__.py": "from sleepfm_jax.errors import BuildError\n",
    "their_archive/builder.py": """
from . import tables
def read(root, source):
    from .deep import inner
    import importlib
    importlib.import_module("their_other")
class Lazy:
    import their_third
""",
    "their_archive/tables.py": "from .. import beyond\n",
    "their_archive/deep/inner.py": "from their_lazy.part import x\n",  # deep has no __init__
    "their_lazy/__init__.py": "def load():\n    import their_heavy\n",
    "their_lazy/part.py": "x = 1\n",
    "their_other.py": "import json, numpy, not_there\n",
    "their_third.py": "",
    "their_heavy.py": "",
    "their_unused.py": "",
}
FOLLOWED = {
    "their_archive",
    "their_archive.builder",
    "their_archive.tables",
    "their_archive.deep",
    "their_archive.deep.inner",
    "their_lazy",
    "their_lazy.part",
    "their_other",
    "their_third",
}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    for name, text in BUILDER.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module.forget()
    yield tmp_path
    module.forget()


def test_a_builder_in_a_folder_of_its_own(elsewhere):
    found = sources("their_archive.builder")
    assert {name for name in found if name.startswith("their_")} == FOLLOWED
    before = module._version("their_archive.builder")
    for name in BUILDER:
        (elsewhere / name).write_text(BUILDER[name] + "\n#\n")
        module.forget()
        dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert (module._version("their_archive.builder") != before) == (dotted in FOLLOWED), name
        (elsewhere / name).write_text(BUILDER[name])


def test_where_the_files_lie_makes_no_difference(elsewhere, tmp_path_factory, monkeypatch):
    here = module._version("their_archive.builder")
    there = tmp_path_factory.mktemp("moved") / "builders.zip"
    with zipfile.ZipFile(there, "w") as file:
        for name, text in BUILDER.items():
            file.writestr(name, text)
        file.writestr("their_archive/deep/", "")
    for name in BUILDER:
        (elsewhere / name).unlink()
    monkeypatch.syspath_prepend(there)
    module.forget()
    assert module._version("their_archive.builder") == here, "in a zip"


def test_what_an_installer_put_there_is_not_ours(elsewhere):
    """The folder of `pip install --target` may hold thousands of modules."""
    (elsewhere / "their_other-1.0.dist-info").mkdir()
    with pytest.raises(BuildError, match=r"the code of their_archive\.builder cannot be found"):
        sources("their_archive.builder")


def test_a_module_without_its_source_is_refused(elsewhere):
    py_compile.compile(elsewhere / "their_other.py", cfile=elsewhere / "their_other.pyc")
    (elsewhere / "their_other.py").unlink()
    with pytest.raises(BuildError, match=r"their_other\.pyc is there without its source"):
        module._version("their_archive.builder")


def test_an_extension_counts_by_its_bytes(elsewhere):
    (elsewhere / "their_other.py").unlink()
    file = elsewhere / f"their_other{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    versions = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        module.forget()
        versions.add(module._version("their_archive.builder"))
    assert len(versions) == 2


def test_a_broken_module_counts_too(elsewhere):
    before = module._version("their_archive.builder")
    (elsewhere / "their_third.py").write_text("this is no Python")
    module.forget()
    assert module._version("their_archive.builder") != before


def test_a_reader_in_a_test_module():
    def read(root, source):
        """Reads nothing."""

    assert Path(__file__).read_bytes() in sources(read.__module__).values()
    assert code_version(read) != code_version(READERS["ptbxl"])


PROGRAM = """
from data_builders.engine.code_version import code_version, sources
def read(root, source): pass
print(len(code_version(read)), b"def read" in sources("__main__")["__main__"])
"""


def test_a_reader_in_a_program(root, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"}
    for command in ([tmp_path / "program.py"], ["-m", "program"]):
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True
        )
        assert done.stdout == "64 True\n", done.stderr
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert "the code of __main__ cannot be found" in done.stderr


def test_a_reader_that_is_no_function_of_a_module_is_refused():
    with pytest.raises(BuildError, match="has to be a function of a module in a file"):
        code_version(functools.partial(READERS["ptbxl"], 1))
