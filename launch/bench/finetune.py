"""Fine-tuning from scratch beside plain PyTorch: the same network, the same exams, the same recipe.

  python -m launch.build --dataset=ptbxl --source=SHARED/ecg_ptbxl --data_dir=DATA
  python -m launch.bench.finetune --config=configs/transfer/ptbxl.py:superclasses --data_dir=DATA \\
      --seeds=3 --out=OUT

A weak baseline would flatter pretraining, so what this project makes of untrained weights has to be
what anybody would make of them. PyTorch's side is the replica of `launch.bench.replica` in a loop
of its own: its initialisation, its optimisers, its dropout, nothing of ours but the records. For
configurations of ECG leads with a `resblocks` head. Prints each seed's test figures of both.
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from launch import programs

_CONFIG = config_flags.DEFINE_config_file("config", None, "A fine-tuning configuration.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that launch.build wrote datasets to.")
_OUT = flags.DEFINE_string("out", None, "Folder for our runs and for finetune.json.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many runs of each.", lower_bound=1)


def arrays(config, data_dir, split):
    """Leads float32 [N, C, T] as the model sees them, valid [N, C], labels float32 [N, K]."""
    import numpy as np

    from sleepfm_jax import experiment
    from sleepfm_jax.data import datasets

    objective = experiment.make_objective(config)
    records = datasets.open_records(data_dir, config["data"]["datasets"], split)
    examples = experiment.make_examples(records, objective.layout)
    batch = examples.batch(np.arange(len(examples)))
    x = batch["signals"].astype(np.float32) * batch["scale"][..., None]
    if config["data"]["input_scaling"] == "published_uv":
        x = np.clip(x + batch["offset"][..., None], -5, 5)
    return x, batch["mask"].all(-1), batch["labels"]


class Exams:
    """The network of an exam's leads in PyTorch, and its training."""

    def __init__(self, config, seed: int):
        import torch

        from launch.bench.replica import encoder, heads

        torch.manual_seed(seed)
        model, objective = config["model"], config["objective"]
        self.encoder = encoder.SetTransformer(
            model["patch_samples"],
            model["width"],
            model["heads"],
            model["layers"],
            model["pooling_heads"],
            model["dropout"],
            early_return=False,
            mlp_dim=model["mlp_dim"],
        )
        self.head = heads.ResBlocksHead(
            model["width"], len(objective["labels"]), dropout=objective["head_dropout"]
        )
        self.module = torch.nn.ModuleList([self.encoder, self.head])

    def logits(self, x, valid):
        """x [B, C, T], valid [B, C] → [B, K]: the mean token sequence of the valid leads."""
        b, c, t = x.shape
        tokens = self.encoder(x.reshape(b * c, 1, t), None)[1].unflatten(0, (b, c))  # [B, C, S, D]
        weight = valid.float()[..., None, None]
        return self.head((tokens * weight).sum(1) / weight.sum(1).clamp_min(1))


def train_torch(config, parts, seed: int):
    """Test probabilities [N, K] of the weights that were best on validation."""
    import numpy as np
    import torch

    net = Exams(config, seed)
    optimiser, size = config["optimiser"], config["batch_size"]
    rates = {"encoder": optimiser["learning_rate"], "head": optimiser["learning_rate"]}
    for pattern, factor in optimiser["groups"]:
        for name in rates:
            if pattern.strip("^").startswith(name):
                rates[name] *= factor
    groups = [
        {"params": getattr(net, name).parameters(), "lr": rate} for name, rate in rates.items()
    ]
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser["name"]]
    decay = {"weight_decay": optimiser["weight_decay"]} if optimiser["name"] == "adamw" else {}
    tx = make(groups, **decay)
    peak = [group["lr"] for group in tx.param_groups]
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    data = {name: [torch.from_numpy(a) for a in part] for name, part in parts.items()}
    rng = np.random.default_rng(seed)
    x, valid, labels = data["train"]
    every, patience = (config["evaluators"]["validation"]["every"], config["keep_best"]["patience"])
    best, kept, bad, plateau, slow = np.inf, None, 0, 0, 1.0
    order: list[int] = []

    def forward(name):
        net.module.eval()
        with torch.no_grad():
            logits = [net.logits(*(a[i : i + size] for a in data[name][:2]))
                      for i in range(0, len(data[name][0]), size)]  # fmt: skip
        net.module.train()
        return torch.cat(logits)

    for step in range(config["steps"]):
        if len(order) < size:
            order = list(rng.permutation(len(x)))
        mine, order = order[:size], order[size:]
        warm = min(1.0, (step + 1) / max(1, optimiser["warmup_steps"]))
        for group, rate in zip(tx.param_groups, peak):
            group["lr"] = rate * warm * slow
        loss = bce(net.logits(x[mine], valid[mine]), labels[mine])
        tx.zero_grad()
        loss.backward()
        if optimiser["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(net.module.parameters(), optimiser["clip_norm"])
        tx.step()
        if (step + 1) % every == 0:
            found = float(bce(forward("validation"), data["validation"][2]))
            if found < best:
                best, kept = found, copy.deepcopy(net.module.state_dict())
                bad = plateau = 0
            else:
                bad, plateau = bad + 1, plateau + 1
            if optimiser["schedule"] == "plateau" and plateau > optimiser["plateau_patience"]:
                least = optimiser["least_rate"] / optimiser["learning_rate"]
                slow, plateau = max(slow * optimiser["plateau_factor"], least), 0
            if patience and bad >= patience:
                break
    net.module.load_state_dict(kept)
    return torch.sigmoid(forward("test")).numpy(), step + 1


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    import numpy as np

    from sleepfm_jax import train
    from sleepfm_jax.metrics.multilabel import multilabel_metrics

    out = Path(_OUT.value)
    config = json.loads(_CONFIG.value.to_json())
    if config["objective"]["head"] != "resblocks" or config["model"]["sequences"] != "channel":
        raise app.UsageError("--config: expected ECG leads, sequences of channels, head resblocks")
    if config["optimiser"]["schedule"] not in ("constant", "plateau"):
        raise app.UsageError("--config: expected a schedule that is constant or plateau")
    config["keep_best"].update(figure="validation/loss", largest=False, restore=True)
    parts = {s: arrays(config, _DATA_DIR.value, s) for s in ("train", "validation", "test")}
    truth = parts["test"][2]
    rows = []
    for seed in range(_SEEDS.value):
        begun = time.perf_counter()
        p, steps = train_torch(config, parts, seed)
        torch_seconds = time.perf_counter() - begun
        theirs = float(multilabel_metrics(truth, p, None)["auroc"])
        begun = time.perf_counter()
        found = train.train({**config, "seed": seed}, _DATA_DIR.value, out / f"seed{seed}")
        ours = float(found["evaluations"]["test"]["auroc"])
        seconds = time.perf_counter() - begun
        rows.append({"seed": seed, "torch": theirs, "ours": ours, "torch_steps": steps})
        print(
            f"seed {seed}: PyTorch {theirs:.3f} ({steps} steps, {torch_seconds:.0f} s), "
            f"ours {ours:.3f} ({seconds:.0f} s)"
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("torch", "ours")}
    print(f"test AUROC, mean of {len(rows)} seeds: PyTorch {means['torch']:.4f}, ours "
          f"{means['ours']:.4f}, difference {means['ours'] - means['torch']:+.4f}")  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "finetune.json").write_text(json.dumps({"seeds": rows, "means": means}, indent=1))
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "data_dir", "out"])
    programs.run(main, loads_batches=True)
