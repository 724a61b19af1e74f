"""What a row of a batch must hold for a model: the seam between data and models."""

from __future__ import annotations

import dataclasses

from sleepfm_jax.errors import ConfigError, DatasetError
from sleepfm_jax.signals.labels import MODALITIES

INPUT_SCALINGS = ("zscore", "published_uv")
"""How stored samples become a model's input, the default first. `zscore`: by the channel's mean and
sd over the recording. `published_uv`: clip(µV, -50, 50) / 10, what the transfer paper fine-tunes
on."""

PUBLISHED_LIMIT, PUBLISHED_UNIT = 50.0, 10.0  # µV


@dataclasses.dataclass(frozen=True)
class FollowUp:
    """What became of people after their recordings, asked of a table (`data.follow_up`).

    Attributes:
      table: path of the file.
      labels: K events.
    """

    table: str
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Shapes and units of a row; the same for every row of a run.

    Attributes:
      slots: channels kept of each modality, in order: (("bas", 10), ("resp", 7), …). C: their sum.
      patch_samples: P, samples of a patch.
      max_patches: the most patches that a row may have; None: any number.
      input_scaling: one of `INPUT_SCALINGS`.
      examples: what a row is: "clips".
      labels: K names: a row's labels are these, in this order, whatever the classes of its dataset;
        (): as stored.
      follow_up: a row also holds what became of its person (`data.follow_up`); None: it does not.
    """

    slots: tuple[tuple[str, int], ...]
    patch_samples: int
    max_patches: int | None = None
    input_scaling: str = INPUT_SCALINGS[0]
    examples: str = "clips"
    labels: tuple[str, ...] = ()
    follow_up: FollowUp | None = None

    def __post_init__(self):
        for modality, count in self.slots:
            if modality not in MODALITIES or count < 1:
                raise DatasetError(
                    f"slots name {modality!r}: {count}; expected a positive number of channels of "
                    f"{', '.join(MODALITIES)}"
                )
        if self.input_scaling not in INPUT_SCALINGS:
            raise ConfigError(
                f"input_scaling {self.input_scaling!r} is not one of {', '.join(INPUT_SCALINGS)}"
            )

    @property
    def channels(self) -> int:
        """C."""
        return sum(count for _, count in self.slots)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names along the axis M."""
        return tuple(name for name, _ in self.slots)

    def patches(self, clip_samples: int) -> int:
        """S of a clip of so many samples, rounded up to whole patches.

        Raises:
          ConfigError: more than `max_patches`.
        """
        patches = -(-clip_samples // self.patch_samples)
        if self.max_patches is not None and patches > self.max_patches:
            raise ConfigError(
                f"a clip of {clip_samples} samples is {patches} patches of {self.patch_samples}, "
                f"more than config.model.max_tokens={self.max_patches}: build shorter clips, or "
                "pretrain with more"
            )
        return patches
