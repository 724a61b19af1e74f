"""launch.simulate and launch.build fit each other: what the one writes, the other builds."""

from __future__ import annotations

import shlex
import shutil

import pytest

from data_builders.engine import report as build_report
from launch.build import known_datasets
from sleepfm_jax.errors import BuildError
from sleepfm_jax.simulation.archives import layouts, sleep, wake
from tests.helpers.archives import builder_of, rows_of

LABELLED = ("tuab", "eegmat", "ptbxl", "code15", "braincapture")  # as a whole, by plan or table
HOURS = 0.1


def simulate(name, out):
    """A tiny archive of any family in `out`; its recordings."""
    if name in wake.ARCHIVES:
        return wake.write_archive(name, out, subjects=2)
    return sleep.write_archive(name, out, subjects=1, hours=HOURS)


def planned(name, source, **kwargs):
    """What a builder plans to build: (root, path, subject, split, labels) of each recording."""
    builder = builder_of(name)(source=source, data_dir=source.parent / "records", **kwargs)
    root = builder.require_source()
    sources = [s for s in builder.plan().sources if s.problem is None]
    return [(root / s.path.partition("#")[0], s.subject, s.split, s.labels) for s in sources]


@pytest.mark.parametrize("name", [*wake.ARCHIVES, "shhs", "wsc", "sleep_edf", "dreams", "cinc2018"])
def test_an_archive_is_found_in_its_folder_and_above_it(name, tmp_path):
    out = tmp_path / "out"
    written = simulate(name, out)
    above, within = planned(name, out), planned(name, out / name)
    assert above == within  # labels and splits too: tables beside the recordings were found
    assert len(above) == len(written)
    assert any(labels for *_, labels in above) == (name in LABELLED)


def test_ptbxl_rhythm_is_found_as_ptbxl_is(tmp_path):
    wake.write_archive("ptbxl", tmp_path / "out", subjects=2)
    tree = tmp_path / "out" / "ptbxl"
    assert planned("ptbxl_rhythm", tmp_path / "out") == planned("ptbxl_rhythm", tree)


def test_every_dataset_but_folders_can_be_simulated():
    simulated = {*wake.ARCHIVES, *layouts.ARCHIVES}
    simulated |= {"simulated_psg", "simulated_wake_eeg", "simulated_ecg"}
    assert set(known_datasets()) - simulated == {"edf_folder", "ptbxl_rhythm"}


@pytest.mark.parametrize("name", ["eegmat", "ptbxl", "code15"])
def test_two_archives_in_one_folder_are_not_guessed_among(name, tmp_path):
    simulate(name, tmp_path / "out")
    shutil.copytree(tmp_path / "out" / name, tmp_path / "out" / "a_copy")
    with pytest.raises(BuildError, match=f"a_copy, {name} could each be meant"):
        planned(name, tmp_path / "out")
    with pytest.raises(BuildError, match="in this folder or one level below it"):
        planned(name, tmp_path)


def test_a_table_deeper_down_is_not_taken_for_the_folder_s(tmp_path):
    """No names say where it begins: what lies beside a folder, or in two of them, is all built."""
    out = tmp_path / "out"
    simulate("braincapture", out)
    first, _ = planned("braincapture", out)
    shutil.copyfile(first[0], out / "night.edf")
    assert len(planned("braincapture", out)) == 3
    (out / "night.edf").unlink()
    (out / "more").mkdir()
    assert [subject for _, subject, *_ in planned("braincapture", out)] == ["bc0000", "bc0001"]
    table = out / "braincapture" / "table.csv"
    moved = table.rename(out / "labels.csv")
    moved.write_text(moved.read_text().replace("bc0", "braincapture/bc0", 1))
    told = planned("braincapture", out, table=moved)
    assert told[0][0] == first[0]


def test_what_simulate_prints_builds(tmp_path, program):
    """Faults, a table and tables beside the archive; the command as it is printed."""
    out = tmp_path / "a folder"
    flags = ["--dataset=eegmat", "--subjects=2", "--faults=0.4", "--seed=2", f"--out={out}"]
    done = program("launch.simulate", *flags)
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout.splitlines()[-1])
    assert command[:3] == ["python", "-m", "launch.build"]
    assert command[3:] == ["--dataset=eegmat", f"--source={out}", "--data_dir=records"]
    data_dir = tmp_path / "records"
    built = program(*command[2:-1], f"--data_dir={data_dir}", "--num_workers=0")
    assert built.returncode == 0, built.stderr
    assert f"The archive is in {out / 'eegmat'}" in built.stdout
    totals = build_report.load(data_dir / "eegmat" / "1.0.0")["totals"]
    assert totals["recordings"] == len(rows_of(out / "truth.csv")) == 4
    bad = [row for row in rows_of(out / "faults.csv") if row["outcome"] == "quarantined"]
    assert totals["quarantined"] == len(bad)


def test_a_cohort_is_built_from_the_folder_that_it_was_written_to(tmp_path, program):
    flags = ["--dataset=simulated_ecg", "--subjects=3", f"--out={tmp_path / 'ecg'}"]
    done = program("launch.simulate", *flags)
    assert done.stdout.splitlines()[-1].endswith(f"--source={tmp_path / 'ecg'} --data_dir=records")
    assert {subject for _, subject, *_ in planned("simulated_ecg", tmp_path / "ecg")} == {
        f"sim0000{i}" for i in range(3)
    }
