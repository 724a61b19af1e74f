"""Where a token is: in time (sinusoids) and on the head (Fourier codes of electrode positions)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sleepfm_jax.models.transformer import layer_norm

FREQUENCIES = 4  # an axis; 4³ = 64 phases, sine and cosine: 128 numbers
TRUNCATED_MARGIN, TRUNCATED_PERIOD = 0.4, 1.8  # published, though positions span 2
PERIOD = 2.8  # positions span [-1, 1]: a period of 2 + 2 * 0.4 keeps opposite extremes apart


def sinusoids(max_tokens: int, width: int) -> np.ndarray:
    """[max_tokens, width] interleaved sine and cosine codes (Vaswani et al. 2017)."""
    steps = np.arange(max_tokens)[:, None]
    rates = np.exp(np.arange(0, width, 2) * (-np.log(10000.0) / width))
    table = np.zeros((max_tokens, width), np.float32)
    table[:, 0::2] = np.sin(steps * rates)
    table[:, 1::2] = np.cos(steps * rates[: width // 2])
    return table


def _angular(frequencies: int, period: float) -> np.ndarray:
    """Angular frequencies [F], rounded once: the phases they make are large."""
    return (np.arange(frequencies) * (2 * np.pi / period)).astype(np.float32)


def fourier_code(positions: jax.Array) -> jax.Array:
    """Positions [..., 3] in [-1, 1] → [..., 128]: cosines and sines of all 4x4x4 mixed phases.

    Phase (i, j, k) = 2π (i·x + j·y + k·z) / 2.8. All three coordinates enter, so left and right
    differ; the published code cut 8³ phases to their first 64, in which x has frequency 0.
    """
    k = _angular(FREQUENCIES, PERIOD)
    x, y, z = (positions[..., axis, None] * k for axis in range(3))  # each [..., 4]
    phase = x[..., :, None, None] + y[..., None, :, None] + z[..., None, None, :]
    phase = phase.reshape(*positions.shape[:-1], FREQUENCIES**3)
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


def truncated_fourier_code(positions: jax.Array, width: int, frequencies: int = 8) -> jax.Array:
    """The published code (arXiv 2605.02500): positions [..., 3] → [..., width].

    All frequencies³ mixed phases, of which the first width / 2 are kept (or zeros appended): of 512
    the first 64, in which x has frequency 0, so that left and right electrodes share a code. For
    weights trained with it; `fourier_code` is the form without the fault.
    """
    k = _angular(frequencies, TRUNCATED_PERIOD)
    x, y, z = (
        (positions[..., axis, None] + TRUNCATED_MARGIN) * k for axis in range(3)
    )  # each [..., F]
    phase = x[..., :, None, None] + y[..., None, :, None] + z[..., None, None, :]
    phase = phase.reshape(*positions.shape[:-1], frequencies**3)[..., : width // 2]
    missing = width // 2 - phase.shape[-1]
    phase = jnp.pad(phase, [(0, 0)] * (phase.ndim - 1) + [(0, missing)])
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


class ElectrodePositions(nnx.Module):
    """Electrode positions [..., 3] → [..., D], added to every token of that channel.

    Linear without bias → GELU → LayerNorm, as in the transfer paper (docs/field.md §1.A). A channel
    without a position (NaN: belts, legs, ECG leads) gets zeros: its token stays as it is.

    Args:
      truncated: use `truncated_fourier_code`.
      scale: that the code starts with. At 1, as published, a montage drowns what the channels
        recorded; at .1 hundreds of steps did not teach which side a channel was on.
    """

    def __init__(
        self, width: int, *, truncated: bool = False, scale: float = 1.0, dtype, rngs: nnx.Rngs
    ):
        self.width, self.truncated = width, truncated
        code = width if truncated else 2 * FREQUENCIES**3
        self.linear = nnx.Linear(code, width, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, dtype, rngs)
        self.norm.scale[...] = jnp.full(width, scale)

    def __call__(self, positions: jax.Array) -> jax.Array:
        known = jnp.isfinite(positions).all(-1, keepdims=True)
        positions = jnp.where(known, positions, 0)
        if self.truncated:
            code = truncated_fourier_code(positions, self.width)
        else:
            code = fourier_code(positions)
        hidden = jax.nn.gelu(self.linear(code), approximate=False)
        return jnp.where(known, self.norm(hidden), 0)
