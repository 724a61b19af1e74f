"""What all pretraining experiments share: every key a configuration may have, with its default."""

from ml_collections import ConfigDict


def pretraining() -> ConfigDict:
    """The released SleepFM's sizes, with the optimiser that trains well here (AdamW, cosine)."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1000,
            "batch_size": 128,  # clips in the global batch, over all hosts
            "data": {
                "datasets": ("simulated_psg",),  # folders under --data_dir, used together
                # Channels of each modality in a batch. More in a recording: a random choice.
                "slots": {"bas": 10, "resp": 7, "ecg": 2, "emg": 4},
                "num_threads": 8,  # that read records, on each host
                "prefetch": 4,  # batches
            },
            "encoder": {
                "patch_samples": 640,
                "width": 128,
                "layers": 6,
                "heads": 8,
                "pooling_heads": 8,
                "mlp_dim": 2048,
                "dropout": 0.3,
                "max_tokens": 128,
                "position_encoding": "fourier",  # or "none", or the published "fourier_truncated"
                "dtype": "float32",  # of the arithmetic; "bfloat16" on accelerators
                # Quirks of the published code (README: where we differ, and why).
                "single_channel_shortcut": False,
                "mean_over_padding": False,
                "padding_in_statistics": False,
                "encode_absent": False,
            },
            "loss": "leave_one_out",  # or "pairwise"
            "log_scale": 0.0,  # where the learned log logit scale starts
            "max_log_scale": 4.6052,  # a logit scale of 100
            "batch_statistics": "joint",  # or "per_modality", as published
            "optimiser": {
                "name": "adamw",  # or "adam", "sgd"
                "learning_rate": 1e-3,
                "schedule": "cosine",  # or "constant", "step"
                "warmup_steps": 100,
                "decay_every": 1000,  # steps, of "step"
                "decay_factor": 0.1,  # of "step"
                "weight_decay": 0.05,  # of adamw
                "momentum": 0.9,  # of sgd
                "clip_norm": 1.0,  # 0: none
            },
            "mesh": {"data": -1},  # axis → size over all devices; -1: what is left
            # (pattern of a parameter's path, mesh axis or None for each dimension); first fit wins.
            "sharding_rules": ((".*", ()),),
            "max_skipped_in_a_row": 10,  # updates with a NaN or inf before the run stops
            "log_every": 10,  # steps
            "eval_every": 200,  # steps
            "eval_clips": 256,  # of the validation split, spread evenly
            "test_clips": 1024,  # of the test split, for the final retrieval
            "candidates": 128,  # clips among which retrieval looks
            "save_every": 200,  # steps
            "keep": 2,  # checkpoints
        }
    )


def two_cores() -> ConfigDict:
    """Small enough to learn something in three minutes on two CPU cores, from clips of 30 s."""
    config = pretraining()
    config.steps = 260
    config.batch_size = 32
    config.data.slots = {"bas": 3, "resp": 2, "ecg": 1, "emg": 1}
    config.data.num_threads = 2
    config.encoder.update(layers=2, mlp_dim=256, dropout=0.0)
    config.optimiser.warmup_steps = 20
    config.optimiser.learning_rate = 2e-3
    config.log_scale = 2.5
    config.eval_every = config.save_every = 100
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same experiment in a few seconds: what tests run."""
    config.steps = 4
    config.batch_size = 8
    config.data.slots = {"bas": 2, "resp": 2, "ecg": 1, "emg": 1}
    config.data.num_threads = 2
    config.encoder.update(width=32, layers=1, heads=4, pooling_heads=4, mlp_dim=64, dropout=0.1)
    config.optimiser.warmup_steps = 2
    config.log_every = 1
    config.eval_every = config.save_every = 2
    config.eval_clips = config.test_clips = 16
    return config
