"""results.json from predictions: each dataset its own, from the files alone, nothing else lost."""

from __future__ import annotations

import json
import threading
import time

from sleepfm_jax.metrics import predictions as files
from sleepfm_jax.metrics import scoring
from sleepfm_jax.report import results as file
from sleepfm_jax.report.results import merge_results, recompute
from tests.helpers.made_predictions import made_predictions


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_two_staging_datasets_are_two_rows_rebuilt_from_their_files(tmp_path):
    for seed, dataset in enumerate(("shhs", "mesa")):
        for row, strength in (("pretrained", 2.0), ("random", 0.5)):
            made = made_predictions(
                "staging", people=12, classes=5, each=10, strength=strength, seed=seed, row=row
            )
            files.save(files.path_of(tmp_path, dataset, row), made)
    recompute(tmp_path)
    first = results(tmp_path)
    assert set(first["probes"]) == set(first["differences"]) == {"shhs", "mesa"}
    assert list(first["probes"]["shhs"]) == ["pretrained", "random"]
    values = {d: rows["pretrained"]["kappa"] for d, rows in first["probes"].items()}
    assert values["shhs"] != values["mesa"]
    alone = scoring.score(files.load(files.path_of(tmp_path, "mesa", "random")))
    assert first["probes"]["mesa"]["random"] == json.loads(json.dumps(alone))
    (tmp_path / "results.json").unlink()
    recompute(tmp_path)
    assert results(tmp_path) == first


def test_a_file_that_was_damaged_since_takes_nothing_away(tmp_path):
    for row in ("pretrained", "random"):
        files.save(files.path_of(tmp_path, "made", row), made_predictions(row=row))
    recompute(tmp_path)
    before = results(tmp_path)
    files.path_of(tmp_path, "made", "pretrained").write_bytes(b"PK")
    recompute(tmp_path)
    recompute(tmp_path)
    after = results(tmp_path)
    *notes, problem = after["probes"]["made"]["pretrained"].pop("notes")
    assert notes == before["probes"]["made"]["pretrained"].pop("notes")
    assert "no predictions in it" in problem
    assert after == before


def test_what_has_no_predictions_stays_and_what_has_is_replaced(tmp_path):
    old = {
        "probes": {"staging": {"pretrained": {"f1": 0.5}}, "made": {"gone": {"f1": 0.1}}},
        "retrieval": {"within_person": {"top1": 0.4}},
    }
    merge_results(tmp_path, old)
    recompute(tmp_path)
    assert results(tmp_path) == old, "no predictions: nothing to compute from"
    files.save(files.path_of(tmp_path, "made", "pretrained"), made_predictions())
    recompute(tmp_path)
    found = results(tmp_path)
    assert found["probes"]["staging"] == old["probes"]["staging"]
    assert list(found["probes"]["made"]) == ["pretrained"]
    assert found["retrieval"] == old["retrieval"]


def test_two_programs_lose_nothing_of_each_other(tmp_path, monkeypatch):
    """One has read the file and not yet written it when the other merges."""
    reading = threading.Event()
    read_json = file.read_json

    def slowly(path):
        found = read_json(path)
        reading.set()
        time.sleep(0.3)
        return found

    merge_results(tmp_path, {"seconds": {"before": 1}})
    monkeypatch.setattr(file, "read_json", slowly)
    one = threading.Thread(target=merge_results, args=(tmp_path, {"seconds": {"one": 1}}))
    one.start()
    assert reading.wait(10)
    merge_results(tmp_path, {"seconds": {"other": 1}})
    one.join()
    assert set(results(tmp_path)["seconds"]) == {"before", "one", "other"}
