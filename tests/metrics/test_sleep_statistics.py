"""Sleep statistics of hypnograms that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.metrics.sleep_statistics import classes_of, sleep_statistics
from sleepfm_jax.signals import STAGES
from tests.helpers.made_nights import FOUR

W, N1, N2, N3, REM = range(5)


def test_a_night_counted_by_hand():
    # 10 min awake, N1 1, N2 9, N3 10, awake 5, N2 10, REM 10, awake 5 (until lights on): 60 min
    stages = [W] * 20 + [N1] * 2 + [N2] * 18 + [N3] * 20 + [W] * 10
    stages += [N2] * 20 + [REM] * 20 + [W] * 10
    found = sleep_statistics(np.array(stages))
    assert found == {
        "TIB": 60.0,
        "TST": 40.0,
        "SE": pytest.approx(200 / 3),
        "SOL": 10.0,
        "WASO": 10.0,  # AASM: until lights on; YASA's would be 5
        "REM_latency": 35.0,  # AASM: from sleep onset; YASA's Lat_REM would be 45
        "unscored": 0.0,
        **{"W": 20.0, "N1": 1.0, "N2": 19.0, "N3": 10.0, "REM": 10.0},
        **{"%N1": 2.5, "%N2": 47.5, "%N3": 25.0, "%REM": 25.0},
    }
    assert found["TIB"] == found["SOL"] + found["TST"] + found["WASO"]


def test_four_classes_say_the_same_of_what_they_share():
    rng = np.random.default_rng(0)
    stages = rng.integers(0, 5, 200)
    five, four = sleep_statistics(stages), sleep_statistics(classes_of(stages, FOUR), FOUR)
    for name in ("TIB", "TST", "SE", "SOL", "WASO", "REM_latency", "W", "N3", "REM", "%REM"):
        assert four[name] == five[name]
    assert four["N1+N2"] == five["N1"] + five["N2"]
    assert four["%N1+N2"] == pytest.approx(five["%N1"] + five["%N2"])


def test_unscored_ends_are_cut_and_unscored_middles_are_time_in_bed():
    inner = [W] * 4 + [N2] * 10 + [-1] * 6 + [REM] * 10 + [W] * 2
    plain = sleep_statistics(np.array(inner))
    assert sleep_statistics(np.array([-1] * 50 + inner + [-1] * 9)) == plain
    assert plain["TIB"] == 16.0 and plain["unscored"] == 3.0
    assert plain["TST"] == 10.0 and plain["SE"] == 62.5
    assert plain["REM_latency"] == 8.0  # the clock runs on
    assert plain["TIB"] == plain["SOL"] + plain["TST"] + plain["WASO"] + plain["unscored"]


def test_what_is_not_there_is_nan():
    awake = sleep_statistics(np.zeros(40, int))
    assert awake["TST"] == 0 and awake["SE"] == 0 and awake["W"] == 20
    for name in ("SOL", "WASO", "REM_latency", "%N2"):
        assert np.isnan(awake[name])
    assert np.isnan(sleep_statistics(np.array([N2] * 4))["REM_latency"])
    assert sleep_statistics(np.array([N2] * 4))["SOL"] == 0
    for nothing in ([], [-1, -1]):
        found = sleep_statistics(np.array(nothing, int))
        assert found.pop("unscored") == 0 and np.isnan(list(found.values())).all()


def test_classes_of_stages():
    stages = np.array([[0, 1, 2], [3, 4, -1]])
    assert classes_of(stages, FOUR).tolist() == [[0, 1, 1], [2, 3, -1]]
    assert classes_of(stages, STAGES).tolist() == stages.tolist()
    assert classes_of(stages, ("W", "N2", "REM")).tolist() == [[0, -1, 1], [-1, 2, -1]]
    assert classes_of(np.array([-2, -1]), FOUR).tolist() == [-1, -1]


def test_what_is_no_hypnogram_is_refused():
    with pytest.raises(ValueError, match="expected stages"):
        sleep_statistics(np.array([5]))
    with pytest.raises(ValueError, match="expected stages"):
        sleep_statistics(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="no wake"):
        sleep_statistics(np.zeros(3, int), ("N2", "REM"))
