"""The stream is a function of seed and step, whoever loads it and wherever it goes on."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from sleepfm_jax.data import stream
from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.data.examples import spread
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals.layout import Layout
from tests.helpers.records import NumberedRecords

LAYOUT = Layout((("bas", 3), ("ecg", 1)), patch_samples=10)


def clips(count):
    """Examples with more EEG channels than slots, so that there is something to draw."""
    return ClipExamples(NumberedRecords(count, modalities=("bas",) * 5 + ("ecg",)), LAYOUT)


def training(count=11, **options):
    defaults = {"batch_size": 4, "seed": 3, "num_threads": 2, "prefetch": 2}
    return stream.training(clips(count), **(defaults | options))


def first(steps, start=0, **options):
    """The first batches of a run, from `start` by its saved state."""
    batches = training(**options)
    if start:
        batches.set_state({"next_index": start})
    return [next(batches) for _ in range(steps)]


def joined(parts):
    """Batches of rows → one batch."""
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        np.testing.assert_array_equal(value, wanted[key], err_msg=key)
        assert value.dtype == wanted[key].dtype


# --- training -------------------------------------------------------------------------------------


def test_the_stream_is_a_function_of_seed_and_step():
    wanted = first(7)
    for found in (first(7), first(7, num_threads=1, prefetch=1), first(7, num_threads=0)):
        for a, b in zip(found, wanted):
            assert_same(a, b)
    later = first(3, start=4)
    for a, b in zip(later, wanted[4:]):
        assert_same(a, b)
    other = first(7, seed=4)
    assert any(not np.array_equal(a["index"], b["index"]) for a, b in zip(other, wanted))


def test_each_pass_shows_every_clip_once_in_another_order():
    batches = first(6, count=12)
    passes = [np.concatenate([b["index"] for b in batches[i : i + 3]]) for i in (0, 3)]
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.arange(12))
        assert not np.array_equal(order, np.arange(12))
    assert not np.array_equal(*passes)


def test_what_is_left_of_a_pass_is_left_out():
    batches = first(8, count=11)
    for start in range(0, 8, 2):
        order = np.concatenate([b["index"] for b in batches[start : start + 2]])
        assert len(set(order.tolist())) == 8, "distinct within a pass of two batches"


def test_a_row_holds_the_clip_that_index_says():
    for batch in first(3):
        np.testing.assert_array_equal(batch["signals"][:, 3, 0], 500 + batch["index"])


def test_channels_are_chosen_anew_in_each_pass():
    chosen = {}
    for batch in first(24, count=4):
        for row, index in enumerate(batch["index"]):
            chosen.setdefault(int(index), set()).add(tuple(batch["signals"][row, :3, 0]))
    assert min(len(c) for c in chosen.values()) > 3


@pytest.mark.parametrize("parts", [[[0, 1], [2, 3]], [[0], [1], [2], [3]], [[0, 1, 2], [3]]])
def test_processes_share_the_stream_of_one(parts):
    """Rows of processes, also of unlike numbers, are the rows of the whole batch."""
    whole = first(5)
    shares = [first(5, rows=np.array(rows)) for rows in parts]
    for step, batch in enumerate(whole):
        assert_same(joined([share[step] for share in shares]), batch)


def test_processes_may_hold_the_same_rows():
    """A mesh axis other than data that spans processes: both load, and draw, the same."""
    whole = first(3)
    for rows in ([1, 2], [2, 3], [0, 1, 2, 3]):
        for batch, wanted in zip(first(3, rows=np.array(rows)), whole):
            assert_same(batch, {key: value[rows] for key, value in wanted.items()})


@pytest.mark.parametrize("options", [{}, {"distinct_rows": False, "count": 3}])
def test_a_saved_state_continues_the_stream_on_any_number_of_processes(options):
    one = training(prefetch=3, **options)
    for _ in range(3):
        next(one)
    state = json.loads(json.dumps(one.get_state()))  # as a checkpoint keeps it
    assert state == {"next_index": 3}
    wanted = [next(one) for _ in range(4)]
    for parts in ([[0, 1, 2, 3]], [[0, 1], [2, 3]]):
        shares = [training(rows=np.array(rows), prefetch=3, **options) for rows in parts]
        for share in shares:
            share.set_state(state)
            assert share.get_state() == state
        for batch in wanted:
            assert_same(joined([next(share) for share in shares]), batch)


def test_a_batch_must_be_there():
    with pytest.raises(DatasetError, match="numbered has 3 clips, fewer than one batch of 4"):
        training(count=3)
    assert len(next(training(count=4))["index"]) == 4
    with pytest.raises(DatasetError, match="has 0 clips"):
        training(count=0, distinct_rows=False)


def test_rows_that_need_not_be_distinct_follow_one_another_pass_by_pass():
    """Three clips in batches of four: a batch goes on where the pass before it ended."""
    order = np.concatenate([b["index"] for b in first(6, count=3, distinct_rows=False)])
    passes = order.reshape(8, 3)
    np.testing.assert_array_equal(np.sort(passes, axis=1), [[0, 1, 2]] * 8)
    assert len({tuple(p) for p in passes.tolist()}) > 1, "each pass has its own order"
    order = np.concatenate([b["index"] for b in first(11, count=11, distinct_rows=False)])
    for show in order.reshape(4, 11):
        np.testing.assert_array_equal(np.sort(show), np.arange(11))  # nothing is left out


def test_repeated_rows_draw_for_themselves():
    batch = next(training(count=1, distinct_rows=False, batch_size=32))
    assert (batch["index"] == 0).all()
    assert len({tuple(row) for row in batch["signals"][:, :3, 0]}) > 5


def test_grain_has_nothing_to_warn_of(caplog, monkeypatch):
    """It warns through absl of threads that no batch waits for."""
    monkeypatch.setattr(logging.getLogger("absl"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        next(stream.training(clips(4), batch_size=4, seed=0))
        next(stream.one_pass(clips(4), batch_size=4))
        next(training(num_threads=9, prefetch=2))
    assert [record.getMessage() for record in caplog.records] == []


# --- one pass -------------------------------------------------------------------------------------


def one_pass(count, parts=((0, 1, 2, 3),), **options):
    """Batches of four as all processes together load them."""
    shares = [
        list(stream.one_pass(clips(count), batch_size=4, rows=np.array(rows), **options))
        for rows in parts
    ]
    assert len({len(share) for share in shares}) == 1
    return [joined(together) for together in zip(*shares)]


@pytest.mark.parametrize("parts", [[[0, 1, 2, 3]], [[0, 1], [2, 3]], [[0], [1, 2, 3]]])
def test_one_pass_shows_everything_once_and_fills_up_with_masked_rows(parts):
    batches = one_pass(10, parts)
    index = np.concatenate([b["index"] for b in batches])
    np.testing.assert_array_equal(index, [*range(10), -1, -1])
    for batch in batches:
        assert batch["signals"].shape == (4, 4, 40)
        real = batch["index"] >= 0
        assert batch["mask"][real].any((1, 2)).all() and not batch["mask"][~real].any()
        np.testing.assert_array_equal(batch["signals"][real, 3, 0], 500 + batch["index"][real])
        # Nothing is drawn: the even choice among five channels.
        np.testing.assert_array_equal(
            batch["signals"][real, :3, 0], np.array([0, 200, 400]) + batch["index"][real][:, None]
        )


@pytest.mark.parametrize("parts", [[[0, 1, 2, 3]], [[0, 1], [2, 3]]])
def test_fewer_records_than_a_batch_are_one_batch(parts):
    (batch,) = one_pass(1, parts)  # the second process has nothing but filling
    np.testing.assert_array_equal(batch["index"], [0, -1, -1, -1])
    np.testing.assert_array_equal(batch["mask"].any((1, 2)), [True, False, False, False])


def test_whole_batches_need_no_filling_and_nothing_gives_none():
    assert [b["index"].tolist() for b in one_pass(8)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(stream.one_pass(clips(0), batch_size=4)) == []


def test_a_pass_over_a_view_is_spread_over_the_split():
    (batch,) = stream.one_pass(spread(clips(21), 4), batch_size=4)
    np.testing.assert_array_equal(batch["index"], [0, 6, 13, 20])
    np.testing.assert_array_equal(batch["signals"][:, 3, 0], 500 + batch["index"])
    filled = stream.one_pass(spread(clips(21), 5), batch_size=4)
    assert [b["index"].tolist() for b in filled] == [[0, 5, 10, 15], [20, -1, -1, -1]]
