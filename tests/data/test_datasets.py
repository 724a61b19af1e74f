"""Records → batches: shapes, masks, channel choice, and a stream that is a function of the step."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax.data import datasets, provenance
from sleepfm_jax.data.datasets import BatchSpec, collate
from sleepfm_jax.data.record import Record
from sleepfm_jax.errors import DatasetError

T, P = 40, 10
SPEC = BatchSpec((("bas", 3), ("ecg", 1)), patch_samples=P, clip_samples=T)


def record(number=0, modalities=("bas", "emg", "ecg", "bas"), gaps=(), sd=None, samples=T):
    """A clip in which every channel's samples are 100 * its place + the record's number."""
    c = len(modalities)
    values = 100 * np.arange(c)[:, None] + number + np.zeros((c, samples))
    return Record(
        signals=values.astype(np.int16),
        scale=0.5 + np.arange(c, dtype=np.float32),
        mean=np.zeros(c, np.float32),
        sd=np.ones(c, np.float32) if sd is None else np.array(sd, np.float32),
        channel_labels=[f"label {i}" for i in range(c)],
        channel_names=[f"C{i}" for i in range(c)],
        units=["uV"] * c,
        modalities=list(modalities),
        native_sfreq=np.full(c, 128, np.float32),
        positions=np.arange(3 * c, dtype=np.float32).reshape(c, 3) / 100,
        gaps=np.array(gaps, np.int32).reshape(-1, 3),
        num_samples=samples,
        stages=np.array([number % 5], np.int32),
        labels=np.zeros(0, np.float32),
        subject=f"s{number}",
        recording="night",
        clip=number,
        start=0.0,
    )


class FakeRecords:
    """What `train_batches` and `evaluation_batches` need of `Records`."""

    def __init__(self, count, **kwargs):
        self.items = [record(i, **kwargs) for i in range(count)]
        self.folders, self.split = [Path("fake")], "train"

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        assert 0 <= index < len(self.items)
        return self.items[index]


def stream(steps, count=11, start=0, **kwargs):
    """The first batches of a run, from `start` by its saved state."""
    fake = FakeRecords(count, modalities=("bas",) * 5 + ("ecg",))
    batches = datasets.train_batches(
        fake, SPEC, **({"batch_size": 4, "seed": 3, "num_threads": 2, "prefetch": 2} | kwargs)
    )
    if start:
        batches.set_state({"next_index": start})
    return [next(batches) for _ in range(steps)]


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        np.testing.assert_array_equal(value, wanted[key], err_msg=key)
        assert value.dtype == wanted[key].dtype


# --- one batch ---------------------------------------------------------------------------------


def test_channels_are_laid_out_modality_by_modality():
    batch = collate([record(7), record(8, modalities=("ecg", "ecg"))], SPEC)
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
    batch = collate([record(0, gaps=gaps)], SPEC)
    np.testing.assert_array_equal(batch["mask"][0, 0], [True, False, True, True])
    np.testing.assert_array_equal(batch["mask"][0, 1], [True] * 4)
    np.testing.assert_array_equal(batch["mask"][0, 3], [True, True, True, False])


def test_a_clip_that_is_no_whole_number_of_patches_ends_in_padding():
    spec = dataclasses.replace(SPEC, clip_samples=36)
    batch = collate([record(0, samples=36)], spec)
    assert batch["signals"].shape == (1, 4, 40) and spec.patches == 4
    assert not batch["signals"][..., 36:].any()
    np.testing.assert_array_equal(batch["mask"][0, 0], [True] * 4)
    shorter = collate([record(0, samples=34)], dataclasses.replace(SPEC, clip_samples=34))
    np.testing.assert_array_equal(shorter["mask"][0, 0], [True, True, True, False])


def test_a_flat_channel_takes_no_slot():
    batch = collate([record(0, modalities=("bas", "bas", "ecg", "bas"), sd=[1, 0, 1, 1])], SPEC)
    np.testing.assert_array_equal(batch["signals"][0, :, 0], [0, 300, 0, 200])


def test_too_many_channels_give_a_random_choice_in_training_and_an_even_one_otherwise():
    many = record(0, modalities=("bas",) * 6)
    spread = collate([many], SPEC)["signals"][0, :3, 0]
    np.testing.assert_array_equal(spread, [0, 200, 500])
    seen = set()
    for seed in range(60):
        chosen = collate([many], SPEC, np.random.default_rng(seed))["signals"][0, :3, 0] // 100
        assert list(chosen) == sorted(set(chosen)), "in their order, none twice"
        seen.add(tuple(chosen))
    assert len(seen) > 12, "of 20 possible choices"
    assert set(np.concatenate(list(seen))) == set(range(6))


def test_slots_must_be_modalities_with_channels():
    for slots in ((("eeg", 3),), (("bas", 0),)):
        with pytest.raises(DatasetError, match="slots name"):
            BatchSpec(slots, P, T)


# --- the training stream -----------------------------------------------------------------------


def test_the_stream_is_a_function_of_seed_and_step():
    wanted = stream(7)
    for found in (stream(7), stream(7, num_threads=1, prefetch=1)):
        for a, b in zip(found, wanted):
            assert_same(a, b)
    later = stream(3, start=4)
    for a, b in zip(later, wanted[4:]):
        assert_same(a, b)
    other = stream(7, seed=4)
    assert any(not np.array_equal(a["index"], b["index"]) for a, b in zip(other, wanted))


def test_each_pass_shows_every_clip_once_in_another_order():
    batches = stream(6, count=12)
    passes = [np.concatenate([b["index"] for b in batches[i : i + 3]]) for i in (0, 3)]
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.arange(12))
        assert not np.array_equal(order, np.arange(12))
    assert not np.array_equal(*passes)


def test_a_row_holds_the_clip_that_index_says():
    for batch in stream(3):
        np.testing.assert_array_equal(batch["signals"][:, 3, 0], 500 + batch["index"])


def test_channels_are_chosen_anew_in_each_pass():
    chosen = {}
    for batch in stream(24, count=4):
        for row, index in enumerate(batch["index"]):
            chosen.setdefault(int(index), set()).add(tuple(batch["signals"][row, :3, 0]))
    assert min(len(c) for c in chosen.values()) > 3


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_stream_of_one(count):
    whole = stream(5)
    parts = [stream(5, process_index=i, process_count=count) for i in range(count)]
    for step, batch in enumerate(whole):
        joined = {key: np.concatenate([p[step][key] for p in parts]) for key in batch}
        assert_same(joined, batch)


def test_a_saved_state_continues_the_stream_on_any_number_of_processes():
    fake = FakeRecords(11, modalities=("bas",) * 5 + ("ecg",))
    options = {"batch_size": 4, "seed": 3, "num_threads": 2, "prefetch": 3}
    one = datasets.train_batches(fake, SPEC, **options)
    for _ in range(3):
        next(one)
    state = json.loads(json.dumps(one.get_state()))  # as a checkpoint keeps it
    wanted = [next(one) for _ in range(4)]
    for count in (1, 2):
        parts = []
        for index in range(count):
            part = datasets.train_batches(
                fake, SPEC, process_index=index, process_count=count, **options
            )
            part.set_state(state)
            parts.append(part)
            assert part.get_state() == state
        for batch in wanted:
            rows = [next(part) for part in parts]
            assert_same({k: np.concatenate([r[k] for r in rows]) for k in batch}, batch)


def test_a_batch_must_be_there_and_be_shared_evenly():
    with pytest.raises(DatasetError, match="has 3 clips, fewer than one batch of 4"):
        stream(1, count=3)
    with pytest.raises(DatasetError, match="4 cannot be shared by 3 processes"):
        stream(1, process_count=3)


# --- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_shows_everything_once_and_fills_up_with_masked_rows(process_count):
    fake = FakeRecords(10)
    parts = [
        list(
            datasets.evaluation_batches(
                fake, SPEC, batch_size=4, process_index=i, process_count=process_count
            )
        )
        for i in range(process_count)
    ]
    assert [len(p) for p in parts] == [3] * process_count
    batches = [{k: np.concatenate([r[k] for r in rows]) for k in rows[0]} for rows in zip(*parts)]
    index = np.concatenate([b["index"] for b in batches])
    np.testing.assert_array_equal(index, [*range(10), -1, -1])
    for batch in batches:
        assert batch["signals"].shape == (4, 4, 40)
        real = batch["index"] >= 0
        assert batch["mask"][real].any((1, 2)).all() and not batch["mask"][~real].any()
        np.testing.assert_array_equal(batch["signals"][real, 3, 0], 200 + batch["index"][real])


def test_a_limited_evaluation_is_spread_over_the_split():
    fake = FakeRecords(21)
    (batch,) = datasets.evaluation_batches(fake, SPEC, batch_size=4, limit=4)
    np.testing.assert_array_equal(batch["index"], [0, 6, 13, 20])
    everything = datasets.evaluation_batches(fake, SPEC, batch_size=4, limit=100)
    assert sum((b["index"] >= 0).sum() for b in everything) == 21


# --- datasets on disk --------------------------------------------------------------------------


def test_records_on_disk_become_batches(tiny_data_dir):
    train = datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")
    assert len(train) == 36 and train.clip_samples == 30 * 128
    assert train.metadata["label_kind"] == "staging"
    montages = [list(modalities) for modalities in train.modalities()]
    assert len(montages) == 6, "all splits"
    assert all(train[i].modalities in montages for i in range(len(train)))
    spec = BatchSpec((("bas", 4), ("resp", 3), ("ecg", 1), ("emg", 1)), 640, train.clip_samples)
    batch = next(datasets.train_batches(train, spec, batch_size=8, seed=0, num_threads=2))
    assert batch["signals"].shape == (8, 9, 3840) and batch["mask"].shape == (8, 9, 6)
    assert batch["mask"][:, :7].all()
    z = batch["signals"] * batch["scale"][..., None]
    assert 0.3 < z[batch["mask"].all(-1)].std() < 3, "z-scores"
    has_ecg = [("ecg" in train[i].modalities) for i in batch["index"]]
    np.testing.assert_array_equal(batch["mask"][:, 7].any(-1), has_ecg)
    subjects = {}
    for split in ("train", "validation", "test"):
        opened = datasets.open_records(tiny_data_dir, ["simulated_psg"], split)
        subjects[split] = {opened[i].subject for i in range(len(opened))}
    assert sorted(len(s) for s in subjects.values()) == [1, 2, 3]
    assert len(set.union(*subjects.values())) == 6


def test_several_datasets_are_one_after_the_other(tiny_data_dir, tmp_path):
    folder = datasets.find_dataset(tiny_data_dir, "simulated_psg")
    shutil.copytree(folder, tmp_path / "simulated_psg" / "1.0.0")
    both = datasets.Records([folder, tmp_path / "simulated_psg" / "1.0.0"], "train")
    assert len(both) == 72
    for index in (0, 35):
        np.testing.assert_array_equal(both[index].signals, both[36 + index].signals)
    assert (both[35].subject, both[35].clip) != (both[36].subject, both[36].clip)


def test_a_dataset_of_before_that_says_task_is_read(tiny_data_dir, tmp_path):
    """The first datasets call their label_kind `task`, in their metadata and in their report."""
    folder = tmp_path / "simulated_psg" / "1.0.0"
    shutil.copytree(datasets.find_dataset(tiny_data_dir, "simulated_psg"), folder)
    for name in ("metadata.json", provenance.FILENAME):
        text = (folder / name).read_text()
        assert text.count('"label_kind":') == 1
        (folder / name).write_text(text.replace('"label_kind":', '"task":'))
    old = datasets.Records([folder], "train")
    assert old.metadata["label_kind"] == "staging"
    assert "task" not in old.metadata
    assert provenance.load(folder)["spec"]["label_kind"] == "staging"
    both = [datasets.find_dataset(tiny_data_dir, "simulated_psg"), folder]
    assert len(datasets.Records(both, "train")[71].labels) == len(old[35].labels)


def test_the_newest_version_is_found(tiny_data_dir, tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        (tmp_path / "mine" / version).mkdir(parents=True)
        (tmp_path / "mine" / version / "dataset_info.json").write_text("{}")
    assert datasets.find_dataset(tmp_path, "mine").name == "1.10.0"


def test_what_is_missing_is_named(tiny_data_dir, tmp_path):
    with pytest.raises(
        DatasetError, match=r"no dataset 'mesa'.*there: simulated_psg.*launch.build"
    ):
        datasets.find_dataset(tiny_data_dir, "mesa")
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match=r"no dataset 'mesa'.*--dataset=mesa"):
            datasets.find_dataset(nothing, "mesa")
    with pytest.raises(
        DatasetError, match=r"no split 'dev'; it has \['test', 'train', 'validation'\]"
    ):
        datasets.open_records(tiny_data_dir, ["simulated_psg"], "dev")
    assert datasets.has_split(tiny_data_dir, "simulated_psg", "test")
    assert not datasets.has_split(tiny_data_dir, "simulated_psg", "dev")


@pytest.mark.parametrize(("key", "value"), [("clip_seconds", 60.0), ("sfreq", 64.0)])
def test_datasets_of_other_clips_are_not_mixed(tiny_data_dir, tmp_path, key, value):
    folder = datasets.find_dataset(tiny_data_dir, "simulated_psg")
    other = tmp_path / "simulated_psg" / "1.0.0"
    shutil.copytree(folder, other)
    metadata = json.loads((other / "metadata.json").read_text())
    (other / "metadata.json").write_text(json.dumps(metadata | {key: value}))
    with pytest.raises(DatasetError, match=f"{key} is {value}, but"):
        datasets.Records([folder, other], "train")


def test_datasets_with_other_labels_train_together(tiny_data_dir, tmp_path):
    """Pretraining reads no label: one dataset may have classes and another none."""
    source = tiny_data_dir.parent / "recordings"
    with (source / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = tmp_path / "table.csv"
    with table.open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"label": "ab"[i % 2]} for i, row in enumerate(rows))
    Builder(
        source=source, data_dir=tmp_path, table=table, label_kind="classification", clip_seconds=30
    ).download_and_prepare()
    folders = [datasets.find_dataset(d, "simulated_psg") for d in (tiny_data_dir, tmp_path)]
    both = datasets.Records(folders, "train")
    assert datasets.Records(folders[1:], "train")[0].labels.shape == (2,)
    assert both[0].labels.shape == both[len(both) - 1].labels.shape == (0,)
    spec = BatchSpec((("bas", 2), ("resp", 1)), 640, both.clip_samples)
    batches = datasets.train_batches(both, spec, batch_size=len(both), seed=0, num_threads=1)
    np.testing.assert_array_equal(np.sort(next(batches)["index"]), np.arange(len(both)))
