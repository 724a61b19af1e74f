"""Builds a dataset: recordings in, records that training reads out. No network, no TensorFlow.

    python -m launch.build --dataset=edf_folder --source=my_recordings --data_dir=records

turns every recording under my_recordings (EDF, BDF, GDF, BrainVision or EEGLAB; a BIDS folder, or
any other) into clips of 5 minutes at 128 Hz, split by subject, and writes them to
records/edf_folder/1.0.0, with build_report.json beside them: what was taken for what, what was left
out and why. What a dataset wants to find in --source is in data_builders/NAME/README.md; the flags
that it alone has are listed by --help --dataset=NAME.

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

import difflib
import importlib
import itertools
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from absl import app, flags, logging

from launch import programs

if TYPE_CHECKING:  # --help answers without TFDS
    from data_builders.engine.builder import RecordsBuilder
    from data_builders.engine.options import Option

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
_SPLIT_LIST = flags.DEFINE_string(
    "split_list",
    None,
    "A published list of which recording is in which split: a folder of train.txt, val.txt and "
    "test.txt, or a .csv, .tsv or .json file. [default: the dataset's own, by person]",
)
_ALLOW_LEAKS = flags.DEFINE_bool(
    "allow_leaks",
    False,
    "Build a --split_list that puts people into two splits; how many is said, here and in the "
    "records, and training refuses them unless config.data.allow_leaks names the dataset.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace other records in the same place.")


def known_datasets() -> list[str]:
    """Names that --dataset takes."""
    return sorted(
        path.parent.name
        for path in BUILDERS.glob("*/*_dataset_builder.py")
        if path.name == f"{path.parent.name}_dataset_builder.py"
    )


def load_builder(dataset: str) -> type[RecordsBuilder]:
    """The builder that --dataset means: a name, a file (FILE.py[:CLASS]), or package.module:CLASS.

    Raises:
        absl.app.UsageError: there is no such builder.
    """
    where, _, name = dataset.partition(":")
    name = name or "Builder"
    if dataset in known_datasets():
        module = f"data_builders.{dataset}.{dataset}_dataset_builder"
    elif where.endswith(".py"):
        file = Path(where).resolve()
        if not file.is_file():
            raise app.UsageError(f"--dataset={dataset}: there is no such file")
        # On the path, so that workers find it too.
        sys.path.insert(0, str(file.parent))
        module = file.stem
    elif ":" in dataset:
        module = where
    else:
        known = known_datasets()
        near = difflib.get_close_matches(dataset, known, 1)
        raise app.UsageError(
            f"--dataset={dataset}: no such dataset"
            + (f": did you mean {near[0]}?" if near else ".")
            + f" Known: {', '.join(known)}; or FILE.py or package.module:CLASS of your own"
        )
    try:
        builder = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        raise app.UsageError(f"--dataset={dataset}: there is no module {error.name}") from error
    from data_builders.engine.builder import RecordsBuilder

    if not (isinstance(builder, type) and issubclass(builder, RecordsBuilder)):
        raise app.UsageError(
            f"--dataset={dataset}: {module} has no class {name} made from "
            "data_builders.engine.builder.RecordsBuilder"
        )
    return builder


def declare(argv: Sequence[str]) -> str:
    """Defines the flags of the dataset that argv names, and says which they are."""
    dataset = _value_in(argv, _DATASET.name)
    if not dataset:
        return "(a dataset's own flags: --help --dataset=NAME)"
    own = load_builder(dataset).options()
    for name, option in own.items():
        if name in flags.FLAGS:
            raise app.UsageError(f"--dataset={dataset}: its option {name} is a flag already")
        if option.choices:
            flags.DEFINE_enum(name, None, [str(c) for c in option.choices], option.help)
        else:
            flags.DEFINE_string(name, None, option.help)
    listed = ", ".join(f"--{name}" for name in own) or "none"
    return f"(flags of --dataset={dataset} itself: {listed})"


def _value_in(argv: Sequence[str], name: str) -> str | None:
    """Of a flag, before argv is parsed; the last one counts."""
    found = None
    for said, after in itertools.pairwise([*argv[1:], ""]):
        flag, given, value = said.partition("=")
        if flag in (f"--{name}", f"-{name}"):
            found = value if given else after
    return found


def builder_options(own: Mapping[str, Option] = MappingProxyType({})) -> dict[str, object]:
    """What was said on the command line beyond source and data_dir, by constructor argument.

    Args:
        own: the options of the builder itself.
    """
    options: dict[str, object] = {
        "clip_seconds": _CLIP_SECONDS.value,
        "sfreq": _SFREQ.value,
        "label_kind": _LABEL_KIND.value,
        "resampling": _RESAMPLING.value,
        "cohort": _COHORT.value,
        "split_list": _SPLIT_LIST.value,
        "allow_leaks": _ALLOW_LEAKS.value or None,
    }
    for name, option in own.items():
        text = flags.FLAGS[name].value
        try:
            options[name] = None if text is None else option.type(text)
        except ValueError as error:
            raise app.UsageError(f"--{name}={text}: {error}") from error
    options = {name: value for name, value in options.items() if value is not None}
    return options | {"seed": _SEED.value}


def main(argv: Sequence[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags are written --name=value")
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C: workers are stopped, shards kept
    missing = [f"--{f.name}" for f in (_DATASET, _SOURCE, _DATA_DIR) if not f.value]
    if missing:
        raise app.UsageError(
            f"{', '.join(missing)} not given: python -m launch.build --dataset=edf_folder "
            f"--source=RECORDINGS --data_dir=RECORDS. Datasets: {', '.join(known_datasets())}"
        )
    if "://" not in _SOURCE.value and not Path(_SOURCE.value).is_dir():
        raise app.UsageError(f"--source={_SOURCE.value}: there is no such folder")

    logging.set_verbosity(logging.WARNING)  # TFDS tells of every file that it opens
    started = time.monotonic()
    cls = load_builder(_DATASET.value)
    from data_builders.engine import leak_check, report

    try:
        run = choose_runner(_tell)
        options = builder_options(cls.options())
        builder = cls(source=_SOURCE.value, data_dir=_DATA_DIR.value, **options)
        builder.download_and_prepare(overwrite=_OVERWRITE.value, progress=_tell, run=run)
        counts = leak_check.check_dataset(builder.data_dir)
    except KeyboardInterrupt:
        _tell(
            "launch.build: stopped; finished shards are kept, and the same command goes on from "
            "there",
            sys.stderr,
        )
        return 130
    made = report.load(builder.data_dir)
    print(report.summary(made, str(builder.data_dir)))
    people = ", ".join(f"{n} in {split}" for split, n in counts.items())
    leaks = made["spec"].get("people_in_two_splits")
    two = f"{leaks} in two of them, as listed" if leaks else "none in two of them"
    print(f"Checked: subjects {people}; {two}.")
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


def _tell(line: str, file: TextIO | None = None) -> None:
    print(line, flush=True, file=file)


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def run() -> None:
    """The program."""
    programs.run(main, declare=declare)


if __name__ == "__main__":
    run()
