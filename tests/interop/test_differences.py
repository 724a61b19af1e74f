"""Where we differ from the published code, and by how much; and what bfloat16 does to embeddings.

`pytest tests/interop/test_differences.py -rP` prints the tables of the
README and of docs/differences.md.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax import signals
from sleepfm_jax.interop import from_torch
from sleepfm_jax.losses import survival
from sleepfm_jax.models.positions import fourier_code, truncated_fourier_code
from tests.interop.test_training_golden import fixture_weights, make_batch

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def golden(shared):
    return lambda name: np.load(shared / "golden" / f"{name}.npz")


def weights(fixture):
    return {k[3:]: fixture[k] for k in fixture.files if k.startswith("sd/")}


def largest(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def say(what, difference, among):
    print(f"{what:24s} {difference:8.2g}  in {among}")
    assert difference > 0.01


def test_each_switch_of_the_encoders_is_felt(golden):
    a, b = golden("a_zou_settransformer"), golden("b_paper_encoder")

    def difference(kind, fixture, args, **switch):
        plain, quirky = (
            from_torch(kind, weights(fixture)),
            from_torch(kind, weights(fixture), **switch),
        )
        return largest(plain(*args)[0], quirky(*args)[0])

    among = "clip vectors of entries up to {:.1f}"
    clip = among.format(np.abs(a["out/pooled"]).max())
    one = (a["c1/x"], np.ones((len(a["c1/x"]), 1), bool))
    say(
        "single_channel_shortcut",
        difference("set_transformer", a, one, single_channel_shortcut=True),
        clip,
    )
    absent = (a["in/x"], np.zeros(a["in/mask"].shape, bool))
    say("encode_absent", difference("set_transformer", a, absent, encode_absent=True), clip)
    clip = among.format(np.abs(b["out_pe/mono/pooled"]).max())
    masked = (b["masked/x"], b["masked/mask"] == 0)
    say(
        "mean_over_padding",
        difference("set_transformer_pe", b, masked, mean_over_padding=True),
        clip,
    )
    placed = (b["in/x_mono"], None, b["chpe/mono/positions"])
    say(
        "fourier_truncated",
        difference("set_transformer_pe", b, placed, position_encoding="fourier"),
        clip,
    )


def test_the_truncated_code_confuses_left_and_right():
    pairs = ("C3", "C4"), ("Fp1", "Fp2"), ("O1", "O2"), ("T7", "T8")
    for pair in pairs:
        positions = jnp.asarray(signals.electrode_positions(pair))
        ours, published = (
            float(jnp.linalg.norm(jnp.subtract(*code)))
            for code in (fourier_code(positions), truncated_fourier_code(positions, 128))
        )
        print(f"codes of {pair[0]} and {pair[1]} are {ours:.1f} apart, published {published:.1f}")
        assert ours > 2 * published
    # On an idealised head, as in the published table of electrodes, they are the same.
    left, right = (jnp.asarray(p) for p in ([-0.7, 0.1, 0.7], [0.7, 0.1, 0.7]))
    assert largest(*(truncated_fourier_code(p, 128) for p in (left, right))) == 0
    assert largest(fourier_code(left), fourier_code(right)) > 0.5


def test_each_switch_of_the_night_models_is_felt(golden):
    fixture = golden("g_staging_lstm")
    x, valid = fixture["in/x"], fixture["in/mask"] == 0
    scored = valid.any(1)
    plain = np.asarray(from_torch("staging_lstm", weights(fixture))(x, valid))[scored]
    among = f"logits of scored steps, up to {np.abs(plain).max():.1f}"
    for switch in ("additive_temporal_mask", "unpacked_lstm"):
        quirky = from_torch("staging_lstm", weights(fixture), **{switch: True})
        say(switch, largest(plain, np.asarray(quirky(x, valid))[scored]), among)
    gone = valid.copy()
    gone[0, 0, 10:] = False  # one sequence ends early, the others go on
    plain = np.asarray(from_torch("staging_lstm", weights(fixture))(x, gone))[0]
    quirky = from_torch("staging_lstm", weights(fixture), corner_masks=True)
    say("corner_masks", largest(plain, np.asarray(quirky(x, gone))[0]), among)


def test_batch_statistics_make_other_tokens_in_training(golden):
    fixture = golden("h_pretrain_steps_tiny")
    batch = make_batch(fixture)
    x, mask, everything = batch["signals"], batch["mask"], np.ones_like(batch["mask"])
    bas = slice(0, fixture["in/BAS"].shape[1])

    def tokens(x, mask, kept):
        encoder = fixture_weights(fixture).module()  # anew: training moves its statistics
        return np.asarray(encoder.tokenize(x, mask, train=True))[:, bas][kept[:, bas]]

    kept = mask
    alone = tokens(x[:, bas], mask[:, bas], kept)
    among = f"training tokens of entries up to {np.abs(alone).max():.1f}"
    padded = tokens(x[:, bas], everything[:, bas], kept)
    say("padding_in_statistics", largest(alone, padded), among)
    say("per_modality", largest(alone, tokens(x, mask, kept)), among)


def test_ties_of_the_survival_loss(golden):
    fixture = golden("g_cox_loss")
    data = [fixture[f"all_events_same_time/{k}"] for k in ("hazards", "times", "events")]
    breslow, published = (float(survival.cox_ph(*data, ties=t)) for t in ("breslow", "reference"))
    say("ties", abs(breslow - published), f"a loss of {breslow:.2f} where all events share a time")


def test_bfloat16_moves_embeddings_little(golden):
    """Arithmetic in bfloat16, parameters in float32."""
    a, b = golden("a_zou_settransformer"), golden("b_paper_encoder")
    cases = {
        "patch 640, 6 layers": ("set_transformer", a, (a["in/x"], a["in/mask"] == 0)),
        "patch 128, 3 layers": (
            "set_transformer_pe",
            b,
            (b["in/x_mono"], None, b["chpe/mono/positions"]),
        ),
    }
    for what, (kind, fixture, args) in cases.items():
        exact = from_torch(kind, weights(fixture))(*args)
        half = from_torch(kind, weights(fixture), dtype="bfloat16")(*args)
        for name, x, y in zip(("clip", "tokens"), exact, half):
            x, y = (np.asarray(v, np.float64).reshape(-1, v.shape[-1]) for v in (x, y))
            cosine = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
            print(f"{what}, {name}: median {np.median(cosine):.5f}, least {cosine.min():.5f}")
            assert cosine.min() > 0.99
