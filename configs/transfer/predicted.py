"""What was predicted of the simulated tasks, before any was run.

`VERSION` is that of the simulation (`sleepfm_jax.simulation.body.pathology.VERSION`) that it was
predicted for: another one voids it, and the tables made before. Signs are of the difference from
training from scratch with the same head, at the published label share: "+" better, "0" no
difference.

Why. Pretraining keeps what modalities agree on. Slowing, ictal tachycardia, atrial fibrillation and
conduction show in other modalities of a sleeper than the one they are of; so tasks about them
should gain, and gain more with the coupling of the cohort; without coupling, or with mispaired
modalities, nothing should be gained. What is private to the EEG, the shape and place of a single
discharge, agrees with nothing: TUEV and BrainCapture should not gain. Positions say where, which
only tasks of place can use, and those stand here by differences of sides alone: with positions that
start fresh no other sign is predicted than without; positions learned in pretraining likewise.
"""

VERSION = 2

_SHARED = {"pretrained": "+", "pretrained_pe": "+", "pe_from_pretraining": "+"}
_PRIVATE = {"pretrained": "0", "pretrained_pe": "0", "pe_from_pretraining": "0"}

SIGNS = {
    "tuab": _SHARED,
    "tuev": _PRIVATE,
    "tusl": _SHARED,
    "braincapture": _PRIVATE,
    "chb_mit": _SHARED,
    "ptbxl": _SHARED,
    "g12ec": _SHARED,
    "cpsc": _SHARED,
}
"""task → condition → the sign of its gain over `scratch`, from a cohort of coupling 1."""

CONTROLS = {"coupling 0": "0", "mispaired": "0", "coupling 1 - coupling 0": "+"}
"""Of the tasks whose sign is "+": what cohorts without agreement give."""
