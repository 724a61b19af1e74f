"""Proves that nobody is in two splits of a dataset, or no more than a published list says."""

from __future__ import annotations

import os
from collections import Counter

import tensorflow_datasets as tfds

from data_builders.engine import report as build_report
from data_builders.engine import storage
from sleepfm_jax.data import people
from sleepfm_jax.data.record import decode
from sleepfm_jax.errors import LeakError


def check_dataset(folder: str | os.PathLike[str], *, every_record: bool = False) -> dict[str, int]:
    """Checks splits.json, the build report and TFDS's own metadata against each other.

    The report's entries come from the worker that wrote the shard, which refuses a record that
    names another subject than its plan.

    Args:
        every_record: reads all records too, and checks the subject of each.

    Returns:
        How many subjects are in each split.

    Raises:
        LeakError: says what is wrong; not people in two splits of a published list that was built
            with `allow_leaks`.
        DatasetError: it does not say who is in its splits.
    """
    path = storage.as_path(folder)
    told = people.read(path)
    pairs = [(s, split) for split, names in told.splits.items() for s in names]
    if not told.leaks_allowed:
        people.refuse_shared(pairs, where=path, advice="Build it again")
    where: dict[str, set[str]] = {}
    for pseudonym, split in pairs:
        where.setdefault(pseudonym, set()).add(split)
    seen = set()

    def check(subject: str, split: str, what: str) -> None:
        pseudonym = told.pseudonym(subject)
        if split not in where.get(pseudonym, ()):
            there = " and ".join(sorted(where.get(pseudonym, ()))) or "no split"
            raise LeakError(
                f"{path}: {what} of subject {subject} is in {split}, but {people.FILENAME} has "
                f"this subject in {there}"
            )
        seen.add((pseudonym, split))

    builder = tfds.builder_from_directory(path)
    clips: Counter[str] = Counter()
    for report in build_report.load(path)["recordings"]:
        if report["clips"]:
            check(report["subject"], report["split"], report["path"])
            clips[report["split"]] += report["clips"]
    stored = {name: info.num_examples for name, info in builder.info.splits.items()}
    if stored != clips:
        raise LeakError(f"{path}: {stored} clips are stored, but {dict(clips)} are reported")
    if every_record:
        for split in stored:
            source = builder.as_data_source(split)
            for i in range(len(source)):
                record = decode(source[i])
                check(record.subject, split, f"record {i} of {split}")
    if unseen := {pseudonym for pseudonym, _ in set(pairs) - seen}:
        raise LeakError(f"{path}: {len(unseen)} subjects have no record: {_some(unseen)}")
    return {split: len(found) for split, found in told.splits.items()}


def _some(names) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
