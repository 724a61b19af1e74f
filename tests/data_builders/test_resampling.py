"""--resampling: from the builder's argument to samples, metadata and what is used together."""

from __future__ import annotations

import numpy as np
import pytest

from data_builders.edf_folder.edf_folder_dataset_builder import Builder
from launch import build as launch_build
from sleepfm_jax.data import clips, datasets
from sleepfm_jax.errors import BuildError, DatasetError
from sleepfm_jax.pretrained import Pretrained
from sleepfm_jax.signals import dsp

SETTINGS = {"sfreq": 64, "clip_seconds": 30}
POLYPHASE = (
    "per channel: polyphase resampling from the native rate to sfreq, z-score over the whole "
    "recording (mean and sd kept, gaps left out), int16 per clip and channel; "
    "physical = (signals * scale) * sd + mean, in units"
)


@pytest.fixture
def source(tmp_path, write_edf):
    for i, name in enumerate("abc"):
        write_edf(tmp_path / "recordings" / f"{name}.edf", sfreq=128, seed=i)
    return tmp_path / "recordings"


def build(source, data_dir, **options):
    Builder(source=source, data_dir=data_dir, **SETTINGS, **options).download_and_prepare()
    return datasets.open_records(data_dir, ["edf_folder"], "train")


def test_the_reference_reaches_the_samples_and_the_metadata(source, tmp_path, write_edf):
    plain = build(source, tmp_path / "plain")
    published = build(source, tmp_path / "published", resampling="reference")
    assert plain.metadata["preprocessing"] == POLYPHASE == clips.PREPROCESSING
    assert "Butterworth" in published.metadata["preprocessing"]
    ours, theirs = plain[0], published[0]
    assert ours.recording == theirs.recording
    written = write_edf(tmp_path / "again.edf", sfreq=128, seed="abc".index(ours.recording))
    for record, method in ((ours, "polyphase"), (theirs, "reference")):
        wanted = dsp.resample(written["EEG C3-M2"], 128.0, 64.0, method)[: 30 * 64]
        np.testing.assert_allclose(record.physical()[0], wanted, atol=0.02)
    assert np.abs(ours.physical()[0] - theirs.physical()[0]).max() > 1  # uV: noise, aliased or not


def test_an_encoder_refuses_records_made_the_other_way(source, tmp_path):
    plain = build(source, tmp_path / "plain")
    published = build(source, tmp_path / "published", resampling="reference")
    for trained, given in ((plain, published), (published, plain)):
        encoder = Pretrained(None, None, None, {}, trained.metadata)
        encoder.check_made_alike(trained.metadata, "itself")
        with pytest.raises(DatasetError, match=r"preprocessing is .*, but the checkpoint has"):
            encoder.check_made_alike(given.metadata, "the other")
        with pytest.raises(DatasetError, match=r"preprocessing is .*: build them alike"):
            datasets.Records([*trained.folders, *given.folders], "train")


def test_one_place_holds_one_kind(source, tmp_path):
    build(source, tmp_path)
    with pytest.raises(BuildError, match="other settings"):
        build(source, tmp_path, resampling="reference")
    build(source, tmp_path)  # the same again: nothing to do


def test_a_mistyped_method_is_named(source, tmp_path):
    with pytest.raises(BuildError, match="resampling must be one of polyphase, reference, not 'x'"):
        Builder(source=source, data_dir=tmp_path, resampling="x")


def test_the_flag_is_the_argument():
    flag = launch_build._RESAMPLING
    assert "resampling" not in launch_build.builder_options()  # the builder's own default
    launch_build.flags.FLAGS[flag.name].value = "reference"
    try:
        assert launch_build.builder_options()["resampling"] == "reference"
    finally:
        launch_build.flags.FLAGS[flag.name].value = None
    assert tuple(launch_build.flags.FLAGS[flag.name].parser.enum_values) == dsp.METHODS
