"""Disease prediction from a night of sleep: Cox's model on the tokens of a SleepFM encoder.

  python -m launch.pretrain --config=configs/health/survival.py --data_dir=DATA --workdir=RUN \\
      --config.initialise_from=A --config.objective.table=TABLE.csv

A is a run of configs/sleepfm.py (or `launch.convert` of the released weights), TABLE.csv says what
became of people (docs/survival.md); the labels are whatever it has:
--config.objective.labels='("death","stroke")'.

The paper's rows (concordance index on held-out people, all modalities, age and sex beside them;
Nature Medicine 2026, of its own clinic's records): death .84, dementia .85, myocardial infarction
.81, heart failure .80, chronic kidney disease .79, stroke .78, atrial fibrillation .78; 1,065
conditions were trained together. The frozen encoder, the two-layer LSTM with age and sex beside it,
AdamW and the plateau are those of the published code; batch size, rate and length are second-hand.

Deviations from the published recipe:
- a row is a clip of the recording, not the night (a night's tokens are as good: the head reads any
  length); a person's clips are averaged where they are scored;
- events at one time share their risk set as Breslow has it (published: in the order that a sort
  left them in: --config.objective.ties=reference), and an event that nobody of a batch has does not
  enter its mean;
- age and sex may be unknown; published: these people are left out. Their scale is this project's.

Variant "simulated" is the same at a size for two CPU cores:

  python -m launch.simulate --dataset=simulated_psg --subjects=120 --hours=0.5 --pathology --out=S
  python -m launch.build --dataset=simulated_psg --source=S --clip_seconds=30 --data_dir=DATA
  python -m launch.pretrain --config=configs/health/survival.py:simulated --data_dir=DATA \\
      --workdir=RUN --config.objective.table=S/follow_up.csv

trained from scratch; with --config.initialise_from=A and --config.frozen='("^encoder/",)' on a
pretrained encoder. The best that can be had there is .76 to .80, age alone has .66 to .71. Variant
"smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs import common
from sleepfm_jax import config as configuration

LABELS = (
    *("death", "dementia", "myocardial_infarction", "heart_failure"),
    *("chronic_kidney_disease", "stroke", "atrial_fibrillation"),
)
"""Of the published ones, those in the abstract."""

SIMULATED = ("death", "stroke", "heart_failure")
"""Of `launch.simulate`."""


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "simulated" and "smoke"."""
    if variant == "simulated":
        return _simulated()
    if variant == "smoke":
        return _smoke()
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'simulated' or 'smoke'")
    config = ConfigDict(configuration.defaults(model="sleepfm", objective="survival"))
    config.objective.labels = LABELS
    config.frozen = ("^encoder/",)
    config.batch_size = 16
    config.steps, every = 100_000, 1_000
    config.optimiser.update(name="adamw", learning_rate=1e-4, weight_decay=1e-2, decay_all=True)
    config.optimiser.update(schedule="plateau", plateau_patience=10, plateau_factor=0.1)
    config.optimiser.update(warmup_steps=0, clip_norm=0.0)
    config.evaluators.validation.every = config.save_every = every
    config.keep_best.update(figure="validation/loss", restore=True)
    return config


def _simulated() -> ConfigDict:
    config = _cox(common.two_cores())
    config.objective.update(head_layers=1, head_mlp_dim=128)
    config.steps, config.batch_size = 200, 64
    config.optimiser.update(learning_rate=1e-3, warmup_steps=20)
    config.evaluators.validation.every = config.save_every = 50
    config.keep_best.update(figure="validation/concordance", largest=True, restore=True)
    return config


def _smoke() -> ConfigDict:
    config = common.smoke(_cox(common.two_cores()))
    config.objective.update(head_layers=1, head_pooling_heads=4, head_mlp_dim=64)
    return config


def _cox(small: ConfigDict) -> ConfigDict:
    """The sizes of a small pretraining, with this objective."""
    config = ConfigDict(configuration.defaults(model="sleepfm", objective="survival"))
    config.objective.labels = SIMULATED
    for section in ("data", "model", "optimiser"):
        config[section] = small[section]
    return config
