"""PyTorch state dict → a published model in JAX, and back."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop import names, wav2sleep
from sleepfm_jax.interop.kinds import KINDS, PE, StateDict
from sleepfm_jax.models.positions import FREQUENCIES, sinusoids
from sleepfm_jax.models.pure import Pure

COUNTER = "num_batches_tracked"
UNUSED = ("layer_norm.weight", "layer_norm.bias")
"""Entries that the published Cox model has and never uses."""

_ALIASES = {"num_heads": "heads", "pooling_head": "pooling_heads", "patch_size": "patch_samples"}


class ReferenceModel:
    """A published model in evaluation mode; call it as `KINDS[kind].call` says.

    Attributes:
      kind, options: what it is, with every option filled in.
      params, batch_stats: nested dictionaries of arrays.
      carried: entries of the state dict that have no place in the model (counters, tables that
        ours computes, weights that are never used), kept so that `to_torch` gives them back.
    """

    def __init__(self, kind, options, pure: Pure, params, batch_stats, carried):
        self.kind, self.options = kind, options
        self.params, self.batch_stats, self.carried = params, batch_stats, carried
        self._pure = pure

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compiled once for each set of shapes.

        Raises:
          ValueError: as the model does.
        """
        args, kwargs = jax.tree.map(jnp.asarray, (args, kwargs))
        return _apply(self._pure, self.params, self.batch_stats, args, kwargs)

    def module(self) -> nnx.Module:
        """The Flax module with these weights."""
        return self._pure.module(self.params, self.batch_stats)


@functools.partial(jax.jit, static_argnums=0)
def _apply(pure, params, batch_stats, args, kwargs):
    return pure.module(params, batch_stats)(*args, **kwargs)


def from_torch(
    kind: str, state_dict: Mapping[str, Any], *, faithful: bool = False, **options: Any
) -> ReferenceModel:
    """A published model with its weights, in evaluation mode.

    Args:
      kind: one of `KINDS`.
      state_dict: PyTorch names → arrays in PyTorch's layouts; a surrounding {"state_dict": …} and a
        prefix "module." are taken off. Sizes are read off the weights.
      faithful: with the quirks of the published code that change numbers at inference; default:
        the corrected form.
      options: see `KINDS[kind].options`; given ones win over `faithful`.

    Raises:
      WeightsError: an unknown kind or option; a missing, extra, misshapen or non-finite entry.
    """
    if kind not in KINDS:
        raise WeightsError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    known = KINDS[kind]
    given = {_ALIASES.get(name, name): value for name, value in options.items()}
    unknown = sorted(set(given) - set(known.options))
    if unknown:
        raise WeightsError(
            f"{kind} has no option {', '.join(unknown)}; it has "
            f"{', '.join(known.options) or 'none'}"
        )
    chosen = {**known.options, **(known.faithful if faithful else {}), **given}
    sd = StateDict(state_dict)
    try:
        make, pairs = known.make(sd, chosen)
        pure = Pure(lambda rngs: make(rngs=rngs))
    except WeightsError:
        raise
    except ValueError as error:  # sizes that cannot be: heads that do not divide the width
        raise WeightsError(f"{kind}: {error}") from error
    trees = pure.shapes()
    pairs = dict(pairs)
    carried = _carried(sd, kind, pairs)
    _check(sd, trees, pairs, carried, chosen)
    for theirs, ours in pairs.items():
        leaf = jnp.asarray(np.ascontiguousarray(sd[theirs].T), jnp.float32)
        for tree in trees:
            _replace(tree, ours, leaf)
    return ReferenceModel(kind, chosen, pure, *trees, carried)


