"""A record as TFDS stores it: its features, and one record as the bytes of a tf.Example."""

from __future__ import annotations

import functools

import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from sleepfm_jax.data.record import FIELDS, Record, Stored, encode


def features() -> tfds.features.FeaturesDict:
    """The TFDS features of a record; see `sleepfm_jax.data.record.Record` for axes and units."""
    return tfds.features.FeaturesDict({name: _feature(stored) for name, stored in FIELDS.items()})


def _feature(stored: Stored) -> tfds.features.FeatureConnector:
    f = tfds.features
    if stored.dtype is str:
        return f.Sequence(f.Text(), doc=stored.doc) if stored.shape else f.Text(doc=stored.doc)
    if stored.exact:
        encoding = f.Encoding.BYTES
        return f.Tensor(shape=stored.shape, dtype=stored.dtype, encoding=encoding, doc=stored.doc)
    if stored.shape:
        return f.Tensor(shape=stored.shape, dtype=stored.dtype, doc=stored.doc)
    return f.Scalar(stored.dtype, doc=stored.doc)


@functools.cache
def _serializer() -> tuple[tfds.features.FeaturesDict, example_serializer.ExampleSerializer]:
    schema = features()
    return schema, example_serializer.ExampleSerializer(schema.get_serialized_info())


def serialise(record: Record) -> bytes:
    """One record as the tf.Example that TFDS reads; the same bytes in every process.

    A tf.Example is a map, which protobuf writes in an order of its own in each process unless told.
    """
    schema, serializer = _serializer()
    example = serializer.get_tf_example(schema.encode_example(encode(record)))
    return example.SerializeToString(deterministic=True)
