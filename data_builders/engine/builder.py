"""The engine: a builder's plan → work units → shards → a TFDS dataset, without TensorFlow.

TFDS's own writers either shuffle through TensorFlow or move every example through Beam; both stop
at a gigabyte. Here each work unit writes its own shard and only names, lengths and reports come
back. The folder is an ordinary TFDS dataset all the same:

    tfds.builder_from_directory("DIR/NAME/1.0.0").as_data_source("train")

Interrupted builds go on: finished shards wait in `DIR/NAME/.1.0.0.building` and are reused when the
files, the spec and the code that made them are unchanged (`dataset_folder`). Units run here, on
processes or on a cluster (`runners`); the result is the same, byte for byte.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from data_builders.engine import (
    cohort,
    dataset_folder,
    quality_page,
    record_features,
    runners,
    split_lists,
    storage,
    work_unit,
)
from data_builders.engine import report as build_report
from data_builders.engine.options import Option
from data_builders.engine.splits import SPLITS, subjects_by_split
from data_builders.engine.work_unit import Source, UnitResult, WorkUnit
from sleepfm_jax import signals
from sleepfm_jax.data import people, provenance
from sleepfm_jax.data.clips import LABEL_KINDS, ClipSpec, preprocessing
from sleepfm_jax.errors import BuildError
from sleepfm_jax.recordings.read import Recording


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be built.

    Attributes:
        sources: every recording, those known to be unusable too (`problem`), in their order.
        label_kind: none, staging, classification or multilabel.
        classes: names of the K labels; () for none and staging.
        notes: what a person should know about the plan.
        metadata: further entries of the dataset's metadata.
    """

    sources: tuple[Source, ...]
    label_kind: str = "none"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


