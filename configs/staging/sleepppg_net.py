"""SleepPPG-Net: sleep stages from the raw pulse wave of a night, wav2sleep's baseline.

  python -m launch.build --dataset=mesa --source=MESA --data_dir=DATA
  python -m launch.pretrain --config=configs/staging/sleepppg_net.py --data_dir=DATA --workdir=RUN

Source: K. Kotzen et al. 2022, arXiv 2202.05735. Published: a median of people's Cohen's kappas of
.75 on test nights of MESA, four classes. That is another figure than the kappa pooled over all
sleep_epochs, which wav2sleep's tables have (of our evaluation: both); it stands in no table beside
ours therefore.

Deviations from the publication:
- the recipe of training (AdamW, warm-up and exponential decay, clipping, the best weights by
  validation loss) and the preparation of the signal (1,024 samples a sleep_epoch, z-scored over the
  night) are those of configs/staging/wav2sleep.py, so that the two models differ in nothing else;
- norms (batch norms, of what lies inside nights; --config.model.norm), the slope of leaky ReLU
  (.01) and where dropout stands (at the end of each block of dilated convolutions) are our choice;
- a night is as long as it is (published: padded or cut to 10 h).

Variant "twin" is the smoke size on simulated sleepers, built as configs/staging/wav2sleep.py says;
variant "smoke" runs in seconds.
"""

from ml_collections import ConfigDict

from configs.staging import wav2sleep
from sleepfm_jax import config as configuration


def get_config(variant: str = "") -> ConfigDict:
    """Variants: "", "twin" and "smoke"."""
    if variant == "twin" or variant == "smoke":
        return network(wav2sleep.get_config(variant))
    if variant:
        raise ValueError(f"unknown variant {variant!r}: expected '', 'twin' or 'smoke'")
    config = network(wav2sleep.get_config())
    config.data.datasets = ("mesa",)
    each_pass = wav2sleep.NIGHTS["mesa"] // config.batch_size
    config.steps = 50 * each_pass
    config.evaluators.validation.every = config.save_every = each_pass
    return config


def network(config: ConfigDict) -> ConfigDict:
    """The configuration of a wav2sleep, with this network of its sizes in its place."""
    before, config.model = (
        config.model,
        ConfigDict(configuration.section_defaults("model", "sleepppg_net")),
    )
    for name in ("width", "initial_channels", "sequence_blocks", "sequence_kernel", "dilations"):
        config.model[name] = before[name]
    config.model.max_channels = 2 * before.max_channels
    config.objective.masking = dict.fromkeys(config.objective.masking, 0.0)
    if "test" in config.evaluators:
        config.evaluators.test.subsets = ("PPG",)
    return config
