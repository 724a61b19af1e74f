"""Records → rows that are nights: shapes, masks, windows, what is left out, what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.data.examples import View
from sleepfm_jax.data.mixture import mixed
from sleepfm_jax.data.nights import examples as night_examples
from sleepfm_jax.data.nights.examples import NightExamples, rows_of, without
from sleepfm_jax.errors import ConfigError, DatasetError, RecordingError
from tests.helpers.nights import SFREQ, RecordsInMemory, layout, recording

LAYOUT = layout()


@pytest.fixture(scope="module")
def nights():
    """8, 20 (only belts), 26 and 60 sleep_epochs; 28 is the longest row, 20 that of training."""
    return NightExamples(
        RecordsInMemory(
            [
                recording(8, seed=0),
                recording(20, labels=("ABD", "THX"), sfreqs=(16.0, 16.0), seed=1),
                recording(26.5, seed=2),
                recording(60, seed=3),
            ]
        ),
        LAYOUT,
    )


def coins(count, seed=0):
    return [(seed, 0, row) for row in range(count)]


def equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# --- one batch ------------------------------------------------------------------------------------


def test_a_batch_is_what_the_layout_says(nights):
    batch = nights.batch(np.array([0, 1, -1]))
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        "signal/ABD": ((3, 28 * 64), np.float32),
        "signal/ECG": ((3, 28 * 256), np.float32),
        "signal/PPG": ((3, 28 * 256), np.float32),
        "signal/THX": ((3, 28 * 64), np.float32),
        "present": ((3, 4), bool),
        "epoch_mask": ((3, 28), bool),
        "stages": ((3, 28), np.int32),
        "index": ((3,), np.int32),
    }
    np.testing.assert_array_equal(batch["present"], [[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(batch["epoch_mask"].sum(axis=1), [8, 20, 0])
    np.testing.assert_array_equal(batch["stages"][0], [*np.arange(8) % 5, *[-1] * 20])
    assert (batch["stages"][2] == -1).all() and list(batch["index"]) == [0, 1, -1]
    for name, n in LAYOUT.signals:
        z = batch[f"signal/{name}"].reshape(3, 28, n)
        assert np.isfinite(z).all() and not z[0, 8:].any() and not z[2].any()
    assert not batch["signal/ECG"][1].any() and batch["signal/ABD"][1].any()


def test_a_row_is_the_same_whatever_stands_beside_it_and_however_it_is_read(nights):
    alone = [nights.batch(np.array([i])) for i in range(3)]
    together = nights.batch(np.array([2, 0, 1]))
    again = NightExamples(nights.records, LAYOUT, cache=0.0)  # nothing is kept
    for place, i in enumerate((2, 0, 1)):
        equal({k: v[place] for k, v in together.items()}, {k: v[0] for k, v in alone[i].items()})
    equal(together, again.batch(np.array([2, 0, 1])))
    assert not again._made._held and len(nights._made._held) >= 3


def test_what_is_kept_in_memory_has_a_limit(nights):
    kept = night_examples._Kept(100)
    for number in range(5):
        kept.put(number, {"x": np.zeros(10, np.float32)})
        kept.put(number, {"x": np.zeros(10, np.float32)})
    assert list(kept._held) == [3, 4] and kept._bytes == 80
    assert kept.get(3) is not None and kept.get(0) is None
    kept.put(9, {"x": np.zeros(10, np.float32)})
    assert list(kept._held) == [3, 9]


# --- longer nights --------------------------------------------------------------------------------


def test_a_night_longer_than_the_longest_row_is_several_rows(nights):
    assert len(nights) == 3 + 3 and nights.sleep_epochs == 28
    parts = nights.batch(np.array([3, 4, 5]))
    np.testing.assert_array_equal(parts["epoch_mask"].sum(axis=1), [28, 28, 4])
    stages = parts["stages"][parts["epoch_mask"]]
    np.testing.assert_array_equal(stages, np.arange(60) % 5)
    assert [nights.clip_number_of(i) for i in range(6)] == [0, 0, 0, 0, 1, 2]
    assert len({nights.recording_of(i) for i in (3, 4, 5)}) == 1
    assert nights.stored_recording_of(4) == "night3"
    whole = rows_of(recording(60, seed=3), layout(longest=60), SFREQ)[1][0]
    joined = parts["signal/ECG"].reshape(3, 28, 256)[parts["epoch_mask"]].reshape(-1)
    # one normalisation for the whole night
    np.testing.assert_allclose(joined.std(), whole["signal/ECG"].std(), rtol=1e-2)


def test_training_draws_a_stretch_of_a_longer_night_by_its_coin(nights):
    rows = np.array([0, 2, 3])
    batch = nights.batch(rows, coins(3))
    assert batch["epoch_mask"].shape == (3, 20)
    np.testing.assert_array_equal(batch["epoch_mask"].sum(axis=1), [8, 20, 20])
    equal(batch, nights.batch(rows, coins(3)))
    whole = nights.batch(rows)
    starts = set()
    for seed in range(40):
        drawn = nights.batch(np.array([2]), coins(1, seed))["signal/ECG"][0]
        places = [
            s for s in range(7) if np.array_equal(whole["signal/ECG"][1, s * 256 :][:5120], drawn)
        ]
        assert len(places) == 1
        starts.add(places[0])
    assert starts == set(range(7))


def test_rows_are_no_longer_than_the_split_needs():
    few = NightExamples(RecordsInMemory([recording(8), recording(5, seed=1)]), LAYOUT)
    assert few.sleep_epochs == 8
    assert few.batch(np.array([0]))["stages"].shape == (1, 8)
    assert few.batch(np.array([1]), coins(1))["stages"].shape == (1, 8)
    assert NightExamples(few.records, layout(longest=1680)).sleep_epochs == 120


# --- from a file ----------------------------------------------------------------------------------


def test_a_file_gives_the_row_that_its_records_give(nights):
    for number, made in ((0, recording(8, seed=0)), (2, recording(26.5, seed=2))):
        night, (row,) = rows_of(made, LAYOUT, SFREQ)
        stored = nights.batch(np.array([number]))
        e = row["stages"].shape[1]
        assert night.channels == {"ABD": "ABD", "ECG": "ECG", "PPG": "Pleth", "THX": "THX"}
        for name in ("present", "epoch_mask", "stages"):
            np.testing.assert_array_equal(row[name], stored[name][:, : row[name].shape[1]])
        for name, n in LAYOUT.signals:
            np.testing.assert_allclose(
                row[f"signal/{name}"], stored[f"signal/{name}"][:, : e * n], atol=2e-3
            )
    _, parts = rows_of(recording(60, seed=3), LAYOUT, SFREQ)
    assert [part["epoch_mask"].sum() for part in parts] == [28, 28, 4]


def test_a_file_with_one_signal_is_a_row_and_one_with_none_an_error():
    _, (row,) = rows_of(recording(8, labels=("Pleth",), sfreqs=(32.0,)), LAYOUT, SFREQ)
    np.testing.assert_array_equal(row["present"], [[False, False, True, False]])
    assert row["signal/PPG"].any() and not row["signal/ECG"].any()
    with pytest.raises(RecordingError, match="no usable signal"):
        rows_of(recording(8, labels=("C3-M2",), sfreqs=(32.0,)), LAYOUT, SFREQ)
    still = recording(8, labels=("Pleth",), sfreqs=(32.0,))
    still.channels[0].samples[900:] = 1.0
    with pytest.raises(RecordingError, match="no usable signal: PPG"):
        rows_of(still, LAYOUT, SFREQ)


# --- which nights ---------------------------------------------------------------------------------


def test_nights_without_any_signal_are_left_out_aloud(caplog):
    mixed_up = [recording(8, seed=0), recording(8, labels=("C3-M2",), sfreqs=(32.0,), seed=1)]
    found = NightExamples(RecordsInMemory(mixed_up), LAYOUT)
    assert len(found) == 1 and found.people() == {"s0"}
    assert "1 of 2 nights have none of ABD, ECG, PPG, THX" in caplog.text
    with pytest.raises(DatasetError, match=r"no usable signal: .*its channels: C3-M2"):
        NightExamples(RecordsInMemory(mixed_up[1:]), LAYOUT)


def test_nights_are_left_out_of_training_by_name(caplog):
    examples = NightExamples(
        RecordsInMemory(
            [
                recording(8, seed=0),
                recording(8, seed=1, stages=False),
                recording(8, seed=2, stages=[0, 2] * 4),
                recording(8, seed=3, stages=[0, 3] * 4),
            ]
        ),
        LAYOUT,
    )
    both = without(examples, ("unscored", "no_n1_n3_rem"))
    assert [both.person_of(i) for i in range(len(both))] == ["s0", "s3"]
    assert "2 of 4 nights are left out of training (1 unscored, 1 no_n1_n3_rem)" in caplog.text
    assert len(without(examples, ("unscored",))) == 3
    assert without(examples, ()) is examples
    of_a_view = without(View(examples, [1, 3]), ("unscored",))
    assert [of_a_view.person_of(i) for i in range(len(of_a_view))] == ["s3"]
    with pytest.raises(DatasetError, match="nights_left_out"):
        without(View(examples, [1, 2]), ("unscored", "no_n1_n3_rem"))


# --- cohorts mixed by weights ---------------------------------------------------------------------


class OfCohorts:
    """Ten rows of dataset 0, three of 1, one of 2."""

    name, metadata = "cohorts", {}

    def __len__(self):
        return 14

    def dataset_of(self, index):
        return 0 if index < 10 else 1 if index < 13 else 2


def test_weights_are_shares_and_no_row_is_lost():
    for weights, counts in (((1, 1, 1), (10, 10, 10)), ((5, 1, 2), (15, 3, 6))):
        view = mixed(OfCohorts(), weights, seed=0)
        cohort = [view.dataset_of(i) for i in range(len(view))]
        assert tuple(np.bincount(cohort)) == counts
        often = np.bincount(view.indices, minlength=14)
        assert often.min() >= 1
        for rows in (slice(0, 10), slice(10, 13), slice(13, 14)):
            assert often[rows].max() - often[rows].min() <= 1
    np.testing.assert_array_equal(
        mixed(OfCohorts(), (5, 1, 2), 1).indices, mixed(OfCohorts(), (5, 1, 2), 1).indices
    )


@pytest.mark.parametrize("weights", [(1, 1), (1, 0, 1), (1, -1, 1), (1e-9, 1, 1)])
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(ConfigError, match=r"config\.data\.weights"):
        mixed(OfCohorts(), weights, seed=0)


# --- lengths that nights have ---------------------------------------------------------------------


@pytest.mark.parametrize("hours,trained", [(4, 480), (10, 1200), (13, 1200), (20, 1200)])
def test_nights_of_any_length_are_rows(hours, trained):
    """Published lengths, at few samples: 10 h in training, whole otherwise, 14 h a row."""
    wanted = layout("ABD", sleep_epochs=1200, longest=1680)
    made = recording(hours * 120, labels=("ABD",), sfreqs=(4.0,))
    made.channels[0].samples[4000:9000] = np.nan
    found = NightExamples(RecordsInMemory([made], clip_seconds=300.0, sfreq=4.0), wanted)
    rows = np.arange(len(found))
    assert len(found) == (2 if hours > 14 else 1)
    batch = found.batch(rows)
    assert batch["epoch_mask"].sum() == hours * 120
    assert batch["epoch_mask"].shape[1] == min(hours * 120, 1680)
    assert np.isfinite(batch["signal/ABD"]).all() and batch["present"].all()
    drawn = found.batch(rows[:1], coins(1))
    assert drawn["epoch_mask"].shape == (1, trained) and drawn["epoch_mask"].all()


def test_a_real_recording_is_a_row(shared):
    """DREAMS: what the file has of signals, and nothing else."""
    from sleepfm_jax.recordings.read import read_recording
    from sleepfm_jax.signals.night_layout import SAMPLES, NightLayout, samples_of

    made = read_recording(shared / "data" / "psg_dreams" / "excerpt3.edf", subject="3")
    for normalisation in ("night", "causal"):
        wanted = NightLayout(samples_of(SAMPLES), normalisation=normalisation)
        night, (row,) = rows_of(made, wanted)
        there = dict(zip(wanted.names, row["present"][0]))
        assert set(night.channels) == {name for name, present in there.items() if present}
        assert night.channels and row["epoch_mask"].sum() == len(night.stages)
        for name, n in wanted.signals:
            z = row[f"signal/{name}"].reshape(-1, n)[row["epoch_mask"][0]]
            assert np.isfinite(z).all()
            assert not there[name] or 0.5 < z.std() < 2
