"""metrics.jsonl: whose lines stand in it after a restart."""

from __future__ import annotations

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.training.metric_writer import MetricWriter

LINES = [f'{{"step": {step}, "train/loss": 1.5}}\n' for step in (1, 2, 3, 4)]


def test_lines_after_the_resume_point_are_dropped(tmp_path):
    writer = MetricWriter(tmp_path, resume_at=0, active=True)
    for step in (1, 2, 3):
        writer.write(step, {"loss": jnp.float32(step / 2), "count": np.int64(step)})
    writer.close()
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    writer = MetricWriter(tmp_path, resume_at=2, active=True)
    writer.write(3, {"loss": 9.0})
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"step": 1, "loss": 0.5, "count": 1},
        {"step": 2, "loss": 1.0, "count": 2},
        {"step": 3, "loss": 9.0},
    ]
    assert any((tmp_path / "tensorboard").iterdir())


def test_only_the_first_process_writes(tmp_path):
    writer = MetricWriter(tmp_path, resume_at=0, active=False)
    writer.write(1, {"loss": 1.0})
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dies_in", ["fsync", "replace"])
def test_a_kill_while_lines_are_dropped_loses_none(tmp_path, monkeypatch, dies_in):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(LINES))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, dies_in, killed)
        with pytest.raises(KeyboardInterrupt):
            MetricWriter(tmp_path, resume_at=2, active=True)
    assert path.read_text() == "".join(LINES)
    writer = MetricWriter(tmp_path, resume_at=2, active=True)
    writer.write(3, {"train/loss": 1})
    writer.close()
    assert path.read_text() == "".join(LINES[:2]) + '{"step": 3, "train/loss": 1}\n'
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["metrics.jsonl"]
