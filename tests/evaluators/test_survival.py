"""The survival evaluator: a person counts once, whatever batches their rows come in."""

from __future__ import annotations

import numpy as np

from sleepfm_jax.evaluators.evaluator import FIELDS, WHOSE, flat
from sleepfm_jax.evaluators.survival import Survival
from sleepfm_jax.metrics.survival import concordance, concordance_interval

PEOPLE, ROWS = 40, 100


def rows(seed=0):
    """Rows of people who have some each; of the second event nothing is known of every third."""
    rng = np.random.default_rng(seed)
    mine = np.concatenate([np.arange(PEOPLE), rng.integers(0, PEOPLE, ROWS - PEOPLE)])
    truth = rng.standard_normal((PEOPLE, 2))
    times = rng.exponential(np.exp(-truth)).astype(np.float32)
    events = (rng.random((PEOPLE, 2)) < 0.7).astype(np.float32)
    events[::3, 1] = np.nan
    said = (truth[mine] + 0.5 * rng.standard_normal((ROWS, 2))).astype(np.float32)
    said[-1] = np.nan  # nothing was recorded
    found = {"log_hazards": said, "times": times[mine], "events": events[mine]}
    person = np.array([f"p{i:02d}" for i in mine])
    return found | {"person": person, "index": np.arange(ROWS)}, times, events


def evaluated(found, order, size, **options):
    def predict(batch):
        return {k: v[batch["index"]] for k, v in found.items()}, {"loss": (3.0, 2)}

    batches = [{"index": order[i : i + size]} for i in range(0, len(order), size)]
    return dict(Survival(("death", "stroke"), **options).run(predict, batches))


def test_figures_are_of_people():
    found, times, events = rows()
    told = evaluated(found, np.arange(ROWS), 30, intervals=True)
    mean = np.stack(
        [
            np.nanmean(found["log_hazards"][found["person"] == f"p{i:02d}"], axis=0, dtype="f8")
            for i in range(PEOPLE)
        ]
    )
    for k, label in enumerate(("death", "stroke")):
        known = np.isfinite(events[:, k])
        three = mean[known, k], times[known, k], events[known, k]
        person = np.unique(found["person"])[known]
        (low, high), _ = concordance_interval(person, *three)
        assert told["labels"][label] == {
            "concordance": concordance(*three),
            "people": known.sum(),
            "events": events[known, k].sum(),
            "low": low,
            "high": high,
        }
    each = [figure["concordance"] for figure in told["labels"].values()]
    assert told["concordance"] == np.mean(each) > 0.6 and told["loss"] == 1.5
    order = np.random.default_rng(1).permutation(ROWS)
    assert evaluated(found, order, 7, intervals=True) == told
    logged = flat("test", told)
    assert logged["test/labels_death_concordance"] == each[0] and "test/concordance" in logged


def test_what_cannot_be_had(caplog):
    found, _, _ = rows()
    found["events"] = np.zeros_like(found["events"])
    found["events"][:, 1] = np.nan
    told = evaluated(found, np.arange(ROWS), 50, intervals=True)
    assert np.isnan(told["concordance"])
    assert told["labels"]["stroke"] | {"concordance": 0} == {
        "concordance": 0,
        "people": 0,
        "events": 0,
    }
    assert "held by 0 people" in told["labels"]["death"]["reason"]
    found, _, _ = rows()
    found["log_hazards"][3, 0] = np.inf
    told = evaluated(found, np.arange(ROWS), 50)
    assert np.isnan(told["labels"]["death"]["concordance"]) and "not finite" in caplog.text
    assert told["concordance"] == told["labels"]["stroke"]["concordance"]


def test_it_asks_for_what_the_loop_gives():
    assert set(Survival.wants) <= {*FIELDS, *WHOSE, "log_hazards"}
