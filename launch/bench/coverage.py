"""Do 95 % intervals over people cover the truth 95 times in 100? A simulation.

    OMP_NUM_THREADS=1 python -m launch.bench.coverage --datasets=1000 --out=/tmp/coverage.json

draws data sets of people whose examples are dependent (a person is easy or hard, is read too high
or too low, and has a label more often than others), takes each figure's interval in several ways,
and counts how often the figure of the whole population lies inside. Prints the tables of
`docs/intervals.md`. `--only=10` takes the cells of ten people alone.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags
from scipy import stats

from sleepfm_jax.metrics.classification import class_holders, classification_statistic
from sleepfm_jax.metrics.intervals import person_intervals

_DATASETS = flags.DEFINE_integer("datasets", 1000, "Data sets a cell.", lower_bound=1)
_COMPARED = flags.DEFINE_integer(
    "compared", 300, "Of these, how many on which the other ways are measured too.", lower_bound=0
)
_RESAMPLES = flags.DEFINE_integer("resamples", 300, "Of each bootstrap.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", [], "Numbers of people. [default: all]")
_OUT = flags.DEFINE_string("out", None, "JSON of every cell and way, rewritten after each cell.")

FIGURES = ("balanced_accuracy", "auroc", "auprc", "f1", "kappa")
DIFFERENCES = ("balanced_accuracy", "auroc", "f1", "kappa")
SHOWN = (*FIGURES, "Δ balanced_accuracy", "Δ auroc")
CHOSEN, BEFORE = "person_intervals", "percentile"


@dataclasses.dataclass(frozen=True)
class Cell:
    """What data sets are like: the people, their examples, the share of class 1, the model.

    Attributes:
      examples: least and most of one person. trait: share of a label's latent variance that is the
        person's: 1 = everybody has one label. skill: 2 is an AUROC of about .86, 5 of .99.
    """

    people: int
    examples: tuple[int, int]
    share: float
    trait: float
    skill: float


def draw(rng: np.random.Generator, cell: Cell) -> tuple[np.ndarray, ...]:
    """One data set: person [N], label [N], probabilities [N, 2] of a model and of a weaker one."""
    size, count = cell.people, rng.integers(cell.examples[0], cell.examples[1] + 1, cell.people)
    person = np.repeat(np.arange(size), count)
    many = person.size
    latent = np.sqrt(cell.trait) * rng.normal(size=size)[person]
    latent += np.sqrt(1 - cell.trait) * rng.normal(size=many)
    label = (latent > stats.norm.isf(cell.share)).astype(np.int64)
    ease = np.maximum(rng.normal(1, 0.4, size), 0)  # 1: as most people
    offset, noise = 0.7 * rng.normal(size=size), rng.normal(size=many)
    other_ease = (ease + np.maximum(rng.normal(1, 0.4, size), 0)) / 2
    other_offset = 0.7 * offset + 0.5 * rng.normal(size=size)
    other_noise = 0.7 * noise + np.sqrt(0.51) * rng.normal(size=many)
    score = cell.skill * ease[person] * (label - 0.5) + offset[person] + noise
    other = 0.8 * cell.skill * other_ease[person] * (label - 0.5)
    other += other_offset[person] + other_noise
    first, second = (1 / (1 + np.exp(-s)) for s in (score, other))
    return person, label, np.stack([1 - first, first], 1), np.stack([1 - second, second], 1)


def statistics(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[Callable, ...]:
    """The model's figures, and the paired differences, as functions of weights."""
    one, two = classification_statistic(label, first), classification_statistic(label, second)

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        got = one(weights)
        return {name: got[name] for name in FIGURES}

    def differences(weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = one(weights), two(weights)
        return {name: a[name] - b[name] for name in a}

    return figures, differences


def named(figures: dict, differences: dict) -> dict:
    """One dictionary of both, as the tables name them."""
    wanted = {f"Δ {name}": differences[name] for name in DIFFERENCES}
    return {name: figures[name] for name in FIGURES} | wanted


@functools.cache
def truth(share: float, trait: float, skill: float) -> dict[str, float]:
    """The figures of a population."""
    population = Cell(300_000, (1, 4), share, trait, skill)
    _, *scored = draw(np.random.default_rng(1), population)
    ones = np.ones((1, len(scored[0])))
    return {k: float(v[0]) for k, v in named(*(s(ones) for s in statistics(*scored))).items()}


def chosen(person: np.ndarray, *scored: np.ndarray) -> dict[str, list[float] | None]:
    """The intervals of `sleepfm_jax.metrics.intervals`."""
    figures, differences = statistics(*scored)
    holders = class_holders(scored[0], ("0", "1"))
    return named(
        person_intervals(person, figures, holders)[0],
        person_intervals(person, differences, holders, difference=True)[0],
    )


def others(
    rng: np.random.Generator, person: np.ndarray, *scored: np.ndarray, resamples: int = 300
) -> dict[str, dict[str, np.ndarray]]:
    """{way: {figure: [low, high]}} of the ways that were not chosen.

    The bootstraps redraw a resample without a class, as was done before.
    """
    sides = statistics(*scored)

    def evaluate(weights: np.ndarray) -> np.ndarray:
        return np.stack(list(named(*(s(weights) for s in sides)).values()))  # [figures, R]

    size = int(person.max()) + 1
    holds = np.array([[(scored[0][person == p] == k).any() for k in (0, 1)] for p in range(size)])
    drawn: list[np.ndarray] = []
    while len(drawn) < resamples:
        times = np.bincount(rng.integers(size, size=size), minlength=size)
        if (times @ holds > 0).all():
            drawn.append(times)
    resampled = evaluate(np.array(drawn, np.float64)[:, person])
    figure = evaluate(np.ones((1, person.size)))[:, 0]
    low, high = np.percentile(resampled, [2.5, 97.5], axis=1)
    ways = {BEFORE: (low, high)}
    t = stats.t.ppf(0.975, size - 1)
    half = t * resampled.std(axis=1) * np.sqrt(size / (size - 1))
    ways["bootstrap standard error, t"] = (figure - half, figure + half)
    without = evaluate((person[None] != np.arange(size)[:, None]).astype(np.float64))
    if np.isfinite(without).all():
        influence = without.mean(axis=1, keepdims=True) - without
        total = (influence**2).sum(axis=1)
        error = np.sqrt((size - 1) / size * total)
        ways["jackknife, t"] = (figure - t * error, figure + t * error)
        scale = np.array([2.0 if "kappa" in name or "Δ" in name else 1.0 for name in NAMES])
        x = np.clip((figure + scale - 1) / scale, 1e-9, 1 - 1e-9)  # 0..1; differences stay
        step = np.minimum(t * error / scale / (x * (1 - x)), 500)
        ends = [1 / (1 + (1 / x - 1) * np.exp(-s)) * scale - (scale - 1) for s in (-step, step)]
        ways["jackknife, t on the logit"] = tuple(ends)
        skew = (influence**3).sum(axis=1)
        shift = np.divide(skew, 6 * total**1.5, out=np.zeros_like(skew), where=total > 0)
        below = (resampled < figure[:, None]).mean(1) + (resampled == figure[:, None]).mean(1) / 2
        bias = stats.norm.ppf(np.clip(below, 1 / resamples, 1 - 1 / resamples))
        ends = []
        for z in (-1.96, 1.96):
            level = stats.norm.cdf(bias + (bias + z) / (1 - shift * (bias + z)))
            ends.append([np.quantile(r, q) for r, q in zip(resampled, level, strict=True)])
        ways["BCa"] = tuple(np.array(ends))
    return {
        way: dict(zip(NAMES, np.stack(ends, axis=1), strict=True)) for way, ends in ways.items()
    }


NAMES = (*FIGURES, *(f"Δ {name}" for name in DIFFERENCES))


def measure(
    cell: Cell, datasets: int, *, compared: int = 300, resamples: int = 300, seed: int = 0
) -> dict:
    """{way: {"given": share of data sets, figure: {"covered", "width" (mean)}}} of a cell.

    Coverage is among the data sets for which the chosen way gives intervals, and for "percentile,
    all" among all: it always gave one, unless a class did not occur at all.
    """
    true = truth(cell.share, cell.trait, cell.skill)
    rng = np.random.default_rng([seed, cell.people, int(cell.share * 100), int(cell.skill)])
    hits: dict[str, dict[str, list]] = {}
    for number in range(datasets):
        person, *scored = draw(rng, cell)
        if len(np.unique(scored[0])) < 2:
            continue
        ours = chosen(person, *scored)
        given = all(ends is not None for ends in ours.values())
        ways = {CHOSEN: ours} if given else {}
        if number < compared:
            rest = others(rng, person, *scored, resamples=resamples)
            ways |= {f"{BEFORE}, all": rest[BEFORE]} | (rest if given else {})
        for way, intervals in ways.items():
            for name, (low, high) in intervals.items():
                covered = low - 1e-12 <= true[name] <= high + 1e-12
                hits.setdefault(way, {}).setdefault(name, []).append((covered, high - low))
    found = {}
    for way, figures in hits.items():
        found[way] = {"given": len(figures[NAMES[0]]) / datasets}
        for name, rows in figures.items():
            covered, width = np.mean(rows, axis=0)
            found[way][name] = {"covered": float(covered), "width": float(width)}
    return found


def cells() -> list[Cell]:
    """Those of the tables: one to four examples; last, nights of 40 to 60."""
    few = [
        Cell(people, (1, 4), share, trait, skill)
        for trait, share, people, skill in itertools.product(
            (0.5, 1.0), (0.5, 0.05), (5, 10, 20, 50, 150), (2.0, 5.0)
        )
    ]
    nights = [
        Cell(people, (40, 60), share, 0.5, skill)
        for share, people, skill in itertools.product((0.5, 0.05), (10, 20), (2.0, 5.0))
    ]
    return few + nights


def table(results: list[tuple[Cell, dict]]) -> str:
    """Markdown: a line a cell, before → after; n/a where under 4 % of the data sets have one."""
    lines = [["people", "examples", "class 1", "label is", "model", "n/a", *SHOWN]]
    lines.append(["---"] * len(lines[0]))
    for cell, found in results:
        before, after = found.get(f"{BEFORE}, all"), found.get(CHOSEN, {"given": 0.0})
        row = [
            f"{cell.people}",
            "{}–{}".format(*cell.examples),
            f"{100 * cell.share:.0f} %",
            "the person's" if cell.trait == 1 else "mixed",
            "strong" if cell.skill > 3 else "fair",
            f"{100 * (1 - after['given']):.0f} %",
        ]
        for name in SHOWN:
            ends = [
                w[name]["covered"] if w and w["given"] >= few else None
                for w, few in ((before, 0), (after, 0.04))
            ]
            row.append(" → ".join("n/a" if e is None else f"{e:.3f}".lstrip("0") for e in ends))
        lines.append(row)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(results: list[tuple[Cell, dict]]) -> str:
    """Markdown: a line a way; results: cells with enough intervals of the chosen one."""
    lines = [["way", "figures: least", "mean", "differences: least", "mean", "width"]]
    lines.append(["---"] * len(lines[0]))
    for way in results[0][1] if results else ():
        if way.endswith("all"):
            continue
        row = [way]
        for difference in (False, True):
            names = [name for name in NAMES if name.startswith("Δ") == difference]
            got = [found[way][name]["covered"] for _, found in results for name in names]
            row += [f"{min(got):.3f}", f"{np.mean(got):.3f}"]
        width = [
            found[way][name]["width"] / found[CHOSEN][name]["width"]
            for _, found in results
            for name in NAMES
        ]
        lines.append([*row, f"{np.mean(width):.2f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: list[str]) -> None:
    del argv
    results = []
    for cell in cells():
        if _ONLY.value and str(cell.people) not in _ONLY.value:
            continue
        results.append(
            (
                cell,
                measure(
                    cell, _DATASETS.value, compared=_COMPARED.value, resamples=_RESAMPLES.value
                ),
            )
        )
        print(table(results[-1:]).splitlines()[-1], flush=True)
        if _OUT.value:
            rows = [{**dataclasses.asdict(c), "ways": found} for c, found in results]
            Path(_OUT.value).write_text(json.dumps(rows, indent=1))
    print("\n" + table(results) + "\n")
    print(summary([r for r in results if r[1].get(CHOSEN, {"given": 0})["given"] >= 0.1]))


if __name__ == "__main__":
    app.run(main)
