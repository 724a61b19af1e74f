"""The rate falls when looks bring nothing better; what says so is saved with the optimiser."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax.training import optim, plateau

OPTIMISER = configuration.defaults()["optimiser"] | {
    "name": "sgd",
    "momentum": 0.0,
    "clip_norm": 0.0,
    "warmup_steps": 0,
    "learning_rate": 1e-2,
    "schedule": "plateau",
}
FIGURES = [5, 4, 4, 4.5, 3, 3, float("nan"), 3.2, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2]


def rates(optimiser, figures, largest=False, frozen=()):
    """The rate after each figure: what an update of a gradient of 1 takes away."""
    tx = optim.optimiser(optimiser, 10, frozen)
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    state, found = tx.init(params), []
    for figure in figures:
        state = plateau.told(state, figure, optimiser, largest=largest)
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        found.append(-float(updates["b"][0]))
        if frozen:
            assert not updates["a"].any()
    return found


@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("largest", [False, True])
def test_it_falls_when_that_of_pytorch_falls(patience, largest):
    torch = pytest.importorskip("torch", reason="SKIPPED FOR WANT OF PYTORCH: no second count")
    weight = torch.nn.Parameter(torch.ones(1))
    sgd = torch.optim.SGD([weight], lr=1e-2)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        sgd,
        mode="max" if largest else "min",
        factor=0.1,
        patience=patience,
        threshold=0,
        min_lr=1e-4,
        eps=0,
    )
    wanted = []
    for figure in FIGURES:
        theirs.step(-figure if largest else figure)
        wanted.append(sgd.param_groups[0]["lr"])
    optimiser = OPTIMISER | {"plateau_patience": patience, "least_rate": 1e-4}
    figures = [-figure for figure in FIGURES] if largest else FIGURES
    np.testing.assert_allclose(rates(optimiser, figures, largest), wanted, rtol=1e-5)
    assert min(wanted) < 1e-2


def test_it_goes_with_groups_and_with_what_is_frozen():
    optimiser = OPTIMISER | {"plateau_patience": 0, "groups": (("b", 0.5),)}
    found = rates(optimiser, [1, 1, 1], frozen=("^a",))
    np.testing.assert_allclose(found, [5e-3, 5e-4, 5e-5], rtol=1e-5)


def test_its_state_is_part_of_the_optimisers_and_of_no_other_schedule():
    params = {"a": jnp.ones(2)}

    def parts(optimiser):
        state = optim.optimiser(optimiser, 10).init(params)
        leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, plateau.Plateau))
        return [part for part in leaves if isinstance(part, plateau.Plateau)]

    assert len(parts(OPTIMISER)) == 1
    assert not parts(OPTIMISER | {"schedule": "constant"})
    state = optim.optimiser(OPTIMISER, 10).init(params)
    told = plateau.told(state, 1.0, OPTIMISER, largest=False)
    assert jax.tree.structure(told) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(told), strict=True):
        assert (old.dtype, old.shape, old.sharding) == (new.dtype, new.shape, new.sharding)
