"""Nights of any signals → logits of every sleep_epoch: encoders, mixer, sequence, classifier.

Presence is a mask. A signal that no night of a batch has costs no arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from sleepfm_jax.models.dropout import DropoutStream
from sleepfm_jax.models.wav2sleep.convolution import TORCH, Memory
from sleepfm_jax.models.wav2sleep.keys import Sizes
from sleepfm_jax.models.wav2sleep.mixer import Mixer
from sleepfm_jax.models.wav2sleep.sequence import SequenceMixer
from sleepfm_jax.models.wav2sleep.signal_encoder import SignalEncoder


class Network(nnx.Module):
    """See the module's docstring. A dropout stream given at call time means training mode."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.sizes = sizes
        samples = {name: n for name, (_, n) in zip(sizes.encoders, sizes.signals)}
        self.encoders = nnx.Dict(
            {name: SignalEncoder(n, sizes, rngs=rngs) for name, n in samples.items()}
        )
        normal = nnx.initializers.normal(1.0)
        self.embedding = (
            nnx.Param(normal(rngs.params(), (sizes.width, len(sizes.signals))))
            if sizes.signal_embedding
            else None
        )
        self.mixer = Mixer(sizes, rngs=rngs)
        self.sequence = SequenceMixer(sizes, rngs=rngs)
        self.classify = nnx.Linear(
            sizes.width, sizes.classes, kernel_init=TORCH, dtype=jnp.dtype(sizes.dtype), rngs=rngs
        )

    def __call__(
        self,
        signals: Mapping[str, jax.Array],
        present: jax.Array,
        inside: jax.Array,
        *,
        dropout: DropoutStream | None = None,
        past: Any = None,
    ) -> tuple[jax.Array, jax.Array, tuple]:
        """
        Args:
          signals: name → float32 [B, E * samples] of every signal of `sizes`, finite.
          present: bool [B, N], which of them a night has, in their order.
          inside: bool [B, E], the sleep_epochs of the night.
          past: what an earlier call returned, of the sleep_epochs before (`streaming`); None: these
            are the first.

        Returns:
          logits [B, E, K], features [B, E, D], and what the next call goes on from.

        Raises:
          ValueError: a signal of another length.
        """
        pasts = (None,) * (len(self.sizes.signals) + 1) if past is None else past
        train, kept, vectors = dropout is not None, [], []
        for i, (name, _) in enumerate(self.sizes.signals):
            encoder = self.encoders[self.sizes.encoders[i]]
            has = present[:, i]
            y, now = self._encode(encoder, signals[name], has, inside, train, pasts[i])
            kept.append(now)
            vectors.append(y if self.embedding is None else y + self.embedding[...][:, i])
        mixed = self.mixer(jnp.stack(vectors, 2), present, dropout)  # [B, E, N, D] → [B, E, D]
        memory = Memory(pasts[-1])
        mixed = jnp.where(inside[..., None], mixed, 0)
        features = self.sequence(mixed, inside, dropout, memory if self.sizes.backwards else None)
        return self.classify(features), features, (*kept, tuple(memory.kept))

    def _encode(self, encoder, x, has, inside, train, past):
        """Vectors [B, E, D] of one signal, 0 where a night lacks it, and its memory."""
        graph, params, stats = nnx.split(encoder, nnx.Param, nnx.BatchStat)
        within = inside & has[:, None]

        def run(params, stats, x, past):
            module = nnx.merge(graph, params, stats)
            memory = Memory(past)
            y = module(x, within, train, memory)
            return y, nnx.state(module, nnx.BatchStat), tuple(memory.kept)

        if self.sizes.recompute and train:
            run = jax.checkpoint(run)
        shapes = jax.eval_shape(run, params, stats, x, past)
        if past is None:
            past = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes[2])

        def skip(params, stats, x, past):
            return jnp.zeros(shapes[0].shape, shapes[0].dtype), stats, past

        y, stats, kept = jax.lax.cond(has.any(), run, skip, params, stats, x, past)
        nnx.update(encoder, stats)
        return y, kept
