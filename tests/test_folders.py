"""Buckets are refused in one line; no folder called "gs:" appears."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import pretrain_simulated
from sleepfm_jax import folders, pretrained, train
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import ConfigError


def test_paths_stay_paths():
    for path in ("run", "/a/b c", "../x", "a:b/c", "C:/not/here", "x/y://z"):
        assert folders.local(path, "workdir") == folders.local(Path(path), "workdir") == Path(path)
    assert folders.local("file:///a/b", "workdir") == Path("/a/b")


@pytest.mark.parametrize("url", ["gs://bucket/run", "s3://b/r", "memory://x", "https://x.org/y"])
def test_urls_are_refused_as_text_and_as_paths(url):
    for given in (url, Path(url)):
        with pytest.raises(ConfigError, match=r"^workdir=.*mount the bucket, or copy"):
            folders.local(given, "workdir")


def test_whatever_reads_or_writes_a_run_refuses_them(tmp_path, monkeypatch, tiny_data_dir):
    monkeypatch.chdir(tmp_path)
    config = pretrain_simulated.get_config("smoke").to_dict()
    for call in (
        lambda: train.train(config, tiny_data_dir, "gs://bucket/run"),
        lambda: train.train(config, "gs://bucket/data", tmp_path / "run"),
        lambda: train.train(
            config | {"initialise_from": "gs://bucket/run"}, tiny_data_dir, tmp_path / "run"
        ),
        lambda: pretrained.load("gs://bucket/run"),
        lambda: datasets.open_records("gs://bucket/data", ["simulated_psg"], "train"),
    ):
        with pytest.raises(ConfigError, match=r"=gs://bucket/(run|data): "):
            call()
    assert not (tmp_path / "gs:").exists()


def test_programs_say_it_in_one_line(program, tmp_path, tiny_data_dir):
    url = "gs://bucket/run"
    config = "--config=configs/pretrain_simulated.py:smoke"
    for command in (
        ("launch.pretrain", config, f"--data_dir={tiny_data_dir}", f"--workdir={url}"),
        ("launch.probe", f"--checkpoint={url}", "--dataset=x", "--data_dir=x", "--workdir=x"),
        ("launch.report", f"--workdir={url}"),
        ("launch.convert", f"--from={url}", f"--to={tmp_path / 'a.safetensors'}"),
    ):
        done = program(*command)
        assert done.returncode == ConfigError.exit_code, done.stderr[-2000:]
        assert f"={url}: training, probes and reports" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
