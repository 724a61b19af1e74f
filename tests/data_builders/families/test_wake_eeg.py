"""Archives of labelled wake EEG: simulated as they are on disk, built, compared with the truth.

`pytest -rP -k wake_table` prints a table of all of them.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
from collections import Counter

import numpy as np
import pytest
from scipy import signal

from sleepfm_jax.data import people
from sleepfm_jax.data.clip_examples import collate
from sleepfm_jax.errors import BuildError, SimulationError
from sleepfm_jax.metrics.plain_features import heart_rate_statistics
from sleepfm_jax.recordings.labels.intervals import read_intervals
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.simulation.archives import twins, wake_eeg
from sleepfm_jax.simulation.archives.wake import FAULTS, write_archive
from tests.helpers.archives import (
    Built,
    build,
    builder_of,
    check_faults,
    check_truth,
    simulate_and_build,
    table_row,
)

SEED = 3  # of simulate_and_build
# People, so many that every kind of fault is there at least once.
SUBJECTS = {"tuab": 10, "tuev": 15, "tusl": 17, "chb_mit": 6, "braincapture": 12, "eegmat": 6}
RARE = {"tuev": 8.0, "tusl": 4.0, "chb_mit": 60.0}  # so that every class is there
CLIPS = {"tuab": 60, "tuev": 5, "tusl": 60, "chb_mit": 60, "braincapture": 60, "eegmat": 20}
CHANNELS = {  # of a recording: bas, ecg, other
    "tuab": (21, 1, 2),
    "tuev": (21, 1, 2),
    "tusl": (21, 1, 2),
    "chb_mit": (23, 0, 0),
    "braincapture": (19, 0, 0),
    "eegmat": (20, 1, 0),
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """archive(name): the archive with faults in two thirds of its recordings, built."""

    @functools.cache
    def make(name: str) -> Built:
        folder = tmp_path_factory.mktemp(name)
        return simulate_and_build(
            folder, name, subjects=SUBJECTS[name], faults=2 / 3, rare=RARE.get(name, 1.0)
        )

    return make


@pytest.mark.parametrize("name", SUBJECTS)
def test_records_are_what_was_simulated(archive, name):
    built = archive(name)
    assert check_truth(built) >= 3
    assert built.metadata["clip_seconds"] == CLIPS[name]
    assert built.metadata["sfreq"] == 128
    assert built.metadata["label_kind"] == "classification"
    assert built.metadata["filter"].startswith("none")
    assert "clip(physical, -50, 50) / 10" in built.metadata["normalisation"]
    if name != "eegmat":
        assert built.metadata["patch_samples"] == 128
        planned = {r["split"] for r in built.report["recordings"]}
        assert planned == {"train", "validation", "test"}
    damaged = {row["path"] for row in built.faults}
    for row in built.truth:
        if row["path"] in damaged:
            continue
        found = [c["modality"] for c in built.entry(row["path"])["channels"]]
        dashes = sum(c["label"] == "-" for c in built.entry(row["path"])["channels"])
        bas, ecg, other = CHANNELS[name]
        counts = [found.count(m) for m in ("bas", "ecg", "other")]
        assert counts == [bas, ecg, other + dashes], row["path"]
        for record in built.records[row["path"]]:
            assert record.signals.shape == (len(found), CLIPS[name] * 128)
            eeg = np.array(record.modalities) == "bas"
            assert np.isfinite(record.positions[eeg]).all()
            assert 5 < np.median(record.sd[eeg]) < 100  # uV


@pytest.mark.parametrize("name", SUBJECTS)
def test_faults_become_what_they_should(archive, name):
    assert set(check_faults(archive(name))) == set(FAULTS[name])


def test_the_wake_table(archive):
    print("\n| dataset | recordings | clips | channels | labels | train/val/test clips | faults |")
    print("|---|---|---|---|---|---|---|")
    for name in SUBJECTS:
        print(table_row(archive(name)))


def test_whole_recordings_are_what_tuab_labels(archive):
    built = archive("tuab")
    for path, clips in built.records.items():
        assert [r.start for r in clips] == [0, 60][: len(clips)]
        said = [0.0, 1.0] if "/abnormal/" in path else [1.0, 0.0]
        assert all(record.labels.tolist() == said for record in clips)
    rates = {r.native_sfreq[0] for clips in built.records.values() for r in clips}
    assert rates == {250, 256, 512}
    damaged = {row["path"] for row in built.faults}
    path = next(path for path in built.records if path not in damaged)
    name = path.rpartition("/")[2]
    index = sum((ord(letter) - 97) * 26**i for i, letter in enumerate(reversed(name[:8])))
    session = int(name[10:13]) - 1
    native = built.records[path][0].native_sfreq[0]
    whole = twins.tuab(SEED, index, session, 130, native, "/eval/" in path)
    assert f"/{whole.label}/" in path
    assert alike(built.records[path][0], whole.eeg, native) > 0.97


def alike(record, signals, sfreq):
    """The least correlation of a record's EEG with the signals [C, T] that were rendered."""
    begin = round(record.start * sfreq)
    rendered = signals[:, begin : begin + round(record.num_samples / 128 * sfreq)]
    rendered = signal.resample_poly(rendered, 128, sfreq, axis=1)
    mine = record.physical()[np.array(record.modalities) == "bas"][:, : rendered.shape[1]]
    assert len(mine) == len(rendered)
    inner = slice(64, -64)  # filters begin and end otherwise
    return min(np.corrcoef(a[inner], b[inner])[0, 1] for a, b in zip(mine, rendered))


