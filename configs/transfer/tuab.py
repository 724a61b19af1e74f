"""TUAB: is the EEG of a recording normal or abnormal?

  python -m launch.build --dataset=tuab --source=SOURCE --data_dir=DATA
  python -m launch.pretrain --config=configs/transfer/pretraining.py --data_dir=SLEEP --workdir=A
  python -m launch.transfer --tasks=tuab --checkpoint=A --data_dir=DATA --workdir=RUN

(`--config=configs/transfer/tuab.py` in launch.pretrain is one such training by itself.)
The paper's row (balanced accuracy):
  without pretraining .7886 ± .0439, pretrained .8255 ± .0023, with positions .8303 ± .0074;
  best published .8315 ± .0014 (REVE-Base).
Deviations from the published recipe (docs/field.md §1.A):
- all 21 electrodes are stored; a clip gives 19 of them (training: drawn; otherwise spread evenly);
- the published head's masks are those of the code, in training alone.

Variant "twin" is the simulated counterpart at the smoke size, in the archive's own layout:

  python -m launch.simulate --dataset=tuab --subjects=N --out=SIMULATED
  python -m launch.build --dataset=tuab --source=SIMULATED --data_dir=DATA --clip_seconds=10
  python -m launch.transfer --tasks=tuab:twin --checkpoint=A --data_dir=DATA --workdir=RUN

Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

TASK = {
    "name": "tuab",
    "dataset": "tuab",
    "metric": "balanced_accuracy",
    "split": "official",
    "protocol": (
        "official test set; 10 % of the training subjects are validation; ± over draws "
        "of these, with one and the same test set"
    ),
}
LABELS = ("normal", "abnormal")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "twin" and "smoke"."""
    config = common.eeg(TASK["dataset"], LABELS, clips=60913)
    if variant == "twin":
        return common.twin(config)
    if variant == "smoke":
        return common.smoke(config)
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'twin' or 'smoke'")
    return config
