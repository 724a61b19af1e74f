"""Channel ablation: what fine-tuned models say when they see some of the channels alone.

Nothing is trained. The models are those behind a row of predictions (`row_models`). What they say
of each combination is kept, WORKDIR/channels/TASK/ROW/COMBINATION.npz, so that a run that was
stopped goes on, and more combinations cost no more than themselves. Channels are chosen by the
field's names (`Record.channel_names`): the same name is the same electrode, lead or derivation in
every recording, whatever its file calls it.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from absl import logging
from tqdm.auto import tqdm

from sleepfm_jax import experiment, row_models
from sleepfm_jax.data import datasets
from sleepfm_jax.data.examples import View
from sleepfm_jax.data.kept_channels import KeptChannels
from sleepfm_jax.errors import ConfigError, DatasetError, StorageError
from sleepfm_jax.metrics import channel_counts, scoring
from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics.intervals import person_intervals
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report.results import replace_file
from sleepfm_jax.row_models import Part

FOLDER = "channels"
ORDERS = ("random", "greedy")
_HELD_BY = 0.9  # of the recordings: names that are rarer are no channels of the task
_WEIGHTINGS = 1000


@dataclasses.dataclass(frozen=True)
class Montage:
    """The channels of a task, in the order of its first recording, and what is scored.

    Attributes:
      names: C names. positions: [C, 3], NaN where there is none.
      scored: bool [N]: the examples of recordings that have them all.
      left_out: {why: recordings}. rare: names that fewer than nine of ten recordings have.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    scored: np.ndarray
    left_out: Mapping[str, int]
    rare: tuple[str, ...]


def ablate(
    workdir: Path,
    data_dir: Path,
    task: str,
    row: str,
    metric: str,
    parts: Sequence[Part],
    *,
    counts: Sequence[int] = (),
    combinations: int = 5,
    order: str = "random",
    seed: int = 0,
) -> dict[str, Any]:
    """Scores a task's models with fewer channels.

    Args:
      row: CONDITION.MODE, of the file in WORKDIR/predictions/TASK. metric: the task's own.
      parts: the models (`parts_of`). counts: of channels; (): each.
      combinations: of each count; all where there are fewer.
      order: "random", or "greedy": farthest first over the electrodes, from different starts.
      seed: of the combinations and the intervals.

    Returns:
      What channels.json says of the task (`write` puts it there).

    Raises:
      ConfigError: counts that cannot be, or greedy without positions.
      DatasetError: recordings share too few channels.
    """
    whole = files.load(row_models.path_of(workdir, task, row))
    dataset = whole.about["dataset"]
    records = datasets.open_records(data_dir, [dataset], datasets.ALL)
    index = _indices(records, whole)
    layout = parts[0].model.objective.layout
    montage = _montage(records, whole, index, layout.modalities)
    most = min(len(montage.names), layout.channels)
    chosen = _chosen(montage, task, _counts(counts, most), combinations, order, seed)
    cache = workdir / FOLDER / row_models.plain(task) / row
    cache.mkdir(parents=True, exist_ok=True)
    total = sum(len(sets) for sets, _ in chosen.values())
    found: dict[int, list[Predictions]] = {}
    with tqdm(total=total, desc=f"{task}: combinations of channels", mininterval=1.0) as bar:
        for count, (sets, _) in chosen.items():
            for which in sets:
                names = tuple(montage.names[i] for i in which)
                said = _asked(records, names, whole, index, montage.scored, parts, cache)
                found.setdefault(count, []).append(said)
                bar.update()
    scored = _subset(whole, montage.scored)
    summary = summarise(
        scored, found, {c: possible for c, (_, possible) in chosen.items()}, metric, seed
    )
    condition, _, mode = row.partition(".")
    for one in summary["counts"]:
        sets = chosen[one["count"]][0]
        one["names"] = [[montage.names[i] for i in which] for which in sets]
    return {
        "metric": metric,
        "condition": condition,
        "mode": mode,
        "order": order,
        "channels": most,
        "names": list(montage.names),
        "rare": list(montage.rare),
        "left_out": dict(montage.left_out),
        "people": len(np.unique(scored.person)),
        "examples": len(scored.label),
        "seeds": len(scored.seeds),
        **summary,
    }


