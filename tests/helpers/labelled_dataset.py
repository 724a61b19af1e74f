"""The people of `tiny_data_dir` with a label each, but one whom nobody labelled."""

from __future__ import annotations

import csv
from pathlib import Path

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder

CLASSES = ("sick", "well")


def build_labelled(tiny_data_dir: Path, root: Path) -> Path:
    """A data_dir with simulated_psg, of the same cohort and splits: of each class one person at
    least is trained on, one of the two to be validated on has no label."""
    source = tiny_data_dir.parent / "recordings"
    with (source / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    for split, labels in {
        "train": ("sick", "well", "sick"),
        "validation": ("", "well"),
        "test": ("sick",),
    }.items():
        mine = [row for row in rows if row["split"] == split]
        for row, label in zip(mine, labels, strict=True):
            row["label"] = label
    table = root / "table.csv"
    with table.open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    builder = Builder(
        source=source,
        data_dir=root / "data",
        table=table,
        label_kind="classification",
        clip_seconds=30,
    )
    builder.download_and_prepare()
    return root / "data"
