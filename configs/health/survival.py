"""Disease prediction from a night of sleep: Cox's model on the tokens of a frozen SleepFM encoder.

  python -m launch.pretrain --config=configs/health/survival.py --data_dir=DATA --workdir=RUN \\
      --config.data.encoder=SLEEPFM --config.objective.table=TABLE.csv

SLEEPFM is a run of configs/sleepfm.py (or released weights, by `launch.convert`), TABLE.csv says
what became of people (docs/survival.md); the labels are whatever it has:
--config.objective.labels='("death","stroke")'.

The paper's rows (concordance index on held-out people of its own clinic, age and sex beside the
night; Nature Medicine 2026): death .84, dementia .85, myocardial infarction .81, heart failure .80,
chronic kidney disease .79, stroke .78, atrial fibrillation .78; 1,065 conditions were trained
together. The frozen tokens, the LSTM with age and sex beside it, AdamW and the plateau are those of
the published code; batch size, rate and length are second-hand.

Deviations from the published recipe:
- events at one time share their risk set as Breslow has it (published: in the order that a sort
  left them in: --config.objective.ties=reference), and an event that nobody of a batch has does not
  enter its mean;
- age and sex may be unknown (published: these people are left out); their scale is this project's.

Variants "simulated" and "clips" are for two CPU cores:

  python -m launch.simulate --dataset=simulated_psg --subjects=120 --hours=0.5 --pathology --out=S
  python -m launch.build --dataset=simulated_psg --source=S --clip_seconds=30 --data_dir=DATA
  python -m launch.pretrain --config=configs/pretrain_simulated.py --data_dir=DATA --workdir=A
  python -m launch.pretrain --config=configs/health/survival.py:simulated --data_dir=DATA \\
      --workdir=RUN --config.data.encoder=A --config.objective.table=S/follow_up.csv

"clips" needs no encoder: a row is a clip, its encoder trained along (or taken from a run,
--config.initialise_from=A, and frozen, --config.frozen='("^encoder/",)'); a person's clips are
averaged where they are scored. Of these sleepers the hazards that they were drawn with have a
concordance of .76 to .80, age alone .66 to .71. Variant "smoke" runs in seconds, on clips.
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
    """Variants: "", "simulated", "clips" and "smoke"."""
    if variant == "":
        return _published()
    if variant == "simulated":
        config = _nights()
        config.data.update(night_hours=1.0, night_hours_longest=1.0)
        config.data.slots = common.two_cores().data.slots
        return _small(config)
    if variant == "clips":
        return _small(_clips())
    if variant == "smoke":
        config = _clips()
        for name, value in common.smoke(common.two_cores()).model.items():
            config.model[name] = value
        config.data.slots = {"bas": 2, "resp": 2, "ecg": 1, "emg": 1}
        config.objective.update(head_layers=1, head_pooling_heads=4, head_mlp_dim=64)
        config.steps, config.batch_size, config.log_every = 4, 8, 1
        config.optimiser.warmup_steps = 2
        config.evaluators.validation.every = config.save_every = 2
        config.evaluators.validation.examples = config.evaluators.test.examples = 16
        return config
    known = "'', 'simulated', 'clips' or 'smoke'"
    raise ValueError(f"unknown variant {variant!r}: expected {known}")


def _nights() -> ConfigDict:
    return ConfigDict(configuration.defaults(model="tokens", objective="survival"))


def _clips() -> ConfigDict:
    config = ConfigDict(configuration.defaults(model="sleepfm", objective="survival"))
    small = common.two_cores()
    config.data, config.model = small.data, small.model
    config.objective.labels = SIMULATED
    return config


def _published() -> ConfigDict:
    config = _nights()
    config.objective.labels = LABELS
    config.batch_size = 16
    config.steps, every = 100_000, 1_000
    config.optimiser.update(name="adamw", learning_rate=1e-4, weight_decay=1e-2, decay_all=True)
    config.optimiser.update(schedule="plateau", plateau_patience=10, plateau_factor=0.1)
    config.optimiser.update(warmup_steps=0, clip_norm=0.0)
    config.data.nights_left_out = ()
    config.evaluators.validation.every = config.save_every = every
    config.keep_best.update(figure="validation/loss", restore=True)
    return config


def _small(config: ConfigDict) -> ConfigDict:
    config.objective.labels = SIMULATED
    config.objective.update(head_layers=1, head_mlp_dim=128)
    config.data.nights_left_out = ()
    config.data.num_threads = 2
    config.steps, config.batch_size = 200, 32
    config.optimiser.update(learning_rate=1e-3, warmup_steps=20)
    config.evaluators.validation.every = config.save_every = 50
    config.keep_best.update(figure="validation/concordance", largest=True, restore=True)
    return config
