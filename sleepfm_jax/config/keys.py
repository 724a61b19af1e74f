"""Every key of a configuration, once: default (and so its type), bounds, what it is, and whether it
changes numbers.

A configuration is a nested dictionary. The sections `model` and `objective`, and each row of
`evaluators`, have a `kind`, which chooses the keys of the section: those that this project comes
with are in `KINDS`; any other kind is a module whose `KEYS` says them: `objectives/KIND.py`,
`evaluators/KIND.py`, `models/KIND.py`, or one from elsewhere by its full name, `package.module`.
`configs/` state only what differs from `defaults()`.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sleepfm_jax import signals
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.layout import INPUT_SCALINGS
from sleepfm_jax.signals.night_layout import LEFT_OUT, NORMALISATIONS


@dataclasses.dataclass(frozen=True)
class Key:
    """One key; its type is that of its default (an int passes where a float is expected).

    Attributes:
      default: what holds where nothing is said.
      about: what it is, with its unit.
      low, high: bounds, themselves allowed. above, below: bounds, themselves not allowed.
      choices: of a string; (): any.
      form: of a tuple or a mapping, one of `FORMS`.
      changes_numbers: a run may only go on from a checkpoint with the same value.
    """

    default: Any
    about: str
    _: dataclasses.KW_ONLY
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    form: str = ""
    changes_numbers: bool = True


class Kinded(NamedTuple):
    """A section whose keys are those of its `kind`, in KINDS[section]."""

    section: str


class Rows(NamedTuple):
    """A section of named rows, each of a kind. No row changes numbers."""

    section: str


Keys = Mapping[str, "Key | Kinded | Rows | Keys"]

_SLOTS = {"bas": 10, "resp": 7, "ecg": 2, "emg": 4}  # one for each of signals.MODALITIES
_ROW = {
    "datasets": Key((), "folders of --data_dir; (): those of config.data", form="names_or_none"),
    "split": Key("validation", "of the datasets", choices=("train", "validation", "test", "all")),
    "every": Key(200, "steps; 0: only at the end", low=0),
    "examples": Key(256, "at most, of the split, spread evenly", low=1),
}

KINDS: dict[str, dict[str, Keys]] = {
    "model": {
        "sleepfm": {
            "patch_samples": Key(640, "samples that become one token", low=1),
            "width": Key(128, "numbers of a token", low=1),
            "layers": Key(6, "of the transformer", low=1),
            "heads": Key(8, "of attention, in each layer; they divide the width", low=1),
            "pooling_heads": Key(8, "of attention, in both poolings; divide the width", low=1),
            "mlp_dim": Key(2048, "hidden numbers of each feed-forward", low=1),
            "dropout": Key(0.3, "probability, in training", low=0, below=1),
            "max_tokens": Key(128, "time positions: the longest clip, in patches", low=1),
            "position_encoding": Key(
                "fourier",
                "of electrodes; fourier_truncated is the published one",
                choices=("none", "fourier", "fourier_truncated"),
            ),
            "position_scale": Key(
                0.1,
                "gain that the code of an electrode's position starts with; 1: published",
                above=0,
            ),
            "dtype": Key("float32", "of the arithmetic", choices=("float32", "bfloat16")),
            "batch_statistics": Key(
                "joint",
                "of all channels together, or of each modality, as published",
                choices=("joint", "per_modality"),
            ),
            "sequences": Key(
                "modality",
                "of tokens: one of each modality, or of each channel (the transfer paper's ECG)",
                choices=("modality", "channel"),
            ),
            # Quirks of the published code (docs/differences.md).
            "single_channel_shortcut": Key(False, "one channel goes past the channel pooling"),
            "mean_over_padding": Key(False, "padded channels enter the mean of the pooling"),
            "padding_in_statistics": Key(False, "padded channels enter the batch statistics"),
            "encode_absent": Key(False, "an absent modality is encoded, as zeros"),
        },
    },
    "objective": {
        "contrastive": {
            "loss": Key(
                "leave_one_out", "who is whose partner", choices=("leave_one_out", "pairwise")
            ),
            "log_scale": Key(0.0, "where the learned log logit scale starts", low=0),
            # Above 88 its exponential is no float32.
            "max_log_scale": Key(4.6052, "its limit; here a scale of 100", low=0, high=88),
        },
        "classification": {  # the defaults are the transfer paper's for EEG
            "labels": Key(("normal", "abnormal"), "as the datasets call them", form="names"),
            "label_kind": Key(
                "classification",
                "one of them holds, or any number",
                choices=("classification", "multilabel"),
            ),
            "head": Key(
                "eeg",
                "tokens to logits",
                choices=("linear", "attention", "eeg", "resblocks", "resblocks_per_lead"),
            ),
            "head_dropout": Key(0.4, "of all but linear; published for ECG .2", low=0, below=1),
            "pool_length": Key(2, "of head eeg: stretches of time", low=1),
            "label_smoothing": Key(0.1, "part of a target that is spread", low=0, below=1),
            # Of head eeg, in training.
            "time_mask": Key(0.1, "probability that masked tokens start", low=0, below=1),
            "time_mask_span": Key(6, "tokens", low=1),
            "feature_mask": Key(0.01, "probability that masked features start", low=0, below=1),
            "feature_mask_span": Key(64, "features", low=1),
        },
    },
    "evaluator": {
        "metrics": _ROW,
        "classification": _ROW
        | {"keep_predictions": Key(False, "what was said of each example is kept, with its label")},
        "retrieval": _ROW
        | {
            "examples": Key(
                256, "at most: whole recordings of people spread evenly, of two at least", low=1
            ),
            "candidates": Key(
                128, "clips of all people among which a clip looks for itself", low=2
            ),
        },
    },
}
EVALUATORS: dict[str, dict[str, dict[str, Any]]] = {
    "contrastive": {
        "validation": {"kind": "retrieval", "split": "validation"},
        "test": {"kind": "retrieval", "split": "test", "every": 0, "examples": 1024},
    },
    "classification": {
        "validation": {"kind": "classification", "split": "validation", "examples": 4096},
        "test": {"kind": "classification", "split": "test", "every": 0, "examples": 1_000_000},
    },
    "staging": {
        "validation": {"kind": "staging", "split": "validation"},
        "test": {"kind": "staging", "split": "test", "every": 0, "examples": 1_000_000},
    },
    "survival": {
        "validation": {"kind": "survival", "split": "validation", "examples": 4096},
        "test": {"kind": "survival", "split": "test", "every": 0, "examples": 1_000_000},
    },
    "": {  # any other
        "validation": {"kind": "metrics", "split": "validation"},
        "test": {"kind": "metrics", "split": "test", "every": 0, "examples": 1024},
    },
}
"""Kind of the objective → its rows of `evaluators` where nothing is said."""

_FREE: dict[str, Any] = {"changes_numbers": False}
KEYS: Keys = {
    "seed": Key(0, "of parameters, order and coins", low=0, high=2**32 - 1),
    "steps": Key(1000, "updates of the run", low=1),
    "batch_size": Key(128, "examples in the global batch, over all hosts", low=1),
    "data": {
        "datasets": Key(("simulated_psg",), "folders of --data_dir, used together", form="names"),
        "slots": {
            m: Key(_SLOTS[m], "channels of a batch; more in a recording: a random choice", low=0)
            for m in signals.MODALITIES
        },
        "input_scaling": Key(
            INPUT_SCALINGS[0],
            "each recording's channel z-scored, or µV as published",
            choices=INPUT_SCALINGS,
        ),
        "mispaired": Key(
            False, "a control: training clips get each further modality from somebody else"
        ),
        "allow_leaks": Key(
            (),
            "datasets with people in two splits, as published lists have them: said, not refused",
            form="names_or_none",
            **_FREE,
        ),
        "label_fraction": Key(
            1.0, "of the training people, drawn by the seed; others are left out", above=0, high=1
        ),
        "balanced": Key(False, "training rows drawn so that classes are equally frequent"),
        "channel_dropout": Key(
            0.0,
            "probability that a channel is left out, in training; one of each modality stays",
            low=0,
            below=1,
        ),
        "weights": Key(
            (), "of the datasets, in training; (): as many rows as each has", form="weights"
        ),
        # Of models whose rows are nights.
        "night_hours": Key(10.0, "of a training row; a longer night: a stretch of it", above=0),
        "night_hours_longest": Key(14.0, "of a row that is not trained on", above=0),
        "night_normalisation": Key(
            NORMALISATIONS[0],
            "of samples, by the whole night or by what came before",
            choices=NORMALISATIONS,
        ),
        "nights_left_out": Key(LEFT_OUT, "of training", form="nights_left_out"),
        "encoder": Key(
            "", "of models of tokens: the run whose encoder, frozen, makes them", **_FREE
        ),
        "token_folder": Key("", "where tokens are kept; '': in the workdir", **_FREE),
        "night_cache": Key(1.0, "GiB of nights that each split keeps in memory", low=0, **_FREE),
        "folds": Key(
            0, "0: the datasets' own splits; else by people, over all splits together", low=0
        ),
        "fold": Key(0, "whose people are tested; the next one's are validated on", low=0),
        "fold_seed": Key(0, "that people are dealt to folds by", low=0),
        # More threads than batches that wait would be idle.
        "num_threads": Key(4, "that read records, on each host", low=0, **_FREE),
        "prefetch": Key(4, "batches made ahead", low=1, **_FREE),
    },
    "model": Kinded("model"),
    "objective": Kinded("objective"),
    "optimiser": {
        "name": Key("adamw", "the rule of the update", choices=("adamw", "adam", "sgd")),
        "learning_rate": Key(1e-3, "at its peak", low=0),
        "schedule": Key(
            "cosine",
            "after the warm-up",
            choices=("cosine", "constant", "step", "exponential", "plateau"),
        ),
        "warmup_steps": Key(100, "over which the rate rises from 0", low=0),
        "decay_every": Key(1000, "steps, of schedule step", low=1),
        "decay_factor": Key(0.1, "of schedule step", above=0, high=1),
        "decay_time": Key(10_000.0, "steps to 1/e of the rate, of schedule exponential", above=0),
        "plateau_patience": Key(
            4, "looks without a better keep_best.figure; at the next the rate falls", low=0
        ),
        "plateau_factor": Key(0.1, "by which it falls, of schedule plateau", above=0, below=1),
        "least_rate": Key(0.0, "below which it does not fall, of schedule plateau", low=0),
        "weight_decay": Key(0.05, "of adamw", low=0),
        "decay_all": Key(False, "norms and biases decay too, as published"),
        "momentum": Key(0.9, "of sgd", low=0, below=1),
        "clip_norm": Key(1.0, "the gradient's longest; 0: any", low=0),
        "clip_form": Key("exact", "or PyTorch's, 1e-6 shorter", choices=("exact", "torch")),
        "groups": Key((), "(pattern, factor of the rate); first fit wins", form="factors"),
        "layer_decay": Key(1.0, "factor of the rate a layer, from the top down", above=0, high=1),
    },
    "frozen": Key((), "paths: no update, statistics kept, evaluation mode", form="patterns"),
    "initialise_from": Key("", "checkpoint folder whose matching parameters a fresh run takes"),
    "evaluators": Rows("evaluator"),
    "keep_best": {
        "figure": Key("", "whose best checkpoint is kept, as validation/loss; '': none", **_FREE),
        "largest": Key(False, "is the largest the best?", **_FREE),
        "patience": Key(
            0, "looks without a better figure at which the run ends; 0: never", low=0, **_FREE
        ),
        "restore": Key(False, "are the last evaluations of the best weights?", **_FREE),
    },
    "mesh": Key("data:-1", "axis:devices,…; -1: what is left", form="mesh", **_FREE),
    "sharding_rules": Key(
        ((".*", ()),), "(pattern, axis or None a dimension); first fit wins", form="rules", **_FREE
    ),
    "max_skipped_in_a_row": Key(10, "updates with a NaN or inf until it stops", low=1, **_FREE),
    "log_every": Key(10, "steps", low=1, **_FREE),
    "save_every": Key(200, "steps", low=1, **_FREE),
    "keep": Key(2, "newest checkpoints", low=1, **_FREE),
}
MAY_LACK_KEYS = ("config.data.slots",)


def _heads_divide(section: Mapping[str, Any]) -> Iterator[str]:
    for heads in ("heads", "pooling_heads"):
        if section["width"] % section[heads]:
            yield (
                f"{heads} is {section[heads]}; expected a divisor of the width: width "
                f"{section['width']} is not divisible by {section[heads]} heads"
            )
    if section["position_encoding"] != "none" and section["width"] % 2:
        yield f"width is {section['width']}; expected an even number"


def _scale_below_its_limit(section: Mapping[str, Any]) -> Iterator[str]:
    if section["log_scale"] > section["max_log_scale"]:
        yield (
            f"log_scale is {section['log_scale']}; expected at most "
            f"max_log_scale={section['max_log_scale']}"
        )


def _one_of_several(section: Mapping[str, Any]) -> Iterator[str]:
    if section["label_kind"] == "classification" and len(section["labels"]) < 2:
        yield (
            f"labels is {tuple(section['labels'])}; expected two or more where one of them holds: "
            "label_kind='classification'"
        )


RULES: dict[tuple[str, str], Callable[[Mapping[str, Any]], Iterator[str]]] = {
    ("model", "sleepfm"): _heads_divide,
    ("objective", "contrastive"): _scale_below_its_limit,
    ("objective", "classification"): _one_of_several,
}
"""(section, kind) → what must hold between its keys: yields what does not, beginning at a key."""


def section_defaults(section: str, kind: str) -> dict[str, Any]:
    """The section of a kind with every default, its `kind` included.

    Args:
      section: "model", "objective" or "evaluator".

    Raises:
      ConfigError: no such kind.
    """
    return {"kind": kind} | key_defaults(keys_of_kind(f"config.{section}", section, {"kind": kind}))


def defaults(model: str = "sleepfm", objective: str = "contrastive") -> dict[str, Any]:
    """A complete configuration of these kinds.

    Raises:
      ConfigError: no such kind.
    """
    config = key_defaults(KEYS)
    config["model"] = section_defaults("model", model)
    config["objective"] = section_defaults("objective", objective)
    config["evaluators"] = evaluator_rows(objective)
    return {name: config[name] for name in KEYS}


def key_defaults(keys: Keys) -> dict[str, Any]:
    """Defaults of the keys of a section; sections that have kinds are left out."""
    plain = {k: v for k, v in keys.items() if not isinstance(v, Kinded | Rows)}
    return {
        name: copy.deepcopy(key.default) if isinstance(key, Key) else key_defaults(key)
        for name, key in plain.items()
    }


def evaluator_rows(objective: str) -> dict[str, Any]:
    """The rows of `evaluators` that an objective of this kind has where nothing is said."""
    rows = EVALUATORS.get(objective, EVALUATORS[""])
    return {name: section_defaults("evaluator", row["kind"]) | row for name, row in rows.items()}


def keys_of_kind(where: str, section: str, part: Any) -> Keys:
    """The keys that the kind of a section has.

    Raises:
      ConfigError: no kind, or an unknown one.
    """
    if not isinstance(part, Mapping):
        raise ConfigError(f"{where} is {part!r}; expected a section with a kind")
    kinds = KINDS[section]
    known = f"one of {', '.join(sorted(kinds))}, or a module that has KEYS"
    if "kind" not in part:
        raise ConfigError(f"{where}: missing key kind; expected {known}")
    if (found := find_kind(section, part["kind"])) is None:
        raise ConfigError(f"{where}.kind is {part['kind']!r}; expected {known}")
    return found


def find_kind(section: str, kind: Any) -> Keys | None:
    """The keys of a kind, of this project or a module's; None where there is no such kind."""
    if not isinstance(kind, str) or not all(part.isidentifier() for part in kind.split(".")):
        return None
    if kind in KINDS[section]:
        return KINDS[section][kind]
    name = module_of_kind(section, kind)
    try:
        keys = importlib.import_module(name).KEYS
    except ModuleNotFoundError as error:
        if name == error.name or name.startswith(f"{error.name}."):
            return None
        raise  # it is there, and needs something that is not
    except AttributeError:
        return None
    return _ROW | dict(keys) if section == "evaluator" else keys


def module_of_kind(section: str, kind: str) -> str:
    """The module of a kind: the file of its name, or any module where the kind has a dot."""
    return kind if "." in kind else f"sleepfm_jax.{section}s.{kind}"


def leaves(
    part: Mapping[str, Any], keys: Keys | None = None, where: str = ""
) -> Iterator[tuple[str, Key | None, Any]]:
    """(path, key, value) of every value that a configuration holds; key None: unknown."""
    for name, value in part.items():
        key, path = (KEYS if keys is None else keys).get(name), f"{where}{name}"
        if isinstance(key, Rows):
            continue  # evaluators only look
        if isinstance(key, Key) or key is None or not isinstance(value, Mapping):
            yield path, key if isinstance(key, Key) else None, value
        elif isinstance(key, Kinded):
            inner = find_kind(key.section, value.get("kind")) or {}
            yield from leaves(value, inner, f"{path}.")
        else:
            yield from leaves(value, key, f"{path}.")
