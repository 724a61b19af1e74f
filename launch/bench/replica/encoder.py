"""The published models once more, in PyTorch: a second implementation to hold ours against.

Written from docs/field.md and docs/golden.md, not from the published code. Parameter names
and layouts are the published ones, so that `load_state_dict(strict=True)` takes their weights.
Everything here speaks the reference's language: padding True = not valid, `log_scale` for what it
calls temperature. What the published code does oddly is a switch, named where it is defined, and on
by default. Tests and benchmarks only; nothing in the package imports it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# The fused evaluation path differs in the sixth digit and turns wholly padded rows into NaN.
torch.backends.mha.set_fastpath_enabled(False)

CONV_CHANNELS = (4, 8, 16, 32, 64, 128)
MODES = ("leave_one_out", "pairwise")
MLP_DIM = 2048  # hidden numbers of every published feed-forward


class PatchTokenizer(nn.Module):
    """[B, C, T] → [B, C, S, D]: six strided convolutions over each patch on its own."""

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.patch = patch
        stages, before, length = [], 1, patch
        for after in CONV_CHANNELS:
            length = (length + 1) // 2
            stages += [
                nn.Conv1d(before, after, kernel_size=5, stride=2, padding=2),
                nn.BatchNorm1d(after),
                nn.ELU(),
                nn.LayerNorm([after, length]),
            ]
            before = after
        self.tokenizer = nn.Sequential(
            *stages, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(before, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unflatten(-1, (-1, self.patch))  # [B, C, S, P]
        tokens = self.tokenizer(patches.reshape(-1, 1, self.patch))  # [B*C*S, D]
        return tokens.unflatten(0, patches.shape[:3])


class AttentionPooling(nn.Module):
    """[N, L, D] → [N, D]: one post-norm transformer layer, then a mean.

    Switches: `early_return` – with a padding mask and L = 1, the entry itself, past the layer;
    `mean_over_padding` – padded entries count in the mean (the transfer paper's version).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float,
        *,
        early_return: bool,
        mean_over_padding: bool,
        mlp_dim: int = MLP_DIM,
    ):
        super().__init__()
        self.early_return, self.mean_over_padding = early_return, mean_over_padding
        self.transformer_layer = nn.TransformerEncoderLayer(
            width, heads, mlp_dim, dropout=dropout, batch_first=True
        )

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        if padding is None:
            return self.transformer_layer(x).mean(1)
        if self.early_return and x.shape[1] == 1:
            return x.mean(1)
        padding = padding.bool()
        x = self.transformer_layer(x, src_key_padding_mask=padding)
        if self.mean_over_padding:
            return x.mean(1)
        valid = (~padding).to(x.dtype).unsqueeze(-1)  # [N, L, 1]
        return (x * valid).sum(1) / valid.sum(1).clamp_min(1)


class TimePositions(nn.Module):
    """Adds interleaved sines and cosines to [B, S, D]; the table is part of the state_dict."""

    def __init__(self, width: int, max_tokens: int):
        super().__init__()
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        phase = torch.arange(max_tokens).unsqueeze(1) * rate  # [max_tokens, D/2]
        table = torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)
        self.register_buffer("pe", table.unsqueeze(0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]]


