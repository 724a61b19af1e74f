"""How hard the simulated ECG archives are, label by label and site by site.

  python -m launch.bench.ecg_twins --people=300

One Markdown table: people, exams, how frequent a label is, how often its reader disagrees with what
is there, AUROC of single numbers (the better of both directions, so a little above .5 where there
is nothing), of the project's plain heart features with a linear probe that is trained on the
simulated CODE-15, and of the latent that the label is cut from. Nothing is written or built.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from absl import app, flags
from scipy.stats import rankdata

from launch import programs
from sleepfm_jax.metrics.linear_probe import fit_probe
from sleepfm_jax.metrics.plain_features import HEART_FEATURE_NAMES, heart_features
from sleepfm_jax.simulation.archives import wake_ecg
from sleepfm_jax.simulation.body import exam as ex

_PEOPLE = flags.DEFINE_integer("people", 300, "People of each archive.", lower_bound=30)
_TRAINED = flags.DEFINE_integer("trained", 600, "People of the archive that is trained on.")
_RARE = flags.DEFINE_float("rare", 4.0, "As of launch.simulate.", lower_bound=1.0)
_SEED = flags.DEFINE_integer("seed", 0, "Names the archives.", lower_bound=0)
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)

SITES = ("code15", "ptbxl", "g12ec", "cpsc2018")
SCORED = {
    "code15": ex.LABELS,
    "ptbxl": ("RBBB", "LBBB", "SB", "AF"),
    "g12ec": ("1dAVb", "RBBB", "LBBB", "AF"),
    "cpsc2018": ("1dAVb", "RBBB", "LBBB", "AF"),
}
"""The labels that the published task has of each set."""
SINGLE = ("mean_hr_bpm", "step_share", "qrs_ms", "log_qrs", "p_share", "noise")


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve; scores that are no number count as the median; NaN: one class."""
    score = np.where(np.isnan(score), np.nanmedian(score), score)
    yes = int(positive.sum())
    if not 0 < yes < len(positive):
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * (len(positive) - yes)))


def measured(name: str, seed: int, rare: float, index: int) -> list[tuple]:
    """(features [F], loudness [2], labels [6], latents [6], present [6]) of a person's exams."""
    rows = []
    for held, seconds, rng in wake_ecg.exams(name, index, seed, rare):
        site = ex.SITES[name]
        leads = 1000.0 * ex.render(rng, held, site, seconds)
        features = heart_features(leads, np.ones(leads.shape, bool), wake_ecg.LEADS, site.sfreq)
        noise = np.log(np.median(np.abs(np.diff(leads, axis=1))))
        labels = [label in held.labels for label in ex.LABELS]
        latents = [held.latents[label] for label in ex.LABELS]
        present = [latent >= ex.CUTS[label] for label, latent in held.latents.items()]
        rows.append((np.append(features, noise), labels, latents, present))
    return rows


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    tables = {}
    with ProcessPoolExecutor(_WORKERS.value) as pool:
        for name in SITES:
            count = _TRAINED.value if name == "code15" else _PEOPLE.value
            work = functools.partial(measured, name, _SEED.value, _RARE.value)
            groups = list(pool.map(work, range(count), chunksize=8))
            rows = [row for group in groups for row in group]
            person = np.repeat(np.arange(count), [len(group) for group in groups])
            tables[name] = (*(np.array(column) for column in zip(*rows)), person)
    print("| site | label | people | exams | share | disagree | " + " | ".join(SINGLE), end="")
    print(" | features | latent |\n|" + "---|" * (8 + len(SINGLE)))
    macro = {}
    for name in SITES:
        features, labels, latents, present, person = tables[name]
        predicted = _probe(tables, name)
        scored = np.ones(len(person), bool) if name != "code15" else person % 10 >= 7
        for label in SCORED[name]:
            at = ex.LABELS.index(label)
            yes, there = labels[:, at].astype(bool), present[:, at].astype(bool)
            single = []
            for number in SINGLE:
                column = -1 if number == "noise" else HEART_FEATURE_NAMES.index(number)
                area = auroc(features[:, column], yes)
                single.append(max(area, 1 - area))
            plain = auroc(predicted[scored][:, at], yes[scored])
            macro.setdefault(name, []).append(plain)
            told = [yes.mean(), np.mean(yes & ~there) / max(yes.mean(), 1e-9)]
            figures = [*told, *single, plain, auroc(latents[:, at], yes)]
            words = " | ".join(f"{figure:.3f}" for figure in figures)
            print(f"| {name} | {label} | {person.max() + 1} | {len(person)} | {words} |")
    print("\nmacro AUROC of plain features: ", end="")
    print(", ".join(f"{name} {np.mean(areas):.3f}" for name, areas in macro.items()))
    return 0


def _probe(tables, name: str) -> np.ndarray:
    """Probabilities [N, 6] of the exams of `name`: a linear probe trained on 60 % of the people of
    code15, its L2 chosen on 10 % (the rest of code15 is what code15 itself is scored on)."""
    features, labels, _, _, person = tables["code15"]
    use = tables[name][0]
    part = person % 10
    mine = tables[name][4]
    told = [(features[part < 6], labels[part < 6], person[part < 6])]
    told.append((features[part == 6], labels[part == 6], person[part == 6]))
    told.append((use, tables[name][1], 10_000 + mine))
    keep = [(x[:, :-1], np.asarray(y, float), p) for x, y, p in told]
    return fit_probe(*keep, label_kind="multilabel", classes=ex.LABELS, impute=True).probabilities


def run() -> None:
    programs.run(main)


if __name__ == "__main__":
    run()
