"""What a configuration may be: keys that exist, values within bounds; what deserves a warning."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sleepfm_jax.config.keys import (
    KEYS,
    MAY_LACK_KEYS,
    RULES,
    Key,
    Keys,
    Kinded,
    Rows,
    defaults,
    keys_of_kind,
    leaves,
)
from sleepfm_jax.config.saved import MOVED
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals.night_layout import LEFT_OUT


def check(config: Mapping[str, Any]) -> list[str]:
    """Every key known, none missing (but a modality may be left out of the slots), every value
    within its bounds.

    Returns:
      Warnings: what may be meant, and probably is not.

    Raises:
      ConfigError: names the key, its value and what was expected; of an unknown key the nearest.
    """
    _check_section("config", config, KEYS)
    for section in ("model", "objective"):
        rule = RULES.get((section, config[section]["kind"]))
        for problem in rule(config[section]) if rule else ():
            raise ConfigError(f"config.{section}.{problem}")
    slots, figure = config["data"]["slots"], config["keep_best"]["figure"]
    if not any(slots.values()):
        raise ConfigError(f"config.data.slots is {dict(slots)}; expected a channel of something")
    row, _, name = figure.partition("/")
    if figure and (row not in config["evaluators"] or not name):
        known = ", ".join(f"{name}/…" for name in sorted(config["evaluators"])) or "no evaluators"
        raise ConfigError(f"config.keep_best.figure is {figure!r}; expected a figure of {known}")
    if figure and config["evaluators"][row]["every"] == 0:
        raise ConfigError(
            f"config.keep_best.figure is {figure!r}; expected one that is looked at while the run "
            f"goes on, but config.evaluators.{row}.every is 0"
        )
    _check_who_needs_a_figure(config)
    _check_folds(config["data"])
    _check_weights(config["data"])
    return list(_warnings(config))


def _check_who_needs_a_figure(config: Mapping[str, Any]) -> None:
    keep, plateau = config["keep_best"], config["optimiser"]["schedule"] == "plateau"
    asked = {
        "keep_best.patience": keep["patience"],
        "keep_best.restore": keep["restore"],
        "optimiser.schedule": plateau and "plateau",
    }
    for name, value in asked.items():
        if value and not keep["figure"]:
            raise ConfigError(
                f"config.{name} is {value!r}; expected config.keep_best.figure to say by which "
                "figure"
            )


def _check_folds(data: Mapping[str, Any]) -> None:
    folds = data["folds"]
    if folds in (1, 2):
        raise ConfigError(
            f"config.data.folds is {folds}; expected 0, or 3 or more: to train, validate and test"
        )
    if data["fold"] >= max(folds, 1):
        raise ConfigError(
            f"config.data.fold is {data['fold']}; expected less than config.data.folds={folds}"
        )


def _check_weights(data: Mapping[str, Any]) -> None:
    weights, names = data["weights"], data["datasets"]
    if weights and len(weights) != len(names):
        raise ConfigError(
            f"config.data.weights is {tuple(weights)}; expected {len(names)} numbers, one for each "
            f"of config.data.datasets={tuple(names)}"
        )


def _warnings(config: Mapping[str, Any]) -> Iterator[str]:
    optimiser, data, steps = config["optimiser"], config["data"], config["steps"]
    if optimiser["warmup_steps"] > steps:
        yield (
            f"config.optimiser.warmup_steps is {optimiser['warmup_steps']}, more than "
            f"config.steps={steps}: the learning rate never reaches its peak"
        )
    for modality, count in data["slots"].items():
        if count == 0:
            yield f"config.data.slots.{modality} is 0: this modality is left out"
    if data["num_threads"] > data["prefetch"]:
        yield (
            f"config.data.num_threads is {data['num_threads']}, more than "
            f"config.data.prefetch={data['prefetch']}: the threads beyond are idle"
        )
    if figure := config["keep_best"]["figure"]:
        row = config["evaluators"][figure.split("/")[0]]
        if row.get("split") == "test":
            yield f"config.keep_best.figure is {figure!r}: what the test split chose, it flatters"


def warnings_for_data(
    config: Mapping[str, Any], clips: Mapping[str, int], clip_samples: int
) -> list[str]:
    """What is possible with the data at hand, and probably not meant.

    Args:
      config: checked.
      clips: split → clips in it, over all datasets in use; a split may be missing.
      clip_samples: T of a clip.
    """
    found = []
    for name, row in config["evaluators"].items():
        there = min(row["examples"], clips.get(row["split"], 0))
        if there and row.get("candidates", 0) > there:
            found.append(
                f"config.evaluators.{name}.candidates is {row['candidates']}, but only {there} "
                f"clips of split {row['split']} are used: retrieval is among these"
            )
    if figure := config["keep_best"]["figure"]:
        split = config["evaluators"][figure.split("/")[0]]["split"]
        if not clips.get(split):
            found.append(
                f"config.keep_best.figure is {figure!r}, but no dataset in use has a split "
                f"{split!r}: nothing is kept"
            )
    patch = config["model"].get("patch_samples")
    if patch and clip_samples % patch:
        length = "longer than" if patch > clip_samples else "no divisor of"
        found.append(
            f"config.model.patch_samples is {patch}, {length} a clip's {clip_samples} samples: "
            f"every clip is padded with {-clip_samples % patch} zeros"
        )
    return found


def _check_section(where: str, part: Any, keys: Keys) -> None:
    if not isinstance(part, Mapping):
        raise ConfigError(f"{where} is {part!r}; expected a section of {', '.join(keys)}")
    if unknown := sorted(map(str, set(part) - set(keys))):
        known = ", ".join(sorted(keys))
        meant = list(dict.fromkeys(filter(None, (_nearest(where, n, keys) for n in unknown))))
        hint = f"; did you mean {', '.join(meant)}?" if meant else ""
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}; known: {known}{hint}")
    missing = sorted(set(keys) - set(part)) if where not in MAY_LACK_KEYS else []
    if missing:
        raise ConfigError(f"{where}: missing key {', '.join(missing)}")
    for name, value in part.items():
        key, path = keys[name], f"{where}.{name}"
        if isinstance(key, Key):
            _check_value(path, value, key)
        elif isinstance(key, Kinded):
            _check_section(path, value, _with_kind(path, key.section, value))
        elif isinstance(key, Rows):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{path} is {value!r}; expected named rows, each with a kind")
            for row, options in value.items():
                inner = f"{path}.{row}"
                _check_section(inner, options, _with_kind(inner, key.section, options))
        else:
            _check_section(path, value, key)


def _with_kind(where: str, section: str, part: Any) -> Keys:
    return {"kind": Key("", "of the section")} | dict(keys_of_kind(where, section, part))


def _nearest(where: str, name: str, keys: Keys) -> str:
    """The key that was probably meant: of this section, of an old layout, of another section."""
    if close := difflib.get_close_matches(name, keys, 1):
        return close[0]
    if where == "config" and name in MOVED:
        return ", ".join(f"config.{'.'.join(path)}" for path in MOVED[name])
    paths = {path.rsplit(".", 1)[-1]: f"config.{path}" for path, _, _ in leaves(defaults())}
    close = difflib.get_close_matches(name, paths, 1, 0.8)
    return paths[close[0]] if close else ""


def _check_value(path: str, value: Any, key: Key) -> None:
    def refuse(expected):
        raise ConfigError(f"{path} is {value!r}; expected {expected}")

    if key.form:
        expected, holds = FORMS[key.form]
        if not holds(value):
            refuse(expected)
        return
    wanted = type(key.default)
    if wanted is bool and not isinstance(value, bool):
        refuse("True or False")
    if wanted is str and not isinstance(value, str):
        refuse(f"one of {', '.join(key.choices)}" if key.choices else "a string")
    if wanted is int and (not isinstance(value, int) or isinstance(value, bool)):
        refuse("a whole number")
    if wanted is float and (
        not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value)
    ):
        refuse("a finite number")
    if key.choices and value not in key.choices:
        refuse(f"one of {', '.join(key.choices)}")
    if not _within(value, key):
        bounds = {
            "above": "more than {}",
            "low": "{} or more",
            "below": "less than {}",
            "high": "at most {}",
        }
        given = {name: getattr(key, name) for name in bounds}
        refuse(" and ".join(bounds[n].format(v) for n, v in given.items() if v is not None))


def _within(value: Any, key: Key) -> bool:
    return (
        (key.low is None or value >= key.low)
        and (key.high is None or value <= key.high)
        and (key.above is None or value > key.above)
        and (key.below is None or value < key.below)
    )


def _rows(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(holds, value))


def _pairs(value: Any, holds: Callable[[Any], bool]) -> bool:
    """Rows (pattern, something that holds)."""
    return _rows(
        value,
        lambda row: (
            isinstance(row, list | tuple) and len(row) == 2 and _pattern(row[0]) and holds(row[1])
        ),
    )


def _pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and re.compile(value) is not None
    except re.error:
        return False


def _factor(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _axes(value: Any) -> bool:
    return _rows(value, lambda axis: axis is None or isinstance(axis, str))


def mesh_axes(value: Any) -> dict[str, int]:
    """`config.mesh` as axis → size; also from its form in a line, "data:4,fsdp:2".

    Raises:
      ValueError: neither.
    """
    if isinstance(value, str):
        pairs = [axis.split(":") for axis in value.split(",")]
        axes = {name.strip(): int(size) for name, size in pairs}
        if len(axes) < len(pairs) or not all(axes):
            raise ValueError(f"{value!r}: an axis twice, or without a name")
        return axes
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is no mesh")
    return dict(value)


def _mesh(value: Any) -> bool:
    try:
        sizes = mesh_axes(value).values()
    except ValueError:
        return False
    return (
        all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
        and all(n == -1 or n >= 1 for n in sizes)
        and sum(n == -1 for n in sizes) <= 1
    )


FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "names": (
        "a tuple of one name or more, each once",
        lambda value: (
            bool(value)
            and _rows(value, lambda n: isinstance(n, str) and bool(n))
            and len(set(value)) == len(value)
        ),
    ),
    "names_or_none": (
        "a tuple of names, each once",
        lambda value: (
            _rows(value, lambda n: isinstance(n, str) and bool(n)) and len(set(value)) == len(value)
        ),
    ),
    "weights": (
        "a tuple of numbers above 0, one for each of the datasets",
        lambda value: _rows(value, lambda n: _factor(n) and n > 0),
    ),
    "nights_left_out": (
        f"a tuple of {', '.join(LEFT_OUT)}, or of none of them",
        lambda value: _rows(value, lambda n: n in LEFT_OUT) and len(set(value)) == len(value),
    ),
    "patterns": ("a tuple of regular expressions", lambda value: _rows(value, _pattern)),
    "factors": (
        "rows (regular expression, factor of 0 or more)",
        lambda value: _pairs(value, _factor),
    ),
    "rules": (
        "rows (regular expression, (mesh axis or None for each dimension))",
        lambda value: _pairs(value, _axes),
    ),
    "mesh": (
        "axis names with sizes of 1 or more, one of them perhaps -1, as 'data:4,fsdp:2'",
        _mesh,
    ),
}
