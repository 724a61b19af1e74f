"""Files of PyTorch weights: `.pt` (and `.pth`, `.ckpt`, `.bin`) and `.safetensors`.

wav2sleep is published as two files in a folder, `state_dict.pth`, bare, and `config.yaml`; under
that name both are read and written. PyTorch is needed for all but `.safetensors`:
pip install 'sleepfm-jax[torch]'.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import yaml

from sleepfm_jax.errors import WeightsError

PICKLES = (".pt", ".pth", ".ckpt", ".bin")
SUFFIXES = (*PICKLES, ".safetensors")
PUBLISHED, CONFIG = "state_dict.pth", "config.yaml"
"""As wav2sleep calls its two files."""

LOG_SCALE = "temperature"  # as the published checkpoints call the log of the logit scale


def read_weights(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """PyTorch names → arrays, and what the file says about them.

    Returns:
      the state dict, and `kind`, `options` and `log_scale` where the file has them.

    Raises:
      WeightsError: no such file, not a file of weights, or one that holds code (never run here).
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                about = file.metadata() or {}
            return safetensors.numpy.load_file(path), json.loads(about.get("sleepfm_jax", "{}"))
        except (safetensors.SafetensorError, ValueError) as error:
            raise WeightsError(f"{path}: not a safetensors file: {error}") from error
    if path.suffix not in PICKLES:
        raise WeightsError(f"{path}: expected a file named {', '.join(SUFFIXES)}")
    state_dict, about = _read_pickle(path)
    beside = path.with_name(CONFIG)
    if path.name == PUBLISHED and beside.is_file():
        about |= {"options": {"cfg": read_config(beside)}, "kind": "wav2sleep"}
    return state_dict, about


def read_config(path: str | Path) -> dict[str, Any]:
    """A published configuration.

    Raises:
      WeightsError: it is no YAML of a mapping.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: holds no configuration")
    return found


def write_published(
    path: str | Path, state_dict: Mapping[str, np.ndarray], cfg: Mapping[str, Any]
) -> None:
    """Writes `state_dict.pth`, of tensors and nothing else, and `config.yaml` beside it.

    Raises:
      WeightsError: PyTorch is missing, or a `config.yaml` is there already.
    """
    path = Path(path)
    torch, beside = _torch(path), path.with_name(CONFIG)
    if beside.exists():
        raise WeightsError(f"{beside} is there already: give another folder")
    torch.save({k: torch.from_numpy(np.array(v)) for k, v in state_dict.items()}, path)
    beside.write_text(yaml.safe_dump(dict(cfg)), encoding="utf-8")


def _read_pickle(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    torch = _torch(path)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise WeightsError(
            f"{path}: refused, because it holds more than weights"
            + (f" (it calls for {asked[1]})" if asked else "")
            + ", and opening such a file runs code of its maker's. Save the state dict alone."
        ) from error
    except Exception as error:  # its unpickler stumbles over other files in every way there is
        raise WeightsError(f"{path}: not a PyTorch file ({error})") from error
    if not isinstance(saved, Mapping):
        raise WeightsError(f"{path}: holds a {type(saved).__name__}; expected a state dict")
    about = dict(saved.get("sleepfm_jax", {}))
    if isinstance(saved.get(LOG_SCALE), torch.Tensor):
        about["log_scale"] = float(saved[LOG_SCALE].detach())
    tensors = saved.get("state_dict", saved)
    odd = [k for k, v in tensors.items() if not isinstance(v, torch.Tensor)]
    if odd:
        raise WeightsError(f"{path}: {', '.join(map(str, odd[:5]))} are no tensors")
    return {k: _array(v) for k, v in tensors.items()}, about


def _array(tensor) -> np.ndarray:
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # numpy has no bfloat16
    return tensor.detach().numpy()


def write_weights(
    path: str | Path, state_dict: Mapping[str, np.ndarray], about: Mapping[str, Any]
) -> None:
    """Writes a file that `read_weights` reads, and PyTorch: {"state_dict": …} in `.pt`.

    Args:
      about: JSON: `kind`, `options`, and `log_scale` where there is one.

    Raises:
      WeightsError: a suffix that is none of `SUFFIXES`, or PyTorch is missing.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        metadata = {"format": "pt", "sleepfm_jax": json.dumps(about)}
        safetensors.numpy.save_file(dict(state_dict), path, metadata=metadata)
        return
    if path.suffix not in PICKLES:
        raise WeightsError(f"{path}: expected a file named {', '.join(SUFFIXES)}")
    torch = _torch(path)
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in state_dict.items()}
    saved = {"state_dict": tensors, "sleepfm_jax": dict(about)}
    if "log_scale" in about:
        saved[LOG_SCALE] = torch.tensor(about["log_scale"])
    torch.save(saved, path)


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{path}: needs PyTorch: pip install 'sleepfm-jax[torch]', or use .safetensors"
        ) from error
    return torch
