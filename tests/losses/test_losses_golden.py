"""Losses and their gradients against the reference implementations' recorded numbers."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from sleepfm_jax.losses import classification, contrastive, survival

pytestmark = pytest.mark.real

CONTRASTIVE = {"leave_one_out": contrastive.leave_one_out, "pairwise": contrastive.pairwise}
TOLERANCE = 1e-5  # relative; of an array, to its largest entry


@pytest.fixture(scope="module")
def golden(shared):
    return functools.cache(lambda name: np.load(shared / "golden" / f"{name}.npz"))


def off(found, wanted) -> float:
    """Largest difference, relative to the largest entry."""
    wanted = np.asarray(wanted, np.float64)
    return np.abs(np.asarray(found, np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-30)


# --- contrastive ----------------------------------------------------------------------------------


@functools.cache
def with_gradients(mode, raw):
    """jitted (embeddings [M, B, D], log_scale) → (gradients of both, result)."""

    def loss(x, log_scale):
        result = CONTRASTIVE[mode](contrastive.unit_vectors(x) if raw else x, log_scale)
        return result.loss, result

    both = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    return lambda *args: jax.device_get(both(*args))


@pytest.mark.parametrize("log_scale", [0.0, 2.3])
@pytest.mark.parametrize("mode", CONTRASTIVE)
def test_contrastive_losses(golden, mode, log_scale):
    record = golden("c_contrastive_losses")
    case = f"{mode}/T{log_scale}"
    raw, unit = (
        np.stack([record[f"in/{name}{i}"] for i in range(4)]) for name in ("raw", "normalised")
    )
    m, b = unit.shape[:2]
    assert np.abs(contrastive.unit_vectors(raw) - unit).max() < 2e-7
    found = {}
    for name, x in (("raw", raw), ("normalised", unit)):
        (gradient, slope), result = with_gradients(mode, name == "raw")(x, np.float32(log_scale))
        found[name] = result
        assert off(result.loss, record[f"fp64/{case}/loss_over_B"]) < TOLERANCE
        # The reference's sum is over the batch, its mean over the 2M or M(M-1) directions.
        assert off(result.loss * b, record[f"fp64/{case}/loss_sum"]) < TOLERANCE
        assert off(slope, record[f"fp64/{case}/grad_over_B/temperature"]) < TOLERANCE
        assert off(slope * b, record[f"fp64/{case}/grad_sum/temperature"]) < TOLERANCE
        for i in range(m):
            assert off(gradient[i], record[f"{case}/grad_over_B/{name}{i}"]) < TOLERANCE
            if name == "raw":
                assert off(gradient[i] * b, record[f"{case}/grad_sum/raw{i}"]) < TOLERANCE

    wanted = record[f"fp64/{case}/pairwise_loss"]
    # As counted in the loss's own direction: the reference logs them with the axes swapped (Z4).
    hits = record[f"{case}/correct_matching_loss_direction"]
    swapped = record[f"{case}/correct"]
    for result in found.values():
        of_direction, right = result.direction_loss * b, np.round(result.accuracy * b)
        if mode == "pairwise":
            pairs = ~np.eye(m, dtype=bool)
            # [i, j, 1] is j asking for i.
            assert off(of_direction[..., 1].T[pairs], wanted[pairs]) < TOLERANCE
            np.testing.assert_array_equal(right[..., 1].T[pairs], hits[pairs])
            assert not np.array_equal(hits[pairs], swapped[pairs])
            of_direction, right = of_direction[..., 0][pairs], right[..., 0][pairs]
            wanted_here, hits_here = wanted[pairs], hits[pairs]
        else:
            wanted_here, hits_here = wanted, hits
            assert not np.array_equal(hits, swapped)
        assert off(of_direction, wanted_here) < TOLERANCE
        np.testing.assert_array_equal(right, hits_here)


# --- Cox ------------------------------------------------------------------------------------------

COX = (
    "no_ties",
    "ties",
    "one_label_all_censored",
    "all_censored",
    "all_events_same_time",
    "large_hazards",
)
TIED = ("ties", "all_events_same_time")


@functools.cache
def cox(ties):
    both = jax.jit(jax.value_and_grad(functools.partial(survival.cox_ph, ties=ties)))
    return lambda *args: jax.device_get(both(*args))


@pytest.mark.parametrize("case", COX)
def test_cox_as_published(golden, case):
    """Ours is the mean over labels with an event, the published over all of them.

    Tied times: the published code's order of them is what torch's sort happened to do, which the
    record holds. Put into that order, which a stable sort keeps, they give the published number.
    """
    record = golden("g_cox_loss")
    hazards, times, events, index = (
        record[f"{case}/{name}"] for name in ("hazards", "times", "events", "sort_index")
    )
    stable = np.argsort(-times, axis=0, kind="stable")
    assert np.array_equal(index, stable) == (case not in TIED)
    ordered = [np.take_along_axis(x, index, axis=0) for x in (hazards, times, events)]
    loss, moved = cox("reference")(*ordered)
    gradient = np.zeros_like(moved)
    np.put_along_axis(gradient, index, moved, axis=0)
    part = (events.sum(0) > 0).mean()  # of the labels
    wanted, wanted_gradient = record[f"{case}/loss64"], record[f"{case}/grad64"]
    if case == "all_censored":
        assert loss == wanted == 0
        np.testing.assert_array_equal(gradient, 0)
        return
    assert part == (0.8 if case == "one_label_all_censored" else 1)
    assert off(loss * part, wanted) < TOLERANCE
    assert off(gradient * part, wanted_gradient) < TOLERANCE
    assert off(loss * part, record[f"{case}/loss"]) < TOLERANCE
    if np.array_equal(index, stable):
        straight, straight_gradient = cox("reference")(hazards, times, events)
        assert off(straight * part, wanted) < TOLERANCE
        assert off(straight_gradient * part, wanted_gradient) < TOLERANCE


@pytest.mark.parametrize("case", COX)
def test_cox_with_breslow_ties(golden, case):
    record = golden("g_cox_loss")
    data = [record[f"{case}/{name}"] for name in ("hazards", "times", "events")]
    loss, gradient = cox("breslow")(*data)
    wanted = record[f"{case}/breslow_loss64_labels_with_events_only"]
    assert np.isfinite(gradient).all()
    assert off(loss, wanted) < TOLERANCE
    efron, _ = cox("efron")(*data)
    if case in TIED:
        assert efron < loss - 0.01
    else:
        assert off(efron, wanted) < TOLERANCE


# --- cross-entropy --------------------------------------------------------------------------------


def test_the_staging_loss(golden):
    """Weights of W, N1, N2, N3, REM; the mean over valid steps, not over their weights."""
    record = golden("g_staging_lstm")
    weights = np.array([1, 4, 2, 4, 3], np.float32)
    mask = record["out/mask"] == 0  # theirs is 1 where padded
    assert 0 < mask.sum() < mask.size
    loss, gradient = jax.value_and_grad(classification.cross_entropy)(
        record["out_floatmask/logits"], record["loss/labels"], mask, weights
    )
    assert off(loss, record["loss/value_floatmask_logits"]) < TOLERANCE
    assert off(gradient, record["loss/grad"]) < TOLERANCE
    np.testing.assert_array_equal(np.asarray(gradient)[~mask], 0)


@pytest.mark.parametrize("head", ["out2", "out6"])
def test_the_label_smoothed_loss(golden, head):
    record = golden("d_linearhead")
    loss = classification.cross_entropy(
        record[f"{head}/short/logits"], record[f"{head}/loss/labels"], label_smoothing=0.1
    )
    assert off(loss, record[f"{head}/loss/label_smoothed_ce"]) < TOLERANCE
