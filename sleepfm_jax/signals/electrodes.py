"""Where an EEG channel lies on the head, from its name."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np

from sleepfm_jax.signals import aliases
from sleepfm_jax.signals.labels import identify


@functools.cache
def _montage() -> dict[str, np.ndarray]:
    """Unit vectors of the 10-05 electrodes, from MNE's template head (Colin27)."""
    import mne  # about a second to import; only positions need it

    # MNE 1.12 renamed the montage and warns about its old name.
    name = "colin27_1005"
    if name not in mne.channels.get_builtin_montages():
        name = "standard_1005"
    places = mne.channels.make_standard_montage(name).get_positions()["ch_pos"]
    return {
        electrode: (places[electrode] / np.linalg.norm(places[electrode])).astype(np.float64)
        for electrode in aliases.STANDARD_ELECTRODES
    }


def electrode_positions(names: Sequence[str]) -> np.ndarray:
    """Where on the head: [C, 3] float32; +x right ear, +y nose, +z vertex.

    `names` are canonical names or labels. An electrode lies on the unit sphere; a derivation at
    the midpoint of its two electrodes, which is inside it: pushed back onto the sphere,
    C3-M2 and C4-M1, whose midpoints are near the centre, would both land on the back of the
    head. Where one end has no position (a nasopharyngeal electrode), the derivation lies at
    the other. Rows are NaN for everything that is not EEG: eyes, ECG, EMG, breathing,
    unknown labels, EEG of unnamed place.
    """
    positions = np.full((len(names), 3), np.nan, np.float32)
    for row, name in enumerate(names):
        # `C3#2`: a second C3 of one recording
        identity = identify(re.sub(r"(?<=\S)#\d+$", "", name))
        ends = identity.name.split("-")
        if identity.modality != "bas" or any(end in aliases.EYES.values() for end in ends):
            continue
        known = [_montage()[end] for end in ends if end in aliases.STANDARD_ELECTRODES]
        if not known:
            continue
        positions[row] = np.mean(known, axis=0)
    return positions