class RecordsBuilder(tfds.core.dataset_builder.FileReaderBuilder, skip_registration=True):
    """Base class of the builders.

    Args:
        source: folder of the recordings, here or in a bucket (gs://, s3://); not needed to read
            records that exist already.
        data_dir: where datasets live; records go to data_dir/NAME/VERSION.
        sfreq, clip_seconds: of the clips; the dataset's own default when None.
        label_kind: none, staging, classification or multilabel; found out when None.
        seed: of the split by subject.
        resampling: polyphase or reference, see `sleepfm_jax.signals.dsp.resample`.
        cohort: whose subjects these are (`sleepfm_jax.data.people`); the dataset's name when
            None. Datasets of the same people must name the same cohort.
        split_list: a published list of which recording is in which split (`split_lists`), taken in
            place of the builder's own splits.
        allow_leaks: build a list that puts people into two splits; the records say how many.
        kwargs: what TFDS gives to any builder.
    """

    VERSION: ClassVar[Any] = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}

    # Arguments that this builder has beyond the above: its flags. Subclasses inherit them.
    OPTIONS: ClassVar[dict[str, Option]] = {}
    COHORT: ClassVar[str | None] = None  # the dataset's name
    SFREQ: ClassVar[float] = 128.0
    CLIP_SECONDS: ClassVar[float] = 300.0
    # A work unit is this much of the input: large enough to read fast, small enough to redo.
    UNIT_BYTES: ClassVar[int] = 256 * 2**20
    UNIT_RECORDINGS: ClassVar[int] = 512

    def __init__(
        self,
        *,
        source: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        sfreq: float | None = None,
        clip_seconds: float | None = None,
        label_kind: str | None = None,
        seed: int = 0,
        resampling: str = "polyphase",
        cohort: str | None = None,
        split_list: str | os.PathLike[str] | None = None,
        allow_leaks: bool = False,
        **kwargs: Any,
    ):
        if label_kind is not None and label_kind not in LABEL_KINDS:
            raise BuildError(
                f"label_kind must be one of {', '.join(LABEL_KINDS)}, not {label_kind!r}"
            )
        self.label_kind, self.seed = label_kind, seed
        self.cohort = cohort or self.COHORT or self.name
        self.allow_leaks = allow_leaks
        if allow_leaks and split_list is None:
            raise BuildError("--allow_leaks is for a --split_list: other splits are by subject")
        try:
            self.split_list = None if split_list is None else storage.as_path(split_list)
            self.source = None if source is None else storage.as_path(source)
            self.spec = ClipSpec(
                float(self.SFREQ if sfreq is None else sfreq),
                float(self.CLIP_SECONDS if clip_seconds is None else clip_seconds),
                resampling=resampling,
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
            "label_kind": label_kind,
            "seed": seed,
            "resampling": resampling,
            "cohort": cohort,
            "split_list": split_list,
            "allow_leaks": allow_leaks,
        }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # TFDS keeps here where a class's README.md is; a subclass would inherit its parent's.
        cls.pkg_dir_path = None
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if "." not in cls.__module__ and file:  # a file of somebody's own, in no package
            cls.pkg_dir_path = epath.Path(file).parent

    @classmethod
    def options(cls) -> dict[str, Option]:
        """`OPTIONS` of the class and of those that it is made from."""
        declared = (vars(base).get("OPTIONS", {}) for base in reversed(cls.__mro__))
        return {name: option for options in declared for name, option in options.items()}

    @abc.abstractmethod
    def plan(self) -> Plan:
        """Lists the recordings of `self.source`, their subjects, splits and labels; opens none."""

    read: ClassVar[Callable[[Path, Source], Recording]]
    """`read(root, source)` reads one recording; a module's function, so that it pickles."""

    def _info(self) -> tfds.core.DatasetInfo:
        # The description, citation and tags come from the README.md, CITATIONS.bib and TAGS.txt
        # beside the builder's own file.
        return self.dataset_info_from_configs(
            features=record_features.features(),
            metadata=tfds.core.MetadataDict(),
            disable_shuffling=True,
        )

    def require_source(self) -> storage.AnyPath:
        """The folder in which the recordings are: the source, or one in it (`find_root`).

        Raises:
            BuildError: there is none; says what to pass.
        """
        if self.source is None:
            raise BuildError(
                f"{self.name} reads its recordings from a folder: pass --source=FOLDER"
            )
        if problem := storage.missing_driver(self.source):
            raise BuildError(f"--source={self.source}: {problem}")
        if not self.source.is_dir():
            raise BuildError(f"--source={self.source}: there is no such folder")
        return self.find_root(self.source)

    def is_root(self, names: frozenset[str]) -> bool:
        """Do the names in a folder say that the archive begins there? For those that need to know.

        Where the files lie below the source does not matter to most builders: any folder will do.
        """
        return True

    def find_root(self, source: storage.AnyPath) -> storage.AnyPath:
        """The folder in which the archive begins: the source, or the one folder in it that does.

        An archive that was unpacked, or simulated, into a folder of its own is found there. What
        else lies beside it does not matter.

        Raises:
            BuildError: several folders in the source could be meant.
        """
        if type(self).is_root is RecordsBuilder.is_root or self.is_root(_names_in(source)):
            return source
        folders = (p for p in storage.children(source) if not p.name.startswith(".") and p.is_dir())
        found = [folder for folder in folders if self.is_root(_names_in(folder))]
        if len(found) > 1:
            raise BuildError(
                f"--source={source}: {', '.join(p.name for p in found)} could each be meant: give "
                "one of them"
            )
        return found[0] if found else source

    def download_and_prepare(
        self,
        *,
        overwrite: bool = False,
        progress: Callable[[str], None] | None = None,
        run: runners.Runner = runners.in_this_process,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the records; nothing is downloaded.

        Args:
            overwrite: replace records in the same place that were made from other files or
                settings.
            progress: called with a line after each work unit.
            run: how units are run; the records do not depend on it.
            download_config: of `tfds build`: its manual_dir is the source where none was given.
            kwargs: TFDS's other arguments, which have nothing to do here.

        Raises:
            BuildError: nothing could be built, or other records are in the way.
            LeakError: a subject is in two splits of the plan.
            RunnerError, FolderInUse: units could not be run; what is finished is kept.
        """
        final = storage.as_path(self.data_dir)
        if self.source is None and download_config is not None and download_config.manual_dir:
            self.source = storage.as_path(download_config.manual_dir)
        if self.source is None and dataset_folder.exists(final):
            return  # as every TFDS builder: records that exist are used
        root = self.require_source()
        if problem := storage.missing_driver(final):
            raise BuildError(f"--data_dir={self.data_dir}: {problem}")
        if root != self.source and progress:
            progress(f"The archive is in {root}")
        plan = self.plan()
        if self.split_list is None:
            people.refuse_shared(
                ((s.subject, s.split) for s in plan.sources if s.problem is None),
                where=f"--source={root}",
                advice="Give all recordings of a subject one split",
            )
        else:
            plan = self._as_listed(plan)
        spec = dataclasses.replace(
            self.spec,
            label_kind=plan.label_kind,
            classes=signals.STAGES if plan.label_kind == "staging" else plan.classes,
        )
        units = self._units(root, plan, spec)
        made_of = [*(u.inputs for u in units), _identity(plan), self.cohort]
        fingerprint = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
        if dataset_folder.exists(final) and not overwrite:
            if _existing_fingerprint(final) == fingerprint:
                dataset_folder.tidy(final)
                if progress:
                    progress(f"{final} holds these records already: nothing to do")
                return
            raise BuildError(
                f"{final} holds records made from other files or with other settings: pass "
                "--overwrite to replace them, or another --data_dir to keep both"
            )
        with dataset_folder.staging(final, [u.key for u in units]) as folder:
            results = _results(units, folder, run, progress or (lambda line: None))
            self._finish(final, folder, plan, spec, results, fingerprint)

    def _as_listed(self, plan: Plan) -> Plan:
        """The plan with the splits of `split_list`.

        Raises:
            BuildError: the list cannot be read, or does not fit.
            LeakError: a person in two splits, and leaks are not allowed.
        """
        sources, notes = split_lists.apply(plan.sources, self.split_list)
        if not self.allow_leaks:
            split_lists.refuse(sources, self.split_list)
        return dataclasses.replace(plan, sources=sources, notes=(*plan.notes, *notes))

    def _units(self, root: storage.AnyPath, plan: Plan, spec: ClipSpec) -> list[WorkUnit]:
        """Groups the recordings that can be read, split by split in the plan's order, by size."""
        units = []
        for split in SPLITS:
            group: list[Source] = []
            size = 0
            sources = [s for s in plan.sources if s.split == split and s.problem is None]
            for i, source in enumerate(sources):
                group.append(source)
                size += _bytes_of(root, source)
                full = size >= self.UNIT_BYTES or len(group) >= self.UNIT_RECORDINGS
                if full or i == len(sources) - 1:
                    read = type(self).read
                    members = tuple(group)
                    inputs = work_unit.input_key(root, split, members, spec)
                    key = work_unit.unit_key(inputs, read)
                    unit = WorkUnit(inputs, key, split, os.fspath(root), members, spec, read)
                    units.append(unit)
                    group, size = [], 0
        return units

    def _finish(
        self,
        final: storage.AnyPath,
        folder: storage.AnyPath,
        plan: Plan,
        spec: ClipSpec,
        results: list[UnitResult],
        fingerprint: str,
    ) -> None:
        """Writes metadata, splits and reports, and puts the folder in its place."""
        by_path = {r["path"]: r for result in results for r in result.reports}
        reports = [
            by_path[s.path] if s.problem is None else work_unit.quarantined(s, s.problem)
            for s in plan.sources
        ]
        # A table of the archive is more to be trusted than a header.
        reports = [r | cohort.known(s.person) for r, s in zip(reports, plan.sources)]
        if not any(r.length for r in results):
            dataset_folder.discard(final)
            reasons = "\n".join(f"  {r['path']}: {r['reason']}" for r in reports[:20])
            raise BuildError(f"none of the {len(reports)} recordings could be built:\n{reasons}")
        if (
            plan.label_kind == "none"
            and self.label_kind is None
            and any(_has_stages(r) for r in reports)
        ):
            spec = dataclasses.replace(spec, label_kind="staging", classes=signals.STAGES)
        metadata = {
            "sfreq": spec.sfreq,
            "clip_seconds": spec.clip_seconds,
            "label_kind": spec.label_kind,
            "classes": list(spec.classes),
            "preprocessing": preprocessing(spec.resampling),
            "seed": self.seed,
            **plan.metadata,
        }
        subjects, notes = subjects_by_split(reports), list(plan.notes)
        if self.split_list is not None:
            listed, said = split_lists.told(subjects, self.split_list.name)
            metadata, notes = metadata | listed, notes + said
        asked = {"dataset": self.name, "version": str(self.version), **metadata}
        notes += [*build_report.empty_splits(reports), *build_report.copies(reports)]
        asked |= {"notes": notes, "fingerprint": fingerprint}
        report = build_report.assemble(reports, asked, results)
        manifest = people.manifest(self.cohort, subjects)
        if self.allow_leaks:
            manifest["leaks_allowed"] = self.split_list.name
        documents = {
            provenance.FILENAME: provenance.pack(report),
            quality_page.FILENAME: quality_page.render(report),
            people.FILENAME: json.dumps(manifest, indent=1) + "\n",
        }
        self.info.metadata.clear()
        self.info.metadata.update(metadata)
        dataset_folder.publish(final, folder, self.info, results, documents)
        self.info.update_data_dir(self.data_dir)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        raise NotImplementedError("download_and_prepare is the engine's own")


def _identity(plan: Plan) -> str:
    """A plan as text, for the fingerprint. Changed words would make records that exist strangers:
    label_kind was called task when the first were built."""
    return repr(plan).replace("label_kind=", "task=")


def _names_in(folder: storage.AnyPath) -> frozenset[str]:
    return frozenset(path.name for path in storage.children(folder))


def _bytes_of(root: storage.AnyPath, source: Source) -> int:
    paths = [root / name for name in (source.path, *source.files)]
    return sum(storage.size(path) for path in paths if path.exists())


def _results(
    units: Sequence[WorkUnit],
    folder: storage.AnyPath,
    run: runners.Runner,
    progress: Callable[[str], None],
) -> list[UnitResult]:
    """The results of all units, in their order: kept ones, then what had to be built."""
    kept = [result for u in units if (result := work_unit.finished(u, folder)) is not None]
    done = {result.key: result for result in kept}
    channel_lists: dict[str, list] = {}
    for result in kept:
        provenance.share(result.reports, channel_lists)
    todo = [u for u in units if u.key not in done]
    if kept:
        progress(f"{len(kept)} of {len(units)} shards kept from an earlier run")
    with contextlib.closing(run(todo, folder)) as results:
        for result in _with_progress(results, len(todo), progress):
            provenance.share(result.reports, channel_lists)
            done[result.key] = result
    return [done[u.key] for u in units]


def _with_progress(
    results: Iterable[UnitResult], count: int, progress: Callable[[str], None]
) -> Iterator[UnitResult]:
    started = time.monotonic()
    for i, result in enumerate(results, 1):
        bad = sum(r["status"] == "quarantined" for r in result.reports)
        left = (time.monotonic() - started) / i * (count - i)
        progress(
            f"[{i}/{count}] {result.split}: {len(result.reports)} recordings, {result.length} clips"
            + (f", {bad} quarantined" if bad else "")
            + (f"; about {left / 60:.0f} min left" if left >= 60 else "")
        )
        yield result


def _has_stages(report: dict[str, Any]) -> bool:
    return any(report["labels"].get(stage) for stage in signals.STAGES)


def _existing_fingerprint(folder: storage.AnyPath) -> str | None:
    try:
        return build_report.load(folder)["spec"]["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None  # not a dataset of this engine: never to be replaced unasked
