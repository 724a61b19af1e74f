"""launch.stage takes what launch.pretrain leaves: a checkpoint, and a folder of recordings."""

from __future__ import annotations

import csv
import shutil

import pytest

from configs.staging import wav2sleep
from sleepfm_jax import stage
from sleepfm_jax.errors import CheckpointError
from sleepfm_jax.simulation.cohorts import write_psg_cohort
from tests.helpers.untrained_runs import save_run, smoke


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two checkpoints whose best is the first."""
    workdir = tmp_path_factory.mktemp("staging")
    config = wav2sleep.get_config("smoke").to_dict()
    save_run(workdir, config, (2, 4), {"preprocessing": {"sfreq": 128.0}, "subjects": []})
    shutil.copytree(workdir / "checkpoints" / "2", workdir / "best" / "2")
    return workdir


def test_the_program_stages_a_folder(run, program, tmp_path):
    write_psg_cohort(tmp_path / "nights", subjects=2, hours=0.1, seed=5, signals=("ECG",))
    (tmp_path / "nights" / "broken.edf").write_bytes(b"0       no")
    flags = [f"--input={tmp_path / 'nights'}", f"--checkpoint={run}", f"--output={tmp_path / 'o'}"]
    done = program("launch.stage", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "o" / "index.html")
    assert "broken.edf" in done.stderr
    with (tmp_path / "o" / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["staged", "staged", "failed"]
    again = program("launch.stage", *flags)
    assert again.returncode == 0 and "2 had been before" in again.stderr


def test_what_cannot_be_staged_is_one_line(run, program, tmp_path):
    flags = [f"--checkpoint={run}", f"--output={tmp_path / 'o'}"]
    gone = program("launch.stage", f"--input={tmp_path / 'gone'}", *flags)
    assert gone.returncode == 7 and gone.stderr.splitlines()[-1].startswith("RecordingError: ")
    none = program("launch.stage", f"--input={tmp_path}", "--checkpoint=nowhere", flags[1])
    assert none.returncode == 5 and "Traceback" not in none.stderr


def test_the_best_weights_are_taken_where_the_run_chose_them(run):
    assert stage.load(run).step == 2 and stage.load(run).source.endswith("best")
    assert stage.load(run, 4).step == 4
    assert stage.load(run / "checkpoints").step == 4


def test_a_model_of_clips_stages_nothing(tmp_path):
    save_run(tmp_path, smoke(), (1,), {"preprocessing": {"sfreq": 128.0}})
    with pytest.raises(CheckpointError, match="does not stage nights"):
        stage.load(tmp_path)
