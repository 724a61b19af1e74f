"""One convolution along time, arranged so that XLA is quick at it on CPU, backwards too.

The same sums in another order. XLA's convolutions are as fast as others where the stride is 1 and
there are channels to multiply; what is left to do is to come down to these. Accelerators have
kernels of their own for each: there it is XLA's convolution as it is.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, pad: tuple[int, int]
) -> jax.Array:
    """x [B, L, C], kernel [K, C, D] → [B, L', D]: out[t] = sum of x[stride t + dilation i] @
    kernel[i], x with `pad` zeros before and after it.

    Raises:
      ValueError: a stride above 1 with a dilation, or of which the length is no multiple.
    """
    if stride > 1 and (dilation > 1 or x.shape[1] % stride):
        raise ValueError(f"stride {stride} of length {x.shape[1]} with dilation {dilation}")
    if jax.default_backend() != "cpu":
        return by_xla(x, kernel, stride, dilation, pad)
    if x.shape[2] == 1:
        return _of_one_channel(x, kernel, stride, dilation, pad)
    if stride > 1:
        x, kernel, pad = _without_stride(x, kernel, stride, pad)
    return _plain(x, kernel, dilation, pad)


def by_xla(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, pad: tuple[int, int]
) -> jax.Array:
    """The same as one operation."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride,),
        [pad],
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
    )


def _of_one_channel(x, kernel, stride, dilation, pad):
    """A sum of shifted products, one pass over the output."""
    x = jnp.pad(x, ((0, 0), pad, (0, 0)))
    taps = len(kernel)
    count = (x.shape[1] - (taps - 1) * dilation - 1) // stride + 1
    return sum(
        x[:, i * dilation : i * dilation + (count - 1) * stride + 1 : stride] * kernel[i]
        for i in range(taps)
    )


def _without_stride(x, kernel, stride, pad):
    """Each `stride` steps become channels of one: its gradient needs no zeros between steps."""
    b, length, c = x.shape
    before = -(-pad[0] // stride)  # steps of the new ones, some of whose zeros are the kernel's
    front = before * stride - pad[0]
    taps = -(-(front + len(kernel)) // stride)
    count = (length + sum(pad) - len(kernel)) // stride + 1
    kernel = jnp.pad(kernel, ((front, taps * stride - front - len(kernel)), (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, stride * c, -1)
    return (
        x.reshape(b, -1, stride * c),
        kernel,
        (before, count + taps - 1 - before - length // stride),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _plain(x, kernel, dilation, pad):
    return by_xla(x, kernel, 1, dilation, pad)


def _forward(x, kernel, dilation, pad):
    return _plain(x, kernel, dilation, pad), (x, kernel)


def _backward(dilation, pad, kept, g):
    """The input's by XLA's own convolution, the kernel's as one matrix product."""
    x, kernel = kept
    reach = (len(kernel) - 1) * dilation
    turned = jnp.flip(kernel, 0).swapaxes(1, 2)
    to_x = _plain(g, turned, dilation, (reach - pad[0], reach - pad[1]))
    padded, length = jnp.pad(x, ((0, 0), pad, (0, 0))), g.shape[1]
    taps = [padded[:, i * dilation : i * dilation + length] for i in range(len(kernel))]
    to_kernel = jnp.einsum("blc,bld->cd", jnp.concatenate(taps, -1), g)
    return to_x, to_kernel.reshape(kernel.shape)


_plain.defvjp(_forward, _backward)
