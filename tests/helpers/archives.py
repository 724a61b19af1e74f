"""Builds a simulated archive and holds it beside what the generator says about it."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_builders.engine import report as build_report
from sleepfm_jax.data import datasets
from sleepfm_jax.data.record import Record, decode
from sleepfm_jax.simulation.archives.wake import write_archive


@dataclasses.dataclass
class Built:
    """One archive on disk and its records."""

    name: str
    tree: Path
    folder: Path  # of the records
    truth: list[dict[str, Any]]  # of truth.csv; clips: Counter
    faults: list[dict[str, str]]  # of faults.csv
    report: dict[str, Any]
    metadata: dict[str, Any]
    records: dict[str, list[Record]]  # by path, in time's order
    split: dict[str, str]  # by path

    def entry(self, path: str) -> dict[str, Any]:
        """A recording's entry in the build report."""
        return next(r for r in self.report["recordings"] if r["path"] == path)

    def labels(self, path: str) -> Counter[str]:
        """Clips of each class of a recording."""
        found: Counter[str] = Counter()
        for record in self.records[path]:
            found.update(c for c, v in zip(self.metadata["classes"], record.labels) if v == 1)
        return found


def builder_of(dataset: str) -> type:
    return importlib.import_module(f"data_builders.{dataset}.{dataset}_dataset_builder").Builder


def build(dataset: str, source: Path, data_dir: Path, **kwargs: Any):
    """(report, metadata, records by recording, split by recording)."""
    builder = builder_of(dataset)(source=source, data_dir=data_dir, **kwargs)
    builder.download_and_prepare()
    read = tfds.builder_from_directory(builder.data_dir)
    found, split_of = {}, {}
    for split in read.info.splits:
        data = read.as_data_source(split)
        for i in range(len(data)):
            record = decode(data[i])
            found.setdefault(record.recording, []).append(record)
            split_of[record.recording] = split
    for clips in found.values():
        clips.sort(key=lambda r: r.clip)
    return build_report.load(builder.data_dir), dict(read.info.metadata), found, split_of


def simulate_and_build(
    folder: Path,
    archive: str,
    *,
    subjects: int,
    faults: float,
    dataset: str | None = None,
    rare: float = 1.0,
    **kwargs,
) -> Built:
    write_archive(archive, folder / "out", subjects=subjects, faults=faults, seed=3, rare=rare)
    tree = folder / "out" / archive
    truth: list[dict[str, Any]] = rows_of(folder / "out" / "truth.csv")
    for row in truth:
        pairs = (pair.split(":") for pair in row["clips"].split("|") if pair)
        row["clips"] = Counter({name: int(n) for name, n in pairs})
    damaged = rows_of(folder / "out" / "faults.csv")
    report, metadata, found, split_of = build(
        dataset or archive, tree, folder / "records", **kwargs
    )
    names = {r["path"]: name_of(r["path"]) for r in report["recordings"]}
    return Built(
        archive,
        tree,
        datasets.find_dataset(folder / "records", dataset or archive),
        truth,
        damaged,
        report,
        metadata,
        {path: found[name] for path, name in names.items() if name in found},
        {path: split_of[name] for path, name in names.items() if name in split_of},
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def name_of(path: str) -> str:
    """What builders call the recording of a path."""
    if "#" in path:
        return path.partition("#")[2]
    stem = re.sub(r"\.(edf|hea)$", "", path)
    return stem if path.endswith(".edf") else stem.rpartition("/")[2]


def check_truth(built: Built) -> int:
    """Undamaged recordings have the generator's labels, people and splits; how many they are."""
    damaged = {row["path"] for row in built.faults}
    checked = 0
    for row in built.truth:
        if row["path"] in damaged:
            continue
        checked += 1
        assert built.entry(row["path"])["status"] == "built", row["path"]
        wanted = Counter({c: n for c, n in row["clips"].items() if c in built.metadata["classes"]})
        assert built.labels(row["path"]) == wanted, row["path"]
        assert {r.subject for r in built.records[row["path"]]} == {row["subject"]}
        if row["split"]:
            allowed = ("test",) if row["split"] == "test" else ("train", "validation")
            exact = built.name == "ptbxl"
            assert built.split[row["path"]] in ((row["split"],) if exact else allowed)
    people: dict[str, set[str]] = {}
    for path, clips in built.records.items():
        people.setdefault(clips[0].subject, set()).add(built.split[path])
    assert {len(splits) for splits in people.values()} == {1}
    return checked


def check_faults(built: Built) -> Counter[str]:
    """Damaged recordings become what the manifest says; how many of each fault."""
    for row in built.faults:
        entry = built.entry(row["path"])
        wanted = "quarantined" if row["outcome"] == "quarantined" else "built"
        assert entry["status"] == wanted, (row, entry["reason"])
        lines = [entry["reason"], *entry["notes"]]
        for c in entry["channels"]:
            notes = "; ".join(c["notes"])
            lines.append(f"{c['label']} {c['name']} {c['modality']} {notes}")
        assert re.search(row["expected"], "\n".join(lines), re.MULTILINE), (row, lines)
        assert (row["path"] in built.records) == (wanted == "built")
    listed = {row["path"] for row in built.faults if row["outcome"] == "quarantined"}
    totals = built.report["totals"]
    assert totals["quarantined"] == len(listed)
    assert totals["recordings"] == len(built.truth)
    return Counter(row["fault"] for row in built.faults)


def table_row(built: Built) -> str:
    """The archive's line in the table of all of them."""
    totals = built.report["totals"]
    modalities = " ".join(f"{m}:{n}" for m, n in totals["channels_by_modality"].items())
    labels = " ".join(f"{name}:{n}" for name, n in totals["labels"].items())
    splits = "/".join(
        str(totals["splits"].get(s, {"clips": 0})["clips"]) for s in ("train", "validation", "test")
    )
    outcomes = Counter(row["outcome"] for row in built.faults)
    faults = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))
    return (
        f"| {built.report['spec']['dataset']} | {len(built.truth)} | {totals['clips']} | "
        f"{modalities} | {labels} | {splits} | {len(built.faults)}: {faults}, all as expected |"
    )
