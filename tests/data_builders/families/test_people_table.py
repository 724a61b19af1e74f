"""Age and sex of archives whose tables say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_builders.chb_mit.chb_mit_dataset_builder import Builder as ChbMit
from data_builders.cinc2018.cinc2018_dataset_builder import Builder as Cinc2018
from data_builders.code15.code15_dataset_builder import Builder as Code15
from data_builders.families import people_table
from data_builders.ptbxl.ptbxl_dataset_builder import Builder as Ptbxl
from sleepfm_jax.recordings.person import Person

COLUMNS = {"key": "Record", "age": "Age", "sex": "Sex"}


def people(builder, source: Path, tmp_path: Path) -> dict[str, Person]:
    return {
        s.path: s.person for s in builder(source=source, data_dir=tmp_path / "r").plan().sources
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Record,Age,Sex\ntr03-0005,55,M\n", {"tr03-0005": Person(55.0, "male")}),
        (b"\xef\xbb\xbfrecord, AGE ,sex\r\nA,,F\r\n", {"a": Person(None, "female")}),
        (b"Sex,Record\nF,b\n,c\n,\n", {"b": Person(None, "female"), "c": Person()}),
        (b"Record,Age,Sex\nA\nB,200,?,too,many\n", {"a": Person(), "b": Person()}),
        (b"Name,Years\nA,3\n", {}),
        (b"", {}),
        (bytes(range(256)), {}),
    ],
)
def test_a_table_of_people(tmp_path: Path, text: bytes, expected):
    (tmp_path / "t.csv").write_bytes(text)
    assert people_table.read(tmp_path / "t.csv", **COLUMNS) == expected


def test_a_table_that_is_not_there(tmp_path: Path):
    assert people_table.read(tmp_path / "t.csv", **COLUMNS) == {}
    (tmp_path / "t.csv").symlink_to(tmp_path / "nowhere")
    assert people_table.read(tmp_path / "t.csv", **COLUMNS) == {}


def test_chb_mit_by_case_not_by_person(tmp_path: Path):
    source = tmp_path / "chbmit"
    for case in ("chb01", "chb06", "chb21", "chb24"):
        (source / case).mkdir(parents=True)
        (source / case / f"{case}_01.edf").write_text("")
        (source / case / f"{case}-summary.txt").write_text("")
    assert set(people(ChbMit, source, tmp_path).values()) == {Person()}
    (source / "SUBJECT-INFO").write_text(
        "Case\tGender\tAge (years)\n\nchb01\tF\t11\nchb06  F  1.5\nchb21\tF\t13\n"
    )
    assert people(ChbMit, source, tmp_path) == {
        "chb01/chb01_01.edf": Person(11.0, "female"),
        "chb06/chb06_01.edf": Person(1.5, "female"),
        "chb21/chb21_01.edf": Person(13.0, "female"),
        "chb24/chb24_01.edf": Person(),
    }


def test_cinc2018(tmp_path: Path):
    source = tmp_path / "cinc"
    for name in ("tr03-0005", "te03-0078"):
        (source / name).mkdir(parents=True)
        (source / name / f"{name}.hea").write_text("")
    (source / "age-sex.csv").write_text("Record,Age,Sex\ntr03-0005,55,M\nte03-0078,61,F\n")
    assert {path[:9]: p for path, p in people(Cinc2018, source, tmp_path).items()} == {
        "tr03-0005": Person(55.0, "male"),
        "te03-0078": Person(61.0, "female"),
    }


def test_code15(tmp_path: Path):
    source = tmp_path / "code15"
    source.mkdir()
    (source / "part0.hdf5").write_text("")
    lines = ["exam_id,age,is_male,nn_predicted_age,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,trace_file"]
    for exam, age, male in ((1, 38, "True"), (2, 73, "False"), (3, "", ""), (4, -1, "?")):
        lines.append(f"{exam},{age},{male},40.2,{'False,' * 6}{exam},part0.hdf5")
    (source / "exams.csv").write_text("\n".join(lines) + "\n")
    assert list(people(Code15, source, tmp_path).values()) == [
        Person(38.0, "male"),
        Person(73.0, "female"),
        Person(),
        Person(),
    ]


def test_ptbxl(tmp_path: Path):
    source = tmp_path / "ptbxl"
    source.mkdir()
    rows = ["ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr,filename_hr"]
    for exam, age, sex in ((1, "56.0", "1"), (2, "19.0", "0"), (3, "300.0", "0.0"), (4, "", "")):
        rows.append(f"{exam},{exam}.0,{age},{sex},{{}},1,records100/{exam}_lr,records500/{exam}_hr")
        for ending in ("hea", "dat"):
            file = source / "records100" / f"{exam}_lr.{ending}"
            file.parent.mkdir(exist_ok=True)
            file.write_text("")
    (source / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    (source / "scp_statements.csv").write_text(",diagnostic,diagnostic_class\nNORM,1.0,NORM\n")
    assert list(people(Ptbxl, source, tmp_path).values()) == [
        Person(56.0, "female"),
        Person(19.0, "male"),
        Person(None, "male"),  # 300: above 89, says the documentation
        Person(),
    ]
