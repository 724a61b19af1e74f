"""Left or right? A task that electrode positions alone can solve, for what they are worth.

  python -m launch.simulate --dataset=simulated_wake_eeg --subjects=200 --out=SIMULATED
  python -m launch.build --dataset=simulated_wake_eeg --source=SIMULATED --clip_seconds=10 \\
      --data_dir=DATA
  python -m launch.bench.laterality --data_dir=DATA --out=OUT --seeds=3

(one of its trainings by itself: --config=configs/transfer/laterality.py:fourier in launch.pretrain)
The simulated lesion is mirrored between the classes, and a clip has a random half of the
electrodes, so that neither an average over the head nor a place in the batch gives the side away.
The published position code (`fourier_truncated`) is the same for the left and the right: it should
be at chance, as no positions are, and `fourier` above it. No score is published, and none
was seen yet.

Variants: a position encoding ("fourier", "fourier_truncated", "none"), trained as a whole; with
":tokens" after it (as "fourier:tokens") the tokens before channel pooling are frozen as pretraining
or chance left them, and what pools and reads them is trained: a frozen pooling has already averaged
the side away. Variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.transfer import common

LABELS = ("left", "right")
ENCODINGS = ("fourier", "fourier_truncated", "none")
TOKENS = ("^encoder/tokenizer/",)
"""What makes the tokens before channel pooling, but for the positions that are added to them."""


def get_config(variant: str = "") -> ConfigDict:
    """Variants: an encoding ("": fourier), or one with ":tokens"; "smoke"."""
    config = common.twin(common.eeg("simulated_wake_eeg", LABELS, clips=2000), steps=320, looks=8)
    config.data.slots = {"bas": 10}
    config.model.position_encoding = "fourier"
    if variant == "smoke":
        return common.smoke(config)
    encoding, _, frozen = (variant or ENCODINGS[0]).partition(":")
    if encoding not in ENCODINGS or frozen not in ("", "tokens"):
        known = ", ".join(repr(name) for name in ENCODINGS)
        raise ValueError(
            f"unknown variant {variant!r}: expected {known}, ':tokens' after it, or 'smoke'"
        )
    config.model.position_encoding = encoding
    if frozen:
        config.frozen = TOKENS
    return config
