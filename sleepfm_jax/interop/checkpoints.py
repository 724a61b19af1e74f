"""Published weights ↔ checkpoints of ours.

An encoder becomes the checkpoint of a run at step 0, which launch.probe reads like any other; so
does wav2sleep, which launch.stage reads. A model with a head becomes a checkpoint of its named
arrays. Entries of a PyTorch file that have no place in a run (counters, the table of time
positions) wait beside it in `carried.npz`, so that the way back is bit-identical.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment, pretrained
from sleepfm_jax.errors import CheckpointError, WeightsError
from sleepfm_jax.interop import ReferenceModel, to_torch, wav2sleep
from sleepfm_jax.training import moving_average, optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import Checkpoints, open_existing

ENCODERS = ("set_transformer", "set_transformer_pe")
CARRIED = "carried.npz"


def save_model(
    folder: str | Path,
    model: ReferenceModel,
    *,
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    log_scale: float | None = None,
) -> None:
    """Writes folder/checkpoints/0.

    Args:
      config: of an encoder or wav2sleep: the run that it is from now on; the sizes in
        `config.model` are replaced.
      preprocessing: metadata of the records that it was trained on.
      log_scale: of an encoder, where the file had one.

    Raises:
      CheckpointError: the folder holds checkpoints already.
    """
    folder = Path(folder)
    if (folder / "checkpoints").exists():
        raise CheckpointError(f"{folder}: holds checkpoints already: give another folder")
    weights = {"kind": model.kind, "options": dict(model.options)}
    nights = _section_of_nights(model) if model.kind == "wav2sleep" else None
    if nights is not None:
        config = {**config, "model": {**config["model"], **nights}}
        configuration.check(config)
        rename = _encoder_names(config, weights)
        state = train_state.of_parameters(
            {"encoder": wav2sleep.called(model.params, rename)},
            {"encoder": wav2sleep.called(model.batch_stats, rename)},
            optim.optimiser(config["optimiser"], config["steps"]),
            config["seed"],
        )
        about = {"config": config, "preprocessing": dict(preprocessing)}
    elif model.kind in ENCODERS:
        sizes = dataclasses.asdict(model.module().config)
        config = {**config, "model": {**config["model"], **sizes}}
        configuration.check(config)
        scale = config["objective"]["log_scale"] if log_scale is None else log_scale
        state = train_state.of_parameters(
            {"encoder": model.params, "log_scale": jnp.float32(scale)},
            {"encoder": model.batch_stats},
            optim.optimiser(config["optimiser"], config["steps"]),
            config["seed"],
        )
        about = {"config": config, "preprocessing": dict(preprocessing)}
    else:
        state = to_torch(model.kind, model.params, model.batch_stats, model.carried)
        about = {"shapes": {name: [list(x.shape), str(x.dtype)] for name, x in state.items()}}
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(0, state, about | {"weights": weights, "data_position": {}})
    checkpoints.close()
    if "config" in about:
        np.savez(folder / CARRIED, **model.carried)


def _section_of_nights(model: ReferenceModel) -> dict[str, Any] | None:
    """Keys of `config.model`; None, and a warning, where no run of ours can be such a network."""
    try:
        return wav2sleep.section(model.module().sizes)
    except WeightsError as error:
        logging.warning("no run that launch.stage takes, named arrays alone: %s", error)
        return None


def _encoder_names(config: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, str]:
    """{an encoder as the file calls it: as the run does}."""
    ours = experiment.make_model(config).sizes
    theirs = weights["options"]["signal_map"]
    return {theirs[name]: mine for (name, _), mine in zip(ours.signals, ours.encoders)}


def load_named(
    folder: str | Path, step: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A checkpoint, of a run or converted, under PyTorch's names.

    Returns:
      state dict, and what a file says about it: `kind`, `options`, of an encoder also `log_scale`.

    Raises:
      CheckpointError: no checkpoint there.
    """
    checkpoints = open_existing(folder)

    def read(step: int):
        about = checkpoints.about(step)
        if about.get("config", {}).get("model", {}).get("kind") == "wav2sleep":
            return about, _nights(folder, step, about), None
        if "shapes" not in about:
            return about, None, pretrained.load(folder, step)
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = {
            name: jax.ShapeDtypeStruct(shape, dtype, sharding=here)
            for name, (shape, dtype) in about["shapes"].items()
        }
        return about, checkpoints.restore(step, like)[0], None

    about, named, encoder = checkpoints.newest(read)[1] if step is None else read(step)
    checkpoints.close()
    if isinstance(named, tuple):
        return named
    if encoder is None:
        return jax.tree.map(np.asarray, named), about["weights"]
    sizes = encoder.config["model"]
    plain = sizes["position_encoding"] == "none"
    options = {k: sizes[k] for k in ("heads", "pooling_heads")}
    if not plain:
        options["position_encoding"] = sizes["position_encoding"]
    said = about.get("weights", {"kind": ENCODERS[0 if plain else 1], "options": options})
    carried = _carried(folder)
    named = to_torch(said["kind"], encoder.params, encoder.stats, carried, sizes["max_tokens"])
    return named, said | {"log_scale": float(encoder.others["log_scale"])}


def _carried(folder: str | Path) -> dict[str, np.ndarray]:
    if not (Path(folder) / CARRIED).is_file():
        return {}
    with np.load(Path(folder) / CARRIED) as file:
        return dict(file)


def _nights(
    folder: str | Path, step: int, about: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A run of wav2sleep under PyTorch's names, with the weights that are evaluated: the moving
    average where there is one."""
    stored = pretrained.read(folder, step)
    params, stats = stored.params, stored.stats
    if "average" in stats:
        params = moving_average.weights(stats["average"], params)
    params, stats = params["encoder"], stats["encoder"]
    options = wav2sleep.options_of(stored.objective.model.sizes)
    if "weights" in about:  # the encoders' names in the file that it came from
        back = {
            ours: theirs for theirs, ours in _encoder_names(stored.config, about["weights"]).items()
        }
        params, stats = wav2sleep.called(params, back), wav2sleep.called(stats, back)
        options["signal_map"] = about["weights"]["options"]["signal_map"]
    named = to_torch("wav2sleep", params, stats, _carried(folder))
    return named, {"kind": "wav2sleep", "options": options}


def guess_kind(state_dict: Mapping[str, Any]) -> str:
    """The kind that a state dict's names tell.

    Raises:
      WeightsError: none.
    """
    signs = {
        "signal_encoders.": "wav2sleep",
        "enc_augment.": "linear_head",
        "disease_heads.": "cox_lstm",
        "lstm.": "staging_lstm",
        "stem.": "resblocks_head",
        "channel_pe_mlp.": "set_transformer_pe",
        "patch_embedding.": "set_transformer",
    }
    names = [name.removeprefix("module.") for name in state_dict]
    for sign, kind in signs.items():
        if any(name.startswith(sign) for name in names):
            return kind
    raise WeightsError(f"no known model has entries like {', '.join(names[:3]) or 'nothing'}")
