"""The quality report of a build: what was found, mapped, kept out, flat, clipped, missing."""

from __future__ import annotations

import html.parser
import json
import re
import time

import edfio
import numpy as np
import pytest

from data_builders.engine import quality_page
from data_builders.engine import report as build_report
from data_builders.engine.work_unit import UnitResult
from sleepfm_jax.data import provenance
from tests.helpers.builders import EdfFolder, build


class Page(html.parser.HTMLParser):
    """Checks that what is opened is closed; collects links, texts and table rows."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.rows, self.anchors = [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [v for k, v in attributes.items() if k in ("href", "src", "srcset")]
        self.anchors.add(attributes.get("id"))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()

    def row(self, first):
        (found,) = [r for r in self.rows if r[0] == first]
        return found


@pytest.fixture
def folder(tmp_path, write_edf):
    """One night with every fault, one without, and one that is no night."""
    root = tmp_path / "recordings"
    write_edf(root / "good.edf", seconds=60)
    (root / "notes.edf").write_text("this is no EDF")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(60 * 64) * 20
    clipped = np.clip(noise * 4, -80, 80)
    signals = {
        "EEG C3-M2": noise,
        "EEG C4-M1": np.zeros(60 * 64),
        "ECG": clipped,
        "Sofa <b>": noise,
        "Broken": noise,
    }
    edf = edfio.Edf(
        [
            edfio.EdfSignal(x, 64, label=label, physical_dimension="uV", physical_range=(-80, 80))
            for label, x in signals.items()
        ]
    )
    edf.write(root / "faults.edf")
    raw = bytearray((root / "faults.edf").read_bytes())
    physical_min = 256 + 5 * (16 + 80 + 8) + 4 * 8  # of the fifth signal, "Broken"
    raw[physical_min : physical_min + 8] = b"80      "
    (root / "faults.edf").write_bytes(raw)
    return root


def test_the_page_of_a_build(folder, tmp_path):
    builder = build(EdfFolder, folder, tmp_path)
    report = build_report.load(builder.data_dir)
    totals = report["totals"]["signals"]
    assert totals == {
        "in the files": 9,
        "kept out": 1,
        "of no known modality": 1,
        "flat": 1,
        "empty": 0,
        "clipped": 1,
        "gaps": 0,
    }
    text = (builder.data_path / "build_report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith("#") and link[1:] in page.anchors for link in page.links)
    assert "http" not in text and "<script" not in text and "@import" not in text
    assert "Sofa <b>" not in text and "Sofa &lt;b&gt;" in text
    # Quarantined, and why.
    assert page.row("notes.edf")[1:] == ["notes", report["recordings"][2]["reason"]]
    assert "is none of EDF" in page.row("notes.edf")[2]
    # signals, taken for, montage, then out, flat, empty, clipped, gaps.
    faults = page.row("faults.edf")
    assert faults[5:13] == ["5", "bas 2 ecg 1 other 1", "1", "1", "1", "", "1", ""]
    assert "kept out: its physical limits are equal" in faults[13]
    assert page.row("good.edf")[5:13] == ["4", "bas 1 resp 1 ecg 1 emg 1", "2", *[""] * 5]
    # Unknown labels first, then the frequent ones.
    labels = [r for r in page.rows if len(r) == 10][1:]
    assert labels[0][:3] == ["Sofa <b>", "Sofa <b>", "other"]
    (c4,) = [r for r in labels if r[0] == "EEG C4-M1"]
    assert c4[2:] == ["bas", "64", "uV", "1", "1", "", "", ""]


def test_missing_samples_are_counted_without_padding(folder, tmp_path, monkeypatch):
    from data_builders.edf_folder import edf_folder_dataset_builder

    real = edf_folder_dataset_builder.read_recording

    def with_gaps(path, **kwargs):
        recording = real(path, **kwargs)
        samples = recording.channels[0].samples
        samples[: 15 * 64] = np.nan
        recording.channels[0].samples = samples
        return recording

    monkeypatch.setattr(edf_folder_dataset_builder, "read_recording", with_gaps)
    (folder / "faults.edf").unlink()
    builder = build(EdfFolder, folder, tmp_path, clip_seconds=40)
    (good,) = [r for r in build_report.load(builder.data_dir)["recordings"] if r["clips"]]
    assert [c["valid"] for c in good["channels"]] == pytest.approx([0.75, 1, 1, 1], abs=1e-3)
    assert [build_report.faults(c) for c in good["channels"]] == [["gaps"], [], [], []]
    row = Page((builder.data_path / "build_report.html").read_text()).row("good.edf")
    assert row[12] == "1"
    assert "EEG C3-M2: 25 % missing" in row[13]


def report_of(count):
    """A report of many recordings in a few montages, one in a hundred quarantined."""
    names = ["C3-M2", "C4-M1", "E1-M2", "ECG", "Chin", "Thor", "Abdo", "SpO2"]
    modalities = ["bas"] * 3 + ["ecg", "emg", "resp", "resp", "resp"]
    reports = []
    for i in range(count):
        bad = i % 100 == 0
        channels = [
            {"label": n, "name": n, "modality": m, "sfreq": 100.0 + i % 7, "unit": "uV",
             "valid": 1.0, "notes": ["clipped 3 %"] if (i + j) % 50 == 0 else []}
            for j, (n, m) in enumerate(zip(names, modalities))
        ]  # fmt: skip
        reports.append(
            {"path": f"night{i}.edf", "status": "quarantined" if bad else "built",
             "reason": f"truncated at byte {i}" if bad else "", "subject": f"s{i}",
             "split": "train", "age": None, "sex": "", "channels": [] if bad else channels,
             "clips": 0 if bad else 100,
             "hours": 8.0, "notes": [], "labels": {} if bad else {"W": 300, "N2": 500}}
        )  # fmt: skip
    spec = {"dataset": "big", "version": "1.0.0", "sfreq": 128.0, "clip_seconds": 300.0}
    spec |= {"label_kind": "staging", "classes": [], "notes": []}
    results = [UnitResult("k", "train", "s", 100 * count, 1, "0" * 64, [])]
    provenance.share(reports, {})
    return build_report.assemble(reports, spec, results)


def test_a_stored_report_is_small_and_says_the_same():
    report = report_of(3_000)
    text = provenance.pack(report)
    assert len(text) < 3_000 * 300  # with every recording's channels it would be 1,000 a recording
    again = provenance.expand(json.loads(text))
    assert again == json.loads(json.dumps(report))
    first, second = (again["recordings"][i]["channels"] for i in (102, 452))
    assert first is second and len(first) == 8  # shared in memory, too
    assert sum(line.startswith('{"path": "night') for line in text.splitlines()) == 3_000


def test_ten_thousand_recordings_cost_ten_times_a_thousand():
    seconds, sizes = [], []
    for count in (1_000, 10_000):
        report = report_of(count)
        begun = time.process_time()
        text = quality_page.render(report)
        seconds.append(time.process_time() - begun)
        sizes.append(len(text))
    assert sizes[1] < 12 * sizes[0] and sizes[1] < 8e6
    assert seconds[1] < 40 * seconds[0] + 1, seconds  # quadratic would be a hundred times
    # 100 quarantined recordings are one kind of reason.
    assert re.search(r"truncated at byte N</th><td class=\"count\">100</td>", text)
    assert "7 different sets of channels" in text
