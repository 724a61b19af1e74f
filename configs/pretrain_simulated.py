"""Pretraining on the simulated cohort, on two CPU cores: the quickstart's main job.

  python -m launch.simulate --dataset=simulated_psg --subjects=72 --hours=0.5 --out=SOURCE
  python -m launch.build --dataset=simulated_psg --source=SOURCE --clip_seconds=30 --data_dir=DATA
  python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir=DATA --workdir=RUN

Seen on two CPU cores, on held-out subjects: retrieval within a person's night .152 (chance .017),
among 128 clips of all people .095 (identity alone .119); staging probe .75 balanced accuracy, .69
with untrained encoders; variant `mispaired`: .020, .010 and .74.
Variant `smoke` runs in seconds. Variant `mispaired` is a control: the same run, but modalities are
of other people, so that what it learns it did not learn from what was recorded together.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "smoke" and "mispaired"."""
    config = common.two_cores()
    if variant == "smoke":
        return common.smoke(config)
    if variant == "mispaired":
        config.data.mispaired = True
    elif variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'smoke' or 'mispaired'")
    return config
