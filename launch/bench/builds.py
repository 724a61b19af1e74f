"""How fast are builds, beside a straightforward script of the published recipe, in one run?

    OMP_NUM_THREADS=1 python -m launch.bench.builds --nights=4 --hours=8

simulates nights, then takes each one both ways, one after the other on one core, in turns as to who
goes first: our work unit (file → shard, synced to disk), and the recipe as SleepFM's publication
has it: every channel at the file's top rate (MNE), a Butterworth low-pass forward and backward,
linear interpolation to 128 Hz, z-score, float16 in gzipped HDF5. Then it builds the whole dataset
and reads its records in random order.

CPU seconds are of this process and its threads; wall seconds suffer from whatever else runs.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import mne
import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags
from scipy import signal

from data_builders.engine import work_unit
from data_builders.simulated_psg.simulated_psg_dataset_builder import Builder
from sleepfm_jax.data.memory import keep_freed_memory
from sleepfm_jax.data.record import decode
from sleepfm_jax.simulation import cohorts

_NIGHTS = flags.DEFINE_integer("nights", 4, "Recordings.", lower_bound=1)
_HOURS = flags.DEFINE_float("hours", 8.0, "Length of each.")
_FOLDER = flags.DEFINE_string(
    "folder", None, "For the recordings and records; kept. [default: a temporary one]"
)

SFREQ = 128.0
CHUNK = round(300 * SFREQ)


def published_recipe(edf: Path, out: Path) -> None:
    """One EDF file → HDF5, as a reader of the publication would write it."""
    raw = mne.io.read_raw_edf(edf, preload=True, verbose="error")
    sfreq, duration = raw.info["sfreq"], raw.n_times / raw.info["sfreq"]
    there = np.arange(raw.n_times) / sfreq
    wanted = np.arange(0, duration, 1 / SFREQ)
    with h5py.File(out, "w") as file:
        for name, x in zip(raw.ch_names, raw.get_data()):
            if sfreq > SFREQ:
                b, a = signal.butter(4, SFREQ / 2, fs=sfreq)
                x = signal.filtfilt(b, a, x)
            y = np.interp(wanted, there, x)
            y = (y - y.mean()) / (y.std() or 1.0)
            file.create_dataset(
                name, data=y.astype(np.float16), chunks=(min(CHUNK, len(y)),), compression="gzip"
            )


@dataclasses.dataclass
class Clock:
    """CPU and wall seconds of what was called."""

    cpu: float = 0.0
    wall: float = 0.0

    def time(self, function: Callable, *arguments) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        function(*arguments)
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall


def random_reads(folder: str, split: str, seed: int = 0) -> tuple[float, float, int]:
    """(MB/s of stored bytes, MB/s decoded to records, records) of one pass in random order."""
    source = tfds.builder_from_directory(folder).as_data_source(split)
    order = np.random.default_rng(seed).permutation(len(source))
    reader = source.data_source  # of array_record: the stored bytes
    begun = time.perf_counter()
    total = sum(len(reader[int(i)]) for i in order)
    raw = total / (time.perf_counter() - begun)
    begun = time.perf_counter()
    total = sum(decode(source[int(i)]).signals.nbytes for i in order)
    return raw / 1e6, total / (time.perf_counter() - begun) / 1e6, len(order)


def agreement(folder: str, unit: work_unit.WorkUnit, hdf5: Path) -> float:
    """Median correlation of both ways' channels over the first clip: have they done the same?"""
    source = tfds.builder_from_directory(folder).as_data_source(unit.split)
    found = (decode(source[i]) for i in range(len(source)))
    first = next(r for r in found if r.recording == unit.sources[0].recording)
    with h5py.File(hdf5) as file:
        pairs = [
            (x[: first.num_samples], file[label][: first.num_samples].astype(np.float32))
            for label, x, sd in zip(first.channel_labels, first.signals, first.sd)
            if sd > 0
        ]
    return float(np.median([np.corrcoef(ours, theirs)[0, 1] for ours, theirs in pairs]))


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(_FOLDER.value or temporary))


def run(folder: Path) -> None:
    """Measures and prints."""
    source, out = folder / "recordings", folder / "benchmark"
    cohorts.write_psg_cohort(source, subjects=_NIGHTS.value, hours=_HOURS.value, seed=0)
    out.mkdir(parents=True, exist_ok=True)
    builder = Builder(source=source, data_dir=folder / "records")
    builder.UNIT_RECORDINGS = 1
    units = builder._units(source, builder.plan(), builder.spec)
    ours, theirs = Clock(), Clock()
    for i, unit in enumerate(units):
        edf = source / unit.sources[0].path
        edf.read_bytes()  # from here on in the page cache, for both
        hdf5 = out / f"{edf.stem}.h5"
        turns = [
            (ours, work_unit.build_unit, unit, out),
            (theirs, published_recipe, edf, hdf5),
        ]
        for clock, *call in turns if i % 2 else turns[::-1]:
            clock.time(*call)
    hours = _NIGHTS.value * _HOURS.value
    print(f"{_NIGHTS.value} simulated nights, {hours:g} h, on one core each way")
    print(f"{'':22}{'h of PSG per core-minute':>26}{'CPU s':>9}{'wall s':>9}")
    for name, clock in (("sleepfm_jax", ours), ("published recipe", theirs)):
        print(f"{name:22}{hours / clock.cpu * 60:>26.1f}{clock.cpu:>9.1f}{clock.wall:>9.1f}")
    print(f"ratio {theirs.cpu / ours.cpu:.1f} by CPU, {theirs.wall / ours.wall:.1f} by wall clock")
    whole = Clock()
    whole.time(builder.download_and_prepare)
    size = sum(split.num_bytes for split in builder.info.splits.values())
    print(f"whole build: {size / 1e9:.2f} GB of records, {whole.wall:.1f} s on one core")
    same = agreement(builder.data_dir, units[-1], hdf5)
    print(f"median correlation of both ways' channels, first clip of a night: {same:.4f}")
    for how in ("as it is", "freed memory kept"):
        if how != "as it is":
            keep_freed_memory()
        raw, decoded, count = random_reads(builder.data_dir, "train")
        print(
            f"random reads of {count} records, {how}: {raw:.0f} MB/s stored, "
            f"{decoded:.0f} MB/s decoded"
        )


if __name__ == "__main__":
    app.run(main)
