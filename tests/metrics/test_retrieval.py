"""Retrieval: perfect, constant and random embeddings, absences, ties and small sets."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.metrics.retrieval import retrieval


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _related(rng, modalities=4, clips=400, width=32, noise=0.5):
    """The same vector in every modality, plus noise."""
    shared = rng.normal(size=(clips, width))
    return _unit(shared[None] + noise * rng.normal(size=(modalities, clips, width)))


def test_identical_embeddings_are_always_found():
    e = np.repeat(_unit(np.random.default_rng(0).normal(size=(1, 300, 32))), 3, axis=0)
    got = retrieval(e, np.ones((3, 300), bool), names=("bas", "resp", "ecg"))
    assert got["top1"] == got["top5"] == got["median_rank"] == 1.0
    assert got["chance"] == 1 / 128 and got["candidates"] == 128
    assert set(got["per_modality"]) == {"bas", "resp", "ecg"} and not got["excluded"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_embeddings_score_chance_not_one(dtype):
    e = np.tile(_unit(np.random.default_rng(1).normal(size=32)), (4, 200, 1)).astype(dtype)
    e += 1e-8 * np.random.default_rng(2).normal(size=e.shape).astype(dtype)  # rounding
    got = retrieval(e, np.ones((4, 200), bool))
    assert got["top1"] == pytest.approx(1 / 128)
    assert got["top5"] == pytest.approx(5 / 128)
    assert got["median_rank"] == pytest.approx(64.5)


def test_unrelated_embeddings_score_chance():
    e = _unit(np.random.default_rng(3).normal(size=(3, 1280, 16)))
    got = retrieval(e, np.ones((3, 1280), bool), candidates=16)
    assert got["top1"] == pytest.approx(1 / 16, abs=0.01)
    assert got["median_rank"] == pytest.approx(8.5, abs=1)


def test_agrees_with_a_plain_loop_over_one_group():
    rng = np.random.default_rng(4)
    e = _related(rng, modalities=3, clips=40, width=8, noise=1.5)
    got = retrieval(e, np.ones((3, 40), bool), candidates=40)
    for m in range(3):
        partner = _unit((e.sum(axis=0) - e[m]) / 2)
        right = []
        for i in range(40):
            right.append(np.argmax(partner @ e[m, i]) == i)
            right.append(np.argmax(e[m] @ partner[i]) == i)
        assert got["per_modality"][str(m)]["top1"] == pytest.approx(np.mean(right))


def test_absent_modalities_are_never_read():
    rng = np.random.default_rng(5)
    e = _related(rng)
    presence = rng.random((4, 400)) < 0.7
    presence[0] = True
    marred = np.where(presence[..., None], e, np.nan)
    assert retrieval(marred, presence) == retrieval(np.where(presence[..., None], e, 7.0), presence)


def test_a_clip_with_one_modality_is_no_query():
    rng = np.random.default_rng(6)
    presence = np.ones((2, 100), bool)
    presence[1, 60:] = False
    got = retrieval(_related(rng, modalities=2, clips=100), presence, candidates=50)
    assert {f["clips"] for f in got["per_modality"].values()} == {60}


def test_fewer_clips_than_candidates_is_said():
    got = retrieval(_related(np.random.default_rng(7), clips=30), np.ones((4, 30), bool))
    assert got["candidates"] == 30 and got["chance"] == pytest.approx(1 / 30)


def test_lone_modality_is_excluded_with_its_reason():
    e = _related(np.random.default_rng(8), modalities=3, clips=50)
    presence = np.ones((3, 50), bool)
    presence[2, 1:] = False
    got = retrieval(e, presence, names=("bas", "ecg", "emg"))
    assert set(got["per_modality"]) == {"bas", "ecg"}
    assert "1 clips" in got["excluded"]["emg"]
    alone = retrieval(e[:1], presence[:1])
    assert np.isnan(alone["top1"]) and alone["candidates"] == 0 and "0" in alone["excluded"]


def test_more_candidates_are_harder():
    e = _related(np.random.default_rng(9), noise=1.5, width=16)
    tops = [retrieval(e, np.ones((4, 400), bool), candidates=c)["top1"] for c in (8, 32, 128)]
    assert tops[0] > tops[1] > tops[2] > 1 / 128


def test_longer_partners_do_not_attract():
    """A clip whose modalities agree has a longer mean; it must not win for that alone."""
    rng = np.random.default_rng(10)
    e = _related(rng, modalities=3, clips=128, noise=1.0)
    agreeing = e.copy()
    agreeing[1, :8] = agreeing[2, :8]
    here = np.ones((3, 128), bool)
    before = retrieval(e, here)["per_modality"]["0"]["query_to_partner"]
    after = retrieval(agreeing, here)["per_modality"]["0"]["query_to_partner"]
    assert abs(after - before) < 0.06


def test_seed_decides_the_deal():
    e = _related(np.random.default_rng(11), noise=2.0)
    here = np.ones((4, 400), bool)
    assert retrieval(e, here, seed=1) == retrieval(e, here, seed=1)
    assert retrieval(e, here, seed=1) != retrieval(e, here, seed=2)


def test_vectors_without_a_direction_cost_their_clips_and_not_the_run():
    e = _related(np.random.default_rng(12), clips=20)
    here = np.ones((4, 20), bool)
    assert retrieval(e, here)["clips_left_out"] == 0
    broken = e.copy()
    broken[1, 3], broken[2, 4], broken[:, 5] = np.nan, 0, np.inf
    found = retrieval(broken, here)
    assert found["clips_left_out"] == 3
    rest = [i for i in range(20) if i not in (3, 4, 5)]
    alone = retrieval(e[:, rest], here[:, rest])
    assert alone | {"clips_left_out": 3} == found
    absent = here.copy()
    absent[1, 3] = absent[2, 4] = absent[:, 5] = False
    assert retrieval(broken, absent)["clips_left_out"] == 0  # nobody reads what is absent
    nothing = retrieval(0 * e, here)
    assert np.isnan(nothing["top1"]) and nothing["clips_left_out"] == 20


def test_refuses():
    e = _related(np.random.default_rng(12), clips=20)
    here = np.ones((4, 20), bool)
    with pytest.raises(ValueError, match="expected embeddings"):
        retrieval(e, here[:, :10])
    with pytest.raises(ValueError, match="must be >= 2"):
        retrieval(e, here, candidates=1)
    with pytest.raises(ValueError, match="3 names"):
        retrieval(e, here, names=("a", "b", "c"))
