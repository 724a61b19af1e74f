"""The PyTorch replica of wav2sleep gives the logits of `golden/`, under all of its names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers.torch import loaded, tensors, torch

from launch.bench.replica import wav2sleep  # isort: skip

SAMPLES = {"ABD": 256, "ECG": 1024, "PPG": 1024, "THX": 256}
ATOL = 1e-4  # docs/golden.md, against float64


@pytest.mark.real
@pytest.mark.parametrize(
    ("case", "signals"),
    [
        ("all", tuple(SAMPLES)),
        ("one_missing", tuple(SAMPLES)),
        ("ecg", ("ECG",)),
        ("abd_thx", ("ABD", "THX")),
    ],
)
def test_the_cardiorespiratory_model(shared, case, signals):
    file = np.load(shared / "golden" / "f_wav2sleep_cardio4.npz")
    state = {n.removeprefix("sd/"): tensors(file[n]) for n in file.files if n.startswith("sd/")}
    model = loaded(wav2sleep.Wav2Sleep(SAMPLES), state).eval()
    absent = torch.zeros(2, len(signals), dtype=torch.bool)
    given = {name: tensors(file[f"in/{name}"]) for name in signals}
    if case == "one_missing":
        for name, rows in json.loads(str(file["missing_spec"])).items():
            absent[rows, signals.index(name)] = True
            given[name] = given[name].clone()
            given[name][rows] = 0
    with torch.no_grad():
        logits = model(given, absent if case == "one_missing" else None)
    np.testing.assert_allclose(logits, file[f"out64/{case}/logits"], rtol=0, atol=ATOL)
