"""The stored record: one table, from which everything else about a field follows."""

from __future__ import annotations

import dataclasses

import numpy as np

from sleepfm_jax.data.record import FIELDS, Record, decode, encode
from tests.helpers.records import small_record


def test_the_table_is_the_record():
    """Every field has its row, in the order of the dataclass."""
    assert list(FIELDS) == [field.name for field in dataclasses.fields(Record)]
    assert all(stored.doc for stored in FIELDS.values())


def test_a_record_survives_encoding():
    record = small_record()

    def as_tfds_reads(value):
        if isinstance(value, str):
            return value.encode()
        return [t.encode() for t in value] if isinstance(value, list) else value

    plain = encode(record)
    for example in (plain, {name: as_tfds_reads(value) for name, value in plain.items()}):
        back = decode(example)
        for name, stored in FIELDS.items():
            got, wanted = getattr(back, name), getattr(record, name)
            np.testing.assert_array_equal(got, wanted)
            assert type(got) is type(wanted)
            if isinstance(got, np.ndarray):
                assert got.dtype == stored.dtype
                assert got.ndim == len(stored.shape)
