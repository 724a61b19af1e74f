"""Rates, decay, groups, layer-wise decay and freezing, against AdamW computed by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sleepfm_jax import config, experiment
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training import checkpoint, freezing, optim, sharding
from sleepfm_jax.training.paths import path_string
from tests.helpers.arrays import random_tree
from tests.helpers.runs import smoke

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
    return {path_string(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


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


def test_everything_decays_where_asked_for():
    params = model()
    grads = gradients(params, 4)
    found, _ = run(optim.optimiser(PLAIN | {"decay_all": True}, 10), params, grads)
    moved = [by_path(g) for g in grads]
    wanted = {
        name: adamw(p, [g[name] for g in moved], 0.1, True) for name, p in by_path(params).items()
    }
    compare(by_path(found), wanted)


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


def test_the_clip_of_pytorch_is_its_own():
    torch = pytest.importorskip("torch")
    grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([[12.0]])}
    for limit in (1.0, 1e-5, 20.0):
        found, _ = run(optim.clip(limit, "torch"), jax.tree.map(jnp.zeros_like, grads), [grads])
        wanted = [torch.zeros(g.shape, requires_grad=True) for g in grads.values()]
        for tensor, g in zip(wanted, grads.values()):
            tensor.grad = torch.tensor(np.asarray(g))
        torch.nn.utils.clip_grad_norm_(wanted, limit)
        for tensor, g in zip(wanted, found.values()):
            np.testing.assert_allclose(g, tensor.grad, rtol=1e-6)
    settings = PLAIN | {"clip_norm": 1.0}
    states = [
        optim.optimiser(settings | {"clip_form": form}, 10).init(model())
        for form in ("exact", "torch")
    ]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    # A gradient of nothing stays nothing; the exact form of a shorter one is itself.
    zero = {"a": jnp.zeros(2)}
    for form in ("exact", "torch"):
        found, _ = run(optim.clip(1.0, form), zero, [zero])
        np.testing.assert_array_equal(found["a"], 0)


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


# --- rates, decay and clipping -----------------------------------------------------------------


def test_learning_rates():
    rate = optim.schedule(
        PLAIN | {"schedule": "cosine", "learning_rate": 2.0, "warmup_steps": 10}, 110
    )
    np.testing.assert_allclose(
        [rate(s) for s in (0, 5, 10, 60, 110, 200)], [0, 1, 2, 1, 0, 0], atol=1e-6
    )
    constant = PLAIN | {"schedule": "constant", "learning_rate": 2.0, "warmup_steps": 4}
    np.testing.assert_allclose(
        [optim.schedule(constant, 9)(s) for s in (0, 1, 4, 900)], [0, 0.5, 2, 2]
    )
    step = PLAIN | {
        "schedule": "step",
        "learning_rate": 2.0,
        "decay_every": 10,
        "decay_factor": 0.5,
    }
    np.testing.assert_allclose([optim.schedule(step, 9)(s) for s in (0, 9, 10, 25)], [2, 2, 1, 0.5])
    exponential = PLAIN | {"schedule": "exponential", "learning_rate": 2.0, "decay_time": 10.0}
    for warmup, steps, wanted in (
        (4, (0, 1, 3, 4, 13), (0.5, 1, 2, 2 * np.exp(-0.1), 2 / np.e)),
        (1, (0, 10), (2, 2 / np.e)),
        (0, (0, 9), (2 * np.exp(-0.1), 2 / np.e)),
    ):
        rate = optim.schedule(exponential | {"warmup_steps": warmup}, 9)
        np.testing.assert_allclose([rate(s) for s in steps], wanted, rtol=1e-6)
    with pytest.raises(ConfigError, match="schedule 'linear' is not one of cosine, constant, step"):
        optim.schedule(PLAIN | {"schedule": "linear"}, 9)
    with pytest.raises(ConfigError, match="optimiser 'lion' is not one of adamw, adam, sgd"):
        optim.optimiser(PLAIN | {"name": "lion"}, 9)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "warmup", "time", "every"), [("short", 5, 20.0, 1), ("default", 2000, 10_000.0, 50)]
)
def test_the_exponential_rates_are_the_published_ones(shared, name, warmup, time, every):
    golden = np.load(shared / "golden" / "x_extras.npz")[f"w2s_lr/{name}"]
    settings = {"schedule": "exponential", "warmup_steps": warmup, "decay_time": time}
    rate = optim.schedule(PLAIN | settings | {"learning_rate": 1e-3}, 1)
    steps = np.arange(len(golden)) * every
    np.testing.assert_allclose(rate(jnp.asarray(steps)), golden, rtol=1e-6, atol=1e-11)


def test_only_weights_decay():
    """Of a whole objective: without a gradient AdamW moves what is decayed, and nothing else."""
    tx = optim.optimiser(PLAIN | {"learning_rate": 1e-3, "weight_decay": 0.1}, 10)
    objective = experiment.make_objective(smoke())
    params = random_tree(jax.eval_shape(objective.init, jax.random.key(0))[0])

    @jax.jit
    def update(params):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        return updates

    decayed, kept = {}, {}
    for path, moved in jax.tree_util.tree_leaves_with_path(jax.device_get(update(params))):
        (decayed if np.any(moved) else kept)[path_string(path)] = moved
    assert decayed and all(name.endswith("kernel") for name in decayed)
    assert {name.rsplit("/", 1)[-1] for name in kept} == {
        "bias", "scale", "bn_bias", "bn_scale", "ln_bias", "ln_scale", "log_scale",
    }  # fmt: skip
    some = "encoder/layers/0/up/kernel"
    weight = params["encoder"]["layers"][0]["up"]["kernel"]
    np.testing.assert_allclose(decayed[some], -1e-3 * 0.1 * weight, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_optimisers_go_downhill_and_clip(name):
    settings = PLAIN | {"name": name, "weight_decay": 0.05}
    for clip in (0, 1e-3):
        tx = optim.optimiser(settings | {"clip_norm": clip}, 10)
        params = {"kernel": jnp.array([3.0, -4.0])}
        updates, _ = tx.update({"kernel": jnp.array([3.0, -4.0])}, tx.init(params), params)
        assert (np.sign(updates["kernel"]) == [-1, 1]).all()
        if name == "sgd":
            length = settings["learning_rate"] * (5 if not clip else 1e-3)
            np.testing.assert_allclose(np.linalg.norm(updates["kernel"]), length, rtol=1e-5)
