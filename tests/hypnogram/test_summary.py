"""summary.csv and the page: every recording is on them, and what could not be staged."""

from __future__ import annotations

import csv
import json
import re

from sleepfm_jax.hypnogram import figures, files, summary
from sleepfm_jax.hypnogram.plot import plot, top_down
from sleepfm_jax.report.figures import LIGHT, png
from tests.helpers.staged_nights import FIVE, FOUR, staged_night


def write(night, folder):
    files.write_csv(night, folder)
    return json.loads(files.write_stats(night, folder, figures.figures(night)).read_text())


def test_summary_has_a_row_a_recording(tmp_path):
    nights = [
        write(staged_night(name="a"), tmp_path),
        write(staged_night(name="b/c", scored=False, sleep_epochs=4), tmp_path),
    ]
    path = summary.write_summary(tmp_path, nights, {"bad.edf": "is empty, or so"})
    with path.open(newline="") as file:
        a, b, bad = csv.DictReader(file)
    assert (a["name"], a["status"], a["signals"]) == ("a", "staged", "ECG+THX")
    assert float(a["TST"]) == nights[0]["statistics"]["TST"] and float(a["kappa"]) > 0
    assert a["N1+N2"] and a["%REM"]
    assert b["kappa"] == "" and b["REM_latency"] == "" and b["sleep_epochs"] == "4"
    assert (bad["file"], bad["status"]) == ("bad.edf", "failed")
    assert bad["reason"] == "is empty, or so" and bad["TST"] == ""


def test_the_page_shows_every_night_and_what_failed(tmp_path):
    night = staged_night(name="b/<c> d", gap=(3,))
    nights = [write(night, tmp_path)]
    files.write_bytes(tmp_path / f"{night.name}{files.PLOT}", png(plot, LIGHT, night))
    html = summary.write_page(
        tmp_path, nights, {"bad.edf": "a <reason>"}, title="t", model={"step": 7, "none": None}
    ).read_text()
    assert "a &lt;reason&gt;" in html and "b/&lt;c&gt; d" in html and "<c>" not in html
    assert "ECG" in html and "EKG" in html and "PPG (Pleth) is flat: not used" in html
    (source,) = re.findall(r'<img src="([^"]+)"', html)
    assert source == "b/%3Cc%3E%20d.hypnogram.png"
    assert '<svg class="small"' in html
    assert ">7<" in html and "none" not in re.findall(r'<th scope="row">(.*?)</th>', html)
    empty = summary.write_page(tmp_path, [], {"bad.edf": "x"}, title="t", model={}).read_text()
    assert "No night could be staged" in empty


def test_a_hypnogram_is_drawn_from_wake_down_to_deep_sleep(tmp_path):
    assert [FIVE[k] for k in top_down(FIVE)] == ["W", "REM", "N1", "N2", "N3"]
    assert [FOUR[k] for k in top_down(FOUR)] == ["W", "REM", "N1+N2", "N3"]
    assert top_down(("left", "right")) == [0, 1]
    night = staged_night(sleep_epochs=20, gap=(1,))
    svg = summary.small(files.write_csv(night, tmp_path), FOUR)
    assert svg.count("M") == 2  # the line begins again after a gap
    assert summary.small(tmp_path / "gone.csv", FOUR) == ""
    for more in ({}, {"scored": False}, {"gap": range(20)}):
        night = staged_night(FIVE, sleep_epochs=20, **more)
        assert png(plot, LIGHT, night).startswith(b"\x89PNG")
