"""wav2sleep as a family: any signals, any length; what is absent or padded changes nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.models.wav2sleep import Sizes
from tests.helpers.tiny_nights import SIGNALS, night, tiny, weights

OPTIONS = {
    "release2026": {},
    "paper2024, embedding": {"variant": "paper2024", "signal_embedding": True},
    "chunks, auto, registers": {"causal": "chunk", "norm": "auto", "registers": 2},
    "convolutions, rms, no residual": {
        "causal": "convolution",
        "norm": "rms",
        "output_norm": True,
        "residual": False,
    },
    "batch norms, one encoder for both belts": {
        "norm": "batch",
        "sequence_norm": "batch",
        "activation": "leaky",
        "encoders": ("BELTS", "ECG", "BELTS"),
    },
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def logits(model, batch, params=None, **changed):
    params, stats = params or weights(model)
    return np.asarray(jax.jit(model.apply)(params, stats, batch | changed)[0]["logits"])


@every_option
def test_padding_changes_no_logit(options):
    model = tiny(**options)
    batch = night(model, sleep_epochs=6, lengths=[6, 4])
    longer = night(model, sleep_epochs=11, lengths=[6, 4])
    for name, count in model.layout.signals:
        x = np.full((2, 11 * count), 7.0, np.float32)  # what lies beyond may be anything
        x[:, : 6 * count] = batch[f"signal/{name}"]
        longer[f"signal/{name}"] = x
    alone = {
        k: v[1:, : v.shape[1] * 4 // 6] if k not in ("present", "index") else v[1:]
        for k, v in batch.items()
    }
    padded = logits(model, longer)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[1:, :4], logits(model, alone), rtol=1e-5, atol=1e-5)


@every_option
def test_a_signal_counts_where_it_is_present_and_only_there(options):
    model = tiny(**options)
    batch = night(model, rows=3)
    present = np.array([[True, True, False], [True, False, True], [False] * 3])
    some = logits(model, batch, present=present)
    assert np.isfinite(some).all()
    other = {"signal/ECG": np.array([[1.0], [5.0], [5.0]], np.float32) * batch["signal/ECG"]}
    np.testing.assert_allclose(logits(model, batch | other, present=present), some, rtol=1e-5)
    whole = logits(model, batch)
    assert (np.abs(whole - some).max((1, 2)) > 1e-3).all()
    # A night without any signal: what the learned token alone says, of each sleep_epoch alike.
    silent = {name: np.zeros_like(batch[name]) for name in batch if name.startswith("signal/")}
    np.testing.assert_allclose(logits(model, batch | silent, present=present)[2], some[2])


def test_nothing_is_computed_of_a_signal_that_no_night_has():
    model = tiny()
    batch = night(model)
    broken = {"signal/ECG": np.full_like(batch["signal/ECG"], np.nan)}
    present = np.array([[True, False, True]] * 2)
    # NaN times anything is NaN: it was not touched.
    ours = logits(model, batch | broken, present=present)
    np.testing.assert_array_equal(ours, logits(model, batch, present=present))
    found = convolutions(jax.make_jaxpr(model.apply)(*model.shapes(), batch).jaxpr)
    sequence = model.sizes.sequence_blocks * model.sizes.dilations
    assert found[()] == sequence  # no encoder is outside of a condition
    per_block = 4
    blocks = [len(model.sizes.channels(count)) for _, count in SIGNALS]
    run = sorted(count for branch, count in found.items() if branch)
    # And only one branch of it has any; two of a signal itself, one channel, are sums.
    assert run == sorted(n * per_block - 2 for n in blocks)


def convolutions(jaxpr, path=()):
    """{path of branches of conditions: convolutions there}."""
    found = {path: 0}
    for i, equation in enumerate(jaxpr.eqns):
        found[path] += equation.primitive.name == "conv_general_dilated"
        conditional = equation.primitive.name == "cond"
        for name, value in equation.params.items():
            inner = value if isinstance(value, tuple | list) else (value,)
            for j, part in enumerate(inner):
                part = getattr(part, "jaxpr", part)
                if not hasattr(part, "eqns"):
                    continue
                here = (*path, (i, name, j)) if conditional else path
                for key, count in convolutions(part, here).items():
                    found[key] = found.get(key, 0) + count
    return {key: count for key, count in found.items() if count or not key}


@pytest.mark.parametrize("sleep_epochs", [1, 480, 1200], ids=["one sleep_epoch", "4 h", "10 h"])
def test_nights_of_any_length_with_one_signal(sleep_epochs):
    model = tiny((("THX", 8),))
    batch = night(model, rows=1, sleep_epochs=sleep_epochs)
    out, _ = jax.eval_shape(model.apply, *model.shapes(), batch)
    assert out["logits"].shape == (1, sleep_epochs, 4)
    assert out["features"].shape == (1, sleep_epochs, model.width)
    assert np.isfinite(logits(model, batch)).all()


def test_batch_statistics_are_of_what_is_there():
    model = tiny(norm="batch", sequence_norm="batch")
    params, stats = weights(model)
    batch = night(model, lengths=[8, 5], present=[[True, True, False], [True, False, False]])
    step = jax.jit(model.apply)
    key = jax.random.key(0)
    _, moved = step(params, stats, batch, key)
    loud = dict(batch)
    for name, count in SIGNALS:
        x = batch[f"signal/{name}"].reshape(2, 8, count).copy()
        x[1, 5:] = 100.0
        x[1] = 100.0 if name == "ECG" else x[1]
        loud[f"signal/{name}"] = x.reshape(2, -1)
    _, again = step(params, stats, loud, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), moved, again)
    unmoved = moved["encoders"]["THX"]
    jax.tree.map(np.testing.assert_array_equal, unmoved, stats["encoders"]["THX"])
    first = moved["encoders"]["ECG"]["blocks"][0]["conv1"]["norm"]["mean"]
    assert np.abs(first - stats["encoders"]["ECG"]["blocks"][0]["conv1"]["norm"]["mean"]).max() > 0
    _, kept = step(params, stats, batch)
    jax.tree.map(np.testing.assert_array_equal, kept, stats)


def test_dropout_and_the_order_of_signals_are_of_training_and_of_the_key():
    model = tiny(variant="paper2024", dropout=0.3)
    batch = night(model)
    run = jax.jit(lambda key: model.apply(*weights(model), batch, key)[0]["logits"])
    a, b, c = (run(jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3
    assert np.abs(a - logits(model, batch)).max() > 1e-3


def test_recomputing_changes_memory_and_no_number():
    belt, found = (("ABD", 8),), []
    batch = night(tiny(belt))
    for recompute in (False, True):
        model = tiny(belt, recompute=recompute, norm="batch")
        params, stats = weights(model)

        def loss(p, m=model, s=stats):
            return jnp.square(m.apply(p, s, batch, jax.random.key(0))[0]["logits"]).mean()

        found.append(jax.jit(jax.value_and_grad(loss))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *found)


def test_a_frozen_encoder_is_in_evaluation_mode():
    model = tiny(norm="batch", sequence_norm="batch")
    params, stats = weights(model)
    frozen = lambda path: path.startswith("encoders/ECG")  # noqa: E731
    _, moved = model.apply(params, stats, night(model), jax.random.key(0), frozen)
    jax.tree.map(np.testing.assert_array_equal, moved["encoders"]["ECG"], stats["encoders"]["ECG"])
    mean = moved["encoders"]["ABD"]["blocks"][0]["conv1"]["norm"]["mean"]
    assert np.abs(mean - stats["encoders"]["ABD"]["blocks"][0]["conv1"]["norm"]["mean"]).max() > 0


def config(**model):
    made = configuration.defaults()
    made["model"] = configuration.section_defaults("model", "wav2sleep") | model
    return made


def test_the_family_is_made_from_a_configuration():
    made = config(signals=("THX", "EOG-R", "ECG", "EOG-L"), shared=("EOG-R", "EOG-L"), classes=5)
    configuration.check(made)
    model = experiment.make_model(made)
    assert model.layout.names == ("ECG", "EOG-L", "EOG-R", "THX")
    assert model.sizes.encoders == ("ECG", "EOG-L", "EOG-L", "THX")
    assert model.layout.classes == ("W", "N1", "N2", "N3", "REM")
    assert model.layout.sleep_epochs == 1200 and model.width == 128
    assert hash(model) == hash(experiment.make_model(made)) and model == experiment.make_model(made)
    params, _ = model.shapes()
    assert sorted(params["encoders"]) == ["ECG", "EOG-L", "THX"]
    assert len(params["encoders"]["EOG-L"]["blocks"]) == 10


def test_the_published_sizes():
    for model, count in (({}, 2_948_740), ({"variant": "paper2024"}, 3_578_500)):
        params, stats = experiment.make_model(config(**model)).shapes()
        assert sum(x.size for x in jax.tree.leaves(params)) == count
        assert not jax.tree.leaves(stats)
    sizes = Sizes(SIGNALS, ("a", "b", "c"))
    assert sizes.channels(256) == (16, 16, 32, 32, 64, 64)
    assert sizes.channels(1024) == (16, 16, 32, 32, 64, 64, 128, 128)
    assert sizes.channels(4096) == (16, 16, 32, 32, 64, 64, 128, 128, 128, 128)
    paper = Sizes(SIGNALS, ("a", "b", "c"), variant="paper2024")
    assert paper.channels(256) == (16, 32, 64, 64, 128, 128)
    assert paper.channels(1024) == sizes.channels(1024)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shared": ("ABD", "ECG")}, "they cannot share one"),
        ({"shared": ("ABD", "EOG-L")}, "shared names EOG-L, which signals does not"),
        ({"heads": 7}, "128 is not divisible by 7 heads"),
        ({"signals": ("EEG",)}, "no signal EEG"),
        ({"sequence_kernel": 4}, "sequence_kernel 4 must be odd"),
        ({"variant": "paper2024", "causal": "convolution"}, "looks ahead"),
    ],
)
def test_sizes_that_cannot_be(wrong, message):
    with pytest.raises(ConfigError, match=message), experiment.config_errors():
        experiment.make_model(config(**wrong))
