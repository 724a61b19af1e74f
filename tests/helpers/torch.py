"""PyTorch for tests, which skip where it is not installed: evaluating a replica, and tolerances."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch",
    reason="SKIPPED FOR WANT OF PYTORCH: pip install 'sleepfm-jax[torch]' for the second "
    "implementation",
)

from launch.bench.replica import encoder as replica  # noqa: E402, F401
from launch.bench.replica import heads  # noqa: E402, F401

torch.set_num_threads(1)  # tiny networks, and the other cores are busy with other tests

ATOL, ATOL_TOKENS, ATOL_LSTM, ATOL_RESBLOCKS = 2e-5, 5e-5, 5e-6, 1e-6  # docs/golden.md §2


def tensors(values, dtype=torch.float32):
    """One array, None or a tuple of them → tensors; floats in `dtype`."""
    if values is None or isinstance(values, tuple):
        return None if values is None else tuple(tensors(v, dtype) for v in values)
    x = torch.as_tensor(values)
    return x.to(dtype) if x.is_floating_point() else x


def run(model, *inputs, dtype=torch.float32):
    """Evaluation of a replica in `dtype` → one numpy array, or a tuple."""
    model = model.eval().to(dtype)
    with torch.no_grad():
        out = model(*(tensors(x, dtype) for x in inputs))
    return tuple(x.numpy() for x in out) if isinstance(out, tuple) else out.numpy()


def loaded(model, state):
    """A replica with the weights of a state dict, all of them."""
    model.load_state_dict(state, strict=True)
    return model


def close(got, want, atol):
    np.testing.assert_allclose(got, want, rtol=0, atol=atol)
