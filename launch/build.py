"""Builds a dataset: recordings in, records that training reads out. No network, no TensorFlow.

    python -m launch.build --dataset=edf_folder --source=my_recordings --data_dir=records

turns every EDF or BDF file under my_recordings into clips of 5 minutes at 128 Hz, split by subject,
and writes them to records/edf_folder/1.0.0, with build_report.json beside them: what was taken for
what, what was left out and why. What a dataset wants to find in --source is in
data_builders/NAME/README.md.

A recording that cannot be read is listed with its reason and does not stop the build. An
interrupted build goes on where it stopped when the same command is given again. The exit code is 0
only when there are records.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from launch import programs

BUILDERS = Path(__file__).resolve().parents[1] / "data_builders"

_DATASET = flags.DEFINE_string("dataset", None, "Name of the dataset: a folder of data_builders/.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the recordings.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where records go: DATA_DIR/DATASET/VERSION.")
_CLIP_SECONDS = flags.DEFINE_float(
    "clip_seconds", None, "Length of a clip. [default: the dataset's own, 300 for sleep]"
)
_SFREQ = flags.DEFINE_float(
    "sfreq", None, "Hz that every channel is resampled to. [default: the dataset's own, 128]"
)
_RESAMPLING = flags.DEFINE_enum(
    "resampling",
    None,
    ["polyphase", "reference"],
    "How channels come to --sfreq. reference: as SleepFM's published code did, which lets aliases "
    "through; only to feed an encoder that was trained on such records. [default: polyphase]",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the split by subject.")
_TASK = flags.DEFINE_enum(
    "task",
    None,
    ["none", "staging", "classification", "multilabel"],
    "What the labels are for. [default: found out from the recordings and the table]",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace other records in the same place.")
_TABLE = flags.DEFINE_string(
    "table",
    None,
    "edf_folder, simulated_*: CSV or TSV file with columns path, subject, split, label, hypnogram. "
    "[default: table.csv or table.tsv in --source, if there is one]",
)
_SPLIT_FRACTIONS = flags.DEFINE_list(
    "split_fractions",
    None,
    "edf_folder, simulated_*: fractions of the subjects in train, validation and test where the "
    "table gives no split. [default: 0.7,0.1,0.2]",
)
_SFREQ_SOURCE = flags.DEFINE_enum(
    "sfreq_source", None, ["100", "500"], "ptbxl: read records100 or records500. [default: 100]"
)


def known_datasets() -> list[str]:
    """Names that --dataset takes."""
    return sorted(
        path.parent.name
        for path in BUILDERS.glob("*/*_dataset_builder.py")
        if path.name == f"{path.parent.name}_dataset_builder.py"
    )


def builder_options() -> dict[str, object]:
    """What was said on the command line beyond source and data_dir, by constructor argument."""
    options: dict[str, object] = {
        "clip_seconds": _CLIP_SECONDS.value,
        "sfreq": _SFREQ.value,
        "task": _TASK.value,
        "resampling": _RESAMPLING.value,
        "table": _TABLE.value,
        "sfreq_source": None if _SFREQ_SOURCE.value is None else int(_SFREQ_SOURCE.value),
    }
    if _SPLIT_FRACTIONS.value is not None:
        try:
            options["split_fractions"] = [float(f) for f in _SPLIT_FRACTIONS.value]
        except ValueError as error:
            raise app.UsageError(f"--split_fractions: {error}") from error
    options = {name: value for name, value in options.items() if value is not None}
    return options | {"seed": _SEED.value}


def build() -> int:
    """Runs the builder named on the command line; returns the exit code."""
    missing = [f"--{f.name}" for f in (_DATASET, _SOURCE, _DATA_DIR) if not f.value]
    known = known_datasets()
    if missing:
        return _fail(
            f"{', '.join(missing)} not given. For example:\n"
            "  python -m launch.build --dataset=edf_folder --source=RECORDINGS --data_dir=RECORDS\n"
            f"Datasets: {', '.join(known)}. All flags: python -m launch.build --help"
        )
    name = _DATASET.value
    if name not in known:
        return _fail(f"--dataset={name}: no such dataset. Known: {', '.join(known)}")
    if not Path(_SOURCE.value).is_dir():
        return _fail(f"--source={_SOURCE.value}: there is no such folder")

    logging.set_verbosity(logging.WARNING)  # TFDS tells of every file that it opens
    started = time.monotonic()
    # Imported late: --help and a mistyped name should not wait for TFDS.
    from data_builders import build_report
    from data_builders.engine import BuildError

    cls = importlib.import_module(f"data_builders.{name}.{name}_dataset_builder").Builder
    options = builder_options()
    accepted = {
        parameter
        for base in cls.__mro__
        if "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters
    }
    for option in options:
        if option not in accepted:
            return _fail(f"--{option} means nothing for --dataset={name}")
    try:
        builder = cls(source=_SOURCE.value, data_dir=_DATA_DIR.value, **options)
        builder.download_and_prepare(
            overwrite=_OVERWRITE.value, progress=lambda line: print(line, flush=True)
        )
    except BuildError as error:
        return _fail(str(error))
    print(build_report.summary(build_report.load(builder.data_dir), str(builder.data_dir)))
    print(f"Took {time.monotonic() - started:.1f} s.")
    return 0


def _fail(message: str) -> int:
    print(f"launch.build: {message}", file=sys.stderr)
    return 1


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags are written --name=value")
    sys.exit(build())


if __name__ == "__main__":
    app.run(main, flags_parser=programs.parse)
