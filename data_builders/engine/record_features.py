"""A record as TFDS stores it: its features, and one record as the bytes of a tf.Example."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from sleepfm_jax.data.record import Record, encode


def features() -> tfds.features.FeaturesDict:
    """The TFDS features of a record; see `sleepfm_jax.data.record.Record` for axes and units."""
    f = tfds.features
    texts = functools.partial(f.Sequence, f.Text())

    def vector(doc: str) -> f.Tensor:
        return f.Tensor(shape=(None,), dtype=np.float32, doc=doc)

    return f.FeaturesDict(
        {
            # BYTES: otherwise int16 is stored as varint int64, twice the size and slow.
            "signals": f.Tensor(
                shape=(None, None),
                dtype=np.int16,
                encoding=f.Encoding.BYTES,
                doc="[channel, sample]; physical = (signals * scale) * sd + mean, in units",
            ),
            "scale": vector("[channel] z-scores per integer step, of this clip"),
            "mean": vector("[channel] of the recording, in units"),
            "sd": vector("[channel] of the recording, in units; 0 for a flat channel"),
            "channel_labels": texts(doc="[channel] as in the file"),
            "channel_names": texts(doc="[channel] as the field writes them"),
            "units": texts(doc="[channel] of mean and sd"),
            "modalities": texts(doc="[channel] bas, resp, ecg, emg or other"),
            "native_sfreq": vector("[channel] Hz in the file"),
            "positions": f.Tensor(
                shape=(None, 3),
                dtype=np.float32,
                doc="[channel, xyz] on the unit sphere (right ear, nose, vertex); NaN: none",
            ),
            "gaps": f.Tensor(
                shape=(None, 3),
                dtype=np.int32,
                doc="rows (channel, start, stop) of invalid samples",
            ),
            "num_samples": f.Scalar(
                np.int32, doc="samples of the recording here; the rest is padding"
            ),
            "stages": f.Tensor(
                shape=(None,),
                dtype=np.int32,
                doc="per 30 s: 0 W, 1 N1, 2 N2, 3 N3, 4 REM; -1 unscored",
            ),
            "labels": vector("[class] 0 or 1; NaN: unknown"),
            "subject": f.Text(doc="the person"),
            "recording": f.Text(doc="the recording's name, unique in the dataset"),
            "clip": f.Scalar(np.int32, doc="number of this clip in its recording"),
            # BYTES: a tf.Example stores floats in 32 bits, too few for a night in ms.
            "start": f.Tensor(
                shape=(),
                dtype=np.float64,
                encoding=f.Encoding.BYTES,
                doc="s from the recording's start",
            ),
        }
    )


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