def _carried(sd: StateDict, kind: str, pairs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Entries that belong to the kind without being parameters of ours."""
    found = {}
    for name, value in sd.items():
        if name in pairs:
            continue
        counter = name.endswith(COUNTER)
        counter = counter and name.replace(COUNTER, "running_mean") in pairs
        table = name.removeprefix("encoder.") == PE and kind not in ("resblocks_head", "wav2sleep")
        unused = name in UNUSED and kind == "cox_lstm"
        if counter or table or unused:
            found[name] = value
        if table and kind != "cox_lstm":  # which has it and never adds it
            expected = sinusoids(*value.shape[-2:])
            if value.ndim != 3 or not np.allclose(value[0], expected, atol=1e-4):
                raise WeightsError(f"{name} is not the sinusoidal table that the model adds")
    return found


def _check(sd, trees, pairs, carried, options) -> None:
    problems = [f"missing entry {name}" for name in pairs if name not in sd]
    for name, value in sd.items():
        if name in carried:
            continue
        if name not in pairs:
            problems.append(f"extra entry {name} {value.shape}")
            continue
        shape = next(s for s in (_shape(tree, pairs[name]) for tree in trees) if s is not None)
        if value.shape != shape[::-1]:
            hint = ""
            if name.endswith("channel_pe_mlp.0.weight") and shape[0] == 2 * FREQUENCIES**3:
                hint = f" (position_encoding={options['position_encoding']!r})"
            problems.append(f"{name} has shape {value.shape}; expected {shape[::-1]}{hint}")
        elif not np.isfinite(value).all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        more = f" … and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise WeightsError("; ".join(problems[:10]) + more)


def _shape(tree, path) -> tuple[int, ...] | None:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tuple(tree.shape)


def _replace(tree, path, leaf) -> None:
    if _shape(tree, path) is not None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = leaf


def to_torch(
    kind: str,
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    carried: Mapping[str, np.ndarray] | None = None,
    max_tokens: int = 128,
) -> dict[str, np.ndarray]:
    """PyTorch names and layouts of a model of ours; the inverse of `from_torch`, bit for bit.

    Args:
      kind: one of `KINDS`.
      params, batch_stats: as in `ReferenceModel`, or of an `Encoder`.
      carried: of the `ReferenceModel`; what it lacks is made up as PyTorch would initialise it.
      max_tokens: rows of the table of time positions, where it is not carried.
    """
    sd = {}
    for theirs, ours in _pairs(kind, params, batch_stats):
        leaf = _leaf(params, ours)
        leaf = _leaf(batch_stats, ours) if leaf is None else leaf
        sd[theirs] = np.ascontiguousarray(np.asarray(leaf).T)
    if kind == "wav2sleep":
        sd = wav2sleep.torch_shapes(sd)
    return sd | _as_initialised(kind, params, sd, max_tokens) | dict(carried or {})


def _as_initialised(kind, params, names_there, max_tokens) -> dict[str, np.ndarray]:
    """Entries that `_carried` would keep, for a model that never was in PyTorch."""
    made = {
        name.replace("running_var", COUNTER): np.array(0, np.int64)
        for name in names_there
        if name.endswith("running_var")
    }
    if kind in ("resblocks_head", "wav2sleep"):
        return made
    inner = params["encoder"] if kind == "linear_head" else params
    width = len(inner["channel_pooling"]["layer"]["norm1"]["bias"])
    made[("encoder." if kind == "linear_head" else "") + PE] = sinusoids(max_tokens, width)[None]
    if kind == "cox_lstm":
        made["layer_norm.weight"] = np.ones(width, np.float32)
        made["layer_norm.bias"] = np.zeros(width, np.float32)
    return made


def _pairs(kind: str, params: Mapping[str, Any], stats: Mapping[str, Any]) -> names.Pairs:
    if kind == "wav2sleep":
        return names.wav2sleep(params, stats)
    if kind == "resblocks_head":
        return names.resblocks_head(len(params["blocks"]))
    if kind == "staging_lstm":
        return names.staging_lstm(len(params["layers"]))
    if kind == "cox_lstm":
        return names.cox_lstm(len(params["lstm"]["forward"]))
    if kind == "linear_head":
        encoder = params["encoder"]
        return names.linear_head(len(encoder["layers"]), positions="electrodes" in encoder)
    return names.encoder(len(params["layers"]), positions="electrodes" in params)


def _leaf(tree, path):
    for key in path:
        if key not in tree:
            return None
        tree = tree[key]
    return tree
