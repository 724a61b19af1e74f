"""Sleep pretraining for transfer: the encoder that the tasks of configs/transfer start from.

  python -m launch.build --dataset=shhs --source=SHHS --clip_seconds=60 --data_dir=SLEEP
  python -m launch.pretrain --config=configs/transfer/pretraining.py \\
      --config.data.datasets='("shhs",)' --data_dir=SLEEP --workdir=A

The released SleepFM cuts patches of 5 s; the paper's tasks want 1 s (128 samples), three layers of
width 128 and 8 heads, and its tokenizer's affines do not fit another patch: so transfer has a
pretraining of its own. The paper does not say how long its clips are. Here they are of 60 s, as its
tasks': 60 tokens, where 5 min would be 300, more than the 128 positions in time that there are
(docs/field.md §1.A). No score of the pretraining by itself is published.

Variants: "pe" has electrode positions in pretraining too, and drops channels at random, so that any
number of them works afterwards (its checkpoint is --checkpoint_pe of launch.transfer). "twin",
"twin_pe" and "twin_mispaired" are the smoke size, for two CPU cores:

  python -m launch.simulate --dataset=simulated_psg --pathology --coupling=1 --subjects=72 \\
      --hours=0.5 --out=SIMULATED
  python -m launch.build --dataset=simulated_psg --source=SIMULATED --clip_seconds=30 \\
      --data_dir=SLEEP
  python -m launch.pretrain --config=configs/transfer/pretraining.py:twin --data_dir=SLEEP \\
      --workdir=A

"twin_mispaired" is the control: modalities are of other people. Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common
from sleepfm_jax import config as configuration


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "pe", "twin", "twin_pe", "twin_mispaired" and "smoke"."""
    config = ConfigDict(configuration.defaults(model="sleepfm", objective="contrastive"))
    common.paper_encoder(config)
    config.steps = 50_000
    config.optimiser.warmup_steps = 1000
    config.evaluators.validation.every = config.save_every = 1000
    if variant == "pe":
        return _with_positions(config)
    if variant == "twin":
        return _twin(config)
    if variant == "twin_pe":
        return _with_positions(_twin(config))
    if variant == "twin_mispaired":
        config = _twin(config)
        config.data.mispaired = True
        return config
    if variant == "smoke":
        return _smoke(_twin(config))
    if variant:
        known = "'', 'pe', 'twin', 'twin_pe', 'twin_mispaired' or 'smoke'"
        raise ValueError(f"unknown variant {variant!r}: expected {known}")
    return config


def _with_positions(config: ConfigDict) -> ConfigDict:
    config.model.position_encoding = "fourier"
    config.data.channel_dropout = 0.3
    return config


def _twin(config: ConfigDict) -> ConfigDict:
    common.small_encoder(config)
    config.steps = 240
    config.batch_size = 32
    config.data.slots = {"bas": 3, "resp": 2, "ecg": 1, "emg": 1}
    config.data.num_threads = 2
    config.optimiser.update(warmup_steps=20, learning_rate=2e-3)
    config.objective.log_scale = 2.5
    config.evaluators.validation.every = config.save_every = 120
    config.evaluators.test.examples = 256
    return config


def _smoke(config: ConfigDict) -> ConfigDict:
    config.steps = 4
    config.batch_size = 8
    config.model.update(width=32, layers=1, mlp_dim=64)
    config.optimiser.warmup_steps = 2
    config.log_every = 1
    config.evaluators.validation.every = config.save_every = 2
    config.evaluators.validation.examples = config.evaluators.test.examples = 16
    return config
