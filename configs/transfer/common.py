"""What the tasks of the transfer paper share: the recipes of arXiv 2605.02500, and their twins'.

Sizes of the encoder are those of the checkpoint, where there is one (`launch.transfer`): what
stands here is what a model from scratch has without any.
"""

from ml_collections import ConfigDict

from sleepfm_jax import config as configuration

CODE15 = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
"""Labels of CODE-15 %, which three tasks train on, together: their trainings must be equal."""

ALL = 10**9
"""Examples of an evaluator: the whole split."""


def paper_encoder(config: ConfigDict) -> ConfigDict:
    """The encoder that the paper transfers: patches of 1 s at 128 Hz, three layers; no positions
    in its checkpoint."""
    config.model.update(patch_samples=128, width=128, layers=3, position_encoding="none")
    return config


def small_encoder(config: ConfigDict) -> ConfigDict:
    """The one of the twins, for two CPU cores."""
    config.model.update(
        patch_samples=128, width=64, layers=3, heads=4, pooling_heads=4, mlp_dim=128, dropout=0.1
    )
    config.model.position_encoding = "none"
    return config


def rows(every: int) -> dict:
    """The evaluators of a task: validation while it trains, the test split of the best weights."""
    row = configuration.section_defaults("evaluator", "classification") | {"examples": ALL}
    return {
        "validation": row | {"split": "validation", "every": every},
        "test": row | {"split": "test", "every": 0, "keep_predictions": True},
    }


def _fine_tuning(labels: tuple[str, ...], label_kind: str, steps: int, looks: int) -> ConfigDict:
    config = ConfigDict(configuration.defaults(model="sleepfm", objective="classification"))
    paper_encoder(config)
    config.objective.update(labels=labels, label_kind=label_kind)
    config.steps = steps
    every = max(1, steps // looks)
    config.evaluators = ConfigDict(rows(every))
    config.keep_best.update(figure="validation/loss", largest=False, restore=True)
    config.save_every = every
    config.keep = 1
    config.log_every = min(config.log_every, every)
    return config


def eeg(
    dataset: str, labels: tuple[str, ...], *, clips: int, channels: int = 19, passes: int = 100
) -> ConfigDict:
    """The paper's EEG recipe: AdamW 1e-4, decay .01, constant; batch 16; label smoothing .1; up to
    100 passes, and the best weights of the validation loss after ten passes without a better one.

    Args:
      clips: of the training split, as the paper counts them: a pass is so many.
      channels: of a recording.
    """
    steps = passes * max(1, clips // 16)
    config = _fine_tuning(labels, "classification", steps, passes)
    config.data.datasets = (dataset,)
    config.data.slots = {"bas": channels}
    config.data.input_scaling = "published_uv"
    config.batch_size = 16
    config.model.dropout = 0.3
    config.objective.update(head="eeg", label_smoothing=0.1, pool_length=2, head_dropout=0.4)
    config.objective.update(time_mask=0.1, time_mask_span=6, feature_mask=0.01)
    config.objective.feature_mask_span = 64
    config.optimiser.update(
        name="adamw", learning_rate=1e-4, weight_decay=0.01, schedule="constant"
    )
    config.optimiser.update(warmup_steps=0, clip_norm=0.0)
    config.keep_best.patience = 10
    return config


def ecg(
    dataset: str, labels: tuple[str, ...], *, clips: int, passes: int = 70, leads: int = 12
) -> ConfigDict:
    """The paper's ECG recipe: every lead a sequence of its own, two residual blocks on their mean;
    Adam, 1e-4 for the encoder and 1e-3 for the head, three passes of warm-up, then a tenth of it
    whenever four passes brought nothing; batch 32, 70 passes.

    Args:
      clips: of the training split. A pass is so many.
    """
    per_pass = max(1, clips // 32)
    config = _fine_tuning(labels, "multilabel", passes * per_pass, passes)
    config.data.datasets = (dataset,)
    config.data.slots = {"ecg": leads}
    config.batch_size = 32
    config.model.update(dropout=0.1, sequences="channel")
    config.objective.update(head="resblocks", head_dropout=0.2, label_smoothing=0.0)
    config.optimiser.update(name="adam", learning_rate=1e-3, schedule="plateau")
    config.optimiser.update(groups=(("^encoder/", 0.1),), warmup_steps=3 * per_pass)
    config.optimiser.update(plateau_patience=4, plateau_factor=0.1, least_rate=1e-7, clip_norm=0.0)
    return config


def twin(
    config: ConfigDict,
    *,
    figure: str = "balanced_accuracy",
    steps: int = 128,
    looks: int = 4,
    patience: int = 0,
) -> ConfigDict:
    """The same recipe at the smoke size: the small encoder, and rates for so few steps.

    Args:
      figure: of the validation people, whose best weights are kept: in so few steps the loss says
        more of the head's running statistics, which lag behind, than of what was learned.
    """
    small_encoder(config)
    config.steps = steps
    config.batch_size = 16
    every = max(1, steps // looks)
    config.evaluators = ConfigDict(rows(every))
    config.evaluators.validation.examples = 200  # thresholds are chosen on all
    if "bas" in config.data.slots:
        config.data.slots.bas = 8  # training: drawn anew for every clip
    config.save_every, config.log_every = steps, every
    config.keep_best.update(figure=f"validation/{figure}", largest=True, patience=patience)
    config.data.num_threads = 2
    # Of clips of 10 s and half the width, so that as much is masked as of the published ones.
    config.objective.update(time_mask_span=2, feature_mask=0.02, feature_mask_span=16)
    config.optimiser.update(learning_rate=5e-4, warmup_steps=20, clip_norm=1.0)
    if config.optimiser.schedule == "plateau":
        config.optimiser.update(groups=(("^encoder/", 0.3),), plateau_patience=2)
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same experiment in a few seconds: what tests run."""
    twin(config, steps=4, looks=2, patience=0)
    config.keep_best.update(figure="validation/loss", largest=False)
    config.batch_size = 8
    config.model.update(width=32, layers=1, mlp_dim=64)
    config.optimiser.warmup_steps = 2
    config.log_every, config.save_every = 1, 2
    return config
