"""Metrics to metrics.jsonl and TensorBoard, from the first process only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricWriter:
    """One JSON object a line: {"step": …, "train/loss": …}.

    Args:
      workdir: the run's folder.
      resume_at: lines of later steps, left by a run that was killed after its last checkpoint, are
        dropped: those steps are done again.
      active: False on all processes but the first: writes nothing.
    """

    def __init__(self, workdir: Path, *, resume_at: int, active: bool):
        self._active = active
        if not active:
            return
        self._path = workdir / "metrics.jsonl"
        self._keep_until(resume_at)
        self._file = self._path.open("a")
        from tensorboardX import SummaryWriter  # which imports PyTorch where there is one: seconds

        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_at + 1)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Numbers of one step; anything with a float value."""
        if not self._active:
            return
        numbers = {name: _number(value) for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step, **numbers}) + "\n")
        self._file.flush()
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        if self._active:
            self._file.close()
            self._board.close()

    def _keep_until(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except json.JSONDecodeError:  # the line that the kill cut short
                continue
        # Never half a file under this name: a kill in between would lose what is kept.
        beside = self._path.with_name(self._path.name + ".new")
        with beside.open("w") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)


def _number(value: Any) -> int | float:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, int) else float(value)
