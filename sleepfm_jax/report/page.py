"""The report of one workdir: a page, a table for the terminal, and the file the numbers live in.

`write_report(workdir)` reads what is there and writes `workdir/report/index.html`, which holds its
figures and needs nothing else, and the same figures as PNG files beside it. It reads

* `metrics.jsonl`: one JSON object a line, `step` and any of `train/loss`, `train/top1`,
  `train/grad_norm`, `train/clips_per_second` (or nights), `validation/loss`,
  `validation/retrieval_within_person_top1`;
* `results.json`: `retrieval`, `probes` {dataset: {row: figures}}, `differences` {dataset: {"a-b":
  one}}, `seconds` {step: s}, `versions`;
* `predictions/<dataset>/<row>.npz`: what pictures of people, classes, curves and nights are of;
* `transfer.csv`, `gains.csv` (`launch.transfer`), where they are there;
* `staging/<cohort>/<signals>/<model>.npz` (`sleepfm_jax.staging`), where they are there;
* `config.json`; `example_clip.npz` (signals [C, T] with NaN where invalid, names, modalities,
  sfreq, stages, subject); `build_reports/*.json`.

Whatever is missing or broken is said in its section; the rest of the report is written. A folder of
tables without a run has no sections of a run.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import jinja2
import markupsafe
import numpy as np

from sleepfm_jax.report import retrieval_section, sections, sections_data, sections_probes
from sleepfm_jax.report.paper import section as transfer_section
from sleepfm_jax.report.results import (
    RESULTS,
    merge_results,
    read_json,
    replace_file,
    text_table,
    versions,
)
from sleepfm_jax.report.staging import section as staging_section

__all__ = ["merge_results", "text_table", "versions", "write_report"]

_FIGURES = (
    "loss*",
    "retrieval*",
    "example_clip*",
    "probes-*",
    "transfer*",
    "staging*",
)  # files of ours, without ending


def write_report(workdir: str | os.PathLike[str]) -> Path:
    """Writes workdir/report/index.html and its figures, and returns the page's path.

    Raises:
      FileNotFoundError: when workdir is not a folder. Nothing else: what is missing or broken in it
        is said on the page.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(f"no folder {workdir}")
    folder = workdir / "report"
    folder.mkdir(exist_ok=True)
    for name in _FIGURES:  # of an earlier report: a figure without its data would be a lie
        for path in folder.glob(f"{name}.png"):
            path.unlink()

    results, results_problem = read_json(workdir / RESULTS)
    config, config_problem = read_json(workdir / "config.json")
    series, unreadable, metrics_problem = _read_metrics(workdir / "metrics.jsonl")
    builds, build_problems = _read_builds(workdir / "build_reports")

    transferred = results.get("transfer")
    ours = frozenset(transferred) if isinstance(transferred, dict) else frozenset()

    def section(build: Callable[..., dict], problem: str | None, *arguments) -> dict:
        if problem:
            return {"problem": problem}
        try:
            return build(*arguments)
        except Exception as error:  # said on the page; one broken file must not cost the rest
            return {"problem": f"This could not be shown: {type(error).__name__}: {error}"}

    shown = {
        "training": section(
            sections.training, metrics_problem, series, unreadable, results, folder
        ),
        "evaluations": section(sections.evaluations, results_problem, results),
        "retrieval": section(retrieval_section.retrieval, results_problem, results),
        "clip": section(sections_data.clip, None, workdir / "example_clip.npz", folder),
        "transfer": section(transfer_section.transfer, None, workdir, folder),
        "staging": section(staging_section.staging, None, results, workdir, folder),
        "probes": section(
            sections_probes.probes,
            None,
            _of_probes(results),
            results_problem,
            workdir,
            folder,
            ours,
        ),
        "builds": [section(sections_data.build, None, *build) for build in builds],
        "config": section(sections_data.config, config_problem, config),
        "versions": section(sections.pairs, results_problem, results, "versions"),
        "seconds": section(sections.seconds, results_problem, results),
    }
    # A folder of tables holds no run of its own: what only a run has is no gap there.
    tables_alone = not (workdir / "config.json").exists() and bool(
        shown["transfer"] or shown["staging"]
    )
    there = {
        "training": (workdir / "metrics.jsonl").exists(),
        "probes": bool(_of_probes(results).get("probes")),
        "retrieval": "retrieval" in results,
        "clip": (workdir / "example_clip.npz").exists(),
        "data": (workdir / "build_reports").exists(),
        "config": False,
    }
    left_out = {name for name in there if tables_alone and not there[name]}
    headline = section(sections.headline, None, _of_probes(results), series, builds)
    html = _template().render(
        name=workdir.resolve().name,
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        style=_resource("report_style.css.j2"),
        headline=headline,
        build_problems=build_problems,
        left_out=left_out,
        **shown,
    )
    page = folder / "index.html"
    replace_file(page, html)
    return page


def _of_probes(results: dict) -> dict:
    """The results without the rows of launch.transfer, which have a section of their own."""
    transferred = results.get("transfer")
    if not isinstance(transferred, dict):
        return results
    kept = dict(results)
    for name in ("probes", "differences"):
        if isinstance(found := results.get(name), dict):
            kept[name] = {task: rows for task, rows in found.items() if task not in transferred}
    return kept


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_resource),
    )
    return environment.get_template("report_template.html.j2")


def _resource(name: str) -> markupsafe.Markup:
    text = (
        importlib.resources.files("sleepfm_jax.report").joinpath(name).read_text(encoding="utf-8")
    )
    return markupsafe.Markup(text)


def _read_metrics(path: Path) -> tuple[dict[str, tuple], int, str | None]:
    """{key: (steps, values)}, how many lines could not be read, and what is wrong with the file.

    Where a resumed run logged a step again, the later line counts.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}, 0, f"{path.name} is missing: no training was logged in this folder."
    except (OSError, ValueError) as error:
        return {}, 0, f"{path.name} cannot be read: {error}"
    found: dict[str, dict[int, float]] = {}
    unreadable = 0
    for line in lines:
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, TypeError, KeyError):
            unreadable += 1  # the half line of a killed run
            continue
        for key, value in row.items():
            if key != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(key, {})[step] = float(value)
    if not found:
        return {}, 0, f"{path.name} holds no numbers yet."
    series = {}
    for key, values in found.items():
        steps = np.array(sorted(values))
        series[key] = (steps, np.array([values[s] for s in steps.tolist()]))
    return series, unreadable, None


def _read_builds(folder: Path) -> tuple[list[tuple[str, dict]], list[str]]:
    builds, problems = [], []
    for path in sorted(folder.glob("*.json")):
        report, problem = read_json(path)
        if problem:
            problems.append(problem)
        else:
            builds.append((path.stem, report))
    if not builds and not problems:
        problems.append("build_reports/ holds no build report.")
    return builds, problems
