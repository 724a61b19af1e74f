"""Published numbers of the transfer paper's tasks: the one place where they stand.

All from docs/field.md §1.A and docs/field.md §5, which say where they were read. They are of real
recordings; a simulated twin of a task has the layout and the labels of its archive, and nothing
else of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

PAPER = "arXiv 2605.02500"


@dataclasses.dataclass(frozen=True)
class Rival:
    """A published model's score. `as_paper`: by the paper's own protocol, so that its table has it
    as SOTA; otherwise `protocol` says what is different."""

    name: str
    value: float
    sd: float | None
    metric: str
    protocol: str
    as_paper: bool = False


@dataclasses.dataclass(frozen=True)
class Ablation:
    """The paper's channel ablation: its full score, and the fewest channels with 95 % of it, by its
    own reading and where all larger counts must keep it too (None: not known). `metric` "": which
    one is not said; its figure mixes them."""

    full: float
    metric: str
    fewest: int
    channels: int
    sustained: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the paper's table.

    Attributes:
      title: as the paper writes it. kind: "EEG" or "ECG". metric: that of the row, as ours are
        called.
      paper: condition → (mean, sd over its repeats); a condition that the paper lacks is missing.
      protocol: what its people, windows and repeats are.
      rivals: the strongest published ones, the first the paper's SOTA where it has one.
    """

    title: str
    kind: str
    metric: str
    paper: Mapping[str, tuple[float, float]]
    protocol: str
    rivals: tuple[Rival, ...] = ()
    ablation: Ablation | None = None

    @property
    def sota(self) -> Rival | None:
        """The paper's SOTA column."""
        return next((rival for rival in self.rivals if rival.as_paper), None)

    @property
    def strongest(self) -> Rival | None:
        """The best of the others, in the row's metric where there is one in it."""
        others = [rival for rival in self.rivals if not rival.as_paper]
        alike = [rival for rival in others if rival.metric == self.metric]
        return max(alike or others, key=lambda rival: rival.value, default=None)


def _paper(scratch, pretrained, pretrained_pe=None) -> dict[str, tuple[float, float]]:
    found = {"scratch": scratch, "pretrained": pretrained, "pretrained_pe": pretrained_pe}
    return {name: value for name, value in found.items() if value is not None}


def _sota(name: str, value: float, sd: float, metric: str) -> Rival:
    return Rival(name, value, sd, metric, "as the paper's table has it", as_paper=True)


def _frozen(value: float, more: str = "") -> Rival:
    protocol = "frozen, linear probe, windows, 5 folds grouped by recording, not by person" + more
    return Rival("SleepFM-2", value, None, "auroc", protocol)


def _ecg(name: str, value: float, s4: float) -> tuple[Rival, Rival]:
    return (
        Rival(name, value, None, "auroc", _ALIKE),
        Rival("S4 from scratch", s4, None, "auroc", _ALIKE),
    )


_ALIKE = "macro over all labels of the set, one protocol for all ECG rivals"
_OFFICIAL = (
    "60-s windows; its test set is the official one in every repeat, so that ± is of training and "
    "validation people, no uncertainty of the test people"
)
_SPLITS = "60-s windows; overlapping random splits by subject, 10 % test; ± over these"
_ECG = "trained on CODE-15 %, one random split by exam, not by patient; its ± is not over folds"

