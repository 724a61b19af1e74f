"""The programs as people type them, with their mistakes."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.programs import (
    CONFIG,
    module,
    one_line,
    pretrain,
    start,
)


@pytest.fixture
def typed(program):
    """What a command that must fail with this code says on stderr."""

    def say(command, code):
        _, _, name, *arguments = command  # python -m NAME …
        done = program(name, *arguments)
        assert done.returncode == code, done.stderr
        return done.stderr

    return say


PROGRAMS = {
    "pretrain": ("--config", "--data_dir", "--workdir", "--coordinator"),
    "probe": ("--checkpoint", "--dataset", "--data_dir", "--workdir"),
    "report": ("--workdir",),
    "convert": ("--from", "--to"),
    "build": ("--dataset", "--source", "--data_dir", "--num_workers"),
    "simulate": ("--dataset", "--subjects", "--out"),
}
HEAVY = ("jax", "flax", "orbax", "tensorflow_datasets", "mne", "torch", "sleepfm_jax.train")


def imported(name, *arguments):
    """stdout and exit code of a program, and which of `HEAVY` it had imported at its end."""
    code = (
        "import atexit, runpy, sys\n"
        f"heavy = {HEAVY!r}\n"
        "atexit.register(lambda: print('imported:', *[m for m in heavy if m in sys.modules]))\n"
        f"sys.argv = ['launch.{name}', *{list(map(str, arguments))!r}]\n"
        f"runpy.run_module('launch.{name}', run_name='__main__', alter_sys=True)\n"
    )
    process = start(sys.executable, "-c", code)
    out, err = process.communicate(timeout=120)
    said, _, heavy = out.rpartition("imported:")
    assert "Traceback" not in err, err
    return said, process.returncode, heavy.split()


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_what_to_type_and_imports_no_training(name):
    out, code, heavy = imported(name, "--help")
    assert code == 0
    assert heavy == []
    assert f"python -m launch.{name} " in out
    for flag in PROGRAMS[name]:
        assert f"{flag}:" in out or f"{flag[2:]}:" in out, (flag, out)


def test_a_report_imports_no_training(tmp_path):
    (tmp_path / "results.json").write_text('{"versions": {"python": "3.11"}}')
    out, code, heavy = imported("report", f"--workdir={tmp_path}", "--seconds=build=3")
    assert code == 0
    assert heavy == []
    assert (tmp_path / "report" / "index.html").is_file() and "build 3 s" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--workdri=x"], "--workdri: there is no such flag: did you mean --workdir?"),
        (["report"], "--workdir not given"),
        (["report", "--workdir=x", "y"], "unexpected argument 'y'"),
        (["simulate", "--dataset=shhz", "--subjects=1", "--out=x"], "shhz"),
        (["convert", "--form=x", "--to=y"], "did you mean --from?"),
    ],
)
def test_a_mistyped_flag_is_one_line(typed, arguments, words):
    err = typed(module(*arguments), 2)
    assert words in one_line(err, "UsageError: ")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_mistakes_on_the_command_line_are_told_in_one_line(typed, tiny_data_dir, tmp_path):
    workdir = tmp_path / "run"
    err = typed(pretrain(tiny_data_dir, workdir, "--config.foo=1"), 2)
    assert "--config.foo=1" in one_line(err, "ConfigError: unknown key")
    err = typed(pretrain(tiny_data_dir, workdir, "--config.model.wdith=8"), 2)
    assert 'Did you mean "width"' in one_line(err, "ConfigError: unknown key")
    err = typed(pretrain(tmp_path, workdir), 3)
    line = one_line(err, "DatasetError:")
    assert "no dataset 'simulated_psg'" in line and "python -m launch.build" in line
    err = typed(pretrain(tiny_data_dir, workdir, "--config.objective.loss=triplet"), 2)
    line = one_line(err, "ConfigError: config.objective.loss is 'triplet'; expected one of")
    assert "leave_one_out, pairwise" in line
    assert not workdir.exists()
    err = typed(module("pretrain", CONFIG, f"--workdir={workdir}"), 3)
    assert "--data_dir" in err and "Traceback" not in err
    err = typed(pretrain(tiny_data_dir, workdir, "steps=5"), 2)
    assert "unexpected argument 'steps=5'" in err and "Traceback" not in err
    variant = CONFIG.replace(":smoke", ":smoek")
    err = typed(
        module("pretrain", variant, f"--data_dir={tiny_data_dir}", f"--workdir={workdir}"), 2
    )
    assert "unknown variant 'smoek': expected '', 'smoke' or 'mispaired'" in one_line(
        err, "UsageError: "
    )
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
        err = typed(module("probe", f"--checkpoint={where}", *flags), 5)
        line = one_line(err, "CheckpointError:")
        assert told in line and str(where) in line
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    assert not (tmp_path / "run").exists()
