"""The version of the code that a shard's bytes depend on: what its reader really imports.

From the reader's module and from the engine's own (`ROOTS`) the imports are followed, in the source
and without importing anything, through every module that is ours: those of `sleepfm_jax` and
`data_builders`, and any other that is neither Python's nor installed, such as a builder in a folder
of its own. Imports inside functions count, and so do the `__init__`s of the packages above. The
version is a hash of their names and sources, so that it depends neither on where the checkout lies
nor on which folder a module is in, beyond its name.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.machinery
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sleepfm_jax.errors import BuildError

ROOTS = ("data_builders.engine.work_unit", "data_builders.engine.record_features")
"""The modules that write a shard, whatever its reader."""

_OURS = ("sleepfm_jax", "data_builders")  # though they be installed
# Not followed: what these make reaches a shard as values, which its key holds: sources and a spec.
# So a build goes on though its report's page, say, was edited.
_MAKE_VALUES = {"data_builders.engine.builder": {"Plan", "RecordsBuilder"}}


def code_version(read: Callable[..., Any]) -> str:
    """Hash of the modules that the bytes of a shard that `read` reads depend on.

    Raises:
        BuildError: `read` is no function of a module whose source can be found.
    """
    return _version(getattr(read, "__module__", None) or type(read).__module__)


@functools.cache
def _version(module: str) -> str:
    digest = hashlib.sha256()
    for name, source in sorted(sources(module, *ROOTS).items()):
        digest.update(f"{name}\n{len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


def sources(*roots: str) -> dict[str, bytes]:
    """Source by name of these modules and of all modules of ours that they import.

    Raises:
        BuildError: a root is not ours, or cannot be found.
    """
    for root in roots:
        if not _is_ours(root) or _spec(root) is None:
            raise BuildError(
                f"the code of {root} cannot be found, so that an interrupted build could not tell "
                "whether it changed: a builder's read has to be a function of a module in a file"
            )
    found: dict[str, bytes] = {}
    followed: dict[str, bool] = {}
    wanted = [step for root in roots for step in _steps(root)]
    while wanted:
        name, whole = wanted.pop()
        if followed.get(name) in (True, whole) or not _is_ours(name):
            continue
        if (spec := _spec(name)) is None:
            continue  # an attribute, or an optional module that is not there
        followed[name] = whole
        module = _parse(name, spec)
        found[name] = module.source
        wanted += module.imports if whole else module.imports_of_its_own
    return found


Step = tuple[str, bool]
"""A module's name, and whether its functions count. They do not in a package on the way to another
module, whose `__init__` runs and nothing more: one may offer functions that import all there is."""


@dataclasses.dataclass(frozen=True)
class _Module:
    source: bytes
    imports: tuple[Step, ...] = ()
    imports_of_its_own: tuple[Step, ...] = ()  # those that importing it runs


def _parse(name: str, spec: importlib.machinery.ModuleSpec) -> _Module:
    """A module's source and what it imports.

    Raises:
        BuildError: there is no source to read.
    """
    if spec.loader is None or not spec.has_location:
        return _Module(b"")  # a folder without __init__
    try:
        if isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            return _Module(spec.loader.get_data(spec.origin))
        text = _text(spec)
    except (ImportError, OSError) as error:
        raise BuildError(f"the code of {name} cannot be read: {error}") from error
    if text is None:
        raise BuildError(
            f"{spec.origin} is there without its source: an interrupted build could not tell "
            "whether what it imports has changed. Install the source beside it"
        )
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    return _imports(text, package)


def _text(spec: importlib.machinery.ModuleSpec) -> str | None:
    """A module's source, from a file or a zip; None where it was compiled."""
    if hasattr(spec.loader, "get_source"):
        return spec.loader.get_source(spec.name)  # of a program that runs it is another name
    return importlib.util.decode_source(Path(spec.origin).read_bytes())


