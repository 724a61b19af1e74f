"""TUSL: seizure, slowing, complex background or none of these?

  python -m launch.build --dataset=tusl --source=SOURCE --data_dir=DATA
  python -m launch.pretrain --config=configs/transfer/pretraining.py --data_dir=SLEEP --workdir=A
  python -m launch.transfer --tasks=tusl --checkpoint=A --data_dir=DATA --workdir=RUN

(`--config=configs/transfer/tusl.py` in launch.pretrain is one such training by itself.)
The paper's row (AUROC):
  without pretraining .6709 ± .0436, pretrained .7179 ± .0388, with positions .7457 ± .0370;
  best published .7310 ± .0120 (FEMBA-Base).
Deviations from the published recipe (docs/field.md §1.A):
- folds are cross-validation by subject, so that everybody is tested once; the paper's overlap;
- a normal clip is one that no event touches.

Variant "twin" is the simulated counterpart at the smoke size, in the archive's own layout:

  python -m launch.simulate --dataset=tusl --subjects=N --out=SIMULATED
  python -m launch.build --dataset=tusl --source=SIMULATED --data_dir=DATA --clip_seconds=10
  python -m launch.transfer --tasks=tusl:twin --checkpoint=A --data_dir=DATA --workdir=RUN

Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

TASK = {
    "name": "tusl",
    "dataset": "tusl",
    "metric": "auroc",
    "split": "folds",
    "protocol": "overlapping random splits by subject, 80 / 10 / 10 %",
}
LABELS = ("normal", "complex_background", "seizure", "slowing")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "twin" and "smoke"."""
    config = common.eeg(TASK["dataset"], LABELS, clips=1342)
    if variant == "twin":
        return common.twin(config, figure="auroc")
    if variant == "smoke":
        return common.smoke(config)
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'twin' or 'smoke'")
    return config
