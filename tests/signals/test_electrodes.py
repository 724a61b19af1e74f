"""Where electrodes lie on the head."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from sleepfm_jax.signals import aliases, electrode_positions, identify


def test_every_standard_electrode_is_known_as_in_mne():
    montage = _mne_montage()
    assert len(montage) == 343
    synonyms = aliases.ELECTRODE_SYNONYMS
    assert set(montage) == aliases.STANDARD_ELECTRODES | (set(synonyms) - {"CZ2"})
    for name in montage:
        for label in (name, name.upper(), f"EEG {name}-REF"):
            assert identify(label) == identify(synonyms.get(name, name)), label
            assert identify(label).modality == "bas"


def test_positions_are_mnes_on_the_unit_sphere():
    montage = _mne_montage()
    names = sorted(aliases.STANDARD_ELECTRODES)
    positions = electrode_positions(names)
    assert positions.shape == (343 - 6, 3)  # less the six older names
    assert positions.dtype == np.float32
    expected = np.stack([montage[name] / np.linalg.norm(montage[name]) for name in names])
    np.testing.assert_allclose(positions, expected, atol=1e-6)
    x, y, z = electrode_positions(["T8", "Fpz", "Cz"])
    assert x[0] > 0.95  # right ear
    assert y[1] > 0.99  # nose
    assert z[2] > 0.99  # vertex


def test_left_and_right_differ():
    left, right = electrode_positions(["F3", "F4"])
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=0.03)
    assert left[0] < -0.4


def test_position_of_a_derivation_is_the_midpoint():
    fp1, f7, both = electrode_positions(["Fp1", "F7", "FP1:F7"])
    middle = (fp1 + f7) / 2
    np.testing.assert_allclose(both, middle, atol=1e-6)
    # Only one end has a place on the head.
    np.testing.assert_array_equal(*electrode_positions(["Cz-PG1", "Cz"]))


def test_old_labels_have_the_position_of_the_modern_name():
    old = electrode_positions(["T3", "T4", "T5", "T6", "A1", "A2", "EEG T3-REF", "C3#2"])
    new = electrode_positions(["T7", "T8", "P7", "P8", "M1", "M2", "T7", "C3"])
    np.testing.assert_array_equal(old, new)


def test_no_position_without_an_electrode_on_the_scalp():
    names = ["E1", "E1-M2", "EOG", "ECG", "V1", "LEG L", "ABD", "EEG2", "PG1", "foo", ""]
    assert np.isnan(electrode_positions(names)).all()
    assert electrode_positions([]).shape == (0, 3)


def test_identifying_a_label_does_not_import_mne():
    code = (
        "import sys; from sleepfm_jax.signals import identify; identify('EEG FP1-F7');"
        "sys.exit('mne' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _mne_montage() -> dict[str, np.ndarray]:
    import mne

    name = "colin27_1005"  # `standard_1005` before MNE 1.12
    if name not in mne.channels.get_builtin_montages():
        name = "standard_1005"
    return mne.channels.make_standard_montage(name).get_positions()["ch_pos"]
