"""wav2sleep on simulated cohorts that do not share their signals: is one model for all as good as
one for each?

  bash launch/staging_simulated.sh RUN

simulates and builds them (ecg_thx: ECG and THX; ppg: PPG; all_signals: ABD, ECG, PPG, THX; unseen:
these four of sleepers with diseases, whom nobody is trained on), trains every variant and scores
it on every subset of signals: RUN/subsets.csv, RUN/subset_gains.csv. One training by itself, on
cohorts built under DATA/ecg_thx and so on:

  python -m launch.pretrain --config=configs/staging/simulated_cohorts.py:ecg --data_dir=DATA \\
      --workdir=RUN

Nothing is published of simulated sleepers; what the paper says of real ones is that a model trained
jointly is better than one trained on a single signal (docs/field.md §1.C).

Variants:
- "", "joint": all cohorts, signals left out at random;
- "no_masking": the same, none is left out;
- "ecg", "ppg", "ecg_thx": a model of these signals alone, on the cohorts that have them;
- "token_linear", "token_lstm", "token_mixer": as "joint", but what is trained reads the tokens of a
  frozen encoder, --config.data.encoder=RUN (configs/staging/tokens.py); RUN is another training of
  configs/pretrain_simulated.py, on a cohort of these with two modalities:
  --config.data.datasets='("all_signals",)'.
Sizes are half of those of configs/staging/wav2sleep.py:twin and the steps too, so that all of it
takes minutes on two CPU cores. Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.staging import tokens, wav2sleep
from sleepfm_jax import config as configuration

COHORTS = {
    "ecg_thx": ("ECG", "THX"),
    "ppg": ("PPG",),
    "all_signals": ("ABD", "ECG", "PPG", "THX"),
}
"""Trained on: dataset → its signals."""

UNSEEN = {"unseen": ("ABD", "ECG", "PPG", "THX")}
SUBSETS = ("all", "ECG", "ECG+THX", "PPG", "PPG+THX")
"""As published."""

ALL = 10**9
"""Examples of an evaluator: the whole split."""


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "joint", "no_masking", "ecg", "ppg", "ecg_thx", "token_linear", "token_lstm",
    "token_mixer" and "smoke"."""
    if variant == "smoke":
        config = _of_signals(wav2sleep.get_config("smoke"), COHORTS["all_signals"])
        config.data.datasets = ("simulated_psg",)
        del config.evaluators["test_ecg_thx"], config.evaluators["test_ppg"]
        config.evaluators.test_all_signals.datasets = ("simulated_psg",)
        config.evaluators.test_unseen.datasets = ("simulated_psg",)
        return config
    config = wav2sleep.get_config("twin")
    config.model.update(initial_channels=4, max_channels=16)
    config.steps = 120
    config.optimiser.decay_time = 80.0
    if variant in ("", "joint"):
        return _of_signals(config, COHORTS["all_signals"])
    if variant == "no_masking":
        config = _of_signals(config, COHORTS["all_signals"])
        config.objective.masking = dict.fromkeys(config.objective.masking, 0.0)
        return config
    if variant == "ecg":
        return _alone(config, ("ECG",))
    if variant == "ppg":
        return _alone(config, ("PPG",))
    if variant == "ecg_thx":
        return _alone(config, ("ECG", "THX"))
    if variant in ("token_linear", "token_lstm", "token_mixer"):
        return tokens.small(_of_signals(config, COHORTS["all_signals"]), variant)
    known = "'', 'joint', 'no_masking', 'ecg', 'ppg', 'ecg_thx', 'token_linear', 'token_lstm', "
    known += "'token_mixer' or 'smoke'"
    raise ValueError(f"unknown variant {variant!r}: expected {known}")


def _alone(config: ConfigDict, signals: tuple[str, ...]) -> ConfigDict:
    """A model of these signals, which it always gets."""
    config.objective.masking = dict.fromkeys(config.objective.masking, 0.0)
    return _of_signals(config, signals)


def _of_signals(config: ConfigDict, signals: tuple[str, ...]) -> ConfigDict:
    """Trained on the cohorts that have all of the signals or, of all signals, on each; scored on
    every subset that the model and a cohort have."""
    config.model.signals = signals
    everything = set(signals) == set(COHORTS["all_signals"])
    config.data.datasets = tuple(
        name for name, there in COHORTS.items() if everything or set(signals) <= set(there)
    )
    validation = config.evaluators.validation
    config.evaluators = ConfigDict({"validation": validation})
    row = configuration.section_defaults("evaluator", "staging")
    row |= {"split": "test", "every": 0, "examples": ALL, "keep_predictions": True}
    for cohort, there in {**COHORTS, **UNSEEN}.items():
        # Where all that there is has a name of its own, it is scored by that alone.
        asked = [s for s in SUBSETS if s != "all" or "+".join(there) not in SUBSETS]
        both = set(signals) & set(there)
        subsets = tuple(s for s in asked if _read(s, there) <= both)
        if subsets:
            config.evaluators[f"test_{cohort}"] = ConfigDict(
                row | {"datasets": (cohort,), "subsets": subsets}
            )
    return config


def _read(subset: str, there: tuple[str, ...]) -> set[str]:
    """The signals of a subset."""
    return set(there if subset == "all" else subset.split("+"))
