"""The bytes of a stored record: shards of years ago must be those of today."""

from __future__ import annotations

import hashlib

from data_builders.engine import record_features
from sleepfm_jax.data.record import FIELDS, decode
from tests.helpers.records import small_record

SHA256 = "df5a2fdb1549a56a30a15d28aea73e2fa1e5a284da5dac03b3119ca42872c332"


def test_the_bytes_are_those_of_every_build_before():
    record = small_record()
    assert hashlib.sha256(record_features.serialise(record)).hexdigest() == SHA256


def test_tfds_reads_back_what_was_written():
    record = small_record()
    features = record_features.features()
    assert list(features) == list(FIELDS)
    example = features.deserialize_example_np(record_features.serialise(record))
    back = decode(example)
    assert (back.subject, back.channel_labels, back.start) == ("s1", ["EEG é0", "EEG é1"], 300.1)
    assert back.signals.tolist() == record.signals.tolist()
