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
from sleepfm_jax.metrics.plain_features.heart_rate import (
    HEART_RATE_NAMES,
    heart_rate_statistics,
    r_peaks,
)

__all__ = [
    "BANDS",
    "BAND_POWER_NAMES",
    "HEART_RATE_NAMES",
    "REGIONS",
    "eeg_band_powers",
    "heart_rate_statistics",
    "r_peaks",
]