def summarise(
    full: Predictions,
    of_count: Mapping[int, Sequence[Predictions]],
    possible: Mapping[int, int],
    metric: str,
    seed: int = 0,
) -> dict[str, Any]:
    """`channel_counts.curve` of predictions: of all channels, and of each combination."""
    rng = np.random.default_rng(seed)
    weights = np.concatenate(
        [
            np.ones((1, len(full.label))),
            channel_counts.person_weights(full.person, _WEIGHTINGS, rng),
        ]
    )

    of_full, holders = scoring.weighted(full)

    def scores(statistic: Any) -> np.ndarray:
        return np.concatenate([statistic(some)[metric] for some in np.array_split(weights, 20)])

    def over_people(*statistics: Any) -> list[float] | None:
        def mean(some: np.ndarray) -> dict[str, np.ndarray]:
            return {metric: np.mean([each(some)[metric] for each in statistics], axis=0)}

        return person_intervals(full.person, mean, holders)[0][metric]

    mine = {count: [scoring.weighted(p)[0] for p in those] for count, those in of_count.items()}
    return channel_counts.curve(
        scores(of_full),
        {count: np.stack([scores(each) for each in those]) for count, those in mine.items()},
        possible,
        of_people={None: over_people(of_full)}
        | {count: over_people(*those) for count, those in mine.items()},
        too_few=channel_counts.no_interval(full.person, holders),
        seed=seed,
    )


