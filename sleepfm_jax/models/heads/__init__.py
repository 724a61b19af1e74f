"""Heads: tokens of a model [B, N, S, D] and their mask [B, N, S] → logits [B, K].

N sequences: modalities, or single channels (`models.sleepfm`). A dropout stream given at call time
means training mode, as in the encoder. Whatever a mask leaves out may hold anything, and changes
neither logits nor batch statistics.
"""

from sleepfm_jax.models.heads.eeg import EEGHead, LinearHead
from sleepfm_jax.models.heads.pooled import AttentionHead, MeanHead
from sleepfm_jax.models.heads.resblocks import ResBlocksHead
from sleepfm_jax.models.heads.sequences import KINDS, HeadConfig, logits, make

__all__ = [
    "KINDS",
    "AttentionHead",
    "EEGHead",
    "HeadConfig",
    "LinearHead",
    "MeanHead",
    "ResBlocksHead",
    "logits",
    "make",
]