def fourier_code(positions: Tensor, width: int, frequencies: int = 8) -> Tensor:
    """Positions [..., 3] → [..., width]: cosines, then sines, of the first width/2 mixed phases.

    frequencies³ phases, x slowest; fewer than width/2 are filled up with phase 0. At the published
    width 128 and 8 frequencies the first 64 phases all have frequency 0 along x. Phases reach 70
    radians, where the last digit of a float32 is 8e-6: the published codes' bits need this order of
    operations, and rates in float32 whatever the precision of the positions.
    """
    rate = 2 * math.pi * torch.arange(frequencies, device=positions.device) / 1.8
    x, y, z = ((positions + 0.4).unsqueeze(-1) * rate).unbind(-2)
    phase = x[..., :, None, None] + y[..., None, :, None] + z[..., None, None, :]
    phase = phase.flatten(-3)[..., : width // 2]
    phase = F.pad(phase, (0, width // 2 - phase.shape[-1]))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def transformer(
    width: int, heads: int, layers: int, dropout: float, mlp_dim: int = MLP_DIM
) -> nn.TransformerEncoder:
    """The pre-norm stack: ReLU, no LayerNorm at its end."""
    layer = nn.TransformerEncoderLayer(
        width, heads, mlp_dim, dropout=dropout, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class SetTransformer(nn.Module):
    """SleepFM's encoder; `channel_positions` adds the transfer paper's electrode codes.

    Args:
      patch, width, heads, layers, pooling_heads, dropout: sizes; released: 640, 128, 8, 6, 8, 0.3.
      channel_positions: with the position MLP (`channel_pe_mlp`).
      max_tokens: rows of the time position table.
      early_return, mean_over_padding: see `AttentionPooling`. The released code has the first, the
        transfer paper's both.
    """

    def __init__(
        self,
        patch: int,
        width: int,
        heads: int,
        layers: int,
        pooling_heads: int,
        dropout: float,
        channel_positions: bool = False,
        *,
        max_tokens: int = 128,
        early_return: bool = True,
        mean_over_padding: bool = False,
        mlp_dim: int = MLP_DIM,
    ):
        super().__init__()
        switches = {
            "early_return": early_return,
            "mean_over_padding": mean_over_padding,
            "mlp_dim": mlp_dim,
        }
        self.width = width
        self.patch_embedding = PatchTokenizer(patch, width)
        if channel_positions:
            self.channel_pe_mlp = nn.Sequential(
                nn.Linear(width, width, bias=False), nn.GELU(), nn.LayerNorm(width)
            )
        self.spatial_pooling = AttentionPooling(width, pooling_heads, dropout, **switches)
        self.positional_encoding = TimePositions(width, max_tokens)
        self.layer_norm = nn.LayerNorm(width)
        self.transformer_encoder = transformer(width, heads, layers, dropout, mlp_dim)
        self.temporal_pooling = AttentionPooling(width, pooling_heads, dropout, **switches)

    def forward(
        self, x: Tensor, padding: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """x [B, C, T], padding [B, C] (True = padded), positions [C, 3] or [B, C, 3] →
        clip [B, D], tokens [B, S, D]."""
        tokens = self.patch_embedding(x)  # [B, C, S, D]
        if positions is not None:
            code = self.channel_pe_mlp(fourier_code(positions, self.width))  # [(B,) C, D]
            tokens = tokens + code.unsqueeze(-2)
        tokens = pool_channels(self.spatial_pooling, tokens, padding)  # [B, S, D]
        tokens = self.layer_norm(self.positional_encoding(tokens))
        tokens = self.transformer_encoder(tokens)
        return self.temporal_pooling(tokens), tokens


def pool_channels(pooling: AttentionPooling, tokens: Tensor, padding: Tensor | None) -> Tensor:
    """tokens [B, C, S, D], padding [B, C] or [B, C, S] → [B, S, D]; the channels are a set."""
    b, _, s, _ = tokens.shape
    sets = tokens.transpose(1, 2).flatten(0, 1)  # [B*S, C, D]
    if padding is not None:
        padding = padding if padding.ndim == 3 else padding.unsqueeze(-1).expand(-1, -1, s)
        padding = padding.transpose(1, 2).flatten(0, 1)  # [B*S, C]
    return pooling(sets, padding).unflatten(0, (b, s))


def pool_night(
    pooling: AttentionPooling, tokens: Tensor, padding: Tensor, corner_masks: bool
) -> tuple[Tensor, Tensor]:
    """tokens [B, C, S, D], padding [B, C, S] → [B, S, D] and 1 = after the night's end, [B, S].

    Switch: `corner_masks` – as published, the padding of the first step holds for all steps, and
    that of the first channel for the night.
    """
    late = padding[:, 0] if corner_masks else padding.bool().all(1)
    pooled = pool_channels(pooling, tokens, padding[:, :, 0] if corner_masks else padding)
    return pooled, late.to(tokens.dtype)


def contrastive_loss(
    embeddings: Sequence[Tensor], log_scale: Tensor, mode: str
) -> tuple[Tensor, Tensor]:
    """What the published loop logs, and each direction of it.

    Args:
      embeddings: M tensors [B, D], of any length.
      log_scale: scalar; logits are cosines times its exponential.
      mode: "leave_one_out" (each against the mean of the others, which stays shorter than 1) or
        "pairwise".

    Returns:
      The mean over directions of the sum over the batch, and the sums: [M, 2] (modality → others,
      others → modality), or [M, M] (row → column; 0 on the diagonal).
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {MODES}")
    unit = [F.normalize(e) for e in embeddings]
    m, target = len(unit), torch.arange(len(unit[0]), device=unit[0].device)

    def find(asking: Tensor, asked: Tensor) -> Tensor:
        logits = asking @ asked.T * log_scale.exp()  # [B, B]
        return F.cross_entropy(logits, target, reduction="sum")

    if mode == "leave_one_out":
        rest = [torch.stack(unit[:i] + unit[i + 1 :]).mean(0) for i in range(m)]
        directions = [torch.stack([find(u, r), find(r, u)]) for u, r in zip(unit, rest)]
        return torch.stack(directions).mean(), torch.stack(directions)
    zero = torch.zeros_like(log_scale)
    rows = [[zero if a is b else find(a, b) for b in unit] for a in unit]
    directions = torch.stack([torch.stack(row) for row in rows])
    return directions.sum() / (m * (m - 1)), directions


def pretrain_step(
    model: SetTransformer,
    log_scale: nn.Parameter,
    optimiser: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    padding: Mapping[str, Tensor],
    mode: str,
) -> tuple[Tensor, Tensor]:
    """One published update, in place; the model's mode (train or eval) is the caller's.

    The encoder is called once a modality, so that in training each has its own batch statistics and
    the running ones move once for each; the log scale is clamped at 0 after the update.

    Args:
      batch: modality → [B, C, T], in the order in which the statistics are to move.
      padding: modality → [B, C], 1 or True = padded.

    Returns:
      Loss (over the batch: divide by B for what was minimised) and directions, detached.
    """
    embeddings = [model(x, padding[name])[0] for name, x in batch.items()]
    loss, directions = contrastive_loss(embeddings, log_scale, mode)
    optimiser.zero_grad()
    (loss / len(embeddings[0])).backward()
    optimiser.step()
    with torch.no_grad():
        log_scale.clamp_(min=0)
    return loss.detach(), directions.detach()


class SleepEventLSTM(nn.Module):
    """Staging: tokens [B, C, S, D], padding [B, C, S] → logits [B, S, K].

    Switches, as published: `float_mask` – the night's padding stays a float, which attention adds
    (+1: padded steps are favoured); `unpacked` – the backward LSTM starts in the padding;
    `corner_masks` – see `pool_night`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        classes: int,
        pooling_heads: int,
        dropout: float = 0.0,
        *,
        max_tokens: int = 128,
        early_return: bool = True,
        float_mask: bool = True,
        unpacked: bool = True,
        corner_masks: bool = True,
    ):
        super().__init__()
        self.float_mask, self.unpacked, self.corner_masks = float_mask, unpacked, corner_masks
        self.spatial_pooling = AttentionPooling(
            width, pooling_heads, dropout, early_return=early_return, mean_over_padding=False
        )
        self.positional_encoding = TimePositions(width, max_tokens)
        self.layer_norm = nn.LayerNorm(width)
        self.transformer_encoder = transformer(width, heads, layers, dropout)
        self.lstm = two_way_lstm(width, layers, dropout)
        self.fc = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        x, late = pool_night(self.spatial_pooling, tokens, padding, self.corner_masks)
        x = self.layer_norm(self.positional_encoding(x))
        x = self.transformer_encoder(
            x, src_key_padding_mask=late if self.float_mask else late.bool()
        )
        x = self.lstm(x)[0] if self.unpacked else packed(self.lstm, x, late)
        return self.fc(x)


class CoxLSTM(nn.Module):
    """Disease hazards: tokens [B, C, S, D], padding [B, C, S], demographics [B, 2] → [B, K].

    As published it builds time positions and a LayerNorm that it never uses. Switches as in
    `SleepEventLSTM`.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        diseases: int,
        pooling_heads: int,
        dropout: float = 0.0,
        *,
        max_tokens: int = 128,
        early_return: bool = True,
        corner_masks: bool = True,
    ):
        super().__init__()
        self.corner_masks = corner_masks
        self.spatial_pooling = AttentionPooling(
            width, pooling_heads, dropout, early_return=early_return, mean_over_padding=False
        )
        self.positional_encoding = TimePositions(width, max_tokens)
        self.layer_norm = nn.LayerNorm(width)
        self.lstm = two_way_lstm(width, layers, 0.0)
        self.demo_embedding = nn.Sequential(
            nn.Linear(2, width // 4), nn.ReLU(), nn.Dropout(dropout)
        )
        self.disease_heads = nn.Linear(width + width // 4, diseases)

    def forward(self, tokens: Tensor, padding: Tensor, demographics: Tensor) -> Tensor:
        x, late = pool_night(self.spatial_pooling, tokens, padding, self.corner_masks)
        x = packed(self.lstm, x, late)
        valid = (1 - late).unsqueeze(-1)
        mean = (x * valid).sum(1) / valid.sum(1)
        return self.disease_heads(torch.cat([mean, self.demo_embedding(demographics)], dim=-1))


def two_way_lstm(width: int, layers: int, dropout: float) -> nn.LSTM:
    """[B, S, D] → [B, S, D], half of it from each direction."""
    between = dropout if layers > 1 else 0.0  # PyTorch warns of dropout after a single layer
    return nn.LSTM(width, width // 2, layers, batch_first=True, bidirectional=True, dropout=between)


def packed(lstm: nn.LSTM, x: Tensor, late: Tensor) -> Tensor:
    """The LSTM over each night's own length; 0 after its end."""
    lengths = (late == 0).sum(1).cpu()
    packs = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(lstm(packs)[0], batch_first=True, total_length=x.shape[1])[0]
