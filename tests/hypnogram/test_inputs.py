"""Which files are recordings, what their results are called, and whose scoring lies beside them."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.hypnogram import inputs
from sleepfm_jax.simulation.cohorts import write_psg_cohort


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_recordings_are_found_below_a_folder(tmp_path):
    touch(tmp_path, "b.EDF", "a/c.vhdr", "a/c.eeg", "a-Hypnogram.edf", ".hidden.edf", ".git/x.edf")
    touch(tmp_path, "out/d.edf", "notes.txt")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    found = inputs.recordings(tmp_path, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/c.vhdr", "b.EDF"]
    assert inputs.names(found, tmp_path) == ["a/c", "b"]
    with pytest.raises(RecordingError, match="another folder"):
        inputs.recordings(tmp_path, tmp_path / "a" / "..")
    one = inputs.recordings(tmp_path / "b.EDF", tmp_path / "out")
    assert inputs.names(one, one[0]) == ["b"]


def test_two_files_that_differ_by_their_ending_have_results_of_their_own(tmp_path):
    touch(tmp_path, "a.edf", "a.bdf", "b.edf")
    found = inputs.recordings(tmp_path, tmp_path / "out")
    assert inputs.names(found, tmp_path) == ["a.bdf", "a.edf", "b"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    write_psg_cohort(out, subjects=1, hours=0.05, seed=0, signals=("THX",))
    return out


def test_a_hypnogram_beside_a_recording_is_read(cohort):
    recording, scorer, notes = inputs.read(cohort / "sim00000.edf")
    assert scorer == "sim00000-Hypnogram.edf" and notes == []
    assert recording.stages is not None and len(recording.stages) == 6


def test_events_of_bids_are_read(cohort, tmp_path):
    (tmp_path / "s_eeg.edf").write_bytes((cohort / "sim00000.edf").read_bytes())
    rows = [f"{30 * i}\t30\tSleep stage {stage}" for i, stage in enumerate("W12R")]
    (tmp_path / "s_events.tsv").write_text("\n".join(["onset\tduration\ttrial_type", *rows]))
    recording, scorer, _ = inputs.read(tmp_path / "s_eeg.edf")
    assert scorer == "s_events.tsv"
    np.testing.assert_array_equal(recording.stages, [0, 1, 2, 4, -1, -1])


def test_a_broken_hypnogram_is_a_note(cohort, tmp_path):
    (tmp_path / "a.edf").write_bytes((cohort / "sim00000.edf").read_bytes())
    recording, scorer, notes = inputs.read(tmp_path / "a.edf")
    assert (recording.stages, scorer, notes) == (None, None, [])
    (tmp_path / "Hypnogram_a.txt").write_text("nonsense")
    recording, scorer, notes = inputs.read(tmp_path / "a.edf")
    assert scorer is None and recording.stages is None
    assert len(notes) == 1 and notes[0].startswith("hypnogram Hypnogram_a.txt not used: ")


@pytest.fixture
def bids(cohort, tmp_path):
    """A BIDS folder of one night with belts, whose channels.tsv lies above it."""
    night = tmp_path / "sub-01" / "ses-a" / "eeg" / "sub-01_ses-a_task-sleep_eeg.edf"
    night.parent.mkdir(parents=True)
    night.write_bytes((cohort / "sim00000.edf").read_bytes())
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    return night


def test_channels_tsv_of_a_bids_folder_is_followed(bids):
    (label,) = {c.label for c in inputs.read(bids)[0].channels if c.name == "THX"}
    table = bids.parents[1] / "sub-01_ses-a_channels.tsv"
    head = "name\ttype\tunits\tstatus\tstatus_description"
    table.write_text(f"{head}\n{label}\tRESP\tuV\tgood\tn/a\n")
    recording, scorer, notes = inputs.read(bids)
    assert scorer is None and notes == []
    (belt,) = [c for c in recording.channels if c.label == label]
    assert np.isfinite(belt.samples).any()
    table.write_text(f"{head}\n{label}\tRESP\tuV\tbad\tslipped\n")
    recording, _, _ = inputs.read(bids)
    (belt,) = [c for c in recording.channels if c.label == label]
    assert not np.isfinite(belt.samples).any()
    assert "bad in channels.tsv: slipped" in belt.notes
    from sleepfm_jax.data.nights.signals import night_of_recording

    with pytest.raises(RecordingError, match="no usable signal"):
        night_of_recording(recording, ("THX",))
    (bids.parent / "sub-01_ses-a_channels.tsv").write_text(f"{head}\n{label}\tRESP\tuV\tgood\n")
    assert np.isfinite(inputs.read(bids)[0].channels[0].samples).any()  # the nearer one counts
    (bids.parent / "sub-01_channels.tsv").write_text("title\nx\n")
    assert np.isfinite(inputs.read(bids)[0].channels[0].samples).any()  # a less specific one
    (bids.parent / "sub-01_ses-a_channels.tsv").write_text("title\nx\n")
    with pytest.raises(RecordingError, match="name"):
        inputs.read(bids)
    (bids.parents[3] / "dataset_description.json").unlink()
    assert np.isfinite(inputs.read(bids)[0].channels[0].samples).any()  # no BIDS, no tables


def test_the_type_in_channels_tsv_says_what_a_label_does_not(bids, cohort):
    raw = bids.read_bytes()
    recording = inputs.read(bids)[0]
    (label,) = {c.label for c in recording.channels if c.name == "THX"}
    bids.write_bytes(raw.replace(label.encode().ljust(16), b"X1".ljust(16), 1))
    table = bids.with_name("sub-01_ses-a_task-sleep_channels.tsv")
    with pytest.raises(RecordingError, match="no usable channel: labels found 'X1'"):
        inputs.read(bids)
    table.write_text("name\ttype\nX1\tRESP\n")
    (channel,) = inputs.read(bids)[0].channels
    assert channel.modality == "resp" and "type RESP in channels.tsv" in "".join(channel.notes)


def test_events_of_a_bids_folder_may_lie_above_a_recording(bids):
    rows = [f"{30 * i}\t30\tSleep stage {stage}" for i, stage in enumerate("W12R")]
    table = bids.parents[1] / "sub-01_ses-a_events.tsv"
    table.write_text("\n".join(["onset\tduration\ttrial_type", *rows]))
    recording, scorer, _ = inputs.read(bids)
    assert scorer == table.name
    np.testing.assert_array_equal(recording.stages, [0, 1, 2, 4, -1, -1])
