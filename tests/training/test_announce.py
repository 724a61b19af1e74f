"""What a run says before its first step."""

from __future__ import annotations

import logging

import jax

from sleepfm_jax.training.announce import announce


def test_a_run_says_where_on_what_and_how_large_it_is(caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        announce(jax.devices(), 1200, 4_400_000, {"batch_size": 60, "steps": 100})
        announce(jax.devices()[:1], 0, 1, {})
    text = caplog.text
    assert f"devices: {len(jax.devices())} x cpu (cpu)" in text
    assert "data: 1,200 clips, 60 a batch, 100 steps, each clip seen 5 times" in text
    assert "model: 4,400,000 parameters" in text
    assert "compiling" in text
