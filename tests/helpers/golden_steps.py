"""Recorded training steps of the references, against those of the loop's own step function."""

from __future__ import annotations

import collections

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sleepfm_jax.training.step import means, step_function


def three_steps(objective, tx, state, batch):
    """The states after each step; losses; norms of the gradients."""
    states, said = [], []
    with jax.default_matmul_precision("highest"):
        step = jax.jit(step_function(objective, tx))
        for _ in range(3):
            state, metrics = step(state, batch)
            states.append(state)
            said.append(means(metrics))
    assert {int(state.skipped) for state in states} == {0}
    return states, [m["loss"] for m in said], [m["grad_norm"] for m in said]


def first_gradients(start, after):
    """Of a step of Adam from nothing: its first moments are a tenth of them; zeros where frozen."""

    def whole(moment, like):
        return jnp.zeros_like(like) if isinstance(moment, optax.MaskedNode) else 10 * moment

    moments = optax.tree.get(after.opt_state, "mu")
    return jax.tree.map(
        whole, moments, start.params, is_leaf=lambda x: isinstance(x, optax.MaskedNode)
    )


def compare(golden, variant, found, steps, limit):
    """What the loop made against what is recorded: `found` has gradients, parameters before and
    after and statistics under the published names."""
    losses, norms = steps
    want = golden[f"{variant}/loss_steps64"]
    np.testing.assert_array_less(np.abs(losses / want - 1), limit["losses"], err_msg="losses")
    want = golden[f"{variant}/grad_norm_steps64"]
    np.testing.assert_array_less(np.abs(norms / want - 1), limit["norms"], err_msg="norms")
    zero = f"{variant}/zero_grad_params"
    # A step of Adam makes a whole step of the rounding of gradients that are none.
    none = set(golden[zero] if zero in golden.files else ()) | {"extended_classifier.1.bias"}
    changes, checked = [], collections.Counter()
    for key in golden.files:
        kind, _, name = key.removeprefix(f"{variant}/").partition("/")
        if not key.startswith(f"{variant}/") or not name:
            continue
        want = golden[key]
        block = tuple(slice(n) for n in want.shape)  # of big tensors a leading block is kept
        if kind == "grad0_64":
            error = np.abs(found["grads"][name][block] - want).max()
            assert error <= limit["gradient"] * max(np.abs(want).max(), 1e-3), (key, error)
        elif kind == "grad0_norm64" and want > 1e-12:
            error = abs(np.linalg.norm(found["grads"][name]) / want - 1)
            assert error <= limit["gradient"], (key, error)
        elif kind == "bn_after_step0_64":
            error = np.abs(found["statistics"][name] - want).max()
            assert error <= limit["statistics"], (key, error)
        elif kind == "param_after3_64":
            if "in_proj_bias" in name or name in none:
                continue
            now, before = found["after"][name][block], found["before"][name][block]
            if moved := np.linalg.norm(want - before):
                changes.append(np.linalg.norm(now - want) / moved)
        else:
            continue
        checked[kind] += 1
    worst, middle = limit["changes"]
    assert max(changes) <= worst and np.median(changes) <= middle, (max(changes), changes)
    return checked
