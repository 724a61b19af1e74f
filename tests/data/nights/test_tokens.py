"""Nights of tokens: each token stands where its patch was recorded; made once, and kept."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from sleepfm_jax.data.nights import tokens
from sleepfm_jax.data.nights.tokens import TokenMaker, TokenNights, clip_slots
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.signals.token_layout import TokenLayout
from tests.helpers.nights import SFREQ, RecordsInMemory, recording

PATCH = round(5 * SFREQ)
ON_CHANNELS = TokenLayout(("ABD", "ECG", "PPG"), 3, 6, sleep_epochs=10, longest=28)
ON_MODALITIES = TokenLayout(
    ("ECG", "RESP"), 3, 6, (("resp", 2), ("ecg", 1)), sleep_epochs=10, longest=28
)


class Records(RecordsInMemory):
    """With what tells a dataset from others, and the clips' length."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.folders = ["even", "odd"]
        self.clip_samples = round(SFREQ * self.metadata["clip_seconds"])


class Encoder:
    """A token is (mean, largest value, number of channels) of its patch."""

    def __init__(self, layout):
        self.ends, self.calls = np.cumsum([n for _, n in clip_slots(layout)]), 0
        if not layout.slots:
            self.ends = np.arange(1, len(layout.names) + 1)

    def __call__(self, batch):
        self.calls += 1
        x = batch["signals"] * batch["scale"][..., None]
        patches = x.reshape(*x.shape[:2], -1, PATCH)  # [B, C, S, P]
        found, masks = [], []
        for begin, end in zip([0, *self.ends], self.ends):
            mask = batch["mask"][:, begin:end]  # [B, n, S]
            mean = patches[:, begin:end].mean((1, 3))
            largest = patches[:, begin:end].max((1, 3))
            found.append(np.stack([mean, largest, mask.sum(1)], -1))
            masks.append(mask.any(1))
        return np.stack(found, 1).astype(np.float32), np.stack(masks, 1)


@pytest.fixture(autouse=True)
def built(monkeypatch):
    monkeypatch.setattr(tokens, "fingerprint_of_folder", lambda folder: f"build of {folder}")


def nights(layout, folder, records=None, **options):
    records = records or Records([recording(8), recording(13, labels=("ABD", "THX"), seed=1)])
    encoder = Encoder(layout)
    clips = Layout(clip_slots(layout), PATCH)
    maker = TokenMaker(clips, encoder, "weights", folder, records.metadata, batch_size=3)
    return TokenNights(records, layout, dataclasses.replace(maker, **options)), encoder


def test_tokens_of_channels_stand_where_they_were_recorded(tmp_path):
    found, encoder = nights(ON_CHANNELS, tmp_path)
    assert len(found) == 2 and found.sleep_epochs == 14
    batch = found.batch(np.array([0, 1, -1]))
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        "tokens": ((3, 14, 3, 6, 3), np.float32),
        "token_mask": ((3, 14, 3, 6), bool),
        "present": ((3, 3), bool),
        "epoch_mask": ((3, 14), bool),
        "stages": ((3, 14), np.int32),
        "index": ((3,), np.int32),
    }
    np.testing.assert_array_equal(batch["present"], [[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(batch["epoch_mask"].sum(1), [8, 13, 0])
    np.testing.assert_array_equal(batch["stages"][0, :8], np.arange(8) % 5)
    np.testing.assert_array_equal(
        batch["token_mask"],
        (batch["present"][:, None] & batch["epoch_mask"][..., None])[..., None] & np.ones(6, bool),
    )
    assert encoder.calls == 2 + 3  # 4 and 7 clips, three at once
    for clip in (found.records[i] for i in range(4)):
        names = list(clip.channel_names)
        for place, name in enumerate(ON_CHANNELS.names):
            i = names.index(name)
            x = (clip.signals[i] * clip.scale[i]).reshape(2, 6, PATCH)
            at = round(clip.start / 30)
            mine = batch["tokens"][0, at : at + 2, place]
            np.testing.assert_allclose(mine[..., 0], x.mean(-1), rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(mine[..., 2], 1)
    assert not batch["tokens"][~batch["token_mask"]].any()


def test_tokens_of_modalities_are_in_the_layouts_order(tmp_path):
    found, _ = nights(ON_MODALITIES, tmp_path)
    batch = found.batch(np.array([0, 1]))
    np.testing.assert_array_equal(batch["present"], [[1, 1], [0, 1]])
    np.testing.assert_array_equal(batch["tokens"][0, 0, :, 0, 2], [1, 2])  # ECG; ABD and THX


def test_training_rows_are_stretches_that_coins_draw(tmp_path):
    found, _ = nights(ON_CHANNELS, tmp_path)
    whole = found.batch(np.array([1]))
    drawn = [found.batch(np.array([1]), [(0, 0, seed)]) for seed in range(6)]
    starts = set()
    for batch in drawn:
        assert batch["tokens"].shape[1] == 10
        same = [
            start
            for start in range(4)
            if np.array_equal(batch["tokens"][0], whole["tokens"][0, start : start + 10])
        ]
        assert len(same) == 1
        starts.update(same)
    assert len(starts) > 1


def test_tokens_are_made_once_for_all_runs(tmp_path):
    found, encoder = nights(ON_CHANNELS, tmp_path)
    first = found.batch(np.array([0, 1]))
    calls = encoder.calls
    again, other = nights(ON_CHANNELS, tmp_path)
    for name, value in again.batch(np.array([0, 1])).items():
        np.testing.assert_array_equal(value, first[name], err_msg=name)
    assert calls and other.calls == 0
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    os.truncate(files[0], 100)  # as by a full disk: made again
    again, other = nights(ON_CHANNELS, tmp_path)
    again.batch(np.array([0, 1]))
    assert 0 < other.calls < calls and len(list(tmp_path.iterdir())) == 2
    again, other = nights(ON_CHANNELS, tmp_path, fingerprint="other weights")
    again.batch(np.array([0, 1]))
    assert other.calls == calls and len(list(tmp_path.iterdir())) == 4


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"a sleep_epoch has 6, but config.model.tokens is 5"):
        nights(dataclasses.replace(ON_CHANNELS, tokens=5), tmp_path)
    records = Records([recording(8)], clip_seconds=33.0)
    found, _ = nights(ON_CHANNELS, tmp_path, records)
    with pytest.raises(DatasetError, match="between two tokens of 5 s"):
        found.batch(np.array([0]))
    other = {"sfreq": 128.0, "preprocessing": ""}
    with pytest.raises(DatasetError, match=r"config.data.encoder has 128"):
        nights(ON_CHANNELS, tmp_path, metadata=other)
    belts = Records([recording(8, labels=("THX",), sfreqs=(16.0,))])
    with pytest.raises(DatasetError, match="no night has any of ABD, ECG, PPG"):
        nights(ON_CHANNELS, tmp_path, belts)
