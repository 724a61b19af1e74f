"""What tests against recorded training steps share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sleepfm_jax.models import encoder


@pytest.fixture
def precision(request, monkeypatch):
    """`float32`, or `float64` with the package's arithmetic in it: its source says float32."""
    if request.param == "float32":
        yield request.param
        return
    monkeypatch.setattr(encoder, "DTYPES", ("float32", "float64"))
    monkeypatch.setattr(jnp, "float32", jnp.float64)
    with jax.enable_x64(True):
        yield request.param
