"""The best checkpoint: which one is kept, and what is said about it."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training.best import KeepBest
from sleepfm_jax.training.checkpoint import open_existing

NAN, INF = float("nan"), float("inf")


def steps(folder):
    return {path.name for path in folder.iterdir() if path.name.isdigit()}


def held(value, step):
    return {"figure": "curve/loss", "value": value, "step": step}


def look(best, step, value):
    """What is held after a figure of that step."""
    figures = {} if value is None else {"curve/loss": value, "curve/other": -9.0}
    return best.look(step, figures, {"w": jnp.full(3, step)}, {"config": {}, "best": "of before"})


@pytest.mark.parametrize(
    ("largest", "figures", "wanted"),
    [
        (False, [3.0, 2.0, 2.0, 2.5], [0, 1, 1, 1]),  # the first of equals
        (True, [3.0, 2.0, 4.0, 3.5], [0, 0, 2, 2]),
        (False, [None, 2.0, NAN, -INF], [None, 1, 1, 1]),  # not looked at, or no number
    ],
)
def test_the_best_so_far_stays(tmp_path, largest, figures, wanted):
    best = KeepBest(tmp_path / "best", {"figure": "curve/loss", "largest": largest}, None)
    for step, (value, which) in enumerate(zip(figures, wanted)):
        found = look(best, step, value)
        assert found == (None if which is None else held(figures[which], which))
    best.close()
    assert steps(tmp_path / "best") == {str(wanted[-1])}
    kept = open_existing(tmp_path / "best")
    about = kept.about(wanted[-1])
    kept.close()
    assert about == {"config": {}, "best": held(figures[wanted[-1]], wanted[-1])}


def test_a_run_that_goes_on_compares_with_what_it_held(tmp_path):
    wanted = {"figure": "curve/loss", "largest": False}
    best = KeepBest(tmp_path / "best", wanted, None)
    look(best, 2, 1.0)
    best.close()
    best = KeepBest(tmp_path / "best", wanted, held(1.0, 2))
    assert look(best, 4, 1.5) == held(1.0, 2)
    assert look(best, 6, 0.5) == held(0.5, 6)
    best.close()
    assert steps(tmp_path / "best") == {"6"}
    # Killed after that save and before the next of the run: step 6 is done again.
    best = KeepBest(tmp_path / "best", wanted, held(1.0, 2))
    assert look(best, 6, 0.5) == held(0.5, 6)
    best.close()
    assert steps(tmp_path / "best") == {"6"}


def test_what_was_held_of_another_figure_says_nothing(tmp_path):
    best = KeepBest(tmp_path / "best", {"figure": "curve/other", "largest": True}, held(1.0, 2))
    assert look(best, 4, 0.5) == {"figure": "curve/other", "value": -9.0, "step": 4}
    best.close()


def test_a_figure_that_its_evaluator_does_not_give_is_refused(tmp_path):
    best = KeepBest(tmp_path / "best", {"figure": "curve/los", "largest": False}, None)
    with pytest.raises(ConfigError, match="'curve/los'; expected one of curve/loss, curve/other"):
        look(best, 0, 1.0)
    best.close()


def test_without_a_figure_nothing_is_kept(tmp_path):
    best = KeepBest(tmp_path / "best", {"figure": "", "largest": False}, None)
    assert look(best, 1, 1.0) is None
    best.close()
    assert not list(tmp_path.iterdir())
