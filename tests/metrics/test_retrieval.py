"""Retrieval: perfect, constant, random and identity-only embeddings, absences, ties, small sets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sleepfm_jax.metrics.retrieval import retrieval

PARTS = ("within_person", "across_people", "other_people")


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _related(rng, modalities=4, clips=400, width=32, noise=0.5):
    """The same vector in every modality, plus noise."""
    shared = rng.normal(size=(clips, width))
    return _unit(shared[None] + noise * rng.normal(size=(modalities, clips, width)))


def nights(people, clips, per_person=1):
    """person and recording of `clips` clips of each of so many nights of each person."""
    person = np.repeat(np.arange(people), per_person * clips)
    recording = np.tile(np.repeat(np.arange(per_person), clips), people)
    return np.array([f"p{p}" for p in person]), np.array([f"night {r}" for r in recording])


def everybody(e, presence=None, **options):
    """Among everybody, where each clip is somebody else's."""
    here = np.ones(e.shape[:2], bool) if presence is None else presence
    clips = np.arange(e.shape[1])
    return retrieval(e, here, clips, clips, **options)["across_people"]


# --- against plain loops ------------------------------------------------------------------------


def lot(own, others):
    """Top-1 of a query: its own similarity against the others', a tie by lot."""
    if (others > own + 1e-6).any():
        return 0.0
    return 1 / (1 + (np.abs(others - own) <= 1e-6).sum())


def test_all_figures_agree_with_plain_loops():
    """Uneven nights, two of one person, absences, a tie; all valid clips are one group."""
    rng = np.random.default_rng(4)
    person = np.array(list("aaaaaaaabbbbbbcccccd"))
    night = np.array(list("11111222111111111211"))
    n = len(person)
    e = _related(rng, modalities=3, clips=n, width=8, noise=1.0)
    e[:, 3] = e[:, 2]  # a tie
    here = rng.random((3, n)) < 0.85
    here[0] = True
    got = retrieval(e, here, person, night, candidates=64)
    for m in range(3):
        asked = [i for i in range(n) if here[m, i] and here[:, i].sum() > 1]
        partner = {i: _unit(sum(e[k, i] for k in range(3) if k != m and here[k, i])) for i in asked}
        hits, by_lot, alone = ({part: [] for part in PARTS} for _ in range(3))
        for i in asked:
            same = [j for j in asked if person[j] == person[i]]
            among = {
                "within_person": [j for j in same if night[j] == night[i]],
                "across_people": asked,
                "other_people": [i] + [j for j in asked if person[j] != person[i]],
            }
            for part, candidates in among.items():
                if len(candidates) < 2:
                    continue
                others = [j for j in candidates if j != i]
                forward = np.array([e[m, i] @ partner[j] for j in others])
                backward = np.array([partner[i] @ e[m, j] for j in others])
                own = e[m, i] @ partner[i]
                hits[part].append((lot(own, forward) + lot(own, backward)) / 2)
                by_lot[part].append(1 / len(candidates))
                alone[part].append(1 / sum(person[j] == person[i] for j in candidates))
        for part in PARTS:
            found = got[part]["per_modality"][str(m)]
            assert found["top1"] == pytest.approx(np.mean(hits[part]))
            assert found["chance"] == pytest.approx(np.mean(by_lot[part]))
            assert found["identity_alone"] == pytest.approx(np.mean(alone[part]))
            assert found["clips"] == len(hits[part])
            both = found["query_to_partner"], found["partner_to_query"]
            assert found["top1"] == pytest.approx(np.mean(both))
    for part in PARTS:
        for key in ("top1", "top5", "chance", "identity_alone"):
            each = [f[key] for f in got[part]["per_modality"].values()]
            assert got[part][key] == pytest.approx(np.mean(each))
    assert got["within_person"]["nights"] + got["within_person"]["nights_left_out"] == 6

    for a, b in itertools.permutations(range(3), 2):
        asked = np.flatnonzero(here[a] & here[b])
        within, across = [], []
        for i in asked:
            for found, others in (
                (within, [j for j in asked if (person[j], night[j]) == (person[i], night[i])]),
                (across, list(asked)),
            ):
                if len(others) > 1:
                    others = [j for j in others if j != i]
                    found.append(lot(e[a, i] @ e[b, i], e[b, others] @ e[a, i]))
        found = got["modality_pairs"][f"{a}→{b}"]
        assert found["clips"] == len(asked)
        assert found["within_person"]["top1"] == pytest.approx(np.mean(within))
        assert found["across_people"]["top1"] == pytest.approx(np.mean(across))


# --- what embeddings that know one thing score --------------------------------------------------


