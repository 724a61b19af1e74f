"""The report: everything there, anything missing, everything escaped, nothing fetched."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from sleepfm_jax.report import page as report
from tests.helpers.transfer_run import made_run

HOSTILE = "<script>alert('x')</script>.edf"
PNG = b"\x89PNG\r\n\x1a\n"


def _row(value, **more):
    figures = {"balanced_accuracy": value, "auroc": value + 0.1, "f1": value - 0.05}
    ci95 = {name: [v - 0.04, v + 0.03] for name, v in figures.items()}
    return {**figures, "ci95": ci95, "subjects": 20, "examples": 3600, **more}


COHORT = {
    "train": {
        "clips": 4810,
        "subjects": 41,
        "hours": 402.25,
        "age": {"mean": 47.31, "sd": 16.2, "known": 40},
        "sex": {"female": 21, "male": 19, "unknown": 1},
        "labels": {"W": 9012, "N2": 21001},
    },
    "test": {
        "clips": 310,
        "subjects": 3,
        "hours": 25.5,
        "age": {"mean": 71.77, "sd": None, "known": 1},
        "sex": {"female": 2, "male": 0, "unknown": 1},
        "labels": {"W": 612},
    },
}


def _results():
    return {
        "retrieval": {
            "within_person": {
                "top1": 0.41,
                "chance": 1 / 64,
                "identity_alone": 1 / 64,
                "candidates": 64,
                "people": 20,
                "nights_left_out": 3,
                "per_modality": {"bas": {"top1": 0.5, "chance": 1 / 64, "clips": 9}},
            },
            "across_people": {
                "top1": 0.21,
                "chance": 1 / 128,
                "identity_alone": 0.148,
                "per_modality": {"bas": {"top1": 0.22, "identity_alone": 0.151}},
                "excluded": {"resp": "one person"},
            },
            "other_people": {"top1": 0.25, "chance": None, "identity_alone": 1.0},
            "modality_pairs": {
                way: {"within_person": {"top1": top1}, "across_people": {"top1": 0.1}}
                for way, top1 in (("bas→ecg", 0.311), ("ecg→bas", 0.312))
            },
            "person_probe": {
                "balanced_accuracy": 0.377,
                "chance": 0.05,
                "protocol": "fitted on the first clips",
                "per_modality": {"bas": {"accuracy": 0.378, "people": 20, "notes": [HOSTILE]}},
            },
            "excluded": {"emg": "1 clips have it together with another modality"},
        },
        "probes": {
            "nights": {
                "features": _row(0.61),
                "random": _row(0.42),
                "pretrained": _row(0.702, protocol="given splits", notes=[HOSTILE], l2=0.01),
                "pretrained minus features": _row(0.092),
            },
            "ecg": {"pretrained": _row(0.66)},
        },
        "seconds": {"simulate": 31.2, "pretrain": 612.4},
        "versions": {"jax": "0.10.2"},
    }


def _fill(workdir):
    rows = [{"step": s, "train/loss": 5 - s / 50, "train/clips_per_second": 90} for s in range(100)]
    rows += [{"step": 50, "validation/loss": 4.2, "validation/retrieval_within_person_top1": 0.3}]
    rows += [{"step": 99, "validation/loss": 3.2, "validation/retrieval_within_person_top1": 0.41}]
    lines = "\n".join(json.dumps(row) for row in rows)
    (workdir / "metrics.jsonl").write_text(lines + '\n{"step": 10')
    report.merge_results(workdir, _results())
    (workdir / "config.json").write_text(json.dumps({"model": {"width": 128}, "seed": 7}))
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(4, 60 * 64))
    signals[3] = np.nan
    np.savez(
        workdir / "example_clip.npz",
        signals=signals,
        names=np.array(["C3-M2", "ABD", "ECG", HOSTILE]),
        modalities=np.array(["bas", "resp", "ecg", "other"]),
        sfreq=64.0,
        stages=np.array([2, -1]),
        subject="S1",
    )
    channel = {"label": "EEG C3", "name": "C3", "modality": "bas", "sfreq": 256.0, "unit": "uV"}
    good = {"path": "a.edf", "status": "built", "subject": "S1", "clips": 9, "channels": [channel]}
    bad = {"path": HOSTILE, "status": "quarantined", "reason": "no signal & no channel"}
    (workdir / "build_reports").mkdir()
    (workdir / "build_reports" / "mine.json").write_text(
        json.dumps(
            {
                "recordings": [{**good, "reason": ""}, {**bad, "channels": [], "clips": 0}],
                "totals": {
                    "recordings": 2,
                    "built": 1,
                    "quarantined": 1,
                    "clips": 9,
                    "subjects": 1,
                    "splits": COHORT,
                    "modalities_together": {"bas+ecg+resp": 37, "bas": 7},
                },
            }
        )
    )


class Page(HTMLParser):
    """Tags, text and references of a page; a tag closed out of order is an error."""

    VOID = frozenset({"meta", "img", "source", "link", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [v for k, v in attrs if k in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " " if tag in ("th", "td") else ""

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    _fill(workdir)
    path = report.write_report(workdir)
    return workdir, path, path.read_text(encoding="utf-8")


def test_everything_is_on_the_page(filled):
    workdir, path, html = filled
    assert path == workdir / "report" / "index.html"
    text = " ".join(Page(html).text.split())
    for expected in (
        "0.410 chance 0.016 (26.2 × chance)",  # retrieval
        "among all people 0.210, identity alone 0.148",
        "rank first among the 64 clips of the same person's night in 0.410 of the cases",
        "0.311",  # from modality to modality
        "0.312",
        "from a clip's vector in 0.377 of the cases; by chance, in 0.050",
        "fitted on the first clips",
        "3 nights are left out",
        "one person",
        "0.702",
        "[0.662, 0.732]",
        "Untrained encoder",
        "+0.092",
        "3600",
        "1 quarantined",
        "no signal & no channel",
        "EEG C3",
        "model.width",
        "0.10.2",
        "10 min 12 s",
        "given splits",
        "1 of the lines of metrics.jsonl",
        "is left out: 1 clips have it together",
        "Subject S1, 60 s at 64 Hz, 4 channels; 30 s are shown",
        "402.2",
        "47.3 ± 16.2 (of 40)",
        "21 female, 19 male, 1 unknown",
        "21,001",
        "EEG and EOG + ECG + respiration",
    ):
        assert expected in text, expected
    assert "is missing" not in text and "could not be shown" not in text
    for row in (  # of tables
        "Clips of all people 0.210 0.008 0.148",
        "other people, and the own clip 0.250 n/a 1.000",
        "0.500 0.016 n/a n/a 0.220 0.151 9",
    ):
        assert row.replace(" ", "") in text.replace(" ", ""), row
    assert "71.8" not in text and "2 female" not in text  # of three people: about a person


def test_a_build_of_before_the_cohort_was_noted(tmp_path):
    (tmp_path / "build_reports").mkdir()
    totals = {"splits": {"train": {"subjects": 2, "clips": 9}}}
    old = json.dumps({"recordings": [], "totals": totals})
    (tmp_path / "build_reports" / "old.json").write_text(old)
    text = Page(report.write_report(tmp_path).read_text()).text
    assert "Who was recorded" in text and "occur together" not in text
    assert "hours" not in text and "could not be shown" not in text


def test_the_page_stands_alone_and_is_accessible(filled):
    _, _, html = filled
    page = Page(html)
    assert all(r.startswith(("#", "data:image/png;base64,")) for r in page.references)
    assert not re.search(r"https?://|@import|url\(", html)
    assert ("html", {"lang": "en"}) in page.tags
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 5 and all(len(attrs["alt"]) > 30 for attrs in images)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    anchors = {r[1:] for r in page.references if r.startswith("#")}
    assert anchors <= {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_what_users_write_is_escaped(filled):
    _, _, html = filled
    assert "<script" not in html.lower()
    assert html.count("&lt;script&gt;") >= 3  # note, channel name in the alt text, quarantined path


def test_figures_are_saved_light_and_dark(filled):
    workdir, _, _ = filled
    names = {path.name for path in (workdir / "report").glob("*.png")}
    kinds = ("loss", "retrieval", "example_clip", "probes-nights-scores", "probes-ecg-scores")
    assert names == {f"{kind}{suffix}.png" for kind in kinds for suffix in ("", "-dark")}
    for name in names:
        assert (workdir / "report" / name).read_bytes().startswith(PNG)


def test_an_empty_folder_says_what_is_missing(tmp_path):
    text = Page(report.write_report(tmp_path).read_text()).text
    for name in ("metrics.jsonl", "results.json", "config.json", "example_clip.npz"):
        assert f"{name} is missing" in text
    assert "no build report" in text


def test_a_figure_of_an_earlier_report_does_not_stay(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.0}\n')
    report.write_report(tmp_path)
    assert (tmp_path / "report" / "loss.png").exists()
    (tmp_path / "metrics.jsonl").unlink()
    report.write_report(tmp_path)
    assert not list((tmp_path / "report").glob("*.png"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("results.json", "{", "results.json cannot be read"),
        ("results.json", "[1]", "not a JSON object"),
        ("results.json", '{"probes": {"staging": 3}}', "no probe results"),
        ("results.json", '{"probes": 3, "differences": [1]}', "no probe results"),
        ("results.json", '{"differences": {"a": {"x-y": {}}}}', "the reason was not recorded"),
        ("results.json", '{"differences": {"a": {"x-y": {"per_seed": 1}}}}', "could not be shown"),
        ("results.json", '{"probes": {"s": {"pretrained": {"f1": null}}}}', "n/a"),
        ("results.json", '{"retrieval": 3}', "could not be shown"),
        ("results.json", '{"retrieval": {"top1": 0.4}}', "of an earlier version"),
        ("results.json", '{"retrieval": {"within_person": {"top1": null}}}', "n/a"),
        ("metrics.jsonl", "nothing\n[1]\n", "no numbers yet"),
        ("metrics.jsonl", '{"step": 1, "train/loss": NaN}\n', "no numbers yet"),
        ("example_clip.npz", "PK broken", "could not be shown"),
        ("config.json", "\x00", "config.json cannot be read"),
        ("build_reports/a.json", "{}", "could not be shown: KeyError"),
        ("build_reports/a.json", "", "a.json cannot be read"),
    ],
)
def test_broken_files_are_said_and_never_crash(tmp_path, name, content, expected):
    (tmp_path / "build_reports").mkdir()
    (tmp_path / name).write_text(content)
    assert expected in Page(report.write_report(tmp_path).read_text()).text


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        report.write_report(tmp_path / "nowhere")


def test_a_step_logged_again_counts_once_and_the_later(tmp_path):
    rows = [{"step": s, "train/loss": 9.0} for s in (1, 2, 3)]
    rows += [{"step": s, "train/loss": 2.5} for s in (2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    page = Page(report.write_report(tmp_path).read_text())
    (alt,) = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert "9.000 at step 1, 2.500 at step 3" in alt


def test_merging_results(tmp_path):
    report.merge_results(tmp_path, {"probes": {"a": {"pretrained": {"f1": 0.1, "notes": [1, 2]}}}})
    got = report.merge_results(
        tmp_path,
        {
            "probes": {"a": {"pretrained": {"notes": [3]}, "random": {"f1": np.float32(0.5)}}},
            "seconds": {"pretrain": np.nan, 5: np.arange(2), "steps": (np.int64(3), True, None)},
        },
    )
    assert got == {
        "probes": {"a": {"pretrained": {"f1": 0.1, "notes": [3]}, "random": {"f1": 0.5}}},
        "seconds": {"pretrain": None, "5": [0, 1], "steps": [3, True, None]},
    }
    assert json.loads((tmp_path / "results.json").read_text()) == got
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_failed_merge_leaves_the_old_file(tmp_path):
    report.merge_results(tmp_path, {"a": 1})
    with pytest.raises(TypeError, match="cannot hold a set"):
        report.merge_results(tmp_path, {"b": {1, 2}})
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": 1}
    (tmp_path / "results.json").write_text("{broken")
    with pytest.raises(ValueError, match=r"results\.json.*move it away"):
        report.merge_results(tmp_path, {"a": 2})
    assert (tmp_path / "results.json").read_text() == "{broken"


def test_text_table():
    lines = report.text_table(_results()).splitlines()
    assert lines[0].split()[:2] == ["dataset", "features"]
    assert set(lines[1]) == {"-"}
    rows = lines[2:]
    assert [row.split("  ")[0] for row in rows] == ["nights", "", "", "", "ecg"]
    order = ("Pretrained", "Untrained encoder", "Plain features", "pretrained minus features")
    assert all(name in row for name, row in zip(order, rows, strict=False))
    assert "0.702 [0.662, 0.732]" in rows[0] and rows[0].endswith("3600")
    assert "+0.092 [+0.052, +0.122]" in rows[3]
    assert len({row.index("0.") for row in rows[:3]}) == 1
    assert report.text_table({}) == "No probe results."
    nothing = {"probes": {"t": {"pretrained": {"auroc": None, "ci95": {"auroc": [None, None]}}}}}
    assert "n/a" in report.text_table(nothing)


def test_versions_name_what_numbers_depend_on():
    found = report.versions()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["python"])
    assert found["numpy"] == np.__version__
    assert {"jax", "flax", "optax", "orbax-checkpoint", "grain", "sleepfm-jax"} <= set(found)


def test_transfer_has_a_section_of_its_own(tmp_path):
    made_run(tmp_path, ["tuab:twin"])
    row = _row(0.6)
    results = {"transfer": {"tuab:twin": {"scratch.finetune": row}}}
    results["probes"] = {"tuab:twin": {"scratch.finetune": row}, "nights": {"pretrained": row}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    html = report.write_report(tmp_path).read_text()
    assert 'href="#transfer"' in html and "TUAB, simulated" in html
    assert "nothing published is comparable" in html and "[0.609, 0.688]" in html
    assert 'id="probes-nights"' in html and 'id="probes-tuab' not in html
    assert (tmp_path / "report" / "transfer-simulated.png").exists()
    absent = ("training", "retrieval", "clip", "data", "config")
    assert not [name for name in absent if f'"#{name}"' in html or f'id="{name}"' in html]
    (tmp_path / "metrics.jsonl").write_text("damaged")  # what is there is told of
    assert 'id="training"' in report.write_report(tmp_path).read_text()
    (tmp_path / "transfer.csv").unlink()
    assert 'id="transfer"' not in report.write_report(tmp_path).read_text()
