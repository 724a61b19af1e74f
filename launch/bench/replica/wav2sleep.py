"""wav2sleep in PyTorch: the release of February 2026, beside ours.

Same terms as `encoder`: written from docs/field.md §1.C and the fixtures; published names and
layouts. What every published configuration of it has in common: instance norm without weights in
the encoders (epsilon 1e-2), norms over channels in the dilated convolutions, gelu, residuals.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON, KERNEL, VECTORS = 1e-2, 3, 4


class EncoderLayer(nn.Module):
    """[B, C, L] → [B, D, L / stride]: convolution, instance norm, gelu."""

    def __init__(self, before: int, after: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(before, after, KERNEL, stride, padding=KERNEL // 2, bias=False)
        self.norm = nn.InstanceNorm1d(after, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(x)))


class EncoderBlock(nn.Module):
    """[B, C, L] → [B, D, L / 2]."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv1 = EncoderLayer(before, after)
        self.conv2 = EncoderLayer(after, after)
        self.conv3 = EncoderLayer(after, after, stride=2)
        self.downsample = nn.Conv1d(before, after, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x))


class Encoder(nn.Module):
    """One signal, [B, E * samples] → [B, E, D]."""

    def __init__(self, samples: int, width: int, initial_channels: int, max_channels: int):
        super().__init__()
        count = (samples // VECTORS).bit_length() - 1
        channels = [min(initial_channels << i // 2, max_channels) for i in range(count)]
        self.samples = samples
        self.cnn = nn.Sequential(*map(EncoderBlock, [1, *channels], channels))
        self.linear = nn.Linear(VECTORS * channels[-1], width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.cnn(x[:, None]).transpose(1, 2)  # [B, 4 E, D]
        return F.gelu(self.linear(h.reshape(len(x), x.shape[1] // self.samples, -1)))


class Encoders(nn.Module):
    """An encoder for each signal."""

    def __init__(self, signals: Mapping[str, int], *sizes: int):
        super().__init__()
        self.encoders = nn.ModuleDict({n: Encoder(s, *sizes) for n, s in signals.items()})


class EpochMixer(nn.Module):
    """A learned token and the vectors of a sleep_epoch's signals → what becomes of the token."""

    def __init__(self, width: int, heads: int, mlp_dim: int, layers: int, dropout: float):
        super().__init__()
        self.register_tokens = nn.Parameter(torch.randn(1, 1, width, 1))
        layer = nn.TransformerEncoderLayer(
            width, heads, mlp_dim, dropout, F.gelu, batch_first=True, norm_first=True
        )
        self.transformer_encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, vectors: Tensor, absent: Tensor | None) -> Tensor:
        """vectors [B, E, N, D], absent bool [B, N] (None: nowhere) → [B, E, D]."""
        b, e, n, d = vectors.shape
        token = self.register_tokens[..., 0].expand(b, e, d)[:, :, None]
        padding = None
        if absent is not None:
            padding = F.pad(absent, (1, 0)).repeat_interleave(e, 0)  # [B * E, 1 + N]
        h = torch.cat([token, vectors], 2).reshape(b * e, 1 + n, d)
        h = self.transformer_encoder(h, src_key_padding_mask=padding)
        return h[:, 0].reshape(b, e, d)


class ChannelNorm(nn.Module):
    """[B, D, E]: a LayerNorm over channels, with the published shape of weights."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        norm = functools.partial(F.layer_norm, normalized_shape=x.shape[1:2])
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return norm(x.transpose(1, 2), weight=weight, bias=bias).transpose(1, 2)


class DilatedLayer(nn.Module):
    """[B, D, E] → the same."""

    def __init__(self, width: int, kernel: int, dilation: int):
        super().__init__()
        reach = (kernel - 1) // 2 * dilation
        self.conv = nn.Conv1d(width, width, kernel, padding=reach, dilation=dilation, bias=False)
        self.norm = ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(x)))


class DilatedBlock(nn.Module):
    """[B, D, E] → the same."""

    def __init__(self, width: int, kernel: int, dilations: int, dropout: float):
        super().__init__()
        self.conv_layers = nn.Sequential(
            *(DilatedLayer(width, kernel, 2**i) for i in range(dilations))
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dropout(self.conv_layers(x)) + x)


class SequenceMixer(nn.Module):
    """[B, E, D] → the same."""

    def __init__(self, blocks: int, *sizes):
        super().__init__()
        self.dilated_convs = nn.Sequential(*(DilatedBlock(*sizes) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.dilated_convs(x.transpose(1, 2)).transpose(1, 2)


class Wav2Sleep(nn.Module):
    """The network; sizes under the names of `sleepfm_jax.models.wav2sleep.keys`."""

    def __init__(
        self,
        signals: Mapping[str, int],
        *,
        classes: int = 4,
        width: int = 128,
        initial_channels: int = 16,
        max_channels: int = 128,
        heads: int = 8,
        mlp_dim: int = 512,
        mixer_layers: int = 2,
        sequence_blocks: int = 2,
        sequence_kernel: int = 7,
        dilations: int = 6,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.signal_encoders = Encoders(signals, width, initial_channels, max_channels)
        self.epoch_mixer = EpochMixer(width, heads, mlp_dim, mixer_layers, dropout)
        self.sequence_mixer = SequenceMixer(
            sequence_blocks, width, sequence_kernel, dilations, dropout
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, signals: Mapping[str, Tensor], absent: Tensor | None = None) -> Tensor:
        """
        Args:
          signals: name → [B, E * samples]; one that is left out, no night has, and costs nothing.
          absent: bool [B, N], which of the given (alphabetically) a night lacks; None: none.

        Returns:
          logits [B, E, K].
        """
        encoders = self.signal_encoders.encoders
        vectors = torch.stack([encoders[name](signals[name]) for name in sorted(signals)], 2)
        return self.classifier(self.sequence_mixer(self.epoch_mixer(vectors, absent)))
