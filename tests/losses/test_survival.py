"""Cox's loss against float64 loops written from its definitions."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.losses import survival

B, K = 13, 4


@functools.cache
def cox(ties):
    """jitted (hazards, times, events, valid) → (loss, gradient), as NumPy."""

    def loss(hazards, times, events, valid):
        return survival.cox_ph(hazards, times, events, ties, valid)

    both = jax.jit(jax.value_and_grad(loss))

    def run(hazards, times, events, valid=None):
        valid = np.ones(hazards.shape, bool) if valid is None else valid
        return jax.device_get(both(hazards, times, events, valid))

    return run


def cox_by_definition(hazards, times, events, ties, valid=None):
    """(loss, gradient) in float64: a loop over labels, times and the events at each."""
    hazards = np.asarray(hazards, np.float64)
    valid = np.ones(hazards.shape, bool) if valid is None else valid
    label_losses, gradient = [], np.zeros(hazards.shape)
    for k in range(hazards.shape[1]):
        rows = np.flatnonzero(valid[:, k])
        h, t, e = hazards[rows, k], times[rows, k], events[rows, k] != 0
        if not e.any():
            continue
        total, slope = 0.0, np.zeros(len(h))
        place = np.argsort(np.argsort(-t, kind="stable"))
        for time in np.unique(t[e]):
            dying = np.flatnonzero(e & (t == time))
            for i, own in enumerate(dying):
                at_risk = place <= place[own] if ties == "reference" else t >= time
                top = h[at_risk].max()
                weight = np.where(at_risk, np.exp(np.minimum(h - top, 0)), 0)
                if ties == "efron":
                    weight[dying] *= 1 - i / len(dying)
                total += np.log(weight.sum()) + top - h[own]
                slope += weight / weight.sum()
                slope[own] -= 1
        label_losses.append(total / e.sum())
        gradient[rows, k] = slope / e.sum()
    count = max(len(label_losses), 1)
    return sum(label_losses) / count, gradient / count


def simulated(seed, times="some ties", rate=0.6, scale=1.0):
    rng = np.random.default_rng(seed)
    hazards = (scale * rng.standard_normal((B, K))).astype(np.float32)
    t = {
        "no ties": lambda: np.stack([rng.permutation(B) for _ in range(K)], axis=1) * 0.37,
        "some ties": lambda: rng.integers(0, 5, (B, K)),
        "all tied": lambda: np.full((B, K), 2.5),
    }[times]()
    return hazards, t.astype(np.float32), (rng.random((B, K)) < rate).astype(np.int32)


def close(found, wanted, rtol=1e-5):
    """Relative to the largest entry: a gradient's small ones are differences of large ones."""
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max())


@pytest.mark.parametrize("times", ["no ties", "some ties", "all tied"])
@pytest.mark.parametrize("ties", survival.TIES)
def test_cox_is_its_definition(ties, times):
    for seed, rate in enumerate((0.1, 0.3, 0.6, 0.9, 1.0)):
        data = simulated(seed, times, rate)
        loss, gradient = cox(ties)(*data)
        wanted, wanted_gradient = cox_by_definition(*data, ties)
        close(loss, wanted)
        close(gradient, wanted_gradient)


def test_three_deaths_at_once_by_hand():
    """Equal hazards: Efron's risk sets hold 13, 12 and 11 of them, Breslow's 13 three times."""
    hazards = np.zeros((B, K), np.float32)
    times = np.ones((B, K), np.float32)
    times[3:] = 2
    events = np.zeros((B, K), np.int32)
    events[:3] = 1
    loss, _ = cox("efron")(hazards, times, events)
    np.testing.assert_allclose(loss, (np.log(13) + np.log(12) + np.log(11)) / 3, rtol=1e-6)
    loss, _ = cox("breslow")(hazards, times, events)
    np.testing.assert_allclose(loss, np.log(13), rtol=1e-6)


def test_without_ties_all_agree():
    data = simulated(7, "no ties")
    loss, gradient = cox("breslow")(*data)
    for ties in ("efron", "reference"):
        other, other_gradient = cox(ties)(*data)
        np.testing.assert_allclose(other, loss, rtol=1e-6)
        np.testing.assert_allclose(other_gradient, gradient, atol=1e-7)


def test_with_ties_they_differ():
    data = simulated(7, "some ties")
    found = {ties: float(cox(ties)(*data)[0]) for ties in survival.TIES}
    assert found["breslow"] > found["efron"] > 0
    assert abs(found["reference"] - found["breslow"]) > 1e-2


@pytest.mark.parametrize("times", ["no ties", "some ties", "all tied"])
@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_the_order_of_the_batch_does_not_matter(ties, times):
    data = simulated(11, times)
    loss, gradient = cox(ties)(*data)
    rng = np.random.default_rng(0)
    for _ in range(10):
        order = rng.permutation(B)
        moved, moved_gradient = cox(ties)(*(x[order] for x in data))
        np.testing.assert_allclose(moved, loss, rtol=1e-6)
        np.testing.assert_allclose(moved_gradient, gradient[order], atol=1e-6)