def test_a_person_of_both_official_sets_is_tested_only(tmp_path):
    write_archive("tuab", tmp_path / "out", subjects=4)
    tree = tmp_path / "out" / "tuab"
    (tested,) = tree.glob("edf/eval/*/01_tcp_ar/*.edf")
    twin = "edf/train/normal/01_tcp_ar/" + tested.name.replace("s001", "s009")
    shutil.copyfile(tested, tree / twin)
    shutil.copyfile(tested, tree / "edf" / "train" / "normal" / "01_tcp_ar" / "copy of it.edf")
    report, _, found, split_of = build("tuab", tree, tmp_path / "records")
    bad = {r["path"]: r["reason"] for r in report["recordings"] if r["status"] != "built"}
    assert len(bad) == 2
    assert "is in the archive's test set too" in bad[twin]
    assert "its path is not like" in bad["edf/train/normal/01_tcp_ar/copy of it.edf"]
    assert [s for n, s in split_of.items() if found[n][0].subject == tested.name[:8]] == ["test"]


def test_every_line_of_a_rec_is_a_clip_around_its_event(archive):
    built = archive("tuev")
    damaged = {row["path"] for row in built.faults}
    path = next(row["path"] for row in built.truth if row["path"] not in damaged)
    events = read_intervals((built.tree / path).with_suffix(".rec"))
    clips = built.records[path]
    assert len(clips) == len(events)
    classes = built.metadata["classes"]
    assert list(classes) == ["bckg", "pled", "artf", "eyem", "gped", "spsw"]
    for event, record in zip(events, clips):
        assert record.labels.tolist() == [float(event.label == c) for c in classes]
        assert record.start == min(max(0.0, event.start - 2.0), 55.0)
        assert record.num_samples == 640
        assert not (record.gaps[:, 0] == 0).any()


def test_blinks_are_in_the_events_that_are_called_so(archive):
    built = archive("tuev")
    damaged = {row["path"] for row in built.faults}
    low = signal.butter(2, (0.5, 5), "bandpass", fs=128, output="sos")
    height, inside = {"eyem": [], "bckg": []}, {"eyem": [], "bckg": []}
    for path in built.records.keys() - damaged:
        events = read_intervals((built.tree / path).with_suffix(".rec"))
        for event, record in zip(events, built.records[path]):
            if event.label not in height:
                continue
            sites = [record.channel_labels.index(f"EEG {site}-REF") for site in ("FP1", "FP2")]
            front = signal.sosfiltfilt(low, record.physical()[sites].mean(0))
            at = np.abs(front).argmax() / 128 + record.start
            height[event.label].append(front.max())
            inside[event.label].append(event.start - 0.2 < at < event.stop + 0.3)
    assert len(inside["eyem"]) >= 6
    # raters err, and open eyes blink in the background too, anywhere in the 5 s of the clip
    assert np.mean(inside["eyem"]) > np.mean(inside["bckg"]) + 0.25
    assert np.median(height["eyem"]) > 1.5 * np.median(height["bckg"])


