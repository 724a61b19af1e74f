"""Proves that nobody is in two splits of a dataset."""

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
        LeakError: says what is wrong.
        DatasetError: it does not say who is in its splits.
    """
    path = storage.as_path(folder)
    told = people.read(path)
    pairs = [(s, split) for split, names in told.splits.items() for s in names]
    people.refuse_shared(pairs, where=path, advice="Build it again")
    where = dict(pairs)
    seen = set()

    def check(subject: str, split: str, what: str) -> None:
        pseudonym = told.pseudonym(subject)
        if where.get(pseudonym) != split:
            raise LeakError(
                f"{path}: {what} of subject {subject} is in {split}, but {people.FILENAME} has "
                f"this subject in {where.get(pseudonym, 'no split')}"
            )
        seen.add(pseudonym)

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
    if unseen := set(where) - seen:
        raise LeakError(f"{path}: {len(unseen)} subjects have no record: {_some(unseen)}")
    return {split: len(found) for split, found in told.splits.items()}


def _some(names) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
