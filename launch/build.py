"""Builds a dataset: recordings in, records that training reads out. No network, no TensorFlow.

    python -m launch.build --dataset=edf_folder --source=my_recordings --data_dir=records

turns every recording under my_recordings (EDF, BDF, GDF, BrainVision or EEGLAB; a BIDS folder, or
any other) into clips of 5 minutes at 128 Hz, split by subject, and writes them to
records/edf_folder/1.0.0, with build_report.json beside them: what was taken for what, what was left
out and why. What a dataset wants to find in --source is in data_builders/NAME/README.md.

A recording that cannot be read is listed with its reason and does not stop the build. An
interrupted build goes on where it stopped when the same command is given again. The exit code is 0
only when there are records, and when nobody is in two splits of them.

The work is shared by as many processes as there are cores (--num_workers), or by the workers of any
Apache Beam runner, here or on a cluster:

    python -m launch.build --dataset=shhs --source=gs://mine/shhs --data_dir=gs://mine/records \
        --runner=DataflowRunner --beam_options="--project=mine --region=europe-west1 …"

The records are the same, byte for byte, whoever did the work.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags, logging

from launch import programs

BUILDERS = Path(__file__).resolve().parents[1] / "data_builders"

_DATASET = flags.DEFINE_string("dataset", None, "Name of the dataset: a folder of data_builders/.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the recordings; also gs://… or s3://…")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where records go: DATA_DIR/DATASET/VERSION; also gs://… or s3://…"
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    None,
    "Processes that build, each with up to 2 GB of memory; 0: this one. [default: one a core]",
    lower_bound=0,
)
_RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "Apache Beam's runner, such as DirectRunner, DataflowRunner, SparkRunner or FlinkRunner; needs "
    "the extra [beam]. [default: processes of this machine, without Beam]",
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options", "", 'Flags for Beam, in quotes: "--project=mine --region=europe-west1".'
)
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
_LABEL_KIND = flags.DEFINE_enum(
    "label_kind",
    None,
    ["none", "staging", "classification", "multilabel"],
    "What the labels are for. [default: found out from the recordings and the table]",
)
flags.DEFINE_alias("task", "label_kind")  # its name until datasets had label_kind
_COHORT = flags.DEFINE_string(
    "cohort",
    None,
    "Whose subjects these are: give datasets of the same people the same name, so that a probe "
    "finds those that a model was pretrained on. [default: the dataset's own]",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace other records in the same place.")
_TABLE = flags.DEFINE_string(
    "table",
    None,
    "edf_folder, simulated_*: CSV or TSV file with columns path, subject, split, label, hypnogram. "
    "[default: table.csv or table.tsv in --source, if there is one]",
)
_LABEL_COLUMN = flags.DEFINE_string(
    "label_column",
    None,
    "edf_folder, simulated_*: the column of the classes, in the table, or in the participants.tsv "
    "of a BIDS folder without one. [default: the table's `label`; of participants.tsv none]",
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
        "label_kind": _LABEL_KIND.value,
        "resampling": _RESAMPLING.value,
        "cohort": _COHORT.value,
        "table": _TABLE.value,
        "label_column": _LABEL_COLUMN.value,
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
    if "://" not in _SOURCE.value and not Path(_SOURCE.value).is_dir():
        return _fail(f"--source={_SOURCE.value}: there is no such folder")

    logging.set_verbosity(logging.WARNING)  # TFDS tells of every file that it opens
    started = time.monotonic()
    # Imported late: --help and a mistyped name should not wait for TFDS.
    from data_builders.engine import leak_check, report
    from sleepfm_jax.errors import BuildError, FolderInUse, RunnerError

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
        run = choose_runner(_say)
        builder = cls(source=_SOURCE.value, data_dir=_DATA_DIR.value, **options)
        builder.download_and_prepare(overwrite=_OVERWRITE.value, progress=_say, run=run)
        counts = leak_check.check_dataset(builder.data_dir)
    except (BuildError, FolderInUse, RunnerError, leak_check.LeakError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped; finished shards are kept, and the same command goes on from there")
        return 130
    print(report.summary(report.load(builder.data_dir), str(builder.data_dir)))
    people = ", ".join(f"{n} in {split}" for split, n in counts.items())
    print(f"Checked: subjects {people}; none in two of them.")
    print(f"Took {time.monotonic() - started:.1f} s.")
    return 0


def choose_runner(say: Callable[[str], None]) -> Any:
    """What runs the work units, as the flags say.

    Raises:
        RunnerError: Beam is asked for but not installed.
        absl.app.UsageError: flags that contradict each other.
    """
    from data_builders.engine import runners
    from sleepfm_jax.data.memory import keep_freed_memory

    if _RUNNER.value:
        if _NUM_WORKERS.value is not None:
            raise app.UsageError("--num_workers is for builds without --runner: see --beam_options")
        return runners.Beam(_RUNNER.value, shlex.split(_BEAM_OPTIONS.value))
    if _BEAM_OPTIONS.value:
        raise app.UsageError("--beam_options without --runner")
    if _NUM_WORKERS.value == 0:
        keep_freed_memory()  # as every worker does
        return runners.in_this_process
    # The cores that this process may use, which in a container are fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return runners.Processes(_NUM_WORKERS.value or cores or 1, tell=say)


def _say(line: str) -> None:
    print(line, flush=True)


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def _fail(message: str) -> int:
    print(f"launch.build: {message}", file=sys.stderr)
    return 1


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags are written --name=value")
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C: workers are stopped, shards kept
    sys.exit(build())


if __name__ == "__main__":
    app.run(main, flags_parser=programs.parse)
