"""What electrode positions are worth where the side is all that matters.

  python -m launch.bench.laterality --data_dir=DATA --out=OUT --initialise_from=RUN --seeds=3

reads configs/transfer/laterality.py, which says how DATA is made, and RUN, a pretraining run
(configs/transfer/pretraining.py:twin). A linear probe gets the tokens of a clip's channels *before*
channel pooling, each times the code of its electrode's position, averaged over the channels: what
a pooling could at best know, with each position code, and without one. A frozen pooling has already
averaged the side away. A clip shows ten of its nineteen electrodes, drawn anew for every seed.

With --finetune the whole model is trained too, with each position code. Prints balanced accuracy on
the test people, and paired differences with 95 % intervals over people. What was trained already is
not trained again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path

from absl import app, flags

from launch import programs

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that launch.build wrote datasets to.")
_OUT = flags.DEFINE_string("out", None, "Folder for the runs and for laterality.json.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many runs of each.", lower_bound=1)
_FROM = flags.DEFINE_string("initialise_from", None, "A pretraining run to start from.")
_FINETUNE = flags.DEFINE_bool("finetune", False, "Train the whole model, too.")

COMPONENTS = 16
"""Of a channel's token, the principal ones; times the position's code they are the features."""
KEPT = 0.95  # of the variance of a position code


def fine_tuned(encoding: str):
    """Predictions of the model, trained as a whole with a position code; a repeat a seed."""
    from configs.transfer import laterality
    from sleepfm_jax import train
    from sleepfm_jax.metrics import predictions as files
    from sleepfm_jax.transfer.rows import merge

    found = {}
    for seed in range(_SEEDS.value):
        workdir = Path(_OUT.value) / encoding / f"seed{seed}"
        config = laterality.get_config(encoding).to_dict()
        config |= {"seed": seed, "initialise_from": _FROM.value}
        # One that has ended is only asked again; of another configuration or data it is refused.
        made = train.train(config, _DATA_DIR.value, workdir)["evaluations"]["test"]["predictions"]
        files.save(workdir / "test.npz", made)
        found[seed] = [made]
    merged = merge(found, in_folds=False)
    about = {"row": encoding, "weights": [f"seed {seed}" for seed in range(_SEEDS.value)]}
    return dataclasses.replace(merged, about={**merged.about, **about})


def position_code(encoding: str, positions):
    """Positions [N, C, 3] → their code [N, C, P], in its principal components, and 1, which is all
    that there is without one.

    The components hold 95 % of the code's variance over the head. The published code has no left
    and right, but that no montage is symmetric to the last millimetre: a probe that scales every
    feature alike would read these traces, which no trained layer does.
    """
    import numpy as np

    from sleepfm_jax.models import positions as codes

    one = np.ones((*positions.shape[:-1], 1), np.float32)
    if encoding == "none":
        return one
    truncated = functools.partial(codes.truncated_fourier_code, width=2 * codes.FREQUENCIES**3)
    encode = codes.fourier_code if encoding == "fourier" else truncated
    known = np.isfinite(positions).all(-1)
    electrodes = np.unique(positions[known].round(6), axis=0)  # [n, 3]
    table = np.asarray(encode(electrodes))  # [n, P]
    _, length, axes = np.linalg.svd(table - table.mean(0), full_matrices=False)
    held = np.cumsum(length**2) / (length**2).sum()
    axes = axes[: 1 + int((held < KEPT).sum())]
    code = np.asarray(encode(np.where(known[..., None], positions, 0))) - table.mean(0)
    return np.concatenate([one, (code @ axes.T) * known[..., None]], -1)


@functools.lru_cache(maxsize=8)
def channel_tokens(split: str, seed: int):
    """Tokens float32 [N, C, D] of each channel, averaged over time; valid bool [N, C], positions
    float32 [N, C, 3], label int [N]; person, recording, clip of each."""
    import jax
    import numpy as np

    from configs.transfer.laterality import LABELS
    from sleepfm_jax import experiment, pretrained
    from sleepfm_jax.data import datasets

    encoder = pretrained.load(_FROM.value)
    slots = (("bas", 10),)
    model = dataclasses.replace(encoder.model, slots=slots, sequences="channel")
    records = datasets.open_records(_DATA_DIR.value, ["simulated_wake_eeg"], split)
    examples = experiment.make_examples(records, dataclasses.replace(model.layout, labels=LABELS))
    forward = jax.jit(model.raw_tokens)
    parts: Mapping[str, list] = {"tokens": [], "valid": [], "positions": [], "labels": []}
    size = 64
    for start in range(0, len(examples), size):
        rows = np.arange(start, start + size)
        rows = np.where(rows < len(examples), rows, -1)
        batch = examples.batch(rows, [(seed, max(int(row), 0)) for row in rows])
        real = rows >= 0
        mask = batch["mask"]  # [B, C, S]
        tokens = np.asarray(forward(encoder.params, encoder.stats, batch))  # [B, C, S, D]
        mean = tokens.sum(2) / np.maximum(mask.sum(-1), 1)[..., None]  # 0 where it is not valid
        parts["tokens"].append(mean[real])
        parts["valid"].append(mask.any(-1)[real])
        parts["positions"].append(batch["positions"][real])
        parts["labels"].append(batch["labels"][real].argmax(-1))
    whose = [
        (examples.person_of(i), examples.stored_recording_of(i), examples.clip_number_of(i))
        for i in range(len(examples))
    ]
    return *(np.concatenate(part) for part in parts.values()), whose


def probed(encoding: str):
    """Predictions of a linear probe of tokens before channel pooling; a repeat a seed."""
    import numpy as np

    from configs.transfer.laterality import LABELS
    from sleepfm_jax.metrics.linear_probe import fit_probe
    from sleepfm_jax.metrics.predictions import Predictions

    said = []
    for seed in range(_SEEDS.value):
        trained, valid, *_ = channel_tokens("train", seed)
        seen = trained[valid]  # [n, D]
        centre = seen.mean(0)
        axes = np.linalg.svd(np.cov((seen - centre).T))[0][:, :COMPONENTS]  # [D, 16]
        sets = {}
        for split in ("train", "validation", "test"):
            tokens, valid, positions, labels, whose = channel_tokens(split, seed)
            code = position_code(encoding, positions)  # [N, C, P]
            weight = valid / valid.sum(1, keepdims=True)  # [N, C]
            x = np.einsum("ncd,ncp,nc->ndp", (tokens - centre) @ axes, code, weight, optimize=True)
            people = np.array([person for person, *_ in whose])
            sets[split] = x.reshape(len(x), -1), labels, people
        fit = fit_probe(
            sets["train"], sets["validation"], sets["test"], classes=LABELS, unweighted=False
        )
        said.append(fit.probabilities)
    *_, labels, whose = channel_tokens("test", 0)
    person, recording, clip = (np.array(column) for column in zip(*whose))
    return Predictions(
        person=person,
        recording=recording,
        clip=clip,
        sleep_epoch=np.full(len(labels), -1),
        label=labels,
        probabilities=np.stack(said).astype(np.float32),
        seeds=np.arange(len(said)),
        fold=np.full((len(said), len(labels)), -1),
        about={
            "row": f"{encoding}, tokens before channel pooling",
            "label_kind": "classification",
            "classes": list(LABELS),
            "weights": [f"channels {seed}" for seed in range(len(said))],
        },
    )


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from configs.transfer.laterality import ENCODINGS
    from sleepfm_jax.metrics import scoring

    out, told = Path(_OUT.value), {}
    ways = {"tokens before channel pooling": probed}
    if _FINETUNE.value:
        ways["fine-tuned"] = fine_tuned
    for way, made in ways.items():
        rows = {name: made(name) for name in ENCODINGS}
        told[way] = {}
        for name, found in rows.items():
            figures = scoring.score(found)
            told[way][name] = {
                "balanced_accuracy": figures["balanced_accuracy"],
                "ci95": figures["ci95"]["balanced_accuracy"],
                "per_seed": figures["per_seed"]["balanced_accuracy"],
                "people": figures["subjects"],
            }
            print(f"{way}: {name}: {told[way][name]}")
        for other in ENCODINGS[1:]:
            found = scoring.difference(rows[ENCODINGS[0]], rows[other])
            found = {key: found[key] for key in ("value", "ci95", "per_seed", "claim", "no_claim")}
            told[way][f"{ENCODINGS[0]} - {other}"] = found
            print(f"{way}: {ENCODINGS[0]} - {other}: {found}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "laterality.json").write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["data_dir", "out", "initialise_from"])
    programs.run(main, loads_batches=True)
