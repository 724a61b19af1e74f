"""EEGMAT: rest or mental arithmetic? No task of the paper's, but open data (36 students).

  python -m launch.build --dataset=eegmat --source=SOURCE --data_dir=DATA
  python -m launch.pretrain --config=configs/transfer/pretraining.py --data_dir=SLEEP --workdir=A
  python -m launch.transfer --tasks=eegmat --checkpoint=A --data_dir=DATA --workdir=RUN

(`--config=configs/transfer/eegmat.py` in launch.pretrain is one such training by itself.)
The paper has no such row. SleepFM-2, frozen, a linear probe of windows, five folds by recording:
AUROC .532 from scratch, .721 pretrained. Everybody gives both classes, so folds are by person.
The recipe is the paper's for EEG (docs/field.md §1.A), at clips of 20 s and for 40 passes.

Variant "twin" is the simulated counterpart at the smoke size, in the archive's own layout:

  python -m launch.simulate --dataset=eegmat --subjects=N --out=SIMULATED
  python -m launch.build --dataset=eegmat --source=SIMULATED --data_dir=DATA --clip_seconds=10
  python -m launch.transfer --tasks=eegmat:twin --checkpoint=A --data_dir=DATA --workdir=RUN

Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

TASK = {
    "name": "eegmat",
    "dataset": "eegmat",
    "metric": "balanced_accuracy",
    "split": "folds",
    "protocol": "no task of the paper's",
}
LABELS = ("rest", "arithmetic")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "twin" and "smoke"."""
    config = common.eeg(TASK["dataset"], LABELS, clips=173, passes=40)
    config.data.folds = 5
    if variant == "twin":
        return common.twin(config)
    if variant == "smoke":
        return common.smoke(config)
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'twin' or 'smoke'")
    return config
