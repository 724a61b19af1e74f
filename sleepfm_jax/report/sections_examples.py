"""Parts of a dataset's probes that are drawn from its predictions: {} where one does not apply.

Each: {"title", "lead", "figures", and "table" where there is one}.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sleepfm_jax.metrics import scoring
from sleepfm_jax.metrics.predictions import Predictions
from sleepfm_jax.report import figures, figures_curves, figures_nights, from_predictions
from sleepfm_jax.report.from_predictions import (
    Curves,
    guesses,
    has_nights,
    median_night,
    questions,
    several_labels,
)
from sleepfm_jax.report.results import number, row_name

MAIN = ("pretrained", "features", "random")  # rows whose confusion and curves are drawn
_MOST_QUESTIONS = 10  # classes or labels that curves are drawn of
_ON_A_PAGE = 5  # of them in one picture
_MOST_POINTS = 3000  # of a map
_MOST_CLASSES = 20  # of a confusion matrix


def _main(shown: dict[str, Predictions]) -> dict[str, Predictions]:
    return {r: shown[r] for r in MAIN if r in shown} or dict(list(shown.items())[:1])


def per_label(shown: dict[str, Predictions], slug: str, folder: Path) -> dict:
    """The table of a multi-label dataset, label by label, of its first row."""
    row, found = next(iter(_main(shown).items()))
    if not several_labels(found):
        return {}
    people = scoring.per_class(found)["subjects_per_class"]
    asked, guess = questions(found), guesses(found)
    lines = []
    for k, name in enumerate(found.classes):
        y = found.label[:, k]
        scored = ["n/a", "n/a"]
        if name in asked:
            drawn = from_predictions.curves(*asked[name])
            scored = [number(drawn.auroc), number(drawn.auprc)]
        for answer in (1, 0):
            cells = guess[y == answer, k]
            scored.append(number(float(np.mean(cells == answer))) if len(cells) else "n/a")
        counts = [int(np.sum(y == 1)), int(np.sum(y == 0)), int(np.isnan(y).sum())]
        lines.append((name, [people[name], *counts], scored))
    return {
        "title": "Label by label",
        "lead": f"{row_name(row)}. n/a: nobody, or everybody, holds the label. Sensitivity and "
        "specificity at thresholds chosen on validation people.",
        "table": {
            "counts": ["people with it", "yes", "no", "unknown"],
            "metrics": ["AUROC", "AUPRC", "sensitivity", "specificity"],
            "rows": lines,
        },
        "figures": [],
    }


def confusions(shown: dict[str, Predictions], slug: str, folder: Path) -> dict:
    drawn = []
    for row, found in _main(shown).items():
        k = len(found.classes)
        if several_labels(found) or k > _MOST_CLASSES:
            continue
        counts = np.zeros((k, k), int)
        np.add.at(counts, (found.label, guesses(found)), 1)
        right = [
            f"{name} {counts[i, i]} of {counts[i].sum()}" for i, name in enumerate(found.classes)
        ]
        alt = f"Confusion matrix of {row_name(row)}. Predicted right: {', '.join(right)}."
        name = f"probes-{slug}-confusion-{row}"
        arguments = (counts, found.classes, row_name(row))
        drawn.append(figures.save(folder, name, alt, figures_curves.confusion, *arguments))
    if not drawn:
        return {}
    return {
        "title": "Confusion",
        "lead": "The likeliest class of the seed-averaged probabilities. Each cell: its share of "
        "the scored class, and examples.",
        "figures": drawn,
        "layout": "three",
    }


def curves(shown: dict[str, Predictions], slug: str, folder: Path) -> dict:
    asked: dict[str, dict[str, Curves]] = {}
    left_out = 0
    for row, found in _main(shown).items():
        every = questions(found)
        left_out = max(left_out, len(every) - _MOST_QUESTIONS)
        for name, pair in list(every.items())[:_MOST_QUESTIONS]:
            asked.setdefault(name, {})[row] = from_predictions.curves(*pair)
    if not asked:
        return {}
    said = {}
    for name, rows in asked.items():
        each = [f"{row_name(row)} {number(lines.auroc)}" for row, lines in rows.items()]
        said[name] = f"{name}: {', '.join(each)}"
    alt = "ROC, precision-recall and reliability curves."
    lead = (
        "Each class or label against the rest, seed-averaged. Thin dots: chance; on the right, "
        "probabilities that are as often so as they say, in bins a tenth wide."
    )
    if not any(several_labels(found) for found in shown.values()):
        lead += " The fit weighs classes alike, so the probability of a rare class is too high."
    if left_out:
        lead += f" The first {_MOST_QUESTIONS}; {left_out} more are in the predictions."
    pages = [list(asked)[i : i + _ON_A_PAGE] for i in range(0, len(asked), _ON_A_PAGE)]
    drawn = []
    for i, names in enumerate(pages):
        name = f"probes-{slug}-curves" + (f"-{i + 1}" if i else "")
        part = {n: asked[n] for n in names}
        words = f"{alt} Area under the ROC: {'; '.join(said[n] for n in names)}."
        drawn.append(figures.save(folder, name, words, figures_curves.curves, part))
    return {
        "title": "Curves",
        "lead": lead,
        "figures": drawn,
        "layout": "wide",
    }


def night(shown: dict[str, Predictions], slug: str, folder: Path) -> dict:
    row, found = next(iter(_main(shown).items()))
    if not has_nights(found):
        return {}
    chosen = median_night(found)
    whose = f"person {chosen.person}, recording {chosen.recording}"
    known = chosen.scored >= 0
    agree = float(np.mean(chosen.scored[known] == chosen.predicted[known]))
    alt = (
        f"Scored hypnogram over the predicted one of {whose}, {int(known.sum())} sleep epochs, of "
        f"which {agree:.0%} agree; under them the stacked probabilities of the classes."
    )
    return {
        "title": "A held-out night",
        "lead": f"{row_name(row)}; {whose}. Chosen by rule: the person of median accuracy "
        f"({number(chosen.accuracy)}), the longest recording. Blank: not scored, or left out.",
        "figures": [
            figures.save(folder, f"probes-{slug}-night", alt, figures_nights.night, chosen)
        ],
        "layout": "wide",
    }


def maps(shown: dict[str, Predictions], slug: str, folder: Path) -> dict:
    mapped = {r: p for r, p in shown.items() if p.map is not None and np.isfinite(p.map).any()}
    if not mapped:
        return {}
    row, found = next(iter(mapped.items()))
    usable = np.flatnonzero(np.isfinite(found.map).all(axis=1))
    kept = usable
    if len(usable) > _MOST_POINTS:
        kept = np.sort(np.random.default_rng(0).choice(usable, _MOST_POINTS, replace=False))
    points = found.map[kept]
    if several_labels(found):
        groups = _first_label(found)[kept]
    else:
        groups = np.asarray(found.classes)[found.label[kept]]
    order = {name: i for i, name in enumerate([*found.classes, "several", "none", "unknown"])}
    by_class = np.argsort([order[g] for g in groups], kind="stable")
    people = found.person[kept]
    count = len(np.unique(people))
    drawn = []
    for key, title, which, names in (
        ("class", "By class", by_class, groups),
        ("person", f"By person: {count}", np.argsort(people, kind="stable"), people),
    ):
        alt = (
            f"{len(kept)} examples on the two principal axes of their features, coloured "
            f"{title.lower()}."
        )
        arguments = (points[which], names[which].tolist(), title, key)
        name = f"probes-{slug}-map-{key}"
        drawn.append(figures.save(folder, name, alt, _map, *arguments))
    lead = (
        f"{row_name(row)}: the features of {len(kept):,} of {len(found.map):,} examples on their "
    )
    lead += "two principal axes."
    if count > figures.DISTINCT_MARKS:
        lead += f" Of {count} people, every {figures.DISTINCT_MARKS}th has the same mark."
    return {"title": "Map of the embeddings", "lead": lead, "figures": drawn, "layout": "two"}


def _map(theme, points, names, title, key):
    colours = theme.stages if key == "class" else {}
    return figures_nights.embedding_map(theme, points, names, title, colours)


def _first_label(found: Predictions) -> np.ndarray:
    """The one label that an example holds; "several", "none", or "unknown" where one of the labels
    is and none is held."""
    held = found.label == 1
    one = np.asarray([*found.classes, "several", "none"])
    count = held.sum(axis=1)
    index = np.where(count == 1, held.argmax(axis=1), len(found.classes))
    first = one[np.where(count == 0, len(found.classes) + 1, index)]
    return np.where((count == 0) & np.isnan(found.label).any(axis=1), "unknown", first)