def write(workdir: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Puts tasks into channels.json, in place of what it said of these, and writes channels.csv
    anew from all of them: task,channels,combination,names,metric,value."""
    path = workdir / "channels.json"
    try:
        tasks = json.loads(path.read_text())["tasks"]
    except FileNotFoundError:
        tasks = {}
    except (ValueError, KeyError) as error:
        raise StorageError(f"{path}: not what this program writes: {error}") from error
    tasks |= found
    replace_file(path, json.dumps({"tasks": tasks}, indent=1) + "\n")
    lines: list[list] = [["task", "channels", "combination", "names", "metric", "value"]]
    for task, said in tasks.items():
        for one in said["counts"]:
            for number, (names, value) in enumerate(zip(one["names"], one["values"])):
                lines.append(
                    [task, one["count"], number, " ".join(names), said["metric"], repr(value)]
                )
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    replace_file(workdir / "channels.csv", out.getvalue())


def _asked(
    records: datasets.Records,
    names: tuple[str, ...],
    whole: Predictions,
    index: np.ndarray,
    scored: np.ndarray,
    parts: Sequence[Part],
    cache: Path,
) -> Predictions:
    """What the models say of the scored examples with these channels, from the disk if it is
    there."""
    row = hashlib.sha256(whole.probabilities.tobytes()).hexdigest()[:16]
    name = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
    path = cache / f"{len(names):02d}-{name}.npz"
    wanted = _subset(whole, scored)
    try:
        kept = files.load(path)
        if (
            kept.about.get("shown_to") == row
            and kept.probabilities.shape == wanted.probabilities.shape
        ):
            return kept
    except StorageError:
        pass  # not there yet
    probabilities = np.full(whole.probabilities.shape, np.nan, np.float32)
    for part in parts:
        rows = part.rows[scored[part.rows]]
        if not len(rows):
            continue
        row_of = dict(zip(index[rows].tolist(), rows.tolist()))
        examples = experiment.make_examples(
            KeptChannels(records, names), part.model.objective.layout
        )
        for number, said in part.model.predict(View(examples, index[rows])):
            probabilities[part.r, row_of[int(number)]] = np.asarray(said)[list(part.columns)]
    found = dataclasses.replace(
        wanted,
        probabilities=probabilities[:, scored],
        about={**whole.about, "shown_to": row, "channels_kept": list(names)},
    )
    if np.isnan(found.probabilities).any():
        raise DatasetError(f"{cache}: some examples were not answered with {', '.join(names)}")
    files.save(path, found)
    return found


def _subset(p: Predictions, kept: np.ndarray) -> Predictions:
    """Some of the examples, as they are scored: of everything that no score needs, nothing."""
    return Predictions(
        person=p.person[kept],
        recording=p.recording[kept],
        clip=p.clip[kept],
        sleep_epoch=p.sleep_epoch[kept],
        label=p.label[kept],
        probabilities=p.probabilities[:, kept],
        seeds=p.seeds,
        fold=p.fold[:, kept],
        about=p.about,
        thresholds=None if p.thresholds is None else p.thresholds[:, kept],
    )


# --- channels -------------------------------------------------------------------------------------


def _indices(records: datasets.Records, p: Predictions) -> np.ndarray:
    """int [N]: the record of each example."""
    place: dict[tuple[str, str, int], int] = {}
    for i in range(len(records)):
        key = (records.person_of(i), records.stored_recording_of(i), records.clip_number_of(i))
        place[key] = i
    wanted = zip(p.person.tolist(), p.recording.tolist(), p.clip.tolist())
    found = [place.get(example, -1) for example in wanted]
    if -1 in found:
        raise DatasetError(
            f"{records.name}: {found.count(-1)} of {len(found)} scored examples are not in it: it "
            "was built anew since"
        )
    return np.array(found)


def _montage(
    records: datasets.Records, p: Predictions, index: np.ndarray, modalities: Sequence[str]
) -> Montage:
    """The channels that nearly all scored recordings have, and who has them."""
    first = {}
    for row, recording in enumerate(zip(p.person.tolist(), p.recording.tolist())):
        first.setdefault(recording, row)
    has: dict[tuple[str, str], list[str]] = {}
    where: dict[str, np.ndarray] = {}
    for recording, row in first.items():
        record = records[int(index[row])]
        there = [
            (name, position)
            for name, position, modality, sd in zip(
                record.channel_names, record.positions, record.modalities, record.sd
            )
            if modality in modalities and sd > 0
        ]
        has[recording] = [name for name, _ in there]
        for name, position in there:
            where.setdefault(name, position)
    count = Counter(name for names in has.values() for name in set(names))
    names = tuple(name for name in where if count[name] >= _HELD_BY * len(has))
    whole = {recording for recording, mine in has.items() if set(names) <= set(mine)}
    if len(names) < 2 or not whole:
        raise DatasetError(
            f"{records.name}: {len(names)} channels are in nine of ten recordings, "
            f"{len(whole)} recordings have them all: nothing to choose from"
        )
    scored = np.array([pair in whole for pair in zip(p.person.tolist(), p.recording.tolist())])
    left_out = {"recordings without some channel": len(has) - len(whole)}
    for why, number in left_out.items():
        if number:
            logging.info("%s: left out: %d %s", records.name, number, why)
    rare = tuple(name for name in where if name not in names)
    return Montage(names, np.stack([where[name] for name in names]), scored, left_out, rare)


def _counts(asked: Sequence[int], most: int) -> list[int]:
    if wrong := [count for count in asked if not 1 <= count <= most]:
        raise ConfigError(f"--counts={wrong[0]}: expected 1 to {most}, what the model is shown")
    return sorted(set(asked)) or list(range(1, most + 1))


def _chosen(
    montage: Montage, task: str, counts: Sequence[int], wanted: int, order: str, seed: int
) -> dict[int, tuple[list[tuple[int, ...]], int]]:
    """{count: (combinations, how many there are)}."""
    if order not in ORDERS:
        raise ConfigError(f"--order={order}: expected {' or '.join(ORDERS)}")
    if order == "greedy" and np.isnan(montage.positions).any():
        lost = [n for n, xyz in zip(montage.names, montage.positions) if np.isnan(xyz).any()]
        raise ConfigError(
            f"--order=greedy: {task}: {', '.join(lost)} have no place on the head: use "
            "--order=random"
        )
    found = {}
    for count in counts:
        if order == "greedy":  # of one start all counts: they are nested
            rng = np.random.default_rng([seed, crc32(task.encode())])
            found[count] = channel_counts.greedy_combinations(montage.positions, count, wanted, rng)
            continue
        rng = np.random.default_rng([seed, crc32(task.encode()), count])
        sets = channel_counts.random_combinations(len(montage.names), count, wanted, rng)
        possible = math.comb(len(montage.names), count)
        found[count] = sets, possible
    return found
