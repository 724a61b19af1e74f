"""The engine: a builder's plan → work units → shards → a TFDS dataset, without TensorFlow.

TFDS's own writers either shuffle through TensorFlow or move every example through Beam; both stop
at a gigabyte. Here each work unit writes its own shard and only names, lengths and reports come
back. The folder is an ordinary TFDS dataset all the same:

    tfds.builder_from_directory("DIR/NAME/1.0.0").as_data_source("train")

Interrupted builds go on: finished shards wait in `DIR/NAME/.1.0.0.building` and are reused when the
files, the spec and the code that made them are unchanged. The folder gets its name when all is
done.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders import build_report, shards
from data_builders.shards import Source, UnitResult, WorkUnit
from data_builders.subject_splits import SPLITS
from sleepfm_jax import signals
from sleepfm_jax.data.recording import Recording
from sleepfm_jax.data.records import TASKS, ClipSpec, preprocessing


class BuildError(ValueError):
    """A build that cannot start or had nothing to show; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be built.

    Attributes:
        sources: every recording, those known to be unusable too (`problem`), in their order.
        task: none, staging, classification or multilabel.
        classes: names of the K labels; () for none and staging.
        notes: what a person should know about the plan.
        metadata: further entries of the dataset's metadata.
    """

    sources: tuple[Source, ...]
    task: str = "none"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


class RecordsBuilder(tfds.core.dataset_builder.FileReaderBuilder, skip_registration=True):
    """Base class of the builders.

    Args:
        source: folder of the recordings; not needed to read records that exist already.
        data_dir: where datasets live; records go to data_dir/NAME/VERSION.
        sfreq, clip_seconds: of the clips; the dataset's own default when None.
        task: none, staging, classification or multilabel; found out when None.
        seed: of the split by subject.
        resampling: polyphase or reference, see `sleepfm_jax.dsp.resample`.
        kwargs: what TFDS gives to any builder.
    """

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}

    SFREQ: ClassVar[float] = 128.0
    CLIP_SECONDS: ClassVar[float] = 300.0
    # A work unit is this much of the input: large enough to read fast, small enough to redo.
    UNIT_BYTES: ClassVar[int] = 512 * 2**20
    UNIT_RECORDINGS: ClassVar[int] = 512

    def __init__(
        self,
        *,
        source: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        sfreq: float | None = None,
        clip_seconds: float | None = None,
        task: str | None = None,
        seed: int = 0,
        resampling: str = "polyphase",
        **kwargs: Any,
    ):
        if task is not None and task not in TASKS:
            raise BuildError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
        self.source = None if source is None else Path(source)
        self.task, self.seed = task, seed
        try:
            self.spec = ClipSpec(
                sfreq or self.SFREQ, clip_seconds or self.CLIP_SECONDS, resampling=resampling
            )
        except ValueError as error:
            raise BuildError(str(error)) from error
        kwargs.setdefault("file_format", "array_record")
        super().__init__(data_dir=data_dir, **kwargs)
        # TFDS pickles a builder as its arguments.
        self._original_state |= {
            "source": source,
            "sfreq": sfreq,
            "clip_seconds": clip_seconds,
            "task": task,
            "seed": seed,
            "resampling": resampling,
        }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # TFDS keeps here where a class's README.md is; a subclass would inherit its parent's.
        cls.pkg_dir_path = None

    @abc.abstractmethod
    def plan(self) -> Plan:
        """Lists the recordings of `self.source`, their subjects, splits and labels; opens none."""

    read: ClassVar[Callable[[Path, Source], Recording]]
    """`read(root, source)` reads one recording; a module's function, so that it pickles."""

    def _info(self) -> tfds.core.DatasetInfo:
        # The description, citation and tags come from the README.md, CITATIONS.bib and TAGS.txt
        # beside the builder's own file.
        return self.dataset_info_from_configs(
            features=shards.features(), metadata=tfds.core.MetadataDict(), disable_shuffling=True
        )

    def require_source(self) -> Path:
        """The source folder, or an error that says what to pass."""
        if self.source is None:
            raise BuildError(
                f"{self.name} reads its recordings from a folder: pass --source=FOLDER"
            )
        if not self.source.is_dir():
            raise BuildError(f"--source={self.source}: there is no such folder")
        return self.source

    def download_and_prepare(
        self,
        *,
        overwrite: bool = False,
        progress: Callable[[str], None] | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the records; nothing is downloaded.

        Args:
            overwrite: replace records in the same place that were made from other files or
                settings.
            progress: called with a line after each work unit.
            kwargs: TFDS's other arguments, which have nothing to do here.

        Raises:
            BuildError: nothing could be built, or other records are in the way.
        """
        final = Path(self.data_dir)
        if self.source is None and final.exists():
            return  # as every TFDS builder: records that exist are used
        root = self.require_source()
        plan = self.plan()
        spec = dataclasses.replace(
            self.spec,
            task=plan.task,
            classes=signals.STAGES if plan.task == "staging" else plan.classes,
        )
        units = self._units(root, plan, spec)
        fingerprint = hashlib.sha256(
            "\n".join([*(u.inputs for u in units), repr(plan)]).encode()
        ).hexdigest()
        if final.exists() and not overwrite:
            existing = _existing_fingerprint(final)
            if existing == fingerprint:
                if progress:
                    progress(f"{final} holds these records already: nothing to do")
                return
            raise BuildError(
                f"{final} holds records made from other files or with other settings: pass "
                "--overwrite to replace them, or another --data_dir to keep both"
            )
        staging = final.with_name(f".{final.name}.building")
        staging.mkdir(parents=True, exist_ok=True)
        _remove_all_but(staging, [u.key for u in units])
        # One process; a unit is a pure function, so any map over processes or hosts will do.
        results = list(_with_progress(map(_Build(staging), units), units, progress))
        self._finish(final, staging, plan, spec, results, fingerprint)

    def _units(self, root: Path, plan: Plan, spec: ClipSpec) -> list[WorkUnit]:
        """Groups the recordings that can be read, split by split in the plan's order, by size."""
        units = []
        for split in SPLITS:
            group: list[Source] = []
            size = 0
            sources = [s for s in plan.sources if s.split == split and s.problem is None]
            for i, source in enumerate(sources):
                group.append(source)
                size += (root / source.path).stat().st_size
                full = size >= self.UNIT_BYTES or len(group) >= self.UNIT_RECORDINGS
                if full or i == len(sources) - 1:
                    read = type(self).read
                    members = tuple(group)
                    inputs = shards.input_key(root, split, members, spec)
                    key = shards.unit_key(inputs, read)
                    unit = WorkUnit(inputs, key, split, os.fspath(root), members, spec, read)
                    units.append(unit)
                    group, size = [], 0
        return units

    def _finish(
        self,
        final: Path,
        staging: Path,
        plan: Plan,
        spec: ClipSpec,
        results: list[UnitResult],
        fingerprint: str,
    ) -> None:
        """Names the shards, writes metadata and report, and puts the folder in its place."""
        by_path = {r["path"]: r for result in results for r in result.reports}
        reports = [
            by_path[s.path] if s.problem is None else shards.quarantined(s, s.problem)
            for s in plan.sources
        ]
        if not any(r.length for r in results):
            shutil.rmtree(staging)
            reasons = "\n".join(f"  {r['path']}: {r['reason']}" for r in reports[:20])
            raise BuildError(f"none of the {len(reports)} recordings could be built:\n{reasons}")
        if plan.task == "none" and self.task is None and any(_has_stages(r) for r in reports):
            spec = dataclasses.replace(spec, task="staging", classes=signals.STAGES)
        metadata = {
            "sfreq": spec.sfreq,
            "clip_seconds": spec.clip_seconds,
            "task": spec.task,
            "classes": list(spec.classes),
            "preprocessing": preprocessing(spec.resampling),
            "seed": self.seed,
            **plan.metadata,
        }
        asked = {"dataset": self.name, "version": str(self.version), **metadata}
        asked |= {"notes": list(plan.notes), "fingerprint": fingerprint}
        report = build_report.assemble(reports, asked)
        shards.write_atomically(
            staging / build_report.FILENAME, json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        )
        self.info.metadata.clear()
        self.info.metadata.update(metadata)
        self.info.set_splits(tfds.core.SplitDict(_split_infos(self.name, staging, results)))
        self.info.write_to_directory(staging)
        for unit in staging.glob("unit-*"):
            unit.unlink()
        if final.exists():
            shutil.rmtree(final)
        staging.rename(final)
        self.info.update_data_dir(self.data_dir)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        raise NotImplementedError("download_and_prepare is the engine's own")


@dataclasses.dataclass(frozen=True)
class _Build:
    """`build_unit` into one folder; picklable."""

    directory: Path

    def __call__(self, unit: WorkUnit) -> UnitResult:
        return shards.build_unit(unit, self.directory)


def _with_progress(
    results: Iterable[UnitResult], units: Sequence[WorkUnit], progress: Callable[[str], None] | None
) -> Iterable[UnitResult]:
    for i, result in enumerate(results, 1):
        if progress:
            bad = sum(r["status"] == "quarantined" for r in result.reports)
            progress(
                f"[{i}/{len(units)}] {result.split}: {len(result.reports)} recordings, "
                f"{result.length} clips"
                + (f", {bad} quarantined" if bad else "")
                + (" (kept from an earlier run)" if result.reused else "")
            )
        yield result


def _split_infos(
    name: str, directory: Path, results: Sequence[UnitResult]
) -> list[tfds.core.SplitInfo]:
    """Gives the shards of each split their final names; the folder's TFDS split infos."""
    infos = []
    for split in SPLITS:
        done = [r for r in results if r.split == split and r.length]
        if not done:
            continue
        template = tfds.core.ShardedFileTemplate(
            data_dir=directory, dataset_name=name, split=split, filetype_suffix="array_record"
        )
        for i, result in enumerate(done):
            target = template.sharded_filepath(shard_index=i, num_shards=len(done))
            (directory / result.shard).rename(target)
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[r.length for r in done],
                num_bytes=sum(r.num_bytes for r in done),
                filename_template=template,
            )
        )
    return infos


def _has_stages(report: dict[str, Any]) -> bool:
    return any(report["labels"].get(stage) for stage in signals.STAGES)


def _existing_fingerprint(folder: Path) -> str | None:
    try:
        return build_report.load(folder)["spec"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None  # not a dataset of this engine: never to be replaced unasked


def _remove_all_but(folder: Path, keys: Sequence[str]) -> None:
    """Removes what an earlier, interrupted build left that this one cannot use."""
    wanted = {f"unit-{key}{suffix}" for key in keys for suffix in (".json", ".array_record")}
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
