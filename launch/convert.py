"""Weights between PyTorch files and checkpoints of ours, either way and back bit-identically.

A published file becomes the checkpoint of a run, which launch.probe takes:

  python -m launch.convert --from=best.pt --to=RUN
  python -m launch.probe --checkpoint=RUN --dataset=eegmat --data_dir=DATA --workdir=RUN

A run's encoder becomes a file under PyTorch's names, for PyTorch or for others:

  python -m launch.convert --from=RUN --to=encoder.safetensors
  python -m launch.convert --from=RUN --to=encoder.pt

wav2sleep goes both ways, too: published weights become a run that launch.stage takes, and a run of
ours becomes a file, or the two files that wav2sleep is published as, which its own code loads:

  python -m launch.convert --from=wav2sleep/state_dict.pth --to=RUN
  python -m launch.stage --checkpoint=RUN --input=FOLDER --output=STAGED
  python -m launch.convert --from=RUN/best --to=PUBLISHED/state_dict.pth

Files are .safetensors, or .pt, .pth, .ckpt and .bin, which need PyTorch (pip install
'sleepfm-jax[torch]') and are opened as weights only: a file with code in it is refused. Exit code 0
means that --to is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import app, flags

from launch import programs

_FROM = flags.DEFINE_string("from", None, "A file of weights, or the workdir of a run.")
_TO = flags.DEFINE_string("to", None, "A file of weights, or a new folder for a checkpoint.")
_KIND = flags.DEFINE_string(
    "kind",
    None,
    "set_transformer, set_transformer_pe, linear_head, resblocks_head, staging_lstm, cox_lstm or "
    "wav2sleep. [default: what the file says, or its names tell]",
)
_HEADS = flags.DEFINE_integer("heads", None, "Attention heads. [default: the published number]")
_POOLING_HEADS = flags.DEFINE_integer("pooling_heads", None, "Heads of the poolings. [likewise]")
_FAITHFUL = flags.DEFINE_bool(
    "faithful", False, "With the quirks of the published code (docs/differences.md)."
)
_TRAINED_SFREQ = flags.DEFINE_float("trained_sfreq", 128.0, "Hz of what the model was trained on.")
_TRAINED_RESAMPLING = flags.DEFINE_enum(
    "trained_resampling",
    "reference",
    ["reference", "polyphase"],
    "Preprocessing that a published encoder is declared to expect: the published one, or ours. "
    "launch.probe takes datasets that were built the same way.",
)
_STEP = flags.DEFINE_integer("step", None, "Which checkpoint of a run. [default: the newest]")


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    from configs import sleepfm
    from configs.staging import wav2sleep as nights
    from sleepfm_jax import folders
    from sleepfm_jax.data.clips import preprocessing
    from sleepfm_jax.interop import checkpoints, files, from_torch, wav2sleep

    source, target = folders.local(_FROM.value, "--from"), folders.local(_TO.value, "--to")
    if source.is_dir():
        named, about = checkpoints.load_named(source, _STEP.value)
    else:
        named, about = files.read_weights(source)
    kind = _KIND.value or about.get("kind") or checkpoints.guess_kind(named)
    options = about.get("options", {}) if kind == about.get("kind") else {}
    given = {"heads": _HEADS.value, "pooling_heads": _POOLING_HEADS.value}
    options |= {name: value for name, value in given.items() if value is not None}
    model = from_torch(kind, named, faithful=_FAITHFUL.value, **options)
    if target.suffix in files.SUFFIXES:
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "wav2sleep" and target.name == files.PUBLISHED:
            files.write_published(target, named, wav2sleep.published_cfg(model.module().sizes))
            return _told(kind, named, source, target)
        said = {"kind": kind, "options": model.options}
        if "log_scale" in about:
            said["log_scale"] = about["log_scale"]
        files.write_weights(target, named, said)
    else:
        config = sleepfm.get_config("reference").to_dict()
        if kind == "wav2sleep":
            config = nights.get_config("release2026").to_dict()
            config["evaluators"]["test"]["subsets"] = ("all",)
            config["keep_best"]["restore"] = False  # there is no other
            if model.options["causal"] != "no":
                config["data"]["night_normalisation"] = "causal_published"
        checkpoints.save_model(
            target,
            model,
            config=config,
            preprocessing={
                "sfreq": _TRAINED_SFREQ.value,
                "preprocessing": preprocessing(_TRAINED_RESAMPLING.value),
            },
            log_scale=about.get("log_scale"),
        )
    return _told(kind, named, source, target)


def _told(kind: str, named: Mapping[str, Any], source: Path, target: Path) -> int:
    size = sum(value.size for value in named.values())
    print(f"{kind}, {len(named)} entries, {size:,} numbers: {source} -> {target}")
    return 0


if __name__ == "__main__":
    flags.mark_flags_as_required(["from", "to"])
    programs.run(main)
