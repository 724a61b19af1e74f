"""Views of rows: some, in another order, of some people, of all classes alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sleepfm_jax.data import examples
from sleepfm_jax.errors import DatasetError


class Rows:
    """Examples whose batch says which rows were asked for, and with which coins."""

    name, metadata = "rows", {"sfreq": 128.0}

    def __init__(self, people, recordings=None):
        self._people = list(people)
        self._recordings = recordings or ["night"] * len(self._people)

    def __len__(self):
        return len(self._people)

    def batch(self, indices, coins=None):
        return {"index": np.asarray(indices, np.int32), "coins": coins}

    def people(self):
        return set(self._people)

    def person_of(self, index):
        return self._people[index]

    def recording_of(self, index):
        return self._recordings[index]


@pytest.fixture
def rows():
    """Ten rows: four of a, three of b, two of c, one of d, mixed."""
    return Rows("abacabadbc")


def test_a_view_is_some_rows_in_its_own_order(rows):
    view = examples.View(rows, [7, 2, 2])
    assert len(view) == 3 and view.metadata is rows.metadata
    batch = view.batch(np.array([0, 1, 2, -1, 0]), "abcde")
    assert batch["index"].tolist() == [7, 2, 2, -1, 7], "rows of the base; filling stays filling"
    assert batch["coins"] == "abcde"
    assert view.people() == {"a", "d"} and view.person_of(0) == "d" and view.person_of(2) == "a"
    assert view.name == "3 of rows" and examples.View(rows, [1], "one row").name == "one row"
    for wrong in ([10], [0, -1]):
        with pytest.raises(IndexError, match="beyond the 10 rows of rows"):
            examples.View(rows, wrong)
    nothing = examples.View(rows, [])
    assert len(nothing) == 0 and nothing.people() == set()


def test_a_view_of_a_view(rows):
    inner = examples.View(rows, [9, 8, 7, 6])
    outer = examples.View(inner, (i for i in (3, 0)))
    assert outer.batch(np.array([0, 1, -1]))["index"].tolist() == [6, 9, -1]
    assert [outer.person_of(i) for i in (0, 1)] == ["a", "c"]
    assert outer.people() == {"a", "c"}


def test_spread(rows):
    assert examples.spread(rows, 10) is rows and examples.spread(rows, 99) is rows
    assert examples.spread(rows, 4).indices.tolist() == [0, 3, 6, 9]
    assert examples.spread(rows, 1).indices.tolist() == [0]
    assert len(set(examples.spread(rows, 9).indices)) == 9, "no row twice"


def sleepers(*recordings):
    """Examples of (person, clips) recordings, one after the other."""
    names = [f"night {i}" for i, (_, clips) in enumerate(recordings) for _ in range(clips)]
    return Rows([person for person, clips in recordings for _ in range(clips)], names)


def nights_of(view):
    """{recording: rows} of a view."""
    found = {}
    for i in range(len(view)):
        found[view.recording_of(i)] = found.get(view.recording_of(i), 0) + 1
    return found


def test_whole_recordings_of_people_spread_evenly():
    cohort = sleepers(*[(f"p{i}", 10) for i in range(9)])
    assert examples.whole_recordings(cohort, 90) is cohort
    view = examples.whole_recordings(cohort, 35)
    assert nights_of(view) == {"night 0": 10, "night 4": 10, "night 8": 10}
    assert view.people() == {"p0", "p4", "p8"} and (np.diff(view.indices) > 0).all()
    assert len(nights_of(examples.whole_recordings(cohort, 89))) == 8


def test_everybodys_first_recording_comes_before_anybodys_second():
    cohort = sleepers(("a", 3), ("a", 3), ("b", 4), ("b", 2), ("c", 3), ("c", 5))
    view = examples.whole_recordings(cohort, 12)
    assert nights_of(view) == {"night 0": 3, "night 2": 4, "night 4": 3}
    view = examples.whole_recordings(cohort, 15)
    assert nights_of(view) == {"night 0": 3, "night 1": 3, "night 2": 4, "night 4": 3}
    one_each = sleepers(*[(f"p{i}", 1) for i in range(100)])
    assert examples.whole_recordings(one_each, 4).indices.tolist() == [0, 33, 66, 99]


def test_two_people_at_least_whatever_the_limit():
    """Nights longer than the limit are thinned, evenly: all of the night is there."""
    cohort = sleepers(("a", 100), ("b", 100), ("c", 100))
    view = examples.whole_recordings(cohort, 8)
    assert view.people() == {"a", "c"}
    assert view.indices.tolist() == [0, 33, 66, 99, 200, 233, 266, 299]
    uneven = sleepers(("a", 3), ("b", 100))
    assert nights_of(examples.whole_recordings(uneven, 20)) == {"night 0": 3, "night 1": 10}
    alone = sleepers(("a", 100))
    assert nights_of(examples.whole_recordings(alone, 20)) == {"night 0": 20}
    assert len(examples.whole_recordings(cohort, 1)) == 1


def test_rows_of_some_people(rows):
    assert examples.with_people(rows, ["d", "c", "nobody"]).indices.tolist() == [3, 7, 9]
    assert examples.with_people(rows, ["c"]).people() == {"c"}
    assert len(examples.with_people(rows, [])) == 0


def test_a_fraction_of_people_holds_the_smaller_ones():
    many = Rows([f"p{i % 40}" for i in range(120)])
    shares = [examples.fraction_of_people(many, f, seed=3) for f in (0.01, 0.1, 0.25, 0.5, 1)]
    assert [len(share.people()) for share in shares] == [1, 4, 10, 20, 40]
    assert [len(share) for share in shares] == [3, 12, 30, 60, 120], "all rows of each"
    for smaller, larger in itertools.pairwise(shares):
        assert smaller.people() < larger.people()
    again = examples.fraction_of_people(many, 0.25, seed=3)
    assert again.indices.tolist() == shares[2].indices.tolist()
    # Who is drawn is a question of the seed and the names, not of the rows' order.
    turned = Rows(many._people[::-1])
    assert examples.fraction_of_people(turned, 0.25, seed=3).people() == again.people()
    assert examples.fraction_of_people(many, 0.25, seed=4).people() != again.people()
    for wrong in (0, -0.1, 1.01):
        with pytest.raises(DatasetError, match="above 0 and at most 1"):
            examples.fraction_of_people(many, wrong, seed=3)


def test_balanced_classes_are_as_frequent_as_the_most_frequent(rows):
    classes = np.array([0, 0, 0, 0, 0, 1, 1, 2, -1, -1])
    view = examples.balanced(rows, classes, seed=0)
    drawn = classes[view.indices]
    assert np.bincount(drawn).tolist() == [5, 5, 5] and drawn.min() == 0
    assert set(view.indices) == set(range(8)), "every known row at least once"
    assert np.bincount(view.indices)[:5].tolist() == [1] * 5, "the most frequent class as it is"
    assert view.indices.tolist() == examples.balanced(rows, classes, seed=0).indices.tolist()
    others = {tuple(examples.balanced(rows, classes, seed=s).indices) for s in range(5)}
    assert len(others) > 1
    assert len(examples.balanced(rows, np.full(10, -1), seed=0)) == 0
    with pytest.raises(ValueError, match="3 classes for 10 rows"):
        examples.balanced(rows, classes[:3], seed=0)
