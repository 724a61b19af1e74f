"""Kind `token_lstm` is the published staging model: its weights, its intended mask, its numbers."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sleepfm_jax.interop import from_torch
from tests.helpers.token_nights import tiny

pytestmark = pytest.mark.real
NAMES = ("ABD", "ECG", "EOG-L", "EOG-R", "PPG", "THX")


def test_the_published_staging_model(shared):
    fixture = np.load(shared / "golden" / "g_staging_lstm.npz")
    weights = {n.removeprefix("sd/"): fixture[n] for n in fixture.files if n.startswith("sd/")}
    x, valid = fixture["in/x"], fixture["in/mask"] == 0  # [B, C, S, D], [B, C, S]
    _, c, s, d = x.shape
    published = from_torch("staging_lstm", weights)
    sizes = {name: published.options[name] for name in ("heads", "pooling_heads")}
    batch = {
        "tokens": x.swapaxes(1, 2)[:, :, :, None],  # a step is a sleep_epoch here
        "token_mask": valid.swapaxes(1, 2)[..., None],
        "present": valid.any(2),
        "epoch_mask": valid.any(1),
    }

    def logits(**switches):
        model = tiny(
            "token_lstm",
            NAMES[:c],
            hours=s / 120,
            **{"token_width": d, "tokens": 1, "classes": 5, "layers": 1, "mlp_dim": 2048},
            **sizes | switches,
        )
        params = {"steps": published.params}
        found = jax.jit(model.apply)(params, {}, batch)[0]["logits"]
        return np.asarray(found, np.float64)

    with jax.default_matmul_precision("highest"):
        ours = logits()
        # Its intended masks: a night is what it is without any padding (docs/golden.md).
        night, steps = int(fixture["cropped/b"]), fixture["cropped/logits"].shape[1]
        difference = np.abs(ours[night, :steps] - fixture["cropped/logits"][0]).max()
        assert difference < 5e-6
        # As published: its faults by name.
        quirks = dict.fromkeys(("single_channel_shortcut", "corner_masks", "unpacked_lstm"), True)
        inside = valid[:, 0]
        theirs = fixture["out64_boolmask/logits"]
        assert np.abs(logits(**quirks) - theirs)[inside].max() < 5e-6
        theirs = fixture["out64_floatmask/logits"]
        faulty = logits(**quirks, additive_temporal_mask=True)
        assert np.abs(faulty - theirs)[inside].max() < 5e-6
