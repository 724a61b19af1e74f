"""Two real recordings and the simulated cohort pretrain together; real wake EEG and ECG are probed.

  bash launch/real_check.sh SHARED_DATA RUN

builds a DREAMS night and a Nox recording with `edf_folder`, the simulated cohort, EEGMAT and
PTB-XL, pretrains with this file and probes both. SHARED_DATA holds psg_dreams/, psg_nox_2min/,
wake_eeg_eegmat/ and ecg_ptbxl/. Expected: it runs, the loss falls, and there are tables with
intervals. Half an hour of real sleep teaches little; no figure is published for these subsets.
Variant `smoke` runs in seconds; `mispaired` is the control, as in `pretrain_simulated`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "smoke" and "mispaired"."""
    config = common.two_cores()
    config.data.datasets = ("edf_folder", "simulated_psg")
    if variant == "smoke":
        return common.smoke(config)
    if variant == "mispaired":
        config.data.mispaired = True
    elif variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'smoke' or 'mispaired'")
    return config
