"""A run goes on only with the data it began with, and all its processes do the same thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sleepfm_jax.errors import CheckpointError, ConfigError


def check_same_data(
    saved: Mapping[str, Any], now: Mapping[str, Any], folder: Any, most: int = 4
) -> None:
    """Another build of a dataset has another order of clips: the run would see some twice and
    others never, and nothing would tell.

    Args:
      saved, now: of `data.datasets.identities`: what the checkpoint says, and what there is. An
        older checkpoint says nothing ({}), and goes on.
      folder: of the checkpoints, for the message.

    Raises:
      CheckpointError: names the datasets, and what differs in each.
    """
    if not saved:
        return
    found = [
        f"{name}: {key} is {_short(now[name].get(key))}, was {_short(saved[name].get(key))}"
        for name in sorted(set(saved) & set(now))
        for key in sorted(set(saved[name]) | set(now[name]))
        if saved[name].get(key) != now[name].get(key)
    ]
    found += [f"{name}: not in use now" for name in saved if name not in now]
    found += [f"{name}: not in use then" for name in now if name not in saved]
    if found:
        more = f"; and {len(found) - most} more" if len(found) > most else ""
        raise CheckpointError(
            f"{folder}: made with other data ({'; '.join(found[:most])}{more}): give the dataset "
            "that it began with, or another workdir (config.initialise_from takes its parameters "
            "along)"
        )


def check_alike(**facts: Any) -> None:
    """Every process of a run must be about to do what the first one is.

    Args:
      facts: name → anything that JSON can say, the same names on every process.

    Raises:
      ConfigError: on every process: which processes differ from the first, and in what.
    """
    if jax.process_count() == 1:
        return
    mine = np.stack([_digest(value) for value in facts.values()])  # uint32 [facts, 8]
    first = np.asarray(multihost_utils.broadcast_one_to_all(mine))
    same = np.asarray(multihost_utils.process_allgather((mine == first).all(axis=1)))
    if problem := told(same, list(facts), jax.process_index()):
        raise ConfigError(problem)


def told(same: np.ndarray, names: list[str], me: int) -> str:
    """What to say, of bool [processes, facts]: equal to those of the first; "" if all are."""
    differing = {
        int(process): [name for name, fine in zip(names, same[process]) if not fine]
        for process in np.flatnonzero(~same.all(axis=1))
    }
    if not differing:
        return ""
    if me in differing:
        return (
            f"this process ({me}) has another {' and another '.join(differing[me])} than process "
            "0: start all with the same command, code, data and workdir"
        )
    others = "; ".join(f"process {p}: {', '.join(what)}" for p, what in differing.items())
    return f"not all processes are about to do the same ({others}): see what they say"


def _digest(value: Any) -> np.ndarray:
    text = json.dumps(value, sort_keys=True)
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32)


def _short(value: Any) -> str:
    """A fingerprint, a number, or a list of thousands of shards."""
    if isinstance(value, list):
        if len(value) <= 4:
            return str(value)
        return f"{len(value)} shards with {sum(value)} clips"
    return value[:12] if isinstance(value, str) else str(value)