def test_the_reference_depends_on_the_order_of_the_batch():
    """Each of n equal hazards that die at once has those before it at risk: mean log(1 … n)."""
    hazards, times, events = simulated(3, "all tied", rate=1.0)
    loss, _ = cox("reference")(np.zeros_like(hazards), times, events)
    np.testing.assert_allclose(loss, np.log(np.arange(1, B + 1)).mean(), rtol=1e-6)
    one, other = (cox("reference")(x, times, events)[0] for x in (hazards, hazards[::-1]))
    assert abs(one - other) > 1e-3


@pytest.mark.parametrize("ties", survival.TIES)
def test_labels_without_an_event_are_left_out(ties):
    hazards, times, events = simulated(5)
    events[:, 1] = 0
    loss, gradient = cox(ties)(hazards, times, events)
    wanted, wanted_gradient = cox_by_definition(hazards, times, events, ties)
    close(loss, wanted)
    close(gradient, wanted_gradient)
    np.testing.assert_array_equal(gradient[:, 1], 0)
    moved, _ = cox(ties)(hazards + np.array([0, 50, 0, 0], np.float32), times, events)
    assert moved == loss

    loss, gradient = cox(ties)(hazards, times, np.zeros_like(events))
    assert loss == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("ties", survival.TIES)
@pytest.mark.parametrize("scale", [100.0, 1e4])
def test_large_hazards_stay_finite(ties, scale):
    data = simulated(2, scale=scale)
    loss, gradient = cox(ties)(*data)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    wanted, wanted_gradient = cox_by_definition(*data, ties)
    close(loss, wanted)
    close(gradient, wanted_gradient)


@pytest.mark.parametrize("times", ["some ties", "all tied"])
@pytest.mark.parametrize("ties", survival.TIES)
def test_rows_that_do_not_count_may_hold_anything(ties, times):
    """Padding rows of the batch, and labels unknown in some rows."""
    plain = simulated(9, times)
    valid = np.random.default_rng(9).random((B, K)) < 0.7
    valid[[2, 12]] = False
    spoiled = [x.astype(np.float32) for x in plain]
    for x, rubbish in zip(spoiled, (np.nan, np.inf, 1)):
        x[~valid] = rubbish
    spoiled[1][2] = np.nan
    wanted, wanted_gradient = cox_by_definition(*plain, ties, valid)
    for data in (spoiled, plain):  # the latter: tied with rows that count
        loss, gradient = cox(ties)(*data, valid)
        close(loss, wanted)
        close(gradient, wanted_gradient)
        np.testing.assert_array_equal(gradient[~valid], 0)
    loss, gradient = cox(ties)(*spoiled, np.zeros((B, K), bool))
    assert loss == 0 and not gradient.any()


def test_one_time_and_one_mask_for_all_labels():
    hazards, times, events = simulated(10)
    row, valid = times[:, 0], np.arange(B) % 3 != 1
    found, _ = cox("efron")(hazards, row, events, valid)
    wanted, _ = cox_by_definition(
        hazards, np.tile(row[:, None], K), events, "efron", np.tile(valid[:, None], K)
    )
    close(found, wanted)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_times_of_any_type(dtype):
    hazards, times, events = simulated(4)
    wanted, _ = cox_by_definition(hazards, times, events, "efron")
    value = jax.jit(survival.cox_ph, static_argnums=3)
    loss = value(hazards, times.astype(dtype), events.astype(bool), "efron")
    close(loss, wanted)


def test_float32_unless_the_arrays_are_float64():
    hazards, times, events = simulated(6)
    exact = hazards.astype(np.float64)

    def dtype(function, *args):
        return jax.eval_shape(function, *args).dtype

    assert dtype(survival.cox_ph, hazards, times, events) == jnp.float32
    assert dtype(survival.cox_ph, jnp.asarray(hazards, jnp.bfloat16), times, events) == jnp.float32
    with jax.enable_x64(True):
        assert dtype(survival.cox_ph, hazards, times, events) == jnp.float32
        assert dtype(survival.cox_ph, exact, times, events) == jnp.float64
        loss = jax.jit(survival.cox_ph, static_argnums=3)(exact, times, events, "efron")
        close(loss, cox_by_definition(hazards, times, events, "efron")[0], rtol=1e-14)


def test_cox_says_what_is_wrong():
    hazards, times, events = simulated(0)
    with pytest.raises(ValueError, match=r"ties must be one of breslow, efron, reference, not 'ef"):
        survival.cox_ph(hazards, times, events, "efrron")
    with pytest.raises(ValueError, match=r"hazards and events must be \[B, K\]"):
        survival.cox_ph(hazards, times, events[:, 0])
    with pytest.raises(ValueError, match=r"times must be \[B, K\] or \[B\] of \(13, 4\), got \(4,"):
        survival.cox_ph(hazards, times[0], events)
    with pytest.raises(ValueError, match=r"valid must be"):
        survival.cox_ph(hazards, times, events, valid=np.ones((B, 1), bool))
