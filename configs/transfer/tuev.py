"""TUEV: which of six events is in the middle of a clip?

  python -m launch.build --dataset=tuev --source=SOURCE --clip_seconds=60 --data_dir=DATA
  python -m launch.pretrain --config=configs/transfer/pretraining.py --data_dir=SLEEP --workdir=A
  python -m launch.transfer --tasks=tuev --checkpoint=A --data_dir=DATA --workdir=RUN

(`--config=configs/transfer/tuev.py` in launch.pretrain is one such training by itself.)
The paper's row (balanced accuracy):
  without pretraining .5585 ± .0168, pretrained .6612 ± .0252, with positions .6387 ± .0267;
  best published .6759 ± .0229 (REVE-Base).
Its clips last 60 s, its rivals' 5 s: variant "5s" is theirs (build with --clip_seconds=5, which is
the builder's default). A record does not say which channel an event was marked on.
Deviations from the published recipe (docs/field.md §1.A):
- all 21 electrodes are stored, and each clip gives 19 of them;
- the published head's masks are those of the code, in training alone.

Variant "twin" is the simulated counterpart at the smoke size, in the archive's own layout:

  python -m launch.simulate --dataset=tuev --subjects=N --out=SIMULATED
  python -m launch.build --dataset=tuev --source=SIMULATED --data_dir=DATA --clip_seconds=5
  python -m launch.transfer --tasks=tuev:twin --checkpoint=A --data_dir=DATA --workdir=RUN

Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

TASK = {
    "name": "tuev",
    "dataset": "tuev",
    "metric": "balanced_accuracy",
    "split": "official",
    "protocol": "official test set; 10 % of the training subjects are validation",
}
LABELS = ("bckg", "pled", "artf", "eyem", "gped", "spsw")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "5s", "twin" and "smoke"."""
    config = common.eeg(TASK["dataset"], LABELS, clips=81620)
    if variant == "twin":
        return common.twin(config)
    if variant == "smoke":
        return common.smoke(config)
    if variant == "5s":
        return config  # the clips are those that were built; nothing else differs
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', '5s', 'twin' or 'smoke'")
    return config
