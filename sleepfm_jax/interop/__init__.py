"""Weights of the published PyTorch models in, and ours out."""

from sleepfm_jax.errors import WeightsError
from sleepfm_jax.interop.kinds import KINDS
from sleepfm_jax.interop.reference import ReferenceModel, from_torch, to_torch

__all__ = ["KINDS", "ReferenceModel", "WeightsError", "from_torch", "to_torch"]