def test_tse_and_csv_say_the_same_about_tusl(archive):
    built = archive("tusl")
    kinds = {p.suffix for p in built.tree.rglob("*") if p.suffix in (".csv", ".tse")}
    assert kinds == {".csv", ".tse"}  # both were read: every recording equals the truth
    names = {r.channel_labels[0] for clips in built.records.values() for r in clips}
    assert {"EEG FP1-REF", "EEG FP1-LE"} <= names


def test_chb21_is_chb01(archive):
    built = archive("chb_mit")
    subjects = {path[:5]: clips[0].subject for path, clips in built.records.items()}
    assert subjects["chb21"] == "chb01"
    cases = set(subjects)
    told = people.read(built.folder).splits.values()
    assert sum(len(names) for names in told) == len(cases) - 1  # two cases, one pseudonym
    both = [path for path in built.records if path[:5] in ("chb01", "chb21")]
    assert len({built.split[path] for path in both}) == 1
    damaged = {row["path"] for row in built.faults}
    path = next(p for p in built.records if p.endswith("_02.edf") and p not in damaged)
    names = built.records[path][0].channel_names
    assert names.count("T8-P8") == names.count("T8-P8#2") == 1
    dash = built.records[path][0].channel_labels.index("-")
    assert built.records[path][0].modalities[dash] == "other"
    assert built.records[path][0].sd[dash] == 0


def summary_of(tree, path):
    """Seizures (s) of a recording, by its case's summary."""
    summary = (tree / path).with_name(f"{path[:5]}-summary.txt").read_text()
    mine = summary.partition(f"File Name: {path.rpartition('/')[2]}")[2].partition("File Name:")[0]
    ends = [
        [float(s) for s in re.findall(rf"Seizure.* {word} Time: (\d+) seconds", mine)]
        for word in ("Start", "End")
    ]
    return list(zip(*ends))


def test_clips_of_chb_mit_are_those_that_the_summary_decides(archive):
    """One that holds half of a seizure, or is full of one, shows it; touched ones are neither."""
    built = archive("chb_mit")
    damaged = {row["path"] for row in built.faults}
    seen = Counter()
    for path in built.records.keys() - damaged:
        wanted = {}
        for start in (0, 60, 120, 180):
            shares = [
                (min(end, start + 60) - max(begin, start), min(end - begin, 60))
                for begin, end in summary_of(built.tree, path)
            ]
            shares = [(held, of_all) for held, of_all in shares if held > 0]
            if any(held >= of_all / 2 for held, of_all in shares):
                wanted[start] = [0.0, 1.0]
            elif not shares:
                wanted[start] = [1.0, 0.0]
            else:
                seen["touched"] += 1
        found = {record.start: record.labels.tolist() for record in built.records[path]}
        assert found == wanted, path
        seen["seizure"] += [0.0, 1.0] in wanted.values()
        told = next(row["clips"] for row in built.truth if row["path"] == path)
        assert told == built.labels(path)
    assert seen["seizure"] >= 2 and seen["touched"] >= 1
    assert {"chb01", "chb21"} & {path[:5] for path in built.records.keys() - damaged}


def test_seizures_are_in_the_signal(archive):
    """Records are what was rendered, in which seizures are when and where they are said to be
    (tests/simulation/archives/test_twins_evidence.py); chewing and movement as loud as they are
    keep a single number from telling.
    """
    built = archive("chb_mit")
    damaged = {row["path"] for row in built.faults}
    checked = 0
    for path in sorted(built.records.keys() - damaged):
        case, number = int(path[3:5]), int(path[12:14])
        index = 0 if case == 21 else case - 1
        whole = twins.chb_mit(SEED, index, case, number, 250, 256, RARE["chb_mit"])
        told = [(e.start, e.stop) for e in whole.events if e.label == "seizure"]
        assert told == summary_of(built.tree, path)
        if [0.0, 1.0] in [record.labels.tolist() for record in built.records[path]]:
            pairs = wake_eeg.chb_pairs(whole)
            record = next(r for r in built.records[path] if r.labels[1] == 1)
            assert alike(record, pairs, 256) > 0.9, path
            checked += 1
    assert checked >= 2


