"""The programs as people type them, with their mistakes."""

from __future__ import annotations

import time

import pytest

from tests.helpers.programs import (
    CONFIG,
    module,
    one_line,
    pretrain,
    run,
)


@pytest.fixture
def typed(program):
    """What a command that must fail with code 1 says on stderr."""

    def say(command):
        _, _, name, *arguments = command  # python -m NAME …
        done = program(name, *arguments)
        assert done.returncode == 1, done.stderr
        return done.stderr

    return say


def test_help_shows_what_to_type_and_answers_without_jax():
    for name, flags in (
        ("pretrain", ("--config", "--data_dir", "--workdir", "--coordinator")),
        ("probe", ("--checkpoint", "--dataset", "--data_dir", "--workdir")),
    ):
        before = time.monotonic()
        out, err = run(*module(name, "--help"))
        assert time.monotonic() - before < 10
        assert "Traceback" not in err
        assert f"python -m launch.{name} " in out
        for flag in flags:
            assert f"{flag}:" in out or f"{flag[2:]}:" in out, (flag, out)


@pytest.mark.slow
def test_mistakes_on_the_command_line_are_told_in_one_line(typed, tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    err = typed(pretrain(tiny_data_dir, workdir, "--config.foo=1"))
    assert "--config.foo=1" in one_line(err, "ConfigError: unknown key")
    err = typed(pretrain(tiny_data_dir, workdir, "--config.encoder.wdith=8"))
    assert 'Did you mean "width"' in one_line(err, "ConfigError: unknown key")
    err = typed(pretrain(tmp_path, workdir))
    line = one_line(err, "DatasetError:")
    assert "no dataset 'simulated_psg'" in line and "python -m launch.build" in line
    err = typed(pretrain(tiny_data_dir, workdir, "--config.loss=triplet"))
    assert "loss 'triplet' is not one of" in one_line(err, "ConfigError:")
    assert not workdir.exists()
    err = typed(module("pretrain", CONFIG, f"--workdir={workdir}"))
    assert "--data_dir" in err and "Traceback" not in err
    err = typed(pretrain(tiny_data_dir, workdir, "steps=5"))
    assert "unexpected argument 'steps=5'" in err and "Traceback" not in err
    variant = CONFIG.replace(":smoke", ":smoek")
    err = typed(module("pretrain", variant, f"--data_dir={tiny_data_dir}", f"--workdir={workdir}"))
    assert "unknown variant 'smoek': expected '' or 'smoke'" in err
    assert not workdir.exists()


@pytest.mark.slow
def test_probing_what_is_no_checkpoint_is_told_and_leaves_it_alone(typed, tiny_data_dir, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")
    flags = [
        "--dataset=simulated_psg",
        f"--data_dir={tiny_data_dir}",
        f"--workdir={tmp_path / 'run'}",
    ]
    for where, told in ((folder, "it holds notes.txt"), (tmp_path / "no", "no such checkpoint")):
        err = typed(module("probe", f"--checkpoint={where}", *flags))
        line = one_line(err, "CheckpointError:")
        assert told in line and str(where) in line
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    assert not (tmp_path / "run").exists()