TASKS: dict[str, Task] = {
    "tuev": Task(
        "TUEV",
        "EEG",
        "balanced_accuracy",
        _paper((0.5585, 0.0168), (0.6612, 0.0252), (0.6387, 0.0267)),
        _OFFICIAL,
        (
            _sota("REVE-Base", 0.6759, 0.0229, "balanced_accuracy"),
            Rival("CBraMod", 0.667, None, "balanced_accuracy", "5-s windows, usual split"),
            _frozen(0.914),
        ),
        Ablation(0.677, "", 9, 19, 12),
    ),
    "tuab": Task(
        "TUAB",
        "EEG",
        "balanced_accuracy",
        _paper((0.7886, 0.0439), (0.8255, 0.0023), (0.8303, 0.0074)),
        f"{_OFFICIAL}; its balanced accuracy of two classes is plain accuracy",
        (
            _sota("REVE-Base", 0.8315, 0.0014, "balanced_accuracy"),
            Rival("CBraMod", 0.829, None, "balanced_accuracy", "usual split"),
            _frozen(0.834),
        ),
        Ablation(0.827, "accuracy", 3, 19),
    ),
    "tusl": Task(
        "TUSL",
        "EEG",
        "auroc",
        _paper((0.6709, 0.0436), (0.7179, 0.0388), (0.7457, 0.0370)),
        _SPLITS,
        (
            _sota("FEMBA-Base", 0.731, 0.012, "auroc"),
            Rival("LUNA-Huge", 0.802, None, "auroc", "random split by sample: people are in both"),
            _frozen(0.763, "; 1,677 windows, the paper's set"),
        ),
        Ablation(0.798, "", 10, 19, 12),
    ),
    "braincapture": Task(
        "BrainCapture",
        "EEG",
        "f1_positive",
        _paper((0.6877, 0.0437), (0.8019, 0.0604), (0.8666, 0.0220)),
        f"{_SPLITS}; F1 of the positive class; recordings that are not public",
        (_sota("the paper's SOTA", 0.7274, 0.0216, "f1_positive"), _frozen(0.945)),
        Ablation(0.898, "accuracy", 4, 19, note="by F1 it needs 8"),
    ),
    "chb_mit": Task(
        "CHB-MIT",
        "EEG",
        "balanced_accuracy",
        _paper((0.6678, 0.0581), (0.7180, 0.0512), (0.7468, 0.0333)),
        f"{_SPLITS}; its balanced accuracy of two classes is plain accuracy",
        (
            _sota("the paper's SOTA", 0.7398, 0.0284, "balanced_accuracy"),
            Rival("CBraMod", 0.816, None, "balanced_accuracy", "NeuralBench, splits by subject"),
            Rival(
                "best without pretraining",
                0.855,
                None,
                "balanced_accuracy",
                "NeuralBench, splits by subject",
            ),
            _frozen(0.978, "; 1,016 windows"),
        ),
        Ablation(0.812, "", 8, 19, 16, "of 16 seizure windows"),
    ),
    "ptbxl": Task(
        "PTB-XL",
        "ECG",
        "f1",
        _paper((0.782, 0.066), (0.807, 0.071)),
        _ECG,
        (_sota("the paper's SOTA", 0.803, 0.107, "f1"), *_ecg("ECG-CPC", 0.949, 0.941)),
        Ablation(0.807, "f1", 9, 12),
    ),
    "g12ec": Task(
        "G12EC",
        "ECG",
        "f1",
        _paper((0.691, 0.045), (0.713, 0.023)),
        f"{_ECG}; four of the six labels (1dAVb, RBBB, LBBB, AF)",
        (_sota("the paper's SOTA", 0.763, 0.028, "f1"), *_ecg("ECGFounder", 0.920, 0.903)),
        Ablation(0.713, "f1", 5, 12),
    ),
    "cpsc": Task(
        "CPSC",
        "ECG",
        "f1",
        _paper((0.759, 0.071), (0.770, 0.068)),
        _ECG,
        (_sota("the paper's SOTA", 0.784, 0.086, "f1"), *_ecg("ECG-JEPA", 0.974, 0.962)),
        Ablation(0.770, "f1", 9, 12),
    ),
}
"""The paper's eight tasks, in its order."""

BESIDE: dict[str, Task] = {
    "eegmat": Task(
        "EEGMAT",
        "EEG",
        "balanced_accuracy",
        {},
        "no task of the paper",
        (_frozen(0.721),),
    ),
    "ptbxl:superclasses": Task(
        "PTB-XL superclasses",
        "ECG",
        "auroc",
        {},
        "no task of the paper; PTB-XL's own folds",
        (
            Rival("ECGFounder", 0.935, None, "auroc", _ALIKE),
            Rival("S4 from scratch", 0.932, None, "auroc", _ALIKE),
        ),
    ),
    "ptbxl:rhythm": Task(
        "PTB-XL rhythm", "ECG", "auroc", {}, "no task of the paper; PTB-XL's own folds"
    ),
}
"""Tasks that the paper has not."""

DIFFERENCES = (
    "Ours: brackets are 95 % intervals over people; the value is the mean over seeds; people never "
    "cross splits; thresholds are chosen on validation people. Published: ± is a standard "
    "deviation over the paper's repeats, which is no interval over people.",
    "Balanced accuracy is the mean of the classes' recalls here; the paper's, with two classes, is "
    "plain accuracy.",
    "ECG: split by patient here and by exam in the paper, which also tunes its thresholds on the "
    "labels that it scores.",
    "Frozen encoders here are in evaluation mode; the paper's keep batch statistics and dropout in "
    "training mode. Its channel pooling averages padded channels; here they are masked.",
    "Positions (PT+PE): 4³ phases of all three coordinates here; the paper cuts 8³ phases to the "
    "first 64, in which left and right do not differ.",
    "ECG rivals: S4 trained from scratch reaches an AUROC of .941 (PTB-XL), .903 (G12EC) and .962 "
    "(CPSC): the bar for saying that pretraining helps.",
    "A rival of another metric or protocol stands beside the row for orientation, never above or "
    "below it.",
)
"""Of protocol, for under the table."""


def of(task: str) -> tuple[Task | None, str]:
    """The published side of one of ours, and what is left of its name: "tuab:twin" → (TUAB,
    "twin"), "chb_mit_twin" → (CHB-MIT, "twin")."""
    everything = TASKS | BESIDE
    for name in sorted(everything, key=len, reverse=True):
        if _alike(task) == _alike(name) or _alike(task).startswith(_alike(name) + ":"):
            return everything[name], task[len(name) + 1 :]
    return None, ""


def key_of(task: str) -> str:
    """The task's name without its variant; its own where it is none of these."""
    found, variant = of(task)
    return task[: len(task) - len(variant) - 1] if found and variant else task


def _alike(name: str) -> str:
    """A file's name has another mark before the variant than a flag."""
    for mark in "_-.":
        name = name.replace(mark, ":")
    return name
