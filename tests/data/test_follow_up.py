"""A table of times to events: what it may hold, whose it is, and who is left out."""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.data import datasets, follow_up, people
from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.data.examples import View
from sleepfm_jax.data.follow_up import FollowedUp
from sleepfm_jax.errors import DatasetError
from sleepfm_jax.signals.layout import FollowUp, Layout

LABELS = ("death", "stroke")
HEADER = "subject,age,sex,death_time,death_event,stroke_time,stroke_event"


def write(folder, *lines, header=HEADER, name="follow_up.csv"):
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def test_a_table_is_read(tmp_path):
    path = write(tmp_path, "a,61,F,3.5,1,2,0", "", "b,,,4,0,,", "c,40.5,male,0,0,1,1")
    found = follow_up.read(path, LABELS)
    assert list(found) == [("", "a"), ("", "b"), ("", "c")]
    np.testing.assert_array_equal(found["", "a"].times, np.float32([3.5, 2]))
    np.testing.assert_array_equal(found["", "a"].events, [1, 0])
    np.testing.assert_array_equal(found["", "a"].demographics, [61, 0])
    np.testing.assert_array_equal(found["", "b"].events, [0, np.nan])
    np.testing.assert_array_equal(found["", "b"].demographics, [np.nan, np.nan])
    np.testing.assert_array_equal(found["", "c"].demographics, [40.5, 1])
    only = follow_up.read(path, ("stroke",))
    assert only["", "a"].times == 2, "another question of the same file"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("b,,,nan,0,1,0", r"line 3, column death_time: 'nan' is not a time"),
        ("b,,,inf,0,1,0", r"line 3, column death_time: 'inf' is not a time"),
        ("b,,,1,0,-2,0", r"line 3, column stroke_time: '-2' is not a time"),
        ("b,,,soon,0,1,0", r"line 3, column death_time: 'soon' is not a time"),
        ("b,,,,1,1,0", r"line 3, column death_time: '' is not a time"),
        ("b,,,1,,1,0", r"line 3, column death_event: '' is neither 1 \(seen\) nor 0"),
        ("b,,,1,2,1,0", r"line 3, column death_event: '2' is neither"),
        ("b,300,,1,0,1,0", r"line 3, column age: '300' is not an age"),
        ("b,,1,1,0,1,0", r"line 3, column sex: '1' is neither F nor M"),
        ("a,,,1,0,1,0", r"line 3: subject 'a' is there twice"),
        (",,,1,0,1,0", r"line 3: no subject"),
    ],
)
def test_what_it_may_not_hold_is_named(tmp_path, line, said):
    path = write(tmp_path, "a,61,F,3.5,1,2,0", line)
    with pytest.raises(DatasetError, match=said):
        follow_up.read(path, LABELS)


def test_no_table_no_column_no_row(tmp_path):
    with pytest.raises(DatasetError, match=r"objective\.table is ''.*subject, death_time"):
        follow_up.read("", LABELS)
    with pytest.raises(DatasetError, match="no such file"):
        follow_up.read(str(tmp_path / "x.csv"), LABELS)
    path = write(tmp_path, header="subject,death_time")
    with pytest.raises(DatasetError, match=r"no column death_event.*are subject, death_time"):
        follow_up.read(path, ("death",))
    with pytest.raises(DatasetError, match="no rows"):
        follow_up.read(write(tmp_path), LABELS)


@pytest.fixture
def records(tiny_data_dir):
    return datasets.open_records(tiny_data_dir, ["simulated_psg"], "train")


def examples_of(records):
    layout = Layout((("bas", 2),), 128)
    return ClipExamples(records, layout)


def test_rows_hold_what_became_of_their_people(records, tmp_path, caplog):
    first, *others = sorted({records[i].subject for i in range(len(records))})
    assert len(others) == 2
    path = write(tmp_path, f"{first},70,M,5,1,2,0", f"{others[0]},,F,6,0,,", "stranger,,,1,1,1,1")
    asked = FollowUp(path, LABELS)
    followed = FollowedUp(examples_of(records), records, asked)
    whose = [records[i].subject for i in range(len(records))]
    mine, nothing = whose.index(first), whose.index(others[1])
    batch = followed.batch(np.array([mine, -1, nothing]))
    assert batch["signals"].shape[0] == 3
    np.testing.assert_array_equal(batch["times"], [[5, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(batch["events"], [[1, 0], [np.nan] * 2, [np.nan] * 2])
    np.testing.assert_array_equal(batch["demographics"], [[70, 1], [np.nan] * 2, [np.nan] * 2])
    assert all(batch[name].dtype == np.float32 for name in ("times", "events", "demographics"))
    assert followed.person_of(mine) == records.person_of(mine), "all else is the base's"
    assert View(followed, [mine]).batch(np.array([0]))["events"][0, 0] == 1
    with caplog.at_level("WARNING"):
        events = follow_up.events_of(records, records, asked)
    assert "1 of 3 people are not in" in caplog.text
    assert events.shape == (len(records), 2)
    np.testing.assert_array_equal(np.isnan(events).all(axis=1), np.array(whose) == others[1])


def test_whose_subjects_these_are(records, tmp_path):
    (folder,) = records.folders
    cohort = people.read(folder).cohort
    subject = records[0].subject
    header = f"cohort,{HEADER}"
    lines = [f"{cohort},{subject},,,5,1,2,0", f"another,{subject},,,9,0,9,0"]
    found = follow_up.known(records, FollowUp(write(tmp_path, *lines, header=header), LABELS))
    assert [followed.times[0] for followed in found.values()] == [5]
    path = write(tmp_path, lines[1], header=header, name="others.csv")
    with pytest.raises(DatasetError, match=r"none of its subjects of .* \(0\) is among the 3"):
        follow_up.known(records, FollowUp(path, LABELS))


def test_several_cohorts_need_to_be_told_apart(records, tmp_path, monkeypatch):
    path = write(tmp_path, f"{records[0].subject},,,5,1,2,0")
    asked = FollowUp(path, LABELS)
    assert len(follow_up.known(records, asked)) == 1
    monkeypatch.setattr(records, "folders", [*records.folders, "elsewhere"])
    one = people.read(records.folders[0])
    monkeypatch.setattr(
        people, "read", lambda f: people.People("other", {}) if f == "elsewhere" else one
    )
    with pytest.raises(DatasetError, match=r"has no cohort, but .* add a column cohort"):
        follow_up.known(records, asked)
