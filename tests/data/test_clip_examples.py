"""Records → batches: shapes, masks, the choice of channels, and the units of the model's input."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from sleepfm_jax.data import datasets
from sleepfm_jax.data.clip_examples import ClipExamples, collate
from sleepfm_jax.errors import ConfigError, DatasetError
from sleepfm_jax.models.encoder import EncoderConfig
from sleepfm_jax.models.sleepfm import SleepFM
from sleepfm_jax.signals.layout import Layout
from tests.helpers.records import NumberedRecords, numbered_record

P = 10
LAYOUT = Layout((("bas", 3), ("ecg", 1)), patch_samples=P)
IN_UNITS = dataclasses.replace(LAYOUT, input_scaling="published_uv")


# --- one batch ------------------------------------------------------------------------------------


def test_channels_are_laid_out_modality_by_modality():
    batch = collate([numbered_record(7), numbered_record(8, modalities=("ecg", "ecg"))], LAYOUT, 4)
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        "signals": ((2, 4, 40), np.int16),
        "scale": ((2, 4), np.float32),
        "mask": ((2, 4, 4), bool),
        "positions": ((2, 4, 3), np.float32),
        "stages": ((2, 1), np.int32),
        "labels": ((2, 0), np.float32),
    }
    np.testing.assert_array_equal(batch["signals"][0, :, 0], [7, 307, 0, 207])
    np.testing.assert_array_equal(batch["scale"][0], [0.5, 3.5, 0, 2.5])
    np.testing.assert_array_equal(batch["mask"][0, :, 0], [True, True, False, True])
    np.testing.assert_allclose(batch["positions"][0, 1], [0.09, 0.10, 0.11])
    assert np.isnan(batch["positions"][0, 2]).all()
    # Two ECG leads for one slot: the first. A modality that is absent is masked throughout.
    np.testing.assert_array_equal(batch["signals"][1, :, 0], [0, 0, 0, 8])
    assert not batch["mask"][1, :3].any() and batch["mask"][1, 3].all()
    np.testing.assert_array_equal(batch["stages"][:, 0], [2, 3])


def test_a_patch_is_masked_when_more_than_half_of_it_is_a_gap():
    gaps = [(0, 0, 5), (0, 10, 16), (2, 25, 40)]  # half of patch 0; 6 of 10; half of 2, all of 3
    batch = collate([numbered_record(0, gaps=gaps)], LAYOUT, 4)
    np.testing.assert_array_equal(batch["mask"][0, 0], [True, False, True, True])
    np.testing.assert_array_equal(batch["mask"][0, 1], [True] * 4)
    np.testing.assert_array_equal(batch["mask"][0, 3], [True, True, True, False])


def test_a_clip_that_is_no_whole_number_of_patches_ends_in_padding():
    assert [LAYOUT.patches(samples) for samples in (40, 36, 31, 30)] == [4, 4, 4, 3]
    batch = collate([numbered_record(0, samples=36)], LAYOUT, 4)
    assert batch["signals"].shape == (1, 4, 40)
    assert not batch["signals"][..., 36:].any()
    np.testing.assert_array_equal(batch["mask"][0, 0], [True] * 4)
    shorter = collate([numbered_record(0, samples=34)], LAYOUT, 4)
    np.testing.assert_array_equal(shorter["mask"][0, 0], [True, True, True, False])


def test_a_flat_channel_takes_no_slot():
    flat = numbered_record(0, modalities=("bas", "bas", "ecg", "bas"), sd=[1, 0, 1, 1])
    batch = collate([flat], LAYOUT, 4)
    np.testing.assert_array_equal(batch["signals"][0, :, 0], [0, 300, 0, 200])


def test_too_many_channels_give_a_random_choice_in_training_and_an_even_one_otherwise():
    many = numbered_record(0, modalities=("bas",) * 6)
    spread = collate([many], LAYOUT, 4)["signals"][0, :3, 0]
    np.testing.assert_array_equal(spread, [0, 200, 500])
    seen = set()
    for seed in range(60):
        rngs = [np.random.default_rng(seed)]
        chosen = collate([many], LAYOUT, 4, rngs)["signals"][0, :3, 0] // 100
        assert list(chosen) == sorted(set(chosen)), "in their order, none twice"
        seen.add(tuple(chosen))
    assert len(seen) > 12, "of 20 possible choices"
    assert set(np.concatenate(list(seen))) == set(range(6))


def test_slots_must_be_modalities_with_channels():
    for slots in ((("eeg", 3),), (("bas", 0),)):
        with pytest.raises(DatasetError, match="slots name"):
            Layout(slots, P)
    with pytest.raises(ConfigError, match="input_scaling 'volts' is not one of zscore"):
        Layout((("bas", 3),), P, input_scaling="volts")


# --- the rows of a split --------------------------------------------------------------------------


def test_rows_are_the_records_that_index_says_and_a_filling_row_is_masked():
    examples = ClipExamples(NumberedRecords(5), LAYOUT)
    assert len(examples) == 5 and examples.patches == 4
    batch = examples.batch(np.array([4, -1, 2]))
    assert batch["index"].dtype == np.int32
    np.testing.assert_array_equal(batch["index"], [4, -1, 2])
    np.testing.assert_array_equal(batch["signals"][[0, 2], 3, 0], [204, 202])
    assert not batch["mask"][1].any() and batch["mask"][[0, 2]][:, [0, 1, 3]].all()
    assert examples.recording_of(4) == "night"
    assert examples.person_of(4) == "p2" and examples.people() == {"p0", "p1", "p2"}


def test_a_coin_chooses_for_its_row_whoever_its_neighbours_are():
    examples = ClipExamples(NumberedRecords(2, modalities=("bas",) * 6), LAYOUT)
    coins = [(3, 0, row) for row in range(20)]
    many = examples.batch(np.array([0] * 20), coins)["signals"][:, :3, 0]
    alone = [examples.batch(np.array([0]), [coin])["signals"][0, :3, 0] for coin in coins]
    np.testing.assert_array_equal(many, alone)
    assert len({tuple(row) for row in many}) > 5
    even = examples.batch(np.array([0, 0]))["signals"][:, :3, 0]
    np.testing.assert_array_equal(even, [[0, 200, 500]] * 2)


def test_channels_are_left_out_by_a_rows_coins_and_one_of_each_modality_stays():
    records = NumberedRecords(2, modalities=("bas",) * 3 + ("ecg",))
    whole = ClipExamples(records, LAYOUT)
    mostly = ClipExamples(records, LAYOUT, channel_dropout=0.8)
    coins = [(3, 0, row) for row in range(200)]
    rows = np.array([0] * 200)
    batch = mostly.batch(rows, coins)
    there = batch["mask"].all(-1)  # [B, C]
    np.testing.assert_array_equal(there, batch["mask"].any(-1))
    assert there[:, 3].all() and there[:, :3].any(1).all()
    counts = np.bincount(there[:, :3].sum(1), minlength=4)
    # None of three stays with .8 ** 3 = .51, then one does; 200 draws.
    assert counts[1] > 150 and counts[2] > 5 and (there[:, :3].mean(0) > 0.2).all()
    full = whole.batch(rows, coins)
    np.testing.assert_array_equal(batch["signals"][there], full["signals"][there])
    assert not batch["signals"][~there].any() and not batch["scale"][~there].any()
    assert np.isnan(batch["positions"][~there]).all()
    alone = [mostly.batch(rows[:1], [coin])["mask"][0] for coin in coins[:9]]
    np.testing.assert_array_equal(batch["mask"][:9], alone)
    assert mostly.batch(rows)["mask"].all(), "nothing is drawn where there are no coins"


def test_clips_longer_than_the_model_are_refused():
    longest = dataclasses.replace(LAYOUT, max_patches=4)
    assert ClipExamples(NumberedRecords(1), longest).patches == 4
    with pytest.raises(ConfigError, match=r"40 samples is 4 patches of 10, .*max_tokens=3"):
        ClipExamples(NumberedRecords(1), dataclasses.replace(LAYOUT, max_patches=3))


def test_records_on_disk_become_batches(tiny_data_dir):
    train = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    layout = Layout((("bas", 4), ("resp", 3), ("ecg", 1), ("emg", 1)), 640)
    examples = ClipExamples(train, layout)
    assert examples.metadata is train.metadata and "simulated_psg" in examples.name
    assert examples.people() == train.subjects()
    rows = np.array([0, 13, 35, 7])
    batch = examples.batch(rows, [(0, 0, row) for row in rows])
    assert batch["signals"].shape == (4, 9, 3840) and batch["mask"].shape == (4, 9, 6)
    assert batch["mask"][:, :7].all()
    z = batch["signals"] * batch["scale"][..., None]
    assert 0.3 < z[batch["mask"].all(-1)].std() < 3, "z-scores"
    has_ecg = [("ecg" in train[i].modalities) for i in rows]
    np.testing.assert_array_equal(batch["mask"][:, 7].any(-1), has_ecg)
    np.testing.assert_array_equal(batch["stages"], [train[i].stages for i in rows])


# --- input in µV, as published --------------------------------------------------------------------


def voltages():
    """Channels whose physical samples go beyond ±50 µV, one of them far from a mean of 0."""
    rng = np.random.default_rng(0)
    record = numbered_record(modalities=("bas", "bas", "ecg"), gaps=[(1, 0, 30)])
    return dataclasses.replace(
        record,
        signals=rng.integers(-32767, 32767, (3, 40)).astype(np.int16),
        scale=np.array([1e-4, 2e-5, 1e-4], np.float32),
        mean=np.array([3.0, -42.0, 0.5], np.float32),
        sd=np.array([20.0, 30.0, 100.0], np.float32),
    )


def model_inputs(layout, records):
    """What the encoder sees, float32 [B, C, T]."""
    sizes = EncoderConfig(patch_samples=P, width=8, layers=1, heads=2, pooling_heads=2, mlp_dim=8)
    model = SleepFM(sizes, layout.slots, input_scaling=layout.input_scaling)
    assert model.layout.input_scaling == layout.input_scaling
    return np.asarray(model._inputs(collate(records, layout, 4)))


def test_published_input_is_clipped_microvolts():
    record = voltages()
    wanted = np.clip(record.physical(), -50, 50) / 10
    assert (np.abs(wanted) == 5).any(axis=1).all(), "every channel is clipped somewhere"
    found = model_inputs(IN_UNITS, [record])[0]
    np.testing.assert_allclose(found[[0, 1, 3]], wanted, atol=2e-5)
    assert not found[2].any(), "an empty slot stays zero"


def test_published_input_of_stored_recordings(tiny_data_dir):
    records = datasets.open_records(tiny_data_dir, ["simulated_psg"], "test")
    layout = Layout((("bas", 9), ("emg", 3)), P, input_scaling="published_uv")
    record = records[0]
    mine = [i for m, _ in layout.slots for i in np.flatnonzero(np.array(record.modalities) == m)]
    batch = collate([record], layout, 384)
    sizes = EncoderConfig(patch_samples=P, width=8, layers=1, heads=2, pooling_heads=2, mlp_dim=8)
    model = SleepFM(sizes, layout.slots, input_scaling="published_uv")
    found = np.asarray(model._inputs(batch))[0][batch["mask"][0].any(-1)]
    wanted = np.clip(record.physical()[mine], -50, 50) / 10
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(found).max() > 0.5


def test_zscored_input_is_what_is_stored():
    record = voltages()
    batch = collate([record], LAYOUT, 4)
    assert "offset" not in batch
    found = model_inputs(LAYOUT, [record])[0]
    np.testing.assert_array_equal(found[[0, 1, 3]], record.signals * record.scale[:, None])
    physical = found[[0, 1, 3]] * record.sd[:, None] + record.mean[:, None]
    np.testing.assert_allclose(physical, record.physical(), rtol=1e-6)


@pytest.mark.parametrize(("unit", "told"), [("", "'no unit'"), ("%", "'%'")])
def test_a_channel_that_is_no_voltage_has_no_published_input(unit, told):
    record = dataclasses.replace(voltages(), units=["uV", "uV", unit], recording="night 7")
    with pytest.raises(DatasetError) as error:
        collate([record], IN_UNITS, 4)
    message = str(error.value)
    assert "recording night 7: channel label 2 is in " + told in message
    assert "leave ecg out of config.data.slots" in message
    collate([record], LAYOUT, 4)
    only_bas = dataclasses.replace(IN_UNITS, slots=(("bas", 3),))
    collate([record], only_bas, 4)  # what takes no slot does not matter


# --- labels by name -------------------------------------------------------------------------------


class OfTwoDatasets(NumberedRecords):
    """One with classes AF and SR, one with LBBB and AF; each record is of its first class."""

    metadata_of: ClassVar = {"a": {"classes": ["AF", "SR"]}, "b": {"classes": ["LBBB", "AF"]}}

    def with_classes(self, index):
        record = dataclasses.replace(self[index], labels=np.array([1, 0], np.float32))
        return record, self.metadata_of["ab"[index % 2]]["classes"]


def test_labels_are_found_by_name_in_each_dataset():
    layout = dataclasses.replace(LAYOUT, labels=("LBBB", "AF"))
    batch = ClipExamples(OfTwoDatasets(4), layout).batch(np.array([0, 1, 3]))
    np.testing.assert_array_equal(batch["labels"], [[np.nan, 1], [1, 0], [1, 0]])
    assert batch["labels"].dtype == np.float32
    strange = dataclasses.replace(LAYOUT, labels=("normal", "abnormal"))
    with pytest.raises(DatasetError, match=r"none of the labels normal, abnormal .* a has AF, SR"):
        ClipExamples(OfTwoDatasets(4), strange)
