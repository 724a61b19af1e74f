"""What a channel is: its label, modality and electrode; what a sleep_epoch is: its stage."""

from sleepfm_jax.signals.electrodes import electrode_positions
from sleepfm_jax.signals.labels import (
    MODALITIES,
    OTHER,
    ChannelIdentity,
    clean_label,
    identify,
)
from sleepfm_jax.signals.stages import SLEEP_EPOCH_SECONDS, STAGES, UNSCORED, parse_stage

__all__ = [
    "MODALITIES",
    "OTHER",
    "SLEEP_EPOCH_SECONDS",
    "STAGES",
    "UNSCORED",
    "ChannelIdentity",
    "clean_label",
    "electrode_positions",
    "identify",
    "parse_stage",
]
