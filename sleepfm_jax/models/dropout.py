"""Dropout whose bits are a cheap hash of (stream, place).

jax.random would do, at a price: a dozen Threefry calls doubled the compilation time of a training
step on CPU, and Threefry's rounds cost more than the layers they mask. Dropout needs independent
fair coins, not cryptography. A coin depends on the step's key, on the layer's turn and on the
element's place in the global array, so that it is the same on any number of devices.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx


class DropoutStream:
    """The coins of one training step; each call of `next` gives another layer's seed.

    Args:
      key: a jax.random key; the same key gives the same coins.
    """

    def __init__(self, key: jax.Array):
        self._base = jax.random.bits(key, (), jnp.uint32)
        self._turn = 0

    def next(self) -> jax.Array:
        """uint32 seed."""
        self._turn += 1
        return mix(self._base ^ jnp.uint32(self._turn * 0x9E3779B9 & 0xFFFFFFFF))


def mix(x: jax.Array) -> jax.Array:
    """uint32 → uint32 bijection in which every input bit moves every output bit.

    Source: C. Wellons' search for low-bias hashes ("lowbias32", public domain).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def coins(seed: jax.Array, shape: tuple[int, ...], probability: float) -> jax.Array:
    """bool of `shape`, True with `probability`."""
    limit = jnp.uint32(min(math.floor(probability * 2**32), 2**32 - 1))
    return _bits(seed, shape) < limit


def uniforms(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 of `shape`, in [0, 1)."""
    return (_bits(seed, shape) >> 8).astype(jnp.float32) * 2.0**-24


def _bits(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """uint32 of `shape`: a hash of the seed and of each element's place."""
    low, high = place_words(shape)
    if high is not None:  # 0 leaves the seed as it is: the first 2**32 places keep their coins
        seed = seed ^ mix(high)
    return mix(mix(low) ^ seed)


def place_words(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array | None]:
    """Number of each element of an array, row by row: the low and the high 32 bits, uint32 of
    `shape`; None for the high ones where all of them are 0."""
    low = jnp.zeros(shape, jnp.uint32)
    high = None
    stride = 1
    for axis in reversed(range(len(shape))):
        iota = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        if stride * shape[axis] <= 2**32:
            low = low + iota * jnp.uint32(stride & 0xFFFFFFFF)  # a stride of 2**32: iota is 0
        else:
            low, high = add_product(low, high, iota, stride)
        stride *= shape[axis]
    return low, high


def add_product(
    low: jax.Array, high: jax.Array | None, x: jax.Array, factor: int
) -> tuple[jax.Array, jax.Array]:
    """low + 2**32 high + x factor, as low and high 32 bits; all uint32, factor below 2**64."""
    high = jnp.zeros_like(low) if high is None else high
    above, factor = jnp.uint32(factor >> 32), factor & 0xFFFFFFFF
    f0, f1 = jnp.uint32(factor & 0xFFFF), jnp.uint32(factor >> 16)
    x0, x1 = x & jnp.uint32(0xFFFF), x >> 16
    middle = x1 * f0 + (x0 * f0 >> 16) + (x0 * f1 & jnp.uint32(0xFFFF))  # at most 2**32 - 1
    product = x * jnp.uint32(factor)
    total = low + product
    carry = (total < product).astype(jnp.uint32)
    return total, high + x * above + x1 * f1 + (middle >> 16) + (x0 * f1 >> 16) + carry


class Dropout(nnx.Module):
    """Zeroes elements at `rate` and scales the rest, given a stream; without one, or in a frozen
    part of a model (`models.pure`), the identity."""

    def __init__(self, rate: float):
        self.rate = rate
        self.frozen = False

    def __call__(self, x: jax.Array, dropout: DropoutStream | None) -> jax.Array:
        if dropout is None or self.rate == 0 or self.frozen:
            return x
        kept = coins(dropout.next(), x.shape, 1 - self.rate)
        return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)
