"""Signal processing on arrays: resampling with gaps, z-scores, int16 quantisation, masks as runs.

numpy and scipy only. Time is the last axis; rates are in Hz.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import signal

# The anti-aliasing filter: a Kaiser-windowed sinc. Its stop band begins at the lower of the two
# Nyquist frequencies and its pass band ends at 0.84 of that.
_ATTENUATION_DB = 80.0
ZERO_CROSSINGS = 32  # on either side, counted at the lower rate
# Rates such as 199.99 Hz become a fraction of numbers up to this; then eight hours drift by less
# than 0.05 samples of the slower rate.
_MAX_FACTOR = 20_000
_ROWS = 64  # of a matrix product: enough to be fast, few enough to stay in the cache
METHODS = ("polyphase", "reference")
"""Ways to resample; "reference" is the published one, for parity only: it aliases."""

# A channel whose sd is below this part of its largest value is flat: float32 carries no finer
# detail.
_FLAT = 1e-6


def _check(sfreq: float, target_sfreq: float, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    for name, value in (("sfreq", sfreq), ("target_sfreq", target_sfreq)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number of Hz, got {value}")


@functools.lru_cache(maxsize=32)
def _filter(up: int, down: int) -> np.ndarray:
    """Odd-length linear-phase low-pass at the rate `up * sfreq`; gain `up` for the zeros."""
    slower = max(up, down)
    half = ZERO_CROSSINGS * slower
    width = (_ATTENUATION_DB - 7.95) / (2.285 * np.pi * 2 * half)  # Kaiser; Nyquist = 1
    taps = signal.firwin(
        2 * half + 1,
        1.0 / slower - width / 2,
        window=("kaiser", signal.kaiser_beta(_ATTENUATION_DB)),
    )
    # Every output sample sees one tap in `up`: each such branch gets a gain of exactly 1 at 0 Hz,
    # or a large offset would come out rippled.
    branches = np.pad(taps, (0, -len(taps) % up)).reshape(-1, up)
    return (branches / branches.sum(axis=0)).reshape(-1)[: len(taps)]


def resample(
    x: np.ndarray,
    sfreq: float,
    target_sfreq: float,
    method: str = "polyphase",
    dtype: npt.DTypeLike = np.float32,
) -> np.ndarray:
    """Resample: [..., T] -> [..., round(T * target_sfreq / sfreq)] of `dtype`; float64 inside.

    "polyphase" has zero phase: output sample n is at time n / target_sfreq, input sample n at
    n / sfreq. Below 0.84 of the lower Nyquist frequency the gain is 1 within 0.1 %; above that
    Nyquist it is under -60 dB. Beyond its ends the signal is continued by odd reflection, which
    keeps a baseline or a slope free of transients.

    "reference" is the published preprocessing (zou-group/sleepfm-clinical): where sfreq is the
    higher rate a 4th-order Butterworth low-pass at target_sfreq / 2, forwards and backwards; then
    linear interpolation at int(T / sfreq * target_sfreq) instants that share out the duration
    evenly. From twice the target rate its gain is 0.93 at 0.8 of the new Nyquist frequency, 0.5 at
    it and 0.07 at 1.2 of it, so that what was there comes back as an alias.

    Raises:
      ValueError: a rate is not positive, T is 0, a value is NaN or infinite (see
      `resample_with_gaps`), or `method` is none of the above.
    """
    _check(sfreq, target_sfreq, method)
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"cannot resample an empty signal, shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the signal has NaN or infinite values: use resample_with_gaps")
    ratio = _ratio(sfreq, target_sfreq)
    if method == "polyphase" and ratio == 1:
        return x.astype(dtype)
    rows = x.reshape(-1, x.shape[-1])  # [N, T]
    out = np.empty((len(rows), _length(x.shape[-1], sfreq, target_sfreq, method)), dtype)
    for row, y in zip(rows, out):
        if method == "polyphase":
            _resample_row(row, ratio.numerator, ratio.denominator, y)
        else:
            y[:] = _resample_row_as_published(row, sfreq, target_sfreq, len(y))
    return out.reshape(*x.shape[:-1], out.shape[1])


def _ratio(sfreq: float, target_sfreq: float) -> Fraction:
    """target_sfreq / sfreq as a fraction of numbers that are not too large for a filter."""
    lower, higher = sorted((sfreq, target_sfreq))
    part = Fraction(lower / higher).limit_denominator(_MAX_FACTOR)
    if part == 0:
        raise ValueError(f"{sfreq:g} Hz and {target_sfreq:g} Hz are too far apart to resample")
    return part if target_sfreq < sfreq else 1 / part


def _length(samples: int, sfreq: float, target_sfreq: float, method: str) -> int:
    if method == "polyphase":
        return max(1, round(samples * target_sfreq / sfreq))
    return max(1, int(samples / sfreq * target_sfreq))


def _resample_row_as_published(
    x: np.ndarray, sfreq: float, target_sfreq: float, length: int
) -> np.ndarray:
    x = x.astype(np.float64)
    if sfreq > target_sfreq:
        # Sections: the published polynomial form agrees to 1e-13, but fails at very high rates.
        low_pass = signal.butter(4, target_sfreq / 2, fs=sfreq, output="sos")
        x = signal.sosfiltfilt(low_pass, x, padlen=min(15, len(x) - 1))
    duration = len(x) / sfreq
    before, after = (np.linspace(0, duration, n, endpoint=False) for n in (len(x), length))
    return np.interp(after, before, x)


def _resample_row(x: np.ndarray, up: int, down: int, out: np.ndarray) -> None:
    x = x.astype(np.float64)
    offset = x[0]
    x -= offset
    if _band(up, down) is not None:
        out[:] = _resample_by_matrix(x, up, down, len(out))
        out += offset
        return
    taps = _filter(up, down)
    half = len(taps) // 2
    # Whole blocks of `down` samples, so that the padding is a whole number of output samples.
    blocks = -(-half // (up * down)) + 1
    padded = _continued(x, blocks * down, blocks * down)
    # Trimming `half` high-rate samples makes the filter zero phase; resample_poly does the
    # bookkeeping.
    y = signal.resample_poly(padded, up, down, window=taps / up)[blocks * up :]
    n = min(len(out), len(y))
    out[:n] = y[:n] + offset
    out[n:] = out[n - 1]


def _continued(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """x continued at both ends by odd reflection; a single sample by zeros."""
    if len(x) == 1:
        return np.pad(x, (before, after))
    return np.pad(x, (before, after), mode="reflect", reflect_type="odd")


@functools.lru_cache(maxsize=32)
def _band(up: int, down: int) -> tuple[np.ndarray, int, int] | None:
    """`_filter` as a matrix: some output samples [M] from all the input samples [N] that they see.

    A matrix product does the arithmetic of `resample_poly` 4 to 12 times as fast, though the matrix
    is partly zeros. None where it would be mostly zeros: rates with little in common.

    Returns:
      matrix [N, M], the number of the first input sample (negative), blocks of `up` outputs in M.
    """
    taps = _filter(up, down)
    half = len(taps) // 2
    blocks = min(-(-_ROWS // up), -(-_ROWS // down))
    outputs = blocks * up
    first, last = -(half // up), ((outputs - 1) * down + half) // up
    if (last - first + 1) * up > 6 * len(taps):
        return None
    # Output sample m is at m * down and input sample n at n * up, in samples of the high rate.
    tap = half + np.arange(outputs) * down - np.arange(first, last + 1)[:, None] * up  # [N, M]
    inside = (tap >= 0) & (tap < len(taps))
    return np.where(inside, taps[np.clip(tap, 0, len(taps) - 1)], 0.0), first, blocks


def _resample_by_matrix(x: np.ndarray, up: int, down: int, length: int) -> np.ndarray:
    matrix, first, blocks = _band(up, down)
    inputs, outputs = matrix.shape
    step = blocks * down  # input samples from one product's first to the next one's
    count = -(-length // outputs)
    x = _continued(x, -first, max(0, (count - 1) * step + first + inputs - len(x)))
    seen = np.lib.stride_tricks.sliding_window_view(x, inputs)[::step][:count]  # [count, N]
    y = np.empty((count, outputs))
    for i in range(0, count, _ROWS):  # BLAS needs a copy of the overlapping rows: a small one
        np.matmul(np.ascontiguousarray(seen[i : i + _ROWS]), matrix, out=y[i : i + _ROWS])
    return y.reshape(-1)[:length]


def resample_with_gaps(
    x: np.ndarray, sfreq: float, target_sfreq: float, method: str = "polyphase"
) -> tuple[np.ndarray, np.ndarray]:
    """`resample` for a channel with gaps (NaN or infinite): [T] -> (y [T'], valid bool [T']).

    Gaps are bridged by a straight line before filtering, so they neither spread nor ring; `valid`
    is False where an input sample on either side of the output sample was missing. y is finite
    everywhere, and zero throughout where no sample is valid.

    Raises:
      ValueError: as `resample`, or x is not one-dimensional.
    """
    _check(sfreq, target_sfreq, method)
    x = np.asarray(x)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"expected one non-empty channel [T], got shape {x.shape}")
    finite = np.isfinite(x)
    if finite.all():
        y = resample(x, sfreq, target_sfreq, method)
        return y, np.ones(len(y), bool)
    length = _length(len(x), sfreq, target_sfreq, method)
    if not finite.any():
        return np.zeros(length, np.float32), np.zeros(length, bool)
    known = np.flatnonzero(finite)
    filled = x.copy() if x.dtype.kind == "f" else x.astype(np.float64)
    gaps = np.flatnonzero(~finite)
    filled[gaps] = np.interp(gaps, known, x[known])
    y = resample(filled, sfreq, target_sfreq, method)
    at = np.arange(length) * (sfreq / target_sfreq if method == "polyphase" else len(x) / length)
    before = np.minimum(np.floor(at + 1e-6).astype(np.int64), len(x) - 1)
    after = np.minimum(np.ceil(at - 1e-6).astype(np.int64), len(x) - 1)
    return y, finite[before] & finite[after]


def zscore(x: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, float, float]:
    """One channel [T] -> (z float32 [T], mean, sd) with the statistics of the valid samples.

    x = z * sd + mean where valid; z is 0 in gaps. A flat channel, or one without a valid sample,
    has z = 0 throughout and sd = 0.0.

    Raises:
      ValueError: the shapes differ, or a valid sample is NaN or infinite.
    """
    x, valid = np.asarray(x), np.asarray(valid, bool)
    if x.ndim != 1 or x.shape != valid.shape:
        raise ValueError(f"expected x and valid of one shape [T], got {x.shape} and {valid.shape}")
    z = np.zeros(len(x), np.float32)
    samples = x[valid].astype(np.float64)
    if len(samples) == 0:
        return z, 0.0, 0.0
    if not np.isfinite(samples).all():
        raise ValueError("a sample marked valid is NaN or infinite")
    mean, sd = float(samples.mean()), float(samples.std())
    if sd <= _FLAT * np.abs(samples).max():
        return z, mean, 0.0
    z[valid] = (samples - mean) / sd
    return z, mean, sd


def quantise(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[C, T] -> (int16 [C, T], scale float32 [C]): z ~= int16 * scale, off by scale / 2.

    The scale of a channel is its largest magnitude over 32767 (1.0 for a channel of zeros).

    Raises:
      ValueError: z is not [C, T], or has NaN or infinite values.
    """
    z = np.asarray(z)
    if z.ndim != 2:
        raise ValueError(f"expected [C, T], got shape {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("cannot quantise NaN or infinite values: set gaps to 0 first")
    peak = np.abs(z).max(axis=1, initial=0.0)
    # Subnormal peaks have no float32 scale to divide by.
    scale = np.where(peak > 1e-30, peak / 32767, 1.0).astype(np.float32)
    q = np.rint(z / scale[:, None].astype(np.float64))
    return np.clip(q, -32767, 32767).astype(np.int16), scale


def dequantise(q: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Inverse of `quantise`: int16 [C, T], scale [C] -> float32 [C, T]."""
    return q.astype(np.float32) * np.asarray(scale, np.float32)[:, None]


def mask_to_gaps(valid: np.ndarray) -> np.ndarray:
    """bool [C, T] -> int32 [G, 3]: (channel, start, stop) of each run of invalid samples."""
    valid = np.asarray(valid, bool)
    if valid.ndim != 2:
        raise ValueError(f"expected [C, T], got shape {valid.shape}")
    edges = np.diff(~valid, axis=1, prepend=False, append=False)  # True where a run starts or stops
    channel, at = np.nonzero(edges)
    # Row-major order, and every run has both ends in its own row: starts and stops alternate.
    return np.stack([channel[::2], at[::2], at[1::2]], axis=1).astype(np.int32)


def gaps_to_mask(gaps: np.ndarray, channels: int, samples: int) -> np.ndarray:
    """Inverse of `mask_to_gaps`: int32 [G, 3] -> bool [channels, samples], True = valid.

    Raises:
      ValueError: a run lies outside the array.
    """
    gaps = np.asarray(gaps, np.int64).reshape(-1, 3)
    valid = np.ones((channels, samples), bool)
    for channel, start, stop in gaps:
        if not (0 <= channel < channels and 0 <= start <= stop <= samples):
            raise ValueError(
                f"gap (channel {channel}, {start} to {stop}) is outside [{channels}, {samples}]"
            )
        valid[channel, start:stop] = False
    return valid
