"""The two systems meet: stages from the tokens of a frozen SleepFM encoder.

  python -m launch.pretrain --config=configs/sleepfm.py --data_dir=DATA --workdir=SLEEPFM
  python -m launch.pretrain --config=configs/staging/tokens.py:lstm \\
      --config.data.encoder=SLEEPFM --data_dir=DATA --workdir=RUN
  python -m launch.subsets --models="wav2sleep=W2S;lstm=RUN" --workdir=TABLE

Tokens are made once, of the stored clips, and kept in RUN/tokens, or, for several runs, in
--config.data.token_folder. Whom the encoder was trained on cannot be scored.

Variants:
- "", "linear": one layer on the mean tokens of a sleep_epoch's modalities;
- "lstm": SleepFM's transformer and LSTM on the same tokens, its masks mended. Published, frozen
  encoder, five classes (--config.model.classes=5): macro F1 of SHHS .775, MESA .783, MrOS .752
  (docs/field.md §2);
- "mixer": wav2sleep's mixer of signals and of sleep_epochs on tokens of single channels, each
  embedded by itself, so that every subset that wav2sleep is scored on is there. Nothing published.

Deviations from the published LSTM: four classes, as wav2sleep's, so that all stand in one table;
a sleep_epoch is told by the mean of its steps (published: every 5 s has the label); sequences are
left out at random, as wav2sleep's signals; its recipe of training is taken, too.

Variant "twin" is the mixer for simulated sleepers, on two CPU cores, of an encoder of
configs/pretrain_simulated.py. Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.staging import wav2sleep
from sleepfm_jax import config as configuration

SUBSETS = ("all", "ECG")
"""Of modalities: what has the name of a signal of wav2sleep's."""


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "linear", "lstm", "mixer", "twin" and "smoke"."""
    config = wav2sleep.get_config()
    if variant in ("", "linear"):
        return _on_modalities(config, "token_linear")
    if variant == "lstm":
        return _on_modalities(config, "token_lstm")
    if variant == "mixer":
        return _on_channels(config, "token_mixer")
    if variant == "twin":
        return small(wav2sleep.get_config("twin"), "token_mixer")
    if variant == "smoke":
        config = small(wav2sleep.get_config("smoke"), "token_mixer")
        config.model.update(token_width=32, width=16, heads=2, mlp_dim=32, dilations=2)
        config.model.signals = ("ECG", "THX")
        return config
    known = "'', 'linear', 'lstm', 'mixer', 'twin' or 'smoke'"
    raise ValueError(f"unknown variant {variant!r}: expected {known}")


def _on_modalities(config: ConfigDict, kind: str) -> ConfigDict:
    config = _of_kind(config, kind)
    config.evaluators.test.subsets = SUBSETS
    return config


def _on_channels(config: ConfigDict, kind: str) -> ConfigDict:
    signals = config.model.signals
    config = _of_kind(config, kind)
    config.model.signals = signals
    return config


def _of_kind(config: ConfigDict, kind: str) -> ConfigDict:
    config.model = ConfigDict(configuration.section_defaults("model", kind))
    config.objective.turn_over = False
    for row in config.evaluators.values():
        row.keep_predictions = row.split == "test"
    return config


def small(config: ConfigDict, kind: str) -> ConfigDict:
    """A configuration of wav2sleep's for two cores, with a head on tokens of the same signals."""
    config = _on_channels(config, kind)
    if kind == "token_mixer":
        config.model.update(width=32, heads=4, mlp_dim=64, mixer_layers=1)
        config.model.update(sequence_blocks=1, sequence_kernel=5, dilations=4)
    elif kind == "token_lstm":
        config.model.update(mlp_dim=128, dropout=0.1)
    return config