def test_who_it_is_scores_identity_alone_and_nothing_within_a_night():
    rng = np.random.default_rng(0)
    person, night = nights(19, 60)
    e = np.repeat(_unit(rng.normal(size=(1, 19, 32))), 60, axis=1).repeat(3, axis=0)
    got = retrieval(e, np.ones((3, 1140), bool), person, night)
    within, across, others = (got[part] for part in PARTS)
    assert across["top1"] == pytest.approx(across["identity_alone"])
    assert across["identity_alone"] == pytest.approx(19 / 128, abs=1e-3)  # rarely, 18 are dealt
    assert across["chance"] == 1 / 128
    assert within["top1"] == pytest.approx(1 / 60) == within["chance"] == within["identity_alone"]
    assert others["top1"] == others["identity_alone"] == 1
    pair = got["modality_pairs"]["0→2"]
    assert pair["across_people"]["top1"] == pytest.approx(pair["across_people"]["identity_alone"])
    assert pair["within_person"]["top1"] == pytest.approx(1 / 60)


def test_the_state_alone_is_found_within_a_night_whoever_it_is():
    """Sixty states that everybody passes through once, in the same order."""
    rng = np.random.default_rng(1)
    person, night = nights(10, 60)
    e = np.tile(_unit(rng.normal(size=(1, 60, 32))), (3, 10, 1))
    got = retrieval(e, np.ones((3, 600), bool), person, night)
    assert got["within_person"]["top1"] == 1 and got["within_person"]["nights"] == 10
    assert got["within_person"]["chance"] == pytest.approx(1 / 60)
    # Of 128 clips about two are in one's own state: between a half and a third.
    assert 0.3 < got["across_people"]["top1"] < 0.6


def test_two_nights_of_a_person_are_two_nights():
    rng = np.random.default_rng(2)
    person, night = nights(3, 20, per_person=2)
    e = _related(rng, modalities=2, clips=120)
    got = retrieval(e, np.ones((2, 120), bool), person, night)["within_person"]
    assert got["nights"] == 6 and got["people"] == 3 and got["chance"] == pytest.approx(1 / 20)


def test_random_embeddings_score_chance():
    person, night = nights(20, 50)
    e = _unit(np.random.default_rng(3).normal(size=(3, 1000, 16)))
    got = retrieval(e, np.ones((3, 1000), bool), person, night)
    for part in PARTS:
        chance = got[part]["chance"]
        # 3 modalities, 1,000 clips, 2 directions; half of them as if they were dependent.
        assert got[part]["top1"] == pytest.approx(chance, abs=4 * np.sqrt(chance / 3000))
    chances = [pair["within_person"]["chance"] for pair in got["modality_pairs"].values()]
    assert len(chances) == 6 and chances == pytest.approx([1 / 50] * 6)


