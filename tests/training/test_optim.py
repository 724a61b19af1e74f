"""Groups, layer-wise decay and freezing, against AdamW computed by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepfm_jax import config
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training import checkpoint, freezing, optim, sharding

PLAIN = config.defaults()["optimiser"] | {
    "schedule": "constant",
    "warmup_steps": 0,
    "learning_rate": 0.1,
    "weight_decay": 0.5,
    "clip_norm": 0.0,
}


def model(layers=3):
    """A tree as that of a model with an encoder and a head; every number another."""
    block = {"up": {"kernel": (2, 2), "bias": (2,)}, "norm1": {"scale": (2,)}}
    shapes = {
        "encoder": {
            "tokenizer": {"project": {"kernel": (2, 2)}},
            "electrodes": {"linear": {"kernel": (2, 2)}},
            "channel_pooling": {"layer": block},
            "norm": {"scale": (2,)},
            "layers": [block] * layers,
            "time_pooling": {"layer": block},
        },
        "head": {"norm": {"scale": (2,)}, "layers": [{"kernel": (2, 3)}]},
        "log_scale": (),
    }
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), shapes, is_leaf=is_shape
    )


def by_path(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {sharding.path_string(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


def gradients(params, steps):
    """Another gradient each step."""

    def gradient(step):
        return jax.tree.map(lambda p: jnp.cos(3 * p + step), params)

    return [gradient(step) for step in range(steps)]


def run(tx, params, grads):
    state = tx.init(params)
    for grad in grads:
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def adamw(params, grads, rate, decayed):
    """AdamW (Loshchilov and Hutter 2019), one array, float64."""
    p, m, v = params, 0.0, 0.0
    for t, g in enumerate(grads, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p = p - rate * (step + (0.5 * p if decayed else 0))
    return p


def expected(params, grads, factor):
    """Every array by hand; `factor`: path → factor of the rate."""
    grads = [by_path(g) for g in grads]
    return {
        name: adamw(p, [g[name] for g in grads], 0.1 * factor(name), name.endswith("kernel"))
        for name, p in by_path(params).items()
    }


def compare(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_without_groups_or_freezing_the_state_is_as_it_always_was(name, clip):
    """Checkpoints from before there were groups go on."""
    settings = PLAIN | {"name": name, "clip_norm": clip}
    params = model()
    now = optim.optimiser(settings, 10)
    rate = optax.constant_schedule(0.1)
    main = {
        "adamw": lambda: optax.adamw(rate, weight_decay=0.5, mask=optim._decayed),
        "adam": lambda: optax.adam(rate),
        "sgd": lambda: optax.sgd(rate, momentum=0.9),
    }[name]()
    before = optax.chain(optax.clip_by_global_norm(clip), main) if clip else main
    assert jax.tree.structure(now.init(params)) == jax.tree.structure(before.init(params))
    grads = gradients(params, 3)
    found, wanted = (run(tx, params, grads)[0] for tx in (now, before))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_the_oracle_is_adamw():
    params = model()
    grads = gradients(params, 4)
    found, _ = run(optim.optimiser(PLAIN, 10), params, grads)
    compare(by_path(found), expected(params, grads, lambda name: 1.0))


def test_the_first_group_that_fits_gives_the_rate():
    params = model()
    grads = gradients(params, 3)
    groups = (("^encoder/layers/1/", 0.25), ("^encoder/", 0.5), ("^head/norm", 0.0))
    found, _ = run(optim.optimiser(PLAIN | {"groups": groups}, 10), params, grads)

    def factor(name):
        if name.startswith("encoder/layers/1/"):
            return 0.25
        return 0.5 if name.startswith("encoder/") else 0.0 if name.startswith("head/norm") else 1.0

    compare(by_path(found), expected(params, grads, factor))


def test_layer_decay_goes_down_from_the_top():
    factors = by_path(optim.rate_factors(model(), layer_decay=0.5))
    wanted = {
        "log_scale": 1,
        "head/norm/scale": 1,
        "head/layers/0/kernel": 1,  # a head's own layers are above the encoder
        "encoder/time_pooling/layer/up/kernel": 1,
        "encoder/layers/2/up/kernel": 1 / 2,
        "encoder/layers/1/norm1/scale": 1 / 4,
        "encoder/layers/0/up/bias": 1 / 8,
        "encoder/norm/scale": 1 / 16,  # it is what the first layer reads
        "encoder/channel_pooling/layer/up/kernel": 1 / 16,
        "encoder/electrodes/linear/kernel": 1 / 16,
        "encoder/tokenizer/project/kernel": 1 / 16,
    }
    assert {name: factors[name] for name in wanted} == wanted
    alone = by_path(optim.rate_factors(model()["encoder"], layer_decay=0.5))
    assert alone == {
        name.removeprefix("encoder/"): f
        for name, f in factors.items()
        if name.startswith("encoder/")
    }
    params = model()
    grads = gradients(params, 3)
    settings = PLAIN | {"groups": (("tokenizer", 4.0),), "layer_decay": 0.5}
    found, _ = run(optim.optimiser(settings, 10), params, grads)
    compare(
        by_path(found),
        expected(params, grads, lambda n: factors[n] * (4 if "tokenizer" in n else 1)),
    )


@pytest.mark.parametrize("extra", [{}, {"layer_decay": 0.5, "groups": (("head", 0.5),)}])
def test_what_is_frozen_does_not_move_nor_has_moments(extra):
    """Not even by weight decay, nor where its gradient is no number; the rest moves as ever."""
    params = model()
    grads = gradients(params, 3)
    broken = [jax.tree.map(lambda g: g, grad) for grad in grads]
    for grad in broken:
        grad["encoder"]["tokenizer"]["project"]["kernel"] = jnp.full((2, 2), jnp.nan)
    frozen = ("^encoder/(tokenizer|electrodes)", "layers/0/")
    settings = PLAIN | extra
    found, state = run(optim.optimiser(settings, 10, frozen), params, broken)
    found, start = by_path(found), by_path(params)
    factors = by_path(optim.rate_factors(params, settings["groups"], settings["layer_decay"]))
    wanted = expected(params, grads, factors.__getitem__)
    still = {name for name in start if freezing.is_frozen(name, frozen)}
    assert {
        "encoder/tokenizer/project/kernel",
        "encoder/electrodes/linear/kernel",
        "encoder/layers/0/norm1/scale",
        "head/layers/0/kernel",
    } <= still and len(still) < len(start)
    compare(found, wanted | {name: start[name] for name in still})
    for name in still:
        np.testing.assert_array_equal(found[name], start[name])
    moments = [path for path in by_path(state) if "kernel" in path or "scale" in path]
    assert len(moments) == 2 * sum("kernel" in n or "scale" in n for n in set(start) - still)
    assert not [path for path in moments if "tokenizer" in path or "layers/0" in path]


def test_the_clipped_norm_is_that_of_what_learns():
    params = {"a": {"kernel": jnp.zeros(2)}, "b": {"kernel": jnp.zeros(2)}}
    grad = {"a": {"kernel": jnp.array([3.0, 4.0])}, "b": {"kernel": jnp.array([1e3, 0.0])}}
    settings = PLAIN | {"name": "sgd", "clip_norm": 1.0}
    found, _ = run(optim.optimiser(settings, 10, ("^b/",)), params, [grad])
    np.testing.assert_allclose(found["a"]["kernel"], [-0.06, -0.08], rtol=1e-6)


def test_a_state_with_frozen_parts_is_saved_and_restored(tmp_path):
    params = model()
    settings = PLAIN | {"layer_decay": 0.5, "clip_norm": 1.0}
    tx = optim.optimiser(settings, 10, ("^encoder/tokenizer",))
    params, state = run(tx, params, gradients(params, 2))
    here = sharding.replicated(sharding.make_mesh())
    state = jax.device_put(state, here)
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(2, state, {})
    checkpoints.wait()
    like = jax.tree.map(jnp.zeros_like, state)
    restored, _ = checkpoints.restore(2, jax.device_put(like, here))
    checkpoints.close()
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state)):
        np.testing.assert_array_equal(a, b)


def test_patterns_that_match_nothing_are_config_errors():
    params = model()
    for change, frozen, message in (
        ({}, ("encoder", "tokeniser"), "config.frozen: 'tokeniser' matches none of"),
        ({}, (".*",), "config.frozen: .* leave nothing to train"),
        ({"groups": (("haed", 0.1),)}, (), "config.optimiser.groups: 'haed' matches none of"),
    ):
        with pytest.raises(ConfigError, match=message):
            optim.optimiser(PLAIN | change, 10, frozen).init(params)
    tx = optim.optimiser(PLAIN | {"layer_decay": 0.5}, 10)
    with pytest.raises(ConfigError, match=r"config\.optimiser\.layer_decay: the model has no lay"):
        tx.init({"head": {"kernel": jnp.zeros(2)}})


def test_masks_of_statistics_need_not_match():
    stats = {"encoder": {"tokenizer": {"mean": 0.0}}, "head": {"mean": 0.0}}
    mask = freezing.frozen_mask(stats, ("^encoder/", "log_scale"), all_must_match=False)
    assert mask == {"encoder": {"tokenizer": {"mean": True}}, "head": {"mean": False}}
    assert freezing.frozen_mask(stats, ()) == jax.tree.map(lambda _: False, stats)
    with pytest.raises(ConfigError, match="'log_scale' matches none of 2"):
        freezing.frozen_mask(stats, ("^encoder/", "log_scale"))