@functools.lru_cache(maxsize=1024)
def _imports(text: str, package: str) -> _Module:
    source = text.encode("utf-8", "surrogatepass")
    try:
        tree = ast.parse(text)
    except SyntaxError:  # importing it fails as well
        return _Module(source)
    found = [
        (inside, step) for node, inside in _statements(tree) for step in _imported(node, package)
    ]
    if "import_module(" in text:
        found += [(True, step) for node in ast.walk(tree) for step in _called(node)]
    return _Module(
        source,
        tuple(dict.fromkeys(step for _, step in found)),
        tuple(dict.fromkeys(step for inside, step in found if not inside)),
    )


def _statements(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Every statement, and whether it is inside a function. Imports are statements: expressions,
    most of a tree, need no look."""
    left = [(tree, False)]
    while left:
        node, inside = left.pop()
        yield node, inside
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, part, ())
            left += [(child, inside) for child in (below if isinstance(below, list) else ())]


def _imported(node: ast.AST, package: str) -> Iterator[Step]:
    """What a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _steps(alias.name)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        if node.level:
            try:
                module = importlib.util.resolve_name(module, package)
            except ImportError:  # beyond the top level: importing it fails as well
                return
        names = {alias.name for alias in node.names} - _MAKE_VALUES.get(module, set())
        for name in names:
            # A module of the package or, where there is none of this name, something in it.
            inside = f"{module}.{name}"
            yield from _steps(inside if name != "*" and _exists(inside) else module)


def _called(node: ast.AST) -> Iterable[Step]:
    """What a call of importlib.import_module with a name in quotes imports."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return ()
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    name = node.args[0].value
    return _steps(name) if called == "import_module" and isinstance(name, str) else ()


def _steps(name: str) -> list[Step]:
    parts = name.split(".")
    return [(".".join(parts[:end]), end == len(parts)) for end in range(1, len(parts) + 1)]


def _exists(name: str) -> bool:
    return _is_ours(name) and _spec(name) is not None


@functools.cache
def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module is, found without running it or a package above it."""
    above = name.rpartition(".")[0]
    if above:
        package = _spec(above)
        if package is None or package.submodule_search_locations is None:
            return None
        return _spec_in(name, package.submodule_search_locations)
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a program, or a module that somebody made by hand
        file = getattr(sys.modules[name], "__file__", None)
        return importlib.util.spec_from_file_location(name, file) if file else None


def _spec_in(name: str, places: Iterable[str]) -> importlib.machinery.ModuleSpec | None:
    """As importlib's PathFinder, which wants a package above a folder without __init__ imported."""
    parts = []
    for place in places:
        finder = pkgutil.get_importer(place)
        spec = finder.find_spec(name) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        parts += spec.submodule_search_locations or () if spec is not None else ()
    if not parts:
        return None
    folder = importlib.machinery.ModuleSpec(name, None, is_package=True)
    folder.submodule_search_locations = parts
    return folder


def _is_ours(name: str) -> bool:
    return _is_ours_at_top(name.partition(".")[0])


@functools.cache
def _is_ours_at_top(top: str) -> bool:
    """Is a package at the top level neither Python's nor installed?"""
    if top in _OURS:
        return True
    if top in sys.stdlib_module_names:
        return False
    spec = _spec(top)
    if spec is None:
        return False
    places = list(spec.submodule_search_locations or ())
    if not places and not spec.has_location:
        return False  # built in
    folder = Path(places[0] if places else spec.origin).parent
    if {"site-packages", "dist-packages"} & set(folder.parts):
        return False
    # What an installer filled says so, wherever it lies (pip install --target).
    return not (folder.is_dir() and any(folder.glob("*.dist-info")))


def forget() -> None:
    """Reads everything anew the next time: a process that goes on after its code was edited."""
    importlib.invalidate_caches()
    for cached in (_version, _imports, _spec, _is_ours_at_top):
        cached.cache_clear()
