"""The people of `tiny_data_dir`, split otherwise."""

from __future__ import annotations

from pathlib import Path

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax.simulation.cohorts import write_psg_cohort


def build_resplit(root: Path) -> Path:
    """A data_dir with simulated_psg of the same people: of the three trained on in the fixture one
    is in each split here, and so of the three others."""
    write_psg_cohort(root / "recordings", subjects=6, hours=0.1, seed=1)
    old = {s.subject: s.split for s in Builder(source=root / "recordings").plan().sources}
    new = {}
    for trained_on in (True, False):
        group = sorted(name for name, split in old.items() if (split == "train") == trained_on)
        new |= dict(zip(group, ("train", "validation", "test")))
    table = root / "recordings" / "table.csv"
    rows = table.read_text()
    for name, split in new.items():
        rows = rows.replace(f"{name}.edf,{name},{old[name]}", f"{name}.edf,{name},{split}")
    table.write_text(rows)
    builder = Builder(source=root / "recordings", data_dir=root / "data", clip_seconds=30)
    builder.download_and_prepare()
    return root / "data"