def test_identical_embeddings_are_always_found():
    e = np.repeat(_unit(np.random.default_rng(0).normal(size=(1, 300, 32))), 3, axis=0)
    person, night = nights(5, 60)
    got = retrieval(e, np.ones((3, 300), bool), person, night, names=("bas", "resp", "ecg"))
    for part in PARTS:
        found = got[part]
        assert found["top1"] == found["top5"] == found["median_rank"] == 1.0
        assert set(found["per_modality"]) == {"bas", "resp", "ecg"} and not found["excluded"]
    assert got["across_people"]["chance"] == 1 / 128 and got["across_people"]["candidates"] == 128
    assert set(got["modality_pairs"]) == {
        f"{a}→{b}" for a, b in itertools.permutations(("bas", "resp", "ecg"), 2)
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_embeddings_score_chance_not_one(dtype):
    e = np.tile(_unit(np.random.default_rng(1).normal(size=32)), (4, 200, 1)).astype(dtype)
    e += 1e-8 * np.random.default_rng(2).normal(size=e.shape).astype(dtype)  # rounding
    person, night = nights(8, 25)
    got = retrieval(e, np.ones((4, 200), bool), person, night)
    for part in PARTS:
        assert got[part]["top1"] == pytest.approx(got[part]["chance"])
    across = got["across_people"]
    assert across["top5"] == pytest.approx(5 / 128)
    assert across["median_rank"] == pytest.approx(64.5)


# --- among everybody ------------------------------------------------------------------------------


def test_absent_modalities_are_never_read():
    rng = np.random.default_rng(5)
    e = _related(rng)
    presence = rng.random((4, 400)) < 0.7
    presence[0] = True
    marred, other = (np.where(presence[..., None], e, value) for value in (np.nan, 7.0))
    person, night = nights(20, 20)
    found = [retrieval(x, presence, person, night) for x in (marred, other)]
    assert found[0] == found[1]


def test_a_clip_with_one_modality_is_no_query():
    rng = np.random.default_rng(6)
    presence = np.ones((2, 100), bool)
    presence[1, 60:] = False
    got = everybody(_related(rng, modalities=2, clips=100), presence, candidates=50)
    assert {f["clips"] for f in got["per_modality"].values()} == {60}


def test_fewer_clips_than_candidates_is_said():
    got = everybody(_related(np.random.default_rng(7), clips=30))
    assert got["candidates"] == 30 and got["chance"] == pytest.approx(1 / 30)


def test_lone_modality_is_excluded_with_its_reason():
    e = _related(np.random.default_rng(8), modalities=3, clips=50)
    presence = np.ones((3, 50), bool)
    presence[2, 1:] = False
    person, night = nights(5, 10)
    got = retrieval(e, presence, person, night, names=("bas", "ecg", "emg"))
    for part in PARTS:
        assert set(got[part]["per_modality"]) == {"bas", "ecg"}
    assert "1 clips" in got["excluded"]["emg"] and set(got["excluded"]) == {"emg"}
    assert set(got["modality_pairs"]) == {"bas→ecg", "ecg→bas"}
    alone = retrieval(e[:1], presence[:1], person, night)
    assert np.isnan(alone["across_people"]["top1"]) and "0" in alone["excluded"]
    assert alone["within_person"]["nights_left_out"] == 5


def test_nobody_to_be_told_from_is_nan_with_its_reason():
    e = _related(np.random.default_rng(8), modalities=2, clips=12)
    here = np.ones((2, 12), bool)
    one_person = retrieval(e, here, *nights(1, 12))
    assert one_person["within_person"]["top1"] > 0.5
    for part in PARTS[1:]:
        assert np.isnan(one_person[part]["top1"]) and set(one_person[part]["excluded"]) == {
            "0",
            "1",
        }
    single = retrieval(e, here, *nights(12, 1))
    within = single["within_person"]
    assert np.isnan(within["top1"]) and within["nights"] == 0 and within["nights_left_out"] == 12
    assert single["across_people"]["top1"] > 0.5
    assert np.isnan(single["modality_pairs"]["0→1"]["within_person"]["top1"])


def test_more_candidates_are_harder():
    e = _related(np.random.default_rng(9), noise=1.5, width=16)
    tops = [everybody(e, candidates=c)["top1"] for c in (8, 32, 128)]
    assert tops[0] > tops[1] > tops[2] > 1 / 128


def test_longer_partners_do_not_attract():
    """A clip whose modalities agree has a longer mean; it must not win for that alone."""
    rng = np.random.default_rng(10)
    e = _related(rng, modalities=3, clips=128, noise=1.0)
    agreeing = e.copy()
    agreeing[1, :8] = agreeing[2, :8]
    before = everybody(e)["per_modality"]["0"]["query_to_partner"]
    after = everybody(agreeing)["per_modality"]["0"]["query_to_partner"]
    assert abs(after - before) < 0.06


def test_seed_decides_the_deal():
    e = _related(np.random.default_rng(11), noise=2.0)
    assert everybody(e, seed=1) == everybody(e, seed=1)
    assert everybody(e, seed=1) != everybody(e, seed=2)


def test_vectors_without_a_direction_cost_their_clips_and_not_the_run():
    e = _related(np.random.default_rng(12), clips=20)
    here = np.ones((4, 20), bool)
    whose = nights(2, 10)
    assert retrieval(e, here, *whose)["clips_left_out"] == 0
    broken = e.copy()
    broken[1, 3], broken[2, 4], broken[:, 5] = np.nan, 0, np.inf
    found = retrieval(broken, here, *whose)
    assert found["clips_left_out"] == 3
    rest = [i for i in range(20) if i not in (3, 4, 5)]
    alone = retrieval(e[:, rest], here[:, rest], *(w[rest] for w in whose))
    assert alone | {"clips_left_out": 3} == found
    absent = here.copy()
    absent[1, 3] = absent[2, 4] = absent[:, 5] = False
    assert retrieval(broken, absent, *whose)["clips_left_out"] == 0  # nobody reads what is absent
    nothing = retrieval(0 * e, here, *whose)
    assert np.isnan(nothing["within_person"]["top1"]) and nothing["clips_left_out"] == 20


def test_refuses():
    e = _related(np.random.default_rng(12), clips=20)
    here = np.ones((4, 20), bool)
    whose = nights(2, 10)
    with pytest.raises(ValueError, match="expected embeddings"):
        retrieval(e, here[:, :10], *whose)
    with pytest.raises(ValueError, match="expected person and recording"):
        retrieval(e, here, whose[0][:5], whose[1])
    with pytest.raises(ValueError, match="must be >= 2"):
        retrieval(e, here, *whose, candidates=1)
    with pytest.raises(ValueError, match="3 names"):
        retrieval(e, here, *whose, names=("a", "b", "c"))


def test_people_alike_and_unpaired_are_above_chance_among_other_people_only():
    """Each modality has its own vector of each person: nothing of one says anything of another."""
    rng = np.random.default_rng(13)
    person, night = nights(5, 30)
    tops = []
    for _ in range(40):
        e = np.repeat(_unit(rng.normal(size=(2, 5, 32))), 30, axis=1)
        e = _unit(e + 0.02 * rng.normal(size=e.shape))
        got = retrieval(e, np.ones((2, 150), bool), person, night, candidates=150)
        tops.append([got[part]["top1"] for part in PARTS])
        assert got["other_people"]["chance"] == pytest.approx(1 / 121)
    within, across, others = np.mean(tops, axis=0)
    assert within == pytest.approx(1 / 30, abs=0.01) and across == pytest.approx(1 / 150, abs=0.005)
    assert 10 / 121 < others < 1 / 5 + 0.05
