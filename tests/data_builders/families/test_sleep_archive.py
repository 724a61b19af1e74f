"""Every sleep archive: simulated as it is on disk, built, and compared with what was simulated.

`pytest -rP -k table` prints the table of all of them.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import re
import shutil
import warnings
from collections import Counter
from pathlib import Path

import edfio
import numpy as np
import pytest

from data_builders.engine.work_unit import Source
from data_builders.families import sleep_archive
from sleepfm_jax.data import datasets
from sleepfm_jax.data.clip_examples import collate
from sleepfm_jax.errors import BuildError, SimulationError
from sleepfm_jax.recordings.read import Channel, Recording
from sleepfm_jax.signals import STAGES, electrode_positions, identify
from sleepfm_jax.signals.layout import Layout
from sleepfm_jax.simulation.archives import faults as synthetic_faults
from sleepfm_jax.simulation.archives import sleep
from sleepfm_jax.simulation.archives.layouts import ARCHIVES, DIALECTS
from sleepfm_jax.simulation.archives.montages import draw_archive_montage
from sleepfm_jax.simulation.archives.sleep import write_archive
from tests.helpers.archives import build as build_archive
from tests.helpers.archives import builder_of

HOURS, CLIP = 0.1, 180.0  # 12 sleep_epochs: two clips
SEED = 5  # whose six first nights have all stages, N3 for longer than a minute
FAULTY_SFREQ = 32  # Hz of records that are built for their report and their stages
SUBJECTS = {"dreams": 5, "mesa": 5, "cfs": 5, "ccshs": 5, "cinc2018": 5}  # one night each
CHANNELS = {  # of each montage, as its labels are meant: bas, resp, ecg, emg, other
    "shhs1": (4, 5, 1, 1, 3),
    "shhs2": (4, 5, 1, 1, 3),
    "mesa": (5, 9, 1, 2, 2),
    "mros1": (6, 7, 2, 4, 2),
    "mros2": (6, 7, 2, 4, 2),
    "cfs": (6, 9, 2, 5, 2),
    "chat": (12, 9, 3, 5, 2),
    "wsc_comet": (8, 7, 1, 2, 1),
    "wsc_heritage": (4, 8, 1, 2, 1),
    "ccshs": (6, 10, 2, 5, 3),
    "sleep_edf_sc": (3, 1, 0, 1, 2),
    "sleep_edf_st": (3, 0, 0, 1, 1),
    "dreams": (5, 6, 1, 1, 1),
    "cinc2018": (7, 4, 1, 1, 0),
}
MODALITIES = ("bas", "resp", "ecg", "emg", "other")
LETTERS = {letter: stage for stage, letter in enumerate("W123R")} | {"?": -1}


@dataclasses.dataclass
class Built:
    """One archive on disk and its records."""

    tree: Path
    folder: Path  # of the records
    nights: list
    rows: list[dict[str, str]]  # of hypnograms.csv
    report: dict
    records: dict[str, list]  # by recording, in time's order
    split: dict[str, str]  # by recording


def build(name, source, data_dir, **kwargs):
    """The report, records by recording and the split of each recording."""
    report, _, found, split_of = build_archive(name, source, data_dir, clip_seconds=CLIP, **kwargs)
    return report, found, split_of


@pytest.fixture(scope="module", autouse=True)
def one_body_for_all():
    """The same people sleep in every archive here: most of a simulation is their nights."""
    simulate = sleep.simulate_archive_night

    @functools.cache
    def shared(seed, index, visit, epochs):
        return simulate("shhs", seed, index, visit, epochs)

    patch = pytest.MonkeyPatch()
    patch.setattr(sleep, "simulate_archive_night", lambda name, *key: shared(*key))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """archives(name): the archive without faults, built once."""

    @functools.cache
    def get(name):
        out = tmp_path_factory.mktemp(name)
        subjects = SUBJECTS.get(name, 4)
        nights = write_archive(name, out / "sim", subjects=subjects, hours=HOURS, seed=SEED)
        with (out / "sim" / "hypnograms.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        tree = out / "sim" / name
        folder = out / "records" / name / "1.0.0"
        return Built(tree, folder, nights, rows, *build(name, tree, out / "records"))

    return get


@pytest.fixture(scope="module")
def damaged(archives, tmp_path_factory):
    """damaged(name): [(damage, its entry in the build report, its night, its records)], all kinds.

    The archive is copied as often as it takes until every kind of fault had a night.
    """

    @functools.cache
    def get(name):
        clean = archives(name)
        wanted = {kind for n in clean.nights for kind in synthetic_faults.FAULTS[n.place.dialect]}
        found, first = [], 0
        while wanted - {damage.fault for damage, *_ in found}:
            assert first < 20, f"{name}: {wanted} are not all dealt"
            out = tmp_path_factory.mktemp(f"{name}_faults")
            shutil.copytree(clean.tree, out / name)
            # one night stays whole, so that the build has something to show
            nights = clean.nights[1:]
            dealt = synthetic_faults.inject(out / name, nights, share=1.0, first=first)
            report, clips, _ = build(name, out / name, out / "records", sfreq=FAULTY_SFREQ)
            entries = {r["path"]: r for r in report["recordings"]}
            assert entries[clean.nights[0].place.path]["status"] == "built"
            for damage, night in zip(dealt, nights, strict=True):
                stem = Path(night.place.path).stem
                found.append((damage, entries[damage.path], night, clips.get(stem, [])))
            first += len(nights)
        return found

    return get


def stages_of(clips, epochs):
    """The stages of a recording from its clips, cut to the sleep_epochs that it has."""
    return np.concatenate([r.stages for r in clips])[:epochs].tolist()


def by_modality(channels):
    counts = Counter(c["modality"] for c in channels)
    return tuple(counts[m] for m in MODALITIES)


@pytest.mark.parametrize("name", ARCHIVES)
def test_simulated_archive(name, archives):
    built = archives(name)
    totals, entries = built.report["totals"], built.report["recordings"]
    assert totals["built"] == totals["recordings"] == len(built.rows) == len(built.nights)
    assert built.report["spec"]["label_kind"] == "staging"
    assert built.report["spec"]["classes"] == list(STAGES)
    assert {e["path"] for e in entries} == {row["path"] for row in built.rows}
    for row in built.rows:
        entry = next(e for e in entries if e["path"] == row["path"])
        clips = built.records[Path(row["path"]).stem]
        assert {r.subject for r in clips} == {entry["subject"]}
        # people are told apart as the simulation did: one name each, whatever the case
        assert entry["subject"].lower() == row["subject"].lower()
        scored = bool(
            next(n for n in built.nights if n.place.path == row["path"]).place.annotations
        )
        expected = [LETTERS[letter] if scored else -1 for letter in row["stages"]]
        assert stages_of(clips, len(expected)) == expected, row
        assert by_modality(entry["channels"]) == CHANNELS[row["montage"]], row
        voltages = [c for c in entry["channels"] if c["modality"] in ("bas", "ecg", "emg")]
        assert {c["unit"] for c in voltages} == {"uV"}
        assert sum(r.num_samples for r in clips) == round(HOURS * 3600 * 128)
        # microvolts, whatever the file's unit; a belt's or an envelope's size means nothing
        eeg = [i for i, m in enumerate(clips[0].modalities) if m in ("bas", "ecg")]
        assert (clips[0].sd[eeg] > 1).all()
        assert (clips[0].sd[eeg] < 2000).all()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shhs", {"C4-M1": "bas", "C3-M2": "bas"}),
        ("mesa", {"Fz-Cz": "bas", "Cz-Oz": "bas", "C4-M1": "bas"}),
    ],
)
def test_what_labels_do_not_say_the_documentation_does(name, meant, archives):
    for clips in archives(name).records.values():
        found = dict(zip(clips[0].channel_names, clips[0].modalities))
        assert meant.items() <= found.items()
        assert np.isfinite(electrode_positions(list(meant))).all()


@pytest.mark.parametrize(
    ("archive", "label", "name", "modality"),
    [
        *(("wsc", label, "C3-M2", "bas") for label in ("CENTRAL", "L_CENT", "L CENT", "l_cent ")),
        ("wsc", "R_CENT", "C4-M1", "bas"),
        ("wsc", "FRONTAL", "F3-M2", "bas"),
        *(("wsc", label, "O1-M2", "bas") for label in ("OCC", "L_OCC", "L OCC")),
        *(("wsc", label, "THX", "resp") for label in ("RIB_CAGE", "Rib Cage", "RIBCAGE")),
        ("wsc", "X7-X6", "CHIN", "emg"),
        ("wsc", "LLEG1-EKG2", "ECG", "ecg"),
        *(("shhs", label, "C4-M1", "bas") for label in ("EEG", "EEG1", "EEG 1", "EEG_1")),
        *(
            ("shhs", label, "C3-M2", "bas")
            for label in ("EEG(sec)", "EEG (sec)", "EEG_(SEC)", "EEG sec", "EEG_sec", "EEG2")
        ),
    ],
)
def test_other_names_of_the_nsrr(tmp_path, write_edf, archive, label, name, modality):
    path = {"wsc": "wsc-visit1-10119-nsrr.edf", "shhs": "shhs1-200001.edf"}[archive]
    samples = write_edf(tmp_path / path, labels={label: "uV", "SaO2": "%"})
    read = builder_of(archive).read(tmp_path, Source(path, "1", "r", "train"))
    channel = read.channels[0]
    assert (channel.label, channel.name, channel.modality) == (label.strip(), name, modality)
    assert np.isfinite(electrode_positions([channel.name])).all() == (modality == "bas")
    np.testing.assert_allclose(channel.samples, samples[label], atol=0.01)


def test_a_channel_of_another_name_is_looked_at_for_faults(tmp_path, write_edf):
    """As EEG, which no label of the file says that it is."""
    path = "wsc-visit1-10119-nsrr.edf"
    labels = [("L_CENT", ""), ("SAO2", "%")]
    write_edf(tmp_path / path, labels=labels)
    read = builder_of("wsc").read(tmp_path, Source(path, "1", "r", "train"))
    assert "no unit in the file: not scaled" in read.channels[0].notes


def test_a_thermistor_called_aux():
    x = np.zeros(320, np.float32)
    channels = [Channel(n, n, "other", 32.0, "uV", x, []) for n in ("Aux_AC", "Aux_DC")]
    recording = Recording("p", "s", "r", None, 10.0, channels, [], None)
    meant = importlib.import_module("data_builders.mesa.mesa_dataset_builder").MEANT
    aux, other = sleep_archive.name_channels(recording, meant).channels
    assert (aux.name, aux.modality, other.modality) == ("THERMISTOR", "resp", "other")
    assert aux.notes == ["Therm, says the archive's documentation"]
    # where there is a channel of that name already, it stays the only one
    channels = [Channel(n, n, "other", 32.0, "uV", x, []) for n in ("THERMISTOR", "Aux_AC")]
    recording = Recording("p", "s", "r", None, 10.0, channels, [], None)
    assert sleep_archive.name_channels(recording, meant).channels[1].modality == "other"


def test_stages_that_the_archive_calls_wrong_are_left_out(archives, tmp_path):
    built = archives("mros")
    night = next(row["path"] for row in built.rows if "visit1" in row["path"])
    stem = Path(night).stem
    for path in [*built.tree.rglob(f"{stem}.edf"), *built.tree.rglob(f"{stem}-nsrr.xml")]:
        for subject in ("AA2033", "aa2034"):
            shutil.copy(path, tmp_path / path.name.replace(stem, f"mros-visit1-{subject}"))
    builder = builder_of("mros")(source=tmp_path, data_dir=tmp_path / "records")
    read = {s.subject: builder.read(tmp_path, s) for s in builder.plan().sources}
    assert read["aa2034"].stages is not None
    assert read["aa2033"].stages is None
    assert "the NSRR says that the stages of this night are wrong" in read["aa2033"].notes[-1]


def test_children_that_were_not_randomised_have_two_kinds_of_names():
    name = builder_of("chat").NAME
    for path in ("chat-baseline-nonrandomized-300003.edf", "chat-nonrandomized-300003.edf"):
        assert name.fullmatch(path)["subject"] == "300003"


@pytest.mark.parametrize("name", ARCHIVES)
def test_splits_are_by_person(name, archives):
    built = archives(name)
    splits = {}
    for row in built.rows:
        splits.setdefault(row["subject"], set()).add(built.split[Path(row["path"]).stem])
    assert all(len(found) == 1 for found in splits.values()), splits
    assert {s for found in splits.values() for s in found} == {"train", "validation", "test"}
    visits = Counter(row["subject"] for row in built.rows)
    assert (max(visits.values()) > 1) == (name in ("shhs", "mros", "chat", "wsc", "sleep_edf"))


@pytest.mark.parametrize("name", ARCHIVES)
def test_faults(name, damaged):
    for damage, entry, night, clips in damaged(name):
        channels = [
            f"{c['label']} {c['name']} {c['modality']} {'; '.join(c['notes'])}".rstrip()
            for c in entry["channels"]
        ]
        said = "\n".join([entry["reason"], *entry["notes"], *channels])
        assert re.search(damage.expected, said, re.MULTILINE), f"{damage}\n{said}"
        quarantined = damage.outcome == "quarantined"
        assert entry["status"] == ("quarantined" if quarantined else "built"), damage
        if quarantined:
            # the second file of one name is left out, the first one built
            assert bool(clips) == (damage.fault == "twin"), damage
            continue
        truth = [LETTERS[letter] for letter in night.letters]
        if damage.fault == "missing_annotation" or not night.place.annotations:
            truth = [-1] * len(truth)
        elif damage.fault == "stages_short":
            truth[len(truth) // 2 :] = [-1] * (len(truth) - len(truth) // 2)
        elif damage.fault == "truncated":
            seconds = sum(r.num_samples for r in clips) / FAULTY_SFREQ
            assert 0.5 < seconds / (HOURS * 3600) < 0.65
            truth = truth[: int(seconds // 30)]
        assert stages_of(clips, len(truth)) == truth, damage


def test_records_of_all_archives_make_one_batch(archives):
    """Ten montages, one shape; a slot is masked where the archive lacks the channel."""
    folders = {name: archives(name).folder for name in ARCHIVES}
    together = datasets.Records(list(folders.values()), "train")
    first = np.cumsum([0, *(len(datasets.Records([f], "train")) for f in folders.values())])
    slots = (("bas", 10), ("resp", 7), ("ecg", 2), ("emg", 4))
    chosen = [together[int(i)] for i in first[:-1]]
    layout = Layout(slots, patch_samples=640)
    patches = layout.patches(together.clip_samples)
    assert patches == round(CLIP * 128 / 640)
    batch = collate(chosen, layout, patches)
    assert batch["signals"].shape == (len(ARCHIVES), 23, patches * 640)
    assert batch["stages"].shape == (len(ARCHIVES), 6)
    filled = batch["mask"].all(axis=2)  # [B, C]
    ends = np.cumsum([n for _, n in slots])[:-1]
    counts = np.stack([part.sum(axis=1) for part in np.split(filled, ends, axis=1)], axis=1)
    for name, record, row in zip(ARCHIVES, chosen, counts):
        found = Counter(m for m, sd in zip(record.modalities, record.sd) if sd > 0)
        assert row.tolist() == [min(n, found[m]) for m, n in slots], name


def test_all_stages_are_simulated(archives):
    """Also a stage 4, and sleep_epochs that are not scored: at the start, and one in the middle."""
    text = "\n".join(row["stages"] for row in archives("shhs").rows)
    assert set("W123R?") <= set(text)
    assert re.search(r"^\?\?", text, re.MULTILINE)
    assert re.search(r"[W123R]\?[W123R]", text)
    xml = [p.read_text() for p in archives("shhs").tree.rglob("*-nsrr.xml")]
    for concept in ("Stage 4 sleep|4", "Movement|6", "Unscored|9"):
        assert any(concept in x for x in xml), concept


def test_table(archives, damaged):
    """The table of all archives: what was simulated, built, and became of the faults."""
    rows = [
        "dataset | recordings | subjects | records | bas/resp/ecg/emg/other | "
        "W/N1/N2/N3/REM/unscored | subjects in train/validation/test"
    ]
    faults = []
    for name in ARCHIVES:
        report = archives(name).report
        totals, labels = report["totals"], report["totals"]["labels"]
        assert totals["clips"] == 2 * totals["recordings"]
        counts = [labels.get(stage, 0) for stage in STAGES]
        counts.append(12 * totals["recordings"] - sum(counts))
        channels = [totals["channels_by_modality"].get(m, 0) for m in MODALITIES]
        people = [totals["splits"][s]["subjects"] for s in ("train", "validation", "test")]
        cells = [name, totals["recordings"], totals["subjects"], totals["clips"]]
        cells += ["/".join(map(str, numbers)) for numbers in (channels, counts, people)]
        rows.append(" | ".join(map(str, cells)))
        dealt = damaged(name)
        outcomes = Counter(damage.outcome for damage, *_ in dealt)
        by_kind = Counter((d.fault, d.outcome, entry["status"]) for d, entry, *_ in dealt)
        as_expected = sum(
            (entry["status"] == "quarantined") == (d.outcome == "quarantined")
            for d, entry, *_ in dealt
        )
        assert as_expected == len(dealt)
        faults.append(
            f"{name}: {len(dealt)} faults of {len(by_kind)} kinds -> "
            + ", ".join(f"{outcomes[o]} {o}" for o in ("quarantined", "repaired", "noted"))
            + f"; as expected: {as_expected}"
        )
        faults += [
            f"    {fault} ({n}): expected {outcome}, {status}"
            for (fault, outcome, status), n in sorted(by_kind.items())
        ]
    print("\n".join(rows + faults))


def test_the_same_seed_gives_the_same_files(tmp_path):
    trees = []
    for out, subjects, faults in (("a", 2, 0.0), ("b", 3, 0.0), ("c", 2, 1.0)):
        write_archive("shhs", tmp_path / out, subjects=subjects, hours=HOURS, faults=faults)
        tree = tmp_path / out / "shhs"
        files = sorted(p for p in tree.rglob("*") if p.is_file())
        trees.append({p.relative_to(tree).as_posix(): p.read_bytes() for p in files})
    assert trees[0].items() <= trees[1].items()
    assert trees[0] != trees[2]
    with pytest.raises(SimulationError, match="not empty"):
        write_archive("shhs", tmp_path / "a", subjects=2, hours=HOURS)
    with pytest.raises(SimulationError, match="known: shhs"):
        write_archive("shsh", tmp_path / "d", subjects=2)


def test_faults_csv_lies_outside_the_tree(tmp_path):
    write_archive("dreams", tmp_path, subjects=4, hours=HOURS, faults=1.0)
    with (tmp_path / "faults.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "fault", "outcome", "expected", "subject"]
    assert len(rows) == 4
    assert {row["outcome"] for row in rows} <= {"quarantined", "repaired", "noted"}
    assert not list((tmp_path / "dreams").rglob("*.csv"))


def test_every_label_of_the_montages_is_known():
    """Whatever alternatives are drawn, nothing but the extras is unknown."""
    for montage, counts in CHANNELS.items():
        for seed in range(12):
            plans = draw_archive_montage(montage, np.random.default_rng(seed))
            assert len({p.label for p in plans}) == len(plans)
            found = Counter(identify(p.label).modality for p in plans)
            assert tuple(found[m] for m in MODALITIES) == counts, montage


def test_a_scorer_s_files_agree(archives):
    """Profusion's file of a night says what the NSRR's says."""
    built = archives("shhs")
    nsrr = {p.stem: p for p in built.tree.rglob("*-nsrr.xml")}
    assert len(nsrr) == len(built.rows) == len(list(built.tree.rglob("*-profusion.xml")))
    assert len(DIALECTS["nsrr"]) == 2


def test_other_libraries_read_the_simulated_files(archives):
    """edfio and wfdb find in them what was simulated."""
    built = archives("shhs")
    night = built.nights[0]
    edf = edfio.read_edf(built.tree / night.place.path)
    assert edf.startdate.year == 1985
    assert edf.starttime == night.scored.start.time()
    assert edf.duration == HOURS * 3600
    assert len({s.sampling_frequency for s in edf.signals}) == 4

    built = archives("cinc2018")
    night = built.nights[0]
    stem = str((built.tree / night.place.path).with_suffix(""))
    with warnings.catch_warnings():  # wfdb 4.3 uses what pandas 3 deprecates
        warnings.simplefilter("ignore")
        import wfdb

        record = wfdb.rdrecord(stem)
        events = wfdb.rdann(stem, "arousal")
    assert record.sig_name[:2] == ["F3-M2", "F4-M1"]
    assert record.p_signal.shape == (HOURS * 3600 * 200, 13)
    texts = dict(zip(events.sample.tolist(), events.aux_note))
    stages = night.scored.stages
    # wfdb takes a note at sample 0 for a remark about the file: the first stage is not in its list
    turns = np.flatnonzero(np.diff(stages)) + 1
    assert len(turns) > 0
    names = {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "R", -1: "undefined"}
    assert [texts[e * 30 * 200] for e in turns] == [names[stages[e]] for e in turns]


def test_the_program(tmp_path, program):
    done = program(
        "launch.simulate",
        "--dataset=dreams",
        "--subjects=2",
        "--hours=0.05",
        "--faults=1",
        f"--out={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.csv"))
    assert found == ["faults.csv", "hypnograms.csv"]
    assert len((tmp_path / "faults.csv").read_text().splitlines()) == 3


def test_scored_as_sleep_only():
    night = np.array([0] * 100 + [2] * 240 + [-1] * 3, np.int8)
    assert sleep_archive.is_only_sleep(night)
    night[150] = 4
    assert not sleep_archive.is_only_sleep(night)
    assert not sleep_archive.is_only_sleep(np.full(239, 2, np.int8))


def test_wrong_folder_and_wrong_label_kind(tmp_path, archives):
    (tmp_path / "night.edf").write_bytes(b"0")
    with pytest.raises(BuildError, match=r"named like shhs1-200001\.edf .* but 1 others"):
        build("shhs", tmp_path, tmp_path / "out")
    with pytest.raises(BuildError, match="for staging"):
        build("mesa", archives("mesa").tree, tmp_path / "out", label_kind="classification")


def test_without_stages(archives, tmp_path):
    report, clips, _ = build("dreams", archives("dreams").tree, tmp_path, label_kind="none")
    assert report["spec"]["label_kind"] == "none"
    assert len(clips) == SUBJECTS["dreams"]


def test_dreams_eog_by_the_number_of_its_input(archives, tmp_path):
    """P8-A1 is no parietal electrode there."""
    built = archives("dreams")
    shutil.copytree(built.tree, tmp_path / "dreams")
    night = synthetic_faults.Tree(tmp_path / "dreams", built.nights[0])
    labels = night.labels()
    night.rename_signal(next(i for i, label in enumerate(labels) if "EOG2" in label), "P18-A1")
    night.rename_signal(next(i for i, label in enumerate(labels) if "EOG1" in label), "P8-A1")
    _, clips, _ = build("dreams", tmp_path / "dreams", tmp_path / "out")
    clip = clips[Path(built.nights[0].place.path).stem][0]
    names = dict(zip(clip.channel_labels, clip.channel_names))
    assert names["P8-A1"] == "EOG1-M1"
    assert names["P18-A1"] == "EOG2-M1"
    eyes = [i for i, label in enumerate(clip.channel_labels) if label.startswith("P")]
    assert np.isnan(clip.positions[eyes[:2]]).all()
    assert clip.modalities.count("bas") == 5


@pytest.mark.real
def test_real_dreams(shared, tmp_path):
    """Excerpt 3, 30 minutes at 50 Hz; of the others only the hypnograms are there."""
    source = shared / "data" / "psg_dreams"
    report, clips, _ = build("dreams", source, tmp_path)
    assert report["totals"]["built"] == report["totals"]["recordings"] == 1
    (entry,) = report["recordings"]
    assert by_modality(entry["channels"]) == (5, 7, 1, 1, 6)
    assert any(
        note.startswith("7 annotation files belong to no") for note in report["spec"]["notes"]
    )
    (recording,) = clips.values()
    # An independent reading: a number every 5 s, the stage of a sleep_epoch that most of them say.
    lines = (source / "Hypnogram_excerpt3.txt").read_text(encoding="utf-8").split()[1:]
    stage_of = {5: 0, 4: 4, 3: 1, 2: 2, 1: 3, 0: 3}
    numbers = [stage_of.get(int(n), -1) for n in lines][: 60 * 6]
    expected = []
    for epoch in range(len(numbers) // 6):
        most = Counter(numbers[6 * epoch : 6 * epoch + 6]).most_common()
        expected.append({stage for stage, n in most if n == most[0][1]})
    found = stages_of(recording, 60)
    assert len(expected) == len(found) == 60
    assert all(stage in among for stage, among in zip(found, expected))
    assert recording[0].subject == "excerpt3"
