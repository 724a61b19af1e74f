"""Builders: one folder a dataset, in TFDS's own convention, files in, ArrayRecord datasets out.

    data_builders/
      engine/
        builder.py         the base class: plan → work units → shards → an ordinary TFDS dataset
        options.py         what one builder can be told and others cannot: its own flags
        work_unit.py       one work unit → one ArrayRecord shard and its report
        record_features.py a record as TFDS stores it
        runners.py         who builds the units: processes of this machine, or a Beam pipeline
        dataset_folder.py  unfinished work, and how a finished dataset gets its name
        storage.py         local files and buckets
        report.py          what was built and what was not, and why; quality_page.py, as a page
        splits.py          train, validation and test by subject
        leak_check.py      nobody is in two splits
      families/            sleep_archive.py: recordings and their scorers' files by name; nsrr.py,
                           the NSRR's; wake_eeg.py, labelled wake EEG; twelve_lead.py, 12-lead ECG
      <name>/<name>_dataset_builder.py   class Builder: which files, whose, which split, which
      labels

Run one with `python -m launch.build --dataset=NAME --source=DIR --data_dir=DIR`. Neither TensorFlow
nor a network is needed. To add a dataset, copy the folder of one that is like it: a builder has to
say, in `plan`, what recordings there are, and, in `read`, how one of them is read. What can be
chosen about it goes to `OPTIONS`: arguments of the constructor that become flags of launch.build.
"""