def test_a_person_of_the_tuh_has_one_pseudonym_in_its_three_corpora(archive):
    """The simulated corpora name people alike, as the real ones do."""
    told = {name: people.read(archive(name).folder) for name in ("tuab", "tuev", "tusl")}
    assert {found.cohort for found in told.values()} == {"tuh"}
    everyone = {name: frozenset().union(*p.splits.values()) for name, p in told.items()}
    shared = frozenset.intersection(*everyone.values())
    named = {
        name: {clips[0].subject for clips in archive(name).records.values()} for name in everyone
    }
    in_all = set.intersection(*named.values())
    assert in_all
    assert shared == {people.subject_hash("tuh", subject) for subject in in_all}
    # Trained on TUAB, an encoder would be scored on people it knows in the others' test sets.
    known = told["tuab"].of_split("train")
    scored = {f"test of {n}": told[n].of_split("test") for n in ("tuev", "tusl")}
    assert set(people.leaked(known, scored)) == known & frozenset().union(*scored.values())
    assert people.leaked(known, {"all of tusl": everyone["tusl"]})


@pytest.mark.parametrize("name", SUBJECTS)
def test_records_become_a_batch(archive, name):
    built = archive(name)
    clips = [clips[0] for clips in built.records.values()][:4]
    bas, ecg, _ = CHANNELS[name]
    slots = (("bas", bas), ("ecg", ecg)) if ecg else (("bas", bas),)
    batch = collate(clips, Layout(slots, 128), CLIPS[name])
    assert batch["signals"].shape == (4, bas + ecg, 128 * CLIPS[name])
    assert batch["labels"].shape == (4, len(built.metadata["classes"]))
    assert batch["mask"].shape == (4, bas + ecg, CLIPS[name])
    assert batch["mask"].any(axis=(1, 2)).all()


def test_without_labels_recordings_are_cut_from_start_to_end(tmp_path):
    write_archive("tuev", tmp_path / "out", subjects=3)
    _, metadata, found, _ = build(
        "tuev", tmp_path / "out" / "tuev", tmp_path / "records", label_kind="none", clip_seconds=25
    )
    assert metadata["label_kind"] == "none"
    assert metadata["classes"] == []
    for clips in found.values():
        assert [r.start for r in clips] == [0, 25, 50]
        assert clips[0].labels.shape == (0,)


def test_who_is_tested_can_be_asked_for(tmp_path):
    write_archive("tusl", tmp_path / "source", subjects=10, seconds=20.0)
    builder = builder_of("tusl")
    made = builder(source=tmp_path / "source", data_dir=tmp_path, split_fractions=(0.5, 0.1, 0.4))
    planned = [source.split for source in made.plan().sources]
    assert [planned.count(name) for name in ("train", "validation", "test")] == [5, 1, 4]
    with pytest.raises(BuildError, match=r"--split_fractions: .* sum to 1"):
        builder(
            source=tmp_path / "source", data_dir=tmp_path, split_fractions=(0.5, 0.1, 0.1)
        ).plan()


@pytest.mark.parametrize("name", ["tuab", "tuev", "tusl", "chb_mit"])
def test_another_folder_or_label_kind_is_refused(tmp_path, name):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "night.edf").write_bytes(b"")
    with pytest.raises(BuildError, match="but 1 other EDF files"):
        builder_of(name)(source=tmp_path, data_dir=tmp_path / "r").plan()
    with pytest.raises(BuildError, match="is for classification"):
        builder_of(name)(source=tmp_path, data_dir=tmp_path / "r", label_kind="staging").plan()


