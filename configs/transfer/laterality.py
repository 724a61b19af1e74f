"""Left or right? A task that electrode positions alone can solve, for what they are worth.

  python -m launch.simulate --dataset=simulated_wake_eeg --subjects=200 --out=SIMULATED
  python -m launch.build --dataset=simulated_wake_eeg --source=SIMULATED --clip_seconds=10 \\
      --data_dir=DATA
  python -m launch.bench.laterality --data_dir=DATA --out=OUT --initialise_from=RUN --seeds=3

(one training by itself: --config=configs/transfer/laterality.py:fourier in launch.pretrain)
The simulated lesion is mirrored between the classes, and a clip has a random half of the
electrodes, so that neither an average over the head nor a place in the batch gives the side away.
The published position code (`fourier_truncated`) is the same for the left and the right: it should
be at chance, as no positions are, and `fourier` above it. No score is published.

Seen, balanced accuracy of 50 test people, 3 seeds: of tokens before channel pooling `fourier` .596
[.567, .624], `fourier_truncated` .506, none .503; trained as a whole from a pretrained
twin .781 [.752, .808], .481, .495.

Variants: a position encoding ("fourier", "fourier_truncated", "none"), trained as a whole; "smoke"
runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

LABELS = ("left", "right")
ENCODINGS = ("fourier", "fourier_truncated", "none")


def get_config(variant: str = "") -> ConfigDict:
    """Variants: an encoding ("": fourier); "smoke"."""
    config = common.twin(common.eeg("simulated_wake_eeg", LABELS, clips=2000), steps=600, looks=6)
    config.data.slots = {"bas": 10}
    config.batch_size = 32
    # Nothing that hides a side, and positions that are heard from the first step on.
    config.model.update(position_scale=1.0, dropout=0.0)
    config.objective.update(head="linear", time_mask=0.0, feature_mask=0.0, label_smoothing=0.0)
    config.optimiser.update(learning_rate=2e-3, groups=(("^encoder/tokenizer", 0.3),))
    config.model.position_encoding = "fourier"
    if variant == "smoke":
        return common.smoke(config)
    encoding = variant or ENCODINGS[0]
    if encoding not in ENCODINGS:
        known = ", ".join(repr(name) for name in ENCODINGS)
        raise ValueError(f"unknown variant {variant!r}: expected {known}, or 'smoke'")
    config.model.position_encoding = encoding
    return config
