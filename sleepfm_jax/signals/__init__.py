"""What a channel is: its label, modality and electrode; what a sleep_epoch is: its stage."""

from sleepfm_jax.signals.labels import (
    MODALITIES,
    OTHER,
    SLEEP_EPOCH_SECONDS,
    STAGES,
    UNSCORED,
    ChannelIdentity,
    clean_label,
    electrode_positions,
    identify,
    parse_stage,
)

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