def hashes(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".json")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("name", ["tuab", "tuev"])
def test_the_same_seed_gives_the_same_files(tmp_path, name):
    for number, (subjects, seed) in enumerate([(2, 1), (2, 1), (2, 2), (3, 1)]):
        write_archive(name, tmp_path / str(number), subjects=subjects, seed=seed)
    one, again, other, more = (hashes(tmp_path / str(i) / name) for i in range(4))
    assert one == again
    assert one != other
    assert one.items() <= more.items()
    with pytest.raises(SimulationError, match="not empty"):
        write_archive(name, tmp_path / "0", subjects=2)
    with pytest.raises(SimulationError, match="no such archive"):
        write_archive("tuh", tmp_path / "new", subjects=2)


@pytest.mark.slow
def test_from_the_command_line_with_processes(tmp_path, program):
    write_archive("tusl", tmp_path / "here", subjects=3, seed=5)
    flags = ["--dataset=tusl", "--subjects=3", f"--out={tmp_path / 'there'}", "--seed=5"]
    done = program("launch.simulate", *flags, "--workers=2")
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")


# --- real recordings ------------------------------------------------------------------------------


def raw_ecg(path):
    """(the ECG, Hz) of an EDF file, with nothing but NumPy."""
    raw = path.read_bytes()
    count, seconds, header = int(raw[252:256]), float(raw[244:252]), int(raw[184:192])
    labels = [raw[256 + 16 * i :][:16].decode().strip() for i in range(count)]
    samples = [int(raw[256 + 216 * count + 8 * i :][:8]) for i in range(count)]
    data = np.frombuffer(raw, "<i2", offset=header)
    frames = data[: len(data) // sum(samples) * sum(samples)].reshape(-1, sum(samples))
    first = sum(samples[: labels.index("ECG ECG")])
    number = samples[labels.index("ECG ECG")]
    return frames[:, first : first + number].ravel().astype(float), number / seconds


def plain_heart_rate(x, sfreq):
    """Beats a minute: peaks of the energy at 5 to 25 Hz, 0.3 s apart; intervals near the median."""
    spectrum, f = np.fft.rfft(x - x.mean()), np.fft.rfftfreq(len(x), 1 / sfreq)
    band = np.fft.irfft(spectrum * ((f > 5) & (f < 25)), len(x))
    energy = np.convolve(band**2, np.hanning(round(0.12 * sfreq)), "same")
    length = round(2 * sfreq)
    highest = energy[: len(energy) // length * length].reshape(-1, length).max(1)
    candidates = np.flatnonzero(
        (energy[1:-1] > energy[:-2])
        & (energy[1:-1] >= energy[2:])
        & (energy[1:-1] > 0.3 * np.median(highest))
    )
    peaks = []
    for i in candidates[np.argsort(-energy[candidates + 1])]:
        if all(abs(i - other) > 0.3 * sfreq for other in peaks):
            peaks.append(i)
    intervals = np.diff(np.sort(peaks)) / sfreq
    middle = np.median(intervals)
    return 60 / intervals[np.abs(intervals - middle) < 0.25 * middle].mean()


@pytest.mark.real
def test_heart_rates_of_eegmat_are_those_of_the_raw_files(shared, tmp_path):
    source = shared / "data" / "wake_eeg_eegmat"
    folder = tmp_path / "eegmat"
    folder.mkdir()
    chosen = sorted(source.glob("*.edf"))
    for path in [*chosen, source / "subject-info.csv"]:
        (folder / path.name).symlink_to(path)
    _, _, found, _ = build("eegmat", folder, tmp_path / "records", clip_seconds=62)
    difference, no_beats = {}, set()
    for path in chosen:
        (record,) = found[path.stem]
        assert record.num_samples == 62 * 128
        ecg = [record.modalities.index("ecg")]
        samples = record.physical()[ecg]
        if np.isnan(heart_rate_statistics(samples, record.valid()[ecg], 128)[0]):
            no_beats.add(path.stem)  # noise: no detector can agree with another on it
            continue
        rate = plain_heart_rate(samples[0].astype(float), 128)
        difference[path.stem] = abs(rate - plain_heart_rate(*raw_ecg(path)))
    print(f"{len(difference)} recordings, at most {max(difference.values()):.3f} bpm apart")
    assert no_beats == {"Subject02_1", "Subject13_1", "Subject20_2"}
    assert len(difference) == 45
    assert max(difference.values()) < 1, difference
