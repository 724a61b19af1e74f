"""Heads of the transfer paper in PyTorch, beside the encoder's replica.

Same terms as there: written from docs/field.md and the fixtures, published names and layouts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from launch.bench.replica.encoder import SetTransformer


class EncodingAugment(nn.Module):
    """[B, D, S] → [B, 3D, S]: a convolution's relative positions, LayerNorm, 1x1 convolution.

    The weight norm has one gain a kernel tap (dim 2). `mask_replacement` only serves training.
    """

    def __init__(self, width: int):
        super().__init__()
        self.mask_replacement = nn.Parameter(torch.zeros(width))
        convolution = nn.Conv1d(width, width, kernel_size=25, padding=12, groups=8)
        self.relative_position = nn.Sequential(weight_norm(convolution, dim=2), nn.GELU())
        self.input_conditioning = nn.Sequential(
            Swap(), nn.LayerNorm(width), nn.Dropout(0.0), Swap(), nn.Conv1d(width, 3 * width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.input_conditioning(x + self.relative_position(x))


class Swap(nn.Module):
    """[B, D, S] ↔ [B, S, D]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class LinearHead(nn.Module):
    """The paper's fine-tuned model: encoder, augmentation, pooling to few steps, classifier."""

    def __init__(self, encoder: SetTransformer, classes: int, pool_length: int):
        super().__init__()
        width = 3 * encoder.width
        hidden = width * pool_length
        self.encoder = encoder
        self.enc_augment = EncodingAugment(encoder.width)
        self.summarizer = nn.AdaptiveAvgPool1d(pool_length)
        self.extended_classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(hidden, hidden),
            nn.Dropout(0.0),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
        )
        self.clf = nn.Linear(hidden, classes)

    def forward(
        self, x: Tensor, padding: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """As the encoder's → logits [B, K]."""
        return self.classify(self.encoder(x, padding, positions)[1])

    def classify(self, tokens: Tensor) -> Tensor:
        """tokens [B, S, D] → logits [B, K]."""
        x = self.summarizer(self.enc_augment(tokens.transpose(1, 2)))  # [B, 3D, pool_length]
        return self.clf(self.extended_classifier(x))


class ResidualBlock(nn.Module):
    """[B, D, S] → [B, D, S]."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.conv1 = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.conv2 = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.bn2 = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(torch.relu(self.bn1(self.conv1(x))))
        return self.dropout(torch.relu(x + self.bn2(self.conv2(h))))


class ResBlocksHead(nn.Module):
    """The ECG head: tokens [B, S, D] → logits [B, K]; blocks drop half as much as the stem."""

    def __init__(
        self, width: int, classes: int, blocks: int = 2, kernel: int = 7, *, dropout: float = 0.2
    ):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(width, kernel, dropout / 2) for _ in range(blocks)
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.stem(tokens.transpose(1, 2))  # [B, D, S]
        for block in self.blocks:
            h = block(h)
        return self.classifier(h.mean(-1))
