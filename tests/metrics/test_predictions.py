"""Files of predictions: what was written is read, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest

from sleepfm_jax.errors import StorageError
from sleepfm_jax.metrics import predictions as files
from tests.helpers.made_predictions import made_predictions


@pytest.mark.parametrize("kind", ["classification", "multilabel", "staging"])
def test_what_was_saved_is_loaded(kind, tmp_path):
    made = made_predictions(kind, classes=3)
    path = files.path_of(tmp_path, "eegmat", "pretrained")
    files.save(path, made)
    found = files.load(path)
    for field in dataclasses.fields(made):
        one, other = getattr(made, field.name), getattr(found, field.name)
        if field.name == "about":
            assert one == other
        elif one is None:
            assert other is None
        else:
            np.testing.assert_array_equal(one, other)
    assert [p.name for p in path.parent.iterdir()] == ["pretrained.npz"]
    assert files.load_all(tmp_path)[0]["eegmat"]["pretrained"].classes == made.classes


def test_two_datasets_never_share_a_file(tmp_path):
    paths = {files.path_of(tmp_path, d, "pretrained") for d in ("shhs", "mesa")}
    assert len(paths) == 2
    assert paths.isdisjoint({files.path_of(tmp_path, "shhs", "random")})


def test_a_damaged_file_costs_itself_alone(tmp_path):
    for dataset in ("a", "b", "c"):
        files.save(files.path_of(tmp_path, dataset, "pretrained"), made_predictions())
    damaged = files.path_of(tmp_path, "b", "pretrained")
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(StorageError, match="no predictions in it"):
        files.load(damaged)
    later = files.path_of(tmp_path, "c", "pretrained")
    about = json.dumps({"predictions_version": files.VERSION + 1})
    with zipfile.ZipFile(later, "w") as out, out.open("about.npy", "w") as entry:
        np.save(entry, np.array(about))
    found, problems = files.load_all(tmp_path)
    assert list(found) == ["a"]
    assert list(problems) == [("b", "pretrained"), ("c", "pretrained")]
    assert str(damaged) in problems["b", "pretrained"]
    assert "version 2" in problems["c", "pretrained"]


def test_arrays_that_do_not_fit_are_refused():
    made = made_predictions()
    for name, value in (("person", made.person[:-1]), ("fold", made.fold[0]), ("seeds", [1])):
        with pytest.raises(ValueError, match=f"{name} has shape"):
            dataclasses.replace(made, **{name: np.asarray(value)})
    with pytest.raises(ValueError, match="1 classes are named"):
        dataclasses.replace(made, about=made.about | {"classes": ["one"]})


def test_rows_of_one_probe_replace_those_of_another_all_or_none(tmp_path):
    old, new = made_predictions(seed=1), made_predictions(seed=2)
    folder = files.path_of(tmp_path, "made", "pretrained").parent
    files.save_rows(folder, {"pretrained": old, "mispaired": old, "mine": old})
    bad = dataclasses.replace(new, about=new.about | {"l2": np.nan})
    gone = ("pretrained", "mispaired", "random")
    with pytest.raises(ValueError):  # the second cannot be written: as on a full disk
        files.save_rows(folder, {"pretrained": new, "random": bad}, gone)
    assert sorted(p.name for p in folder.iterdir()) == [
        "mine.npz",
        "mispaired.npz",
        "pretrained.npz",
    ]
    kept = files.load(folder / "pretrained.npz")
    np.testing.assert_array_equal(kept.probabilities, old.probabilities)
    files.save_rows(folder, {"pretrained": new, "random": new}, gone)
    assert sorted(p.stem for p in folder.iterdir()) == ["mine", "pretrained", "random"]
    now = files.load(folder / "pretrained.npz")
    np.testing.assert_array_equal(now.probabilities, new.probabilities)


def test_about_is_json(tmp_path):
    bad = dataclasses.replace(made_predictions(), about=made_predictions().about | {"l2": np.nan})
    with pytest.raises(ValueError):
        files.save(tmp_path / "x.npz", bad)
    assert not list(tmp_path.iterdir()), "nothing is left of a file that could not be written"
