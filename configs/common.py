"""What experiments share. Every key and its default: `sleepfm_jax/config/keys.py`."""

from ml_collections import ConfigDict

from sleepfm_jax import config as configuration


def pretraining() -> ConfigDict:
    """The released SleepFM's sizes, with the optimiser that trains well here (AdamW, cosine)."""
    return ConfigDict(configuration.defaults(model="sleepfm", objective="contrastive"))


def two_cores() -> ConfigDict:
    """Small enough to learn something in three minutes on two CPU cores, from clips of 30 s."""
    config = pretraining()
    config.steps = 260
    config.batch_size = 32
    config.data.slots = {"bas": 3, "resp": 2, "ecg": 1, "emg": 1}
    config.data.num_threads = 2
    config.model.update(layers=2, mlp_dim=256, dropout=0.0)
    config.optimiser.warmup_steps = 20
    config.optimiser.learning_rate = 2e-3
    config.objective.log_scale = 2.5
    config.evaluators.validation.every = config.save_every = 100
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same experiment in a few seconds: what tests run."""
    config.steps = 4
    config.batch_size = 8
    config.data.slots = {"bas": 2, "resp": 2, "ecg": 1, "emg": 1}
    config.data.num_threads = 2
    config.model.update(width=32, layers=1, heads=4, pooling_heads=4, mlp_dim=64, dropout=0.1)
    config.optimiser.warmup_steps = 2
    config.log_every = 1
    config.evaluators.validation.every = config.save_every = 2
    config.evaluators.validation.examples = config.evaluators.test.examples = 16
    return config
