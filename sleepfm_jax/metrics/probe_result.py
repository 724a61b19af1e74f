"""The figures of a probe, and the difference of two probes on the same people."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from sleepfm_jax.metrics import classification, multilabel
from sleepfm_jax.metrics.feature_sets import FeatureSet
from sleepfm_jax.metrics.intervals import subject_bootstrap
from sleepfm_jax.metrics.logistic_path import Settings


class ProbeResult(dict):
    """The figures of a probe, ready for JSON, and the test predictions behind them.

    Keys: `balanced_accuracy`, `auroc`, `f1`, `ci95` {metric: [low, high]}, `subjects`, `examples`
    (of the test set), `l2`, `protocol`, `classes`, `confusion` ([K true][K predicted]; several
    labels: one [[tn, fp], [fn, tp]] a label), `notes` (everything a reader should know: absent
    classes, fits that did not converge, values filled in). One class an example: also `kappa` and
    `accuracy`; several labels: `average_precision`, `per_label` and `thresholds`.

    Attributes (not in the JSON): `y`, `probabilities`, `example_subjects`, `thresholds` of the
    test examples, for `paired_difference`.
    """

    y: np.ndarray
    probabilities: np.ndarray
    example_subjects: np.ndarray
    thresholds: np.ndarray | None


def score_probe(
    scored: FeatureSet, predicted, protocol: str, settings: Settings, bootstrap: int, seed: int
) -> ProbeResult:
    probabilities, thresholds, l2 = predicted
    y, subjects = scored.y, scored.subjects
    if settings.label_kind == "classification":
        figures = classification.classification_metrics(y, probabilities)
        absent = [settings.classes[k] for k in figures.pop("absent_classes")]
        figures["notes"] = [n for n in figures["notes"] if not n.startswith("classes [")]
        if absent:
            figures["notes"].append(f"no test example of {absent}: averages are over the others")
        ci95 = classification.classification_intervals(
            y, probabilities, subjects, n=bootstrap, seed=seed
        )
        confusion = np.zeros((len(settings.classes),) * 2, int)
        np.add.at(confusion, (y, probabilities.argmax(axis=1)), 1)
    else:
        figures = multilabel.multilabel_metrics(y, probabilities, thresholds)
        named = {settings.classes[k]: why for k, why in figures.pop("excluded_labels").items()}
        figures["notes"] = [f"label {name!r} is not scored: {why}" for name, why in named.items()]
        ci95 = multilabel.multilabel_intervals(
            y, probabilities, subjects, thresholds, n=bootstrap, seed=seed
        )
        guess = probabilities >= thresholds
        confusion = np.array(
            [
                [[np.sum((y[:, k] == t) & (guess[:, k] == g)) for g in (0, 1)] for t in (0, 1)]
                for k in range(y.shape[1])
            ]
        )
        if thresholds.ndim == 1:
            figures["thresholds"] = thresholds.tolist()
    people = len(np.unique(subjects))
    if any(np.isnan(bounds).any() for bounds in ci95.values()):
        settings.note(
            f"an interval is missing: too few of the {people} test subjects hold each class for "
            "resamples of subjects to keep every class"
        )
    notes = figures.pop("notes") + settings.notes
    result = ProbeResult(
        figures,
        ci95=ci95,
        subjects=people,
        examples=len(y),
        l2=l2,
        protocol=protocol,
        classes=settings.classes,
        confusion=confusion.tolist(),
        notes=notes,
    )
    result.y, result.probabilities = y, probabilities
    result.example_subjects, result.thresholds = subjects, thresholds
    return result


@threadpool_limits.wrap(limits=1)  # as where the probes were fitted
def paired_difference(a: ProbeResult, b: ProbeResult, *, n: int = 1000, seed: int = 0) -> dict:
    """a minus b on the same test examples, with intervals from the same resampled subjects.

    Two intervals that overlap say little about a difference measured on the same people; this
    says it.

    Returns:
      `balanced_accuracy`, `auroc`, `f1`, `ci95`, `subjects`, `examples`, like a probe's row.

    Raises:
      ValueError: when the two were not scored on the same examples in the same order.
    """
    same = a.y.shape == b.y.shape and np.array_equal(a.y, b.y, equal_nan=a.y.dtype.kind == "f")
    if not (same and np.array_equal(a.example_subjects, b.example_subjects)):
        raise ValueError("the two probes were not scored on the same examples in the same order")
    if a.thresholds is None:
        first = classification.classification_statistic(a.y, a.probabilities)
        second = classification.classification_statistic(b.y, b.probabilities)
        required = a.y[:, None] == np.unique(a.y)[None]
    else:
        first = multilabel.multilabel_statistic(a.y, a.probabilities, a.thresholds)
        second = multilabel.multilabel_statistic(b.y, b.probabilities, b.thresholds)
        sides = np.concatenate([a.y == 1, a.y == 0], axis=1)
        both = np.tile((a.y == 1).any(axis=0) & (a.y == 0).any(axis=0), 2)
        required = sides[:, both]

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        ours, theirs = first(weights), second(weights)
        return {name: ours[name] - theirs[name] for name in ours}

    intervals = subject_bootstrap(a.example_subjects, difference, required=required, n=n, seed=seed)
    names = ("balanced_accuracy", "auroc", "f1")
    return {
        **{name: a[name] - b[name] for name in names},
        "ci95": {name: intervals[name] for name in names},
        "subjects": a["subjects"],
        "examples": a["examples"],
    }
