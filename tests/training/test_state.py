"""A fresh state: where everything stands, and of which types."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepfm_jax import experiment
from sleepfm_jax.training import optim
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.paths import path_string
from tests.helpers.line_objective import Line
from tests.helpers.runs import smoke


def test_a_fresh_state_has_the_types_of_a_restored_one():
    """Weak types would make a resumed run another program, compiled anew."""
    config = smoke()
    objective = experiment.make_objective(config)
    tx = optim.optimiser(config["optimiser"], 4)
    state = jax.eval_shape(lambda: train_state.create(objective, tx, 0))
    weak = [path_string(p) for p, x in jax.tree_util.tree_leaves_with_path(state) if x.weak_type]
    assert not weak
    assert {str(x.dtype) for x in jax.tree.leaves(state.params)} == {"float32"}


def test_a_state_begins_at_nought_with_its_objectives_numbers():
    tx = optax.sgd(1.0, momentum=0.9)
    state = train_state.create(Line(), tx, seed=7)
    assert (state.step, state.skipped, state.skipped_in_a_row, state.seed) == (0, 0, 0, 7)
    assert state.params == {"w": 2} and state.batch_stats == {"calls": 0}
    weak = {"w": jnp.asarray(1.0) * 2.0, "n": 3.0}
    made = train_state.of_parameters(jax.tree.map(jnp.asarray, weak), {}, tx, 2**32 - 1)
    assert made.params == {"w": 2, "n": 3} and made.seed == np.uint32(2**32 - 1)
    assert not any(x.weak_type for x in jax.tree.leaves(made))
