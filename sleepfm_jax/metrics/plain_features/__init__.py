"""Plain features of a clip: what a probe on frozen representations has to beat.

They read physical units (microvolts), never the normalised signals a model sees, and know nothing
of the labels. Where something cannot be measured it is NaN; `linear_probe` fills it with the
training mean when asked (`impute=True`).
"""

from sleepfm_jax.metrics.plain_features.band_powers import (
    BAND_POWER_NAMES,
    BANDS,
    REGIONS,
    eeg_band_powers,
)
from sleepfm_jax.metrics.plain_features.heart import (
    HEART_FEATURE_NAMES,
    heart_features,
)
from sleepfm_jax.metrics.plain_features.heart_rate import (
    HEART_RATE_NAMES,
    heart_rate_statistics,
    r_peaks,
)
from sleepfm_jax.metrics.plain_features.night_context import (
    CONTEXTS,
    with_context,
)
from sleepfm_jax.metrics.plain_features.staging import (
    STAGING_FEATURE_NAMES,
    staging_features,
)
from sleepfm_jax.metrics.plain_features.wake import (
    WAKE_FEATURE_NAMES,
    wake_features,
)

__all__ = [
    "BANDS",
    "BAND_POWER_NAMES",
    "CONTEXTS",
    "HEART_FEATURE_NAMES",
    "HEART_RATE_NAMES",
    "REGIONS",
    "STAGING_FEATURE_NAMES",
    "WAKE_FEATURE_NAMES",
    "eeg_band_powers",
    "heart_features",
    "heart_rate_statistics",
    "r_peaks",
    "staging_features",
    "wake_features",
    "with_context",
]
