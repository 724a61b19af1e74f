"""What electrode positions are worth where the side is all that matters.

  python -m launch.bench.laterality --data_dir=DATA --out=OUT --seeds=3 [--initialise_from=RUN]

trains configs/transfer/laterality.py, which says how DATA is made, with each position encoding:
all of the model, and only what pools and reads frozen tokens. Prints balanced accuracy on the test
people, and paired differences with 95 % intervals over people. What was trained already is not
trained again.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from absl import app, flags

from launch import programs

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that launch.build wrote datasets to.")
_OUT = flags.DEFINE_string("out", None, "Folder for the runs and for laterality.json.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many runs of each.", lower_bound=1)
_FROM = flags.DEFINE_string("initialise_from", "", "A pretraining run to start from.")
_VARIANT = flags.DEFINE_string("only", "", "One variant alone, as 'fourier:tokens'.")


def row(variant: str, seeds: int, data_dir: str, out: Path, source: str):
    """Predictions of a variant, a repeat a seed."""
    from configs.transfer import laterality
    from sleepfm_jax import train
    from sleepfm_jax.metrics import predictions as files
    from sleepfm_jax.transfer.rows import merge

    found = {}
    for seed in range(seeds):
        workdir = out / variant.replace(":", ".") / f"seed{seed}"
        config = laterality.get_config(variant).to_dict()
        config |= {"seed": seed, "initialise_from": source}
        # One that has ended is only asked again; of another configuration or data it is refused.
        made = train.train(config, data_dir, workdir)["evaluations"]["test"]["predictions"]
        files.save(workdir / "test.npz", made)
        found[seed] = [made]
    merged = merge(found, in_folds=False)
    about = {"row": variant, "weights": [f"seed {seed}" for seed in range(seeds)]}
    return dataclasses.replace(merged, about={**merged.about, **about})


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from configs.transfer.laterality import ENCODINGS
    from sleepfm_jax.metrics import scoring

    out, told = Path(_OUT.value), {}
    for frozen in ("", ":tokens"):
        variants = [name + frozen for name in ENCODINGS]
        if _VARIANT.value:
            variants = [name for name in variants if name == _VARIANT.value]
        rows = {
            name: row(name, _SEEDS.value, _DATA_DIR.value, out, _FROM.value) for name in variants
        }
        for name, found in rows.items():
            figures = scoring.score(found)
            told[name] = {
                "balanced_accuracy": figures["balanced_accuracy"],
                "ci95": figures["ci95"]["balanced_accuracy"],
                "per_seed": figures["per_seed"]["balanced_accuracy"],
                "people": figures["subjects"],
            }
            print(f"{name}: {told[name]}")
        for other in variants[1:]:
            a, b = rows[variants[0]], rows[other]
            found = scoring.difference(a, b)
            found = {key: found[key] for key in ("value", "ci95", "per_seed", "claim", "no_claim")}
            told[f"{variants[0]} - {other}"] = found
            print(f"{variants[0]} - {other}: {found}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "laterality.json").write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["data_dir", "out"])
    programs.run(main, loads_batches=True)
