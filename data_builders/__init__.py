"""Builders: one folder a dataset, in TFDS's own convention, files in, ArrayRecord datasets out.

    data_builders/
      engine.py          the base class: plan → work units → shards → an ordinary TFDS dataset
      shards.py          one work unit → one ArrayRecord shard and its report
      build_report.py    what was built and what was not, and why
      subject_splits.py  train, validation and test by subject
      <name>/<name>_dataset_builder.py   class Builder: which files, whose, which split, which
      labels

Run one with `python -m launch.build --dataset=NAME --source=DIR --data_dir=DIR`. Neither TensorFlow
nor a network is needed. To add a dataset, copy the folder of one that is like it: a builder has to
say, in `plan`, what recordings there are, and, in `read`, how one of them is read.
"""
