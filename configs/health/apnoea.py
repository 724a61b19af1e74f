"""How severe somebody's sleep apnoea is, from a night of a frozen SleepFM encoder's tokens.

  python -m launch.build --dataset=edf_folder --source=NIGHTS --label_column=apnoea \\
      --label_kind=classification --data_dir=DATA
  python -m launch.pretrain --config=configs/health/apnoea.py --data_dir=DATA --workdir=RUN \\
      --config.data.encoder=SLEEPFM --config.data.datasets='("edf_folder",)'

NIGHTS/table.csv has a column apnoea: none, mild, moderate or severe, of a recording. SLEEPFM is a
run of configs/sleepfm.py. Published (Nature Medicine 2026): accuracy .69 of the severity, .87 of
its presence.

Deviations: the head (attention over all tokens of the night, then one layer) and the recipe of
training are this project's; balanced accuracy is reported beside what is published.

Variant "simulated" is for two CPU cores; the apnoea of these sleepers is counted in the part of the
night that they were recorded:

  python -m launch.simulate --dataset=simulated_psg --subjects=120 --hours=0.5 --pathology --out=S
  python -m launch.build --dataset=simulated_psg --source=S --clip_seconds=30 --data_dir=DATA \\
      --label_column=apnoea --label_kind=classification
  python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir=DATA --workdir=A
  python -m launch.pretrain --config=configs/health/apnoea.py:simulated --data_dir=DATA \\
      --workdir=RUN --config.data.encoder=A

Variant "smoke" runs in seconds, on an encoder of its size.
"""

from ml_collections import ConfigDict

from configs import common
from sleepfm_jax import config as configuration

CLASSES = ("none", "mild", "moderate", "severe")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "simulated" and "smoke"."""
    if variant == "simulated":
        return _small(_nights())
    if variant == "smoke":
        config = _small(_nights())
        config.model.token_width = 32
        config.data.slots = {"bas": 2, "resp": 2, "ecg": 1, "emg": 1}
        config.steps, config.batch_size, config.log_every = 4, 2, 1
        config.optimiser.warmup_steps = 2
        config.evaluators.validation.every = config.save_every = 2
        return config
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'simulated' or 'smoke'")
    config = _nights()
    config.steps, every = 20_000, 500
    config.optimiser.update(learning_rate=1e-4, weight_decay=1e-2)
    config.evaluators.validation.every = config.save_every = every
    return config


def _nights() -> ConfigDict:
    config = ConfigDict(configuration.defaults(model="tokens", objective="classification"))
    config.objective.update(labels=CLASSES, head="attention", label_smoothing=0.0)
    config.data.nights_left_out = ()
    config.batch_size = 16
    config.keep_best.update(figure="validation/balanced_accuracy", largest=True, restore=True)
    config.evaluators.test.keep_predictions = True
    return config


def _small(config: ConfigDict) -> ConfigDict:
    config.data.update(night_hours=1.0, night_hours_longest=1.0, num_threads=2)
    config.data.slots = common.two_cores().data.slots
    config.steps = 200
    config.optimiser.update(learning_rate=1e-3, warmup_steps=20)
    config.evaluators.validation.every = config.save_every = 50
    return config
