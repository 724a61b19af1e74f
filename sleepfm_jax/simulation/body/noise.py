"""Building blocks of the simulation: noise, slow fluctuations, events, time-varying spectra."""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy import ndimage, signal

STATE_SFREQ = (
    4  # Hz; hidden state is kept on this grid because it divides nearly every sampling rate in use
)
BLOCK_SECONDS = 4.0  # of the shaped noise: 0.25-Hz resolution, so slow waves have a spectrum
_CHUNK_BLOCKS = 64  # blocks shaped at once; small enough to stay in the cache


def generator(*key: int) -> np.random.Generator:
    """Random stream named by integers: equal keys, equal stream, in every process."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Unit-variance white noise, float32 of `shape`; uniform, as every use sums or filters it.

    Ten times faster than `standard_normal`, which would otherwise be most of the simulation's time.
    """
    size = int(np.prod(shape))
    raw = rng.bit_generator.random_raw((size + 3) // 4).view(np.int16)[:size]
    return np.multiply(raw.reshape(shape), np.float32(np.sqrt(12.0) / 65536.0), dtype=np.float32)


def wander(rng: np.random.Generator, size: int, seconds: float) -> np.ndarray:
    """Unit-variance Ornstein-Uhlenbeck process on the state grid, float32 [size]."""
    decay = np.exp(-1.0 / (seconds * STATE_SFREQ))
    drive = rng.standard_normal(size + 1)
    start = [decay * drive[-1]]
    path, _ = signal.lfilter([np.sqrt(1.0 - decay**2)], [1.0, -decay], drive[:-1], zi=start)
    return path.astype(np.float32)


def resonance(rng: np.random.Generator, size: int, frequency: float, quality: float) -> np.ndarray:
    """Unit-variance narrow-band noise on the state grid around `frequency` Hz, float32 [size]."""
    b, a = signal.iirpeak(frequency, quality, fs=STATE_SFREQ)
    settle = int(4 * quality / frequency * STATE_SFREQ)
    path = signal.lfilter(b, a, rng.standard_normal(size + settle))[settle:]
    return (path / np.sqrt(np.pi * frequency / quality / STATE_SFREQ)).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def events(rng: np.random.Generator, per_hour: np.ndarray) -> np.ndarray:
    """Onsets (state samples, int64 [N]) of a Poisson process of rate `per_hour` ([T])."""
    return np.flatnonzero(rng.random(len(per_hour)) < per_hour / (3600.0 * STATE_SFREQ))


def bumps(
    size: int, onsets: np.ndarray, seconds: np.ndarray, height: np.ndarray | float, edge: float
) -> np.ndarray:
    """Sum of boxes on the state grid with Gaussian edges of `edge` seconds, float32 [size]."""
    steps = np.zeros(size + 1)
    ends = np.minimum(
        onsets + np.maximum(1, np.round(np.asarray(seconds) * STATE_SFREQ)).astype(int), size
    )
    np.add.at(steps, onsets, height)
    np.add.at(steps, ends, -np.asarray(height))
    return ndimage.gaussian_filter1d(np.cumsum(steps)[:size], edge * STATE_SFREQ).astype(np.float32)


def upsample(state: np.ndarray, sfreq: float, samples: int) -> np.ndarray:
    """State-grid curve [T] -> float32 [samples] at `sfreq`, linearly; faster than `np.interp`."""
    factor = sfreq / STATE_SFREQ
    if factor != int(factor) or samples != len(state) * int(factor):
        times = np.arange(samples) / sfreq * STATE_SFREQ
        return np.interp(times, np.arange(len(state)), state).astype(np.float32)
    state = np.asarray(state, np.float32)
    slope = np.diff(state, append=state[-1:])
    fraction = np.arange(int(factor), dtype=np.float32) / np.float32(factor)
    out = slope[:, None] * fraction
    out += state[:, None]
    return out.reshape(-1)


def scatter(out: np.ndarray, sfreq: float, onsets: np.ndarray, waves: np.ndarray) -> None:
    """Add `waves` [N, L] into `out` [T] at `onsets` (seconds, [N]); what falls outside is lost."""
    first = np.round(onsets * sfreq).astype(np.int64)
    index = first[:, None] + np.arange(waves.shape[1])
    keep = (index >= 0) & (index < len(out))
    np.add.at(out, index[keep], waves[keep])


def fir_noise(rng: np.random.Generator, samples: int, taps: tuple[float, ...]) -> np.ndarray:
    """Unit-variance noise with the short FIR response `taps`, float32 [samples]."""
    white = noise(rng, samples + len(taps) - 1)
    scale = 1.0 / np.sqrt(np.sum(np.square(taps)))
    out = np.zeros(samples, np.float32)
    for lag, tap in enumerate(taps):
        if tap:
            out += np.float32(tap * scale) * white[lag : lag + samples]
    return out


def shaped_noise(
    rng: np.random.Generator,
    *,
    sfreq: float,
    samples: int,
    power: np.ndarray,
    shapes: np.ndarray,
    hemisphere: np.ndarray,
    coherence: np.ndarray,
) -> np.ndarray:
    """Correlated channels whose spectra change over time: overlap-add of shaped blocks.

    Blocks of `BLOCK_SECONDS` overlap by half under a sine window, whose squares sum to one, so the
    power at each moment is exactly the interpolated target. Channels share sources: one global, one
    a hemisphere, one of their own.

    Args:
      power: float32 [C, N, B], variance (uV^2) of each spectral component at each block
        (`block_count` gives N).
      shapes: float32 [B, F], power spectra of the components, each summing to one over F = block/2
        + 1 frequencies.
      hemisphere: [C], 0 left, 1 right, 0.5 midline.
      coherence: float32 [2, F], share of the power that comes from the global and from the
        hemisphere's source.

    Returns:
      float32 [C, samples].
    """
    block, hop = _block_samples(sfreq)
    channels, blocks, _ = power.shape
    frequencies = block // 2 + 1
    from_global, from_side = np.sqrt(coherence).astype(np.float32)
    from_own = np.sqrt(1.0 - coherence.sum(axis=0)).astype(np.float32)
    # irfft divides by the block length, and complex unit noise has two unit parts, each bin
    # standing for a +- pair
    window = (np.sin(np.pi * (np.arange(block) + 0.5) / block) * block * 0.5).astype(np.float32)
    out = np.zeros((channels, (blocks + 1) * hop), np.float32)
    tiles = out.reshape(channels, blocks + 1, hop)
    for start in range(0, blocks, _CHUNK_BLOCKS):
        stop = min(blocks, start + _CHUNK_BLOCKS)
        shared = noise(rng, 3, stop - start, 2 * frequencies).view(
            np.complex64
        )  # global, left, right
        both = shared[0] * from_global
        sides = shared[1:] * from_side
        for channel in range(channels):
            right = np.float32(hemisphere[channel])
            spectrum = noise(rng, stop - start, 2 * frequencies).view(np.complex64)
            spectrum *= from_own
            spectrum += both
            if right in (0.0, 1.0):
                spectrum += sides[int(right)]
            else:
                spectrum += np.float32(np.sqrt(0.5)) * (sides[0] + sides[1])
            # einsum, not BLAS: no threads, so the result is the same in a worker process
            amplitude = np.einsum("nb,bf->nf", power[channel, start:stop], shapes)
            spectrum *= np.sqrt(amplitude, out=amplitude)
            wave = scipy.fft.irfft(spectrum, n=block, axis=-1, overwrite_x=True)
            wave *= window
            tiles[channel, start:stop] += wave[:, :hop]
            tiles[channel, start + 1 : stop + 1] += wave[:, hop:]
    return out[:, hop : hop + samples]


def _block_samples(sfreq: float) -> tuple[int, int]:
    hop = round(BLOCK_SECONDS * sfreq / 2)
    return 2 * hop, hop


def block_frequencies(sfreq: float) -> np.ndarray:
    """Frequencies (Hz, [F]) of `shaped_noise`'s blocks."""
    block, _ = _block_samples(sfreq)
    return np.fft.rfftfreq(block, 1.0 / sfreq)


def block_count(samples: int, sfreq: float) -> int:
    """Number of blocks `shaped_noise` needs for `samples`: one hop of lead-in is cut away."""
    _, hop = _block_samples(sfreq)
    return -(-samples // hop) + 1


def at_blocks(state: np.ndarray, samples: int, sfreq: float) -> np.ndarray:
    """State-grid curves [..., T] at the blocks' centres, float32 [..., N]."""
    count = block_count(samples, sfreq)
    centres = np.arange(count) * (BLOCK_SECONDS / 2) * STATE_SFREQ
    index = np.clip(np.round(centres).astype(int), 0, state.shape[-1] - 1)
    return ndimage.uniform_filter1d(np.asarray(state, np.float32), STATE_SFREQ, axis=-1)[..., index]
