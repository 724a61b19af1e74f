"""wav2sleep: one model that stages sleep from any subset of a night's signals (arXiv 2411.04644).

  python -m launch.build --dataset=shhs --source=SHHS --data_dir=DATA    # and the other cohorts
  python -m launch.pretrain --config=configs/staging/wav2sleep.py --data_dir=DATA --workdir=RUN

The paper's rows (Cohen's kappa of four classes, pooled over the test nights of a cohort;
second-hand, presumably of variant "paper2024"): SHHS from ECG .739, from ECG+THX .779; MESA from
PPG .742; Census from ECG .783.

Variants, but for "" all by name:
- "", "release2026": the recipe of the release of February 2026: AdamW 1e-3, decay 1e-4 of every
  parameter, 2,000 steps of warm-up, then exp(-t / 10,000), gradients clipped at 1; 16 nights of
  10 h; signals left out and turned over at random; up to 50 passes, ended by five without a better
  validation loss, whose weights are kept. An average of weights (optional in the release) is
  --config.objective.average_decay=.9999.
- "paper2024": the code of the paper: max-pooling, decay 1e-2, no clipping, signals in a random
  order in the mixer.
- "causal": no logit sees a later sample; trained without CFS and CCSHS, as published.
- "eog5": five classes from the electro-oculogram; trained without SHHS, as published.

Deviations from the published recipe (docs/field.md §1.C):
- splits are by person (the published ones share people between training and test);
- "causal" is causal: its normalisation looks back only, and each sleep_epoch is encoded by itself
  (published: instance norm over the night, and a baseline that looks 120 s ahead);
- a night that has neither ECG nor PPG keeps one of its other signals (published: an error);
- samples beyond a night and in gaps enter no mean (published: zeros up to 10 h are z-scored too);
- the released weights are of a smaller sequence mixer than the released recipe:
  --config.model.sequence_kernel=5 --config.model.dilations=5.

Variant "twin" is the recipe at the smoke size, on simulated sleepers, for two CPU cores:

  python -m launch.simulate --dataset=simulated_psg --subjects=48 --hours=1 --out=SOURCE
  python -m launch.build --dataset=simulated_psg --source=SOURCE --clip_seconds=300 --data_dir=DATA
  python -m launch.pretrain --config=configs/staging/wav2sleep.py:twin --data_dir=DATA --workdir=RUN

Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from sleepfm_jax import config as configuration

COHORTS = ("shhs", "mesa", "wsc", "chat", "cfs", "ccshs")
NIGHTS = {"shhs": 6441, "mesa": 1541, "wsc": 1380, "chat": 1132, "cfs": 452, "ccshs": 272}
"""Published nights of training: a pass is so many."""


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "release2026", "paper2024", "causal", "eog5", "twin" and "smoke"."""
    config = _release(COHORTS)
    if variant == "paper2024":
        config.model.variant = "paper2024"
        config.optimiser.update(weight_decay=1e-2, clip_norm=0.0)
    elif variant == "causal":
        config = _release([name for name in COHORTS if name not in ("cfs", "ccshs")])
        config.model.causal = "chunk"
        config.data.night_normalisation = "causal"
    elif variant == "eog5":
        config = _release([name for name in COHORTS if name != "shhs"])
        config.model.update(signals=("EOG-L", "EOG-R"), classes=5)
        config.evaluators.test.subsets = ("all", "EOG-L", "EOG-R")
    elif variant == "twin":
        return _twin(config)
    elif variant == "smoke":
        return _smoke(_twin(config))
    elif variant not in ("", "release2026"):
        known = "'', 'release2026', 'paper2024', 'causal', 'eog5', 'twin' or 'smoke'"
        raise ValueError(f"unknown variant {variant!r}: expected {known}")
    return config


def _release(cohorts) -> ConfigDict:
    config = ConfigDict(configuration.defaults(model="wav2sleep", objective="staging"))
    config.data.datasets = tuple(cohorts)
    config.batch_size = 16
    each_pass = sum(NIGHTS[name] for name in cohorts) // config.batch_size
    config.steps = 50 * each_pass
    config.optimiser.update(name="adamw", learning_rate=1e-3, weight_decay=1e-4, decay_all=True)
    config.optimiser.update(schedule="exponential", warmup_steps=2000, decay_time=10_000.0)
    config.optimiser.update(clip_norm=1.0, clip_form="torch")
    config.evaluators.validation.every = config.save_every = each_pass
    config.evaluators.validation.examples = config.evaluators.test.examples = 10**9
    config.evaluators.test.subsets = ("all", "ECG", "ECG+THX", "PPG", "PPG+THX")
    config.keep_best.update(figure="validation/loss", patience=5, restore=True)
    return config


def _twin(config: ConfigDict) -> ConfigDict:
    config.data.datasets = ("simulated_psg",)
    config.data.update(night_hours=1.0, night_hours_longest=1.0, num_threads=2)
    config.model.update(width=32, initial_channels=8, max_channels=32, heads=4, mlp_dim=64)
    config.model.update(sequence_kernel=5, dilations=4)
    config.steps, config.batch_size = 240, 8
    config.optimiser.update(warmup_steps=20, decay_time=120.0, learning_rate=3e-3)
    config.evaluators.validation.every = config.save_every = 40
    config.keep_best.patience = 0
    return config


def _smoke(config: ConfigDict) -> ConfigDict:
    config.steps, config.batch_size = 4, 4
    config.data.update(night_hours=0.1, night_hours_longest=0.1, nights_left_out=())
    config.model.update(width=16, initial_channels=4, max_channels=16, heads=2, mlp_dim=32)
    config.model.update(signals=("ECG", "THX"), mixer_layers=1, sequence_blocks=1, dilations=2)
    config.evaluators.test.subsets = ("all", "ECG")
    config.optimiser.warmup_steps = 2
    config.log_every = 1
    config.evaluators.validation.every = config.save_every = 2
    return config
