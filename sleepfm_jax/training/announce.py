"""What a run says when it starts, before minutes of silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging


def announce(
    devices: Sequence[Any],
    examples: int,
    params_count: int,
    config: Mapping[str, Any],
    what: str = "clips",
) -> None:
    """Logs where, on what and how large a run is, and that it is compiling.

    Args:
      devices: of all processes, as `jax.devices()`.
      examples: to train on.
      params_count: numbers that are trained.
      config: the run's; `batch_size` and `steps` are said where they are there.
      what: examples are: "clips", "nights".
    """
    kinds = Counter(f"{device.platform} ({device.device_kind})" for device in devices)
    processes = len({device.process_index for device in devices})
    logging.info(
        "devices: %s%s",
        ", ".join(f"{count} x {kind}" for kind, count in kinds.items()),
        f", {processes} processes" if processes > 1 else "",
    )
    batch, steps = config.get("batch_size"), config.get("steps")
    said = [f"{examples:,} {what}"]
    if batch:
        said.append(f"{batch:,} a batch")
    if steps:
        said.append(f"{steps:,} steps")
    if batch and steps and examples:
        said.append(f"each {what.removesuffix('s')} seen {batch * steps / examples:.3g} times")
    logging.info("data: %s", ", ".join(said))
    logging.info("model: %s parameters", f"{params_count:,}")
    logging.info("compiling: the first step takes seconds to minutes, the others do not")
