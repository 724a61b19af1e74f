"""SleepFM's released sizes (Nature Medicine 2026): 5-min clips, patch 640, 4.8 M parameters.

  python -m launch.build --dataset=edf_folder --source=COHORT --data_dir=DATA
  python -m launch.pretrain --config=configs/sleepfm.py --config.data.datasets='("edf_folder",)' \\
      --data_dir=DATA --workdir=RUN

Published: batch 128, one pass over 585,000 h. Here the optimiser is AdamW with a cosine and the
known faults are mended; variant `reference` is the published recipe with its quirks: SGD with
steps, batch statistics of each modality with its padded channels, the single-channel shortcut, no
electrode positions. No score is published for this retrieval: compare with chance in the report.
Variant `smoke` runs in seconds.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "reference" and "smoke"."""
    config = common.pretraining()
    config.steps = 50_000
    config.optimiser.warmup_steps = 1000
    config.evaluators.validation.every = config.save_every = 1000
    if variant == "smoke":
        return common.smoke(config)
    if variant == "reference":
        config.optimiser.update(
            name="sgd", schedule="step", learning_rate=1e-3, warmup_steps=0, clip_norm=0.0
        )
        config.optimiser.decay_every = 20_000  # published: every second pass over the cohort
        config.model.update(
            position_encoding="none",
            single_channel_shortcut=True,
            padding_in_statistics=True,
            encode_absent=True,
            batch_statistics="per_modality",
        )
        # Published: no limit; here what float32 can still exponentiate.
        config.objective.max_log_scale = 80.0
    elif variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'reference' or 'smoke'")
    return config
