"""results.json: the file a run's numbers live in, and its tables as text.

{"retrieval": figures, "probes": {dataset: {row: figures}}, "differences": {dataset: {"a-b": one}},
"seconds": {step: s}, "versions": {...}}. The rows of a dataset are those of `ROW_NAMES` and any
other. A row's figures: each metric, `ci95` {metric: [low, high] or null}, `reasons` {metric: why
there is no interval}, `per_seed` {metric: values}, `chance` {metric: level}, `permuted` {metric:
{"mean", "band"}}, people and examples. A difference: `metric`, `value`, `ci95`, `reason`,
`per_seed`, `claim` or `no_claim`, why there is none (`metrics.scoring`).
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import importlib.metadata
import io
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from sleepfm_jax.metrics import predictions
from sleepfm_jax.metrics.scoring import ROWS, tables

RESULTS = "results.json"
METRICS = {  # of the probe table, in its order
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1 (macro)",
    "kappa": "kappa",
}
MORE_METRICS = {  # beside the table
    "accuracy": "accuracy",
    "f1_weighted": "F1 (weighted)",
    "f1_positive": "F1 of the positive class",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier score",
}
_PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "mne",
    "numpy",
    "scikit-learn",
)
_WRITTEN_BY = {
    RESULTS: "nothing was scored in this folder yet",
    "config.json": "no run was started in this folder",
}
_ROW_NAMES = {
    "pretrained": "Pretrained",
    "mispaired": "Mispaired pretraining",
    "random": "Untrained encoder",
    "tokens": "Raw-token mean",
    "features": "Plain features",
}
ROW_NAMES = {name: _ROW_NAMES[name] for name in ROWS}  # the known rows, in their order


def merge_results(
    workdir: str | os.PathLike[str], update: Mapping[str, Any], replace: Sequence[str] = ()
) -> dict[str, Any]:
    """Merges `update` into workdir/results.json, dictionary by dictionary, and returns the whole.

    The file is replaced in one step, so a program that is killed leaves the old one or the new one;
    programs that merge at the same time do so one after the other.

    Args:
      replace: keys whose value is replaced as a whole.
      update: of dictionaries, lists, text, numbers (numpy's too) and None. NaN and infinities
        become null, which JSON can say. Lists are replaced, not joined.

    Raises:
      ValueError: when the present file cannot be read. TypeError: on a value JSON has no form for.
    """
    return _change(workdir, lambda _: (update, replace))


def recompute(workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Computes `probes` and `differences` of every dataset with predictions anew, and replaces
    what results.json held of these datasets; of others it keeps what is there.

    Returns:
      The two, of these datasets, as they are in results.json.

    Raises:
      ValueError: when the present results.json cannot be read.
    """
    computed: dict[str, dict[str, Any]] = {"probes": {}, "differences": {}}

    def anew(before: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        found, problems = predictions.load_all(workdir)
        kept = {key: _mappings(before.get(key)) for key in computed}
        for dataset, rows in found.items():
            computed["probes"][dataset], computed["differences"][dataset] = tables(rows)
        for (dataset, row), problem in problems.items():
            logging.warning("%s", problem)
            old = _mappings(kept["probes"].get(dataset)).get(row)
            if old is not None:  # a file that was damaged since does not undo what was read from it
                notes = [note for note in old.get("notes") or [] if note != problem]
                rows = computed["probes"].setdefault(dataset, {})
                rows[row] = old | {"notes": [*notes, problem]}
            for pair, old in _mappings(kept["differences"].get(dataset)).items():
                if row in pair.split("-"):
                    computed["differences"].setdefault(dataset, {}).setdefault(pair, old)
        if not computed["probes"]:
            return {}, ()
        return {key: kept[key] | mine for key, mine in computed.items()}, tuple(computed)

    if (Path(workdir) / predictions.FOLDER).is_dir():
        _change(workdir, anew)
    return computed


def _change(workdir, change: Callable[[dict], tuple[Mapping, Sequence[str]]]) -> dict[str, Any]:
    """Merges what `change` makes of the present results, (update, keys replaced as a whole)."""
    path = Path(workdir) / RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        before: dict[str, Any] = {}
        if path.exists():
            before, problem = read_json(path)
            if problem:
                raise ValueError(f"{path}: {problem}; move it away to start a new one")
        update, replace = change(before)
        merged = _merge({k: v for k, v in before.items() if k not in replace}, _plain(update))
        if update or not path.exists():
            replace_file(path, json.dumps(merged, indent=2, allow_nan=False) + "\n")
    return merged


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for the others that change results in the same folder; the lock, which is on the folder
    itself, ends with its process."""
    held = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def versions() -> dict[str, str]:
    """{name: version} of Python, this package and the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("sleepfm-jax", *_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def text_table(results: Mapping[str, Any]) -> str:
    """The probe table, and under it the differences, in fixed-width text; 95 % intervals in
    brackets."""
    probes = probes_of(results)
    if not probes:
        return "No probe results."
    shown = [m for m in METRICS if any(m in f for rows in probes.values() for f in rows.values())]
    table = [["dataset", "features", *(METRICS[m] for m in shown), "people", "examples"]]
    for dataset, rows in probes.items():
        for name, row in rows.items():
            signed = is_difference(name)
            cells = [with_interval(row, metric, signed) for metric in shown]
            counts = [str(row.get("subjects", "")), str(row.get("examples", ""))]
            table.append([dataset, row_name(name), *cells, *counts])
            dataset = ""
    text = fixed_width(table, right=2)
    differences = differences_of(results)
    if not differences:
        return text
    table = [["dataset", "difference", "metric", "value", "every seed", "claim"]]
    for dataset, found in differences.items():
        for name, one in found.items():
            metric = str(one.get("metric", ""))
            seeds = " ".join(number(v, signed=True) for v in one.get("per_seed") or [])
            value = f"{number(one.get('value'), signed=True)} {bracket(one.get('ci95'), True)}"
            reason = one.get("reason") or one.get("no_claim")
            claim = "holds" if one.get("claim") is True else f"no: {reason}" if reason else "no"
            words = difference_name(name)
            table.append([dataset, words, metric_name(metric), value.rstrip(), seeds, claim])
            dataset = ""
    return f"{text}\n\n{fixed_width(table)}"


def fixed_width(table: list[list[str]], right: int = 0) -> str:
    """Columns padded to their widest cell, the last `right` of them to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i >= len(widths) - right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def probes_of(results: Mapping[str, Any]) -> dict[str, dict[str, dict]]:
    """{dataset: {row: figures}}, the known rows first; anything that is not a row left out."""
    probes = results.get("probes")
    ordered = {}
    for dataset, rows in (probes if isinstance(probes, Mapping) else {}).items():
        if not isinstance(rows, Mapping):
            continue
        names = [n for n in ROW_NAMES if n in rows]
        names += [n for n in rows if n not in names]
        kept = {n: dict(rows[n]) for n in names if isinstance(rows[n], Mapping)}
        kept = {n: row for n, row in kept.items() if any(m in row for m in METRICS)}
        if kept:
            ordered[str(dataset)] = kept
    return ordered


def differences_of(results: Mapping[str, Any]) -> dict[str, dict[str, dict]]:
    """{dataset: {"a-b": difference}}; anything that is not one left out."""
    everything = results.get("differences")
    found = {}
    for dataset, pairs in (everything if isinstance(everything, Mapping) else {}).items():
        if isinstance(pairs, Mapping):
            kept = {str(k): dict(v) for k, v in pairs.items() if isinstance(v, Mapping)}
            if kept:
                found[str(dataset)] = kept
    return found


def read_json(path: Path) -> tuple[dict, str | None]:
    """The object in `path` and None; or an empty one and what is wrong."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"{path.name} is missing: {_WRITTEN_BY.get(path.name, 'nothing wrote it yet')}."
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read: {error}"
    if not isinstance(value, dict):
        return {}, f"{path.name} cannot be read: it is not a JSON object."
    return value, None


# --------------------------------------------------------------------------- small forms


def row_name(row: str) -> str:
    """The row's name in words; its own where it is not one of the known."""
    return ROW_NAMES.get(row, row)


def difference_name(key: str) -> str:
    """The words of "pretrained-features": "Pretrained − Plain features"."""
    first, _, second = key.partition("-")
    return f"{row_name(first)} \N{MINUS SIGN} {row_name(second)}" if second else key


def metric_name(metric: str) -> str:
    return METRICS.get(metric) or MORE_METRICS.get(metric) or metric.replace("_", " ")


def is_difference(row: str) -> bool:
    """Rows named "a minus b" hold differences: signed, and not a dot beside scores."""
    return " minus " in row


def is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 3, *, signed: bool = False) -> str:
    if not is_finite(value):
        return "n/a"
    if value and abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 10**-digits:
        return f"{value:.1e}"
    return f"{value:{'+' if signed else ''}.{digits}f}"


def bracket(bounds: Any, signed: bool = False) -> str:
    """[low, high] in words; "" where there is no interval."""
    if not isinstance(bounds, Sequence) or len(bounds) != 2 or not all(map(is_finite, bounds)):
        return ""
    sign = "+" if signed else ""
    return f"[{bounds[0]:{sign}.3f}, {bounds[1]:{sign}.3f}]"


def interval(row: Mapping[str, Any], metric: str, signed: bool = False) -> str:
    return bracket((row.get("ci95") or {}).get(metric), signed)


def with_interval(row: Mapping[str, Any], metric: str, signed: bool) -> str:
    return f"{number(row.get(metric), signed=signed)} {interval(row, metric, signed)}".rstrip()


def _merge(old: dict, new: dict) -> dict:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"results.json cannot hold a {type(value).__name__}: {value!r}")


def _mappings(value: Any) -> dict[str, dict]:
    """The mappings of a mapping; what else a broken results.json holds is not for us."""
    if not isinstance(value, dict):
        return {}
    return {key: one for key, one in value.items() if isinstance(one, dict)}


def replace_file(path: Path, text: str) -> None:
    """Writes a file so that it is the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, columns: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
    """A table as CSV, in one step; empty where a value cannot be had."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_cell(line[name]) for name in columns] for line in lines)
    replace_file(path, out.getvalue())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if is_finite(value) else ""
    return "" if value is None else str(value)
