"""Errors of the user's world: one base, its kinds, and the exit code of each. Imports nothing.

A program ends with one line on stderr, `Kind: message`, and the kind's exit code. Anything else is
a fault of ours and keeps its traceback (exit code 1, as Python's own). Flags that cannot be
understood end with 2, as a configuration does.
"""


class SleepFMError(Exception):
    """What a person can mend: the message says what is wrong, where, and what to do."""

    exit_code = 1


class ConfigError(SleepFMError, ValueError):
    """A configuration with unknown or missing keys, or values that cannot be."""

    exit_code = 2


class DatasetError(SleepFMError, ValueError):
    """A dataset that cannot be opened, or does not fit what was asked of it."""

    exit_code = 3


class LeakError(DatasetError):
    """A person is where a figure would be optimistic for it: in two splits, or in pretraining."""

    exit_code = 4


class CheckpointError(SleepFMError, ValueError):
    """A folder that holds no checkpoint, or one that does not fit."""

    exit_code = 5


class DamagedCheckpoint(CheckpointError):
    """A checkpoint that cannot be read as it was written: another one may do."""


class WeightsError(SleepFMError, ValueError):
    """Weights that do not fit the model: the message names each entry and what was expected."""

    exit_code = 6


class RecordingError(SleepFMError, ValueError):
    """A file that is no readable recording; the message says which, why and what to do."""

    exit_code = 7

    def __init__(self, path, cause: str):
        super().__init__(f"{path}: {cause}")
        self.path = str(path)
        self.cause = cause

    def __reduce__(self):  # an exception that crosses processes is made again from its arguments
        return type(self), (self.path, self.cause)


class BuildError(SleepFMError, ValueError):
    """A build that cannot start or had nothing to show; the message says what to do."""

    exit_code = 8


class RunnerError(BuildError, RuntimeError):
    """Work units could not be run; finished shards are kept for the next try."""


class FolderInUse(BuildError, RuntimeError):
    """Another build writes to the same folder."""


class SimulationError(SleepFMError, ValueError):
    """The simulation that was asked for cannot be made; the message says what to change."""

    exit_code = 9


class StorageError(SleepFMError, OSError):
    """A disk that is full, a folder that may not be written, a file that has gone."""

    exit_code = 10


class TrainingStopped(SleepFMError, RuntimeError):
    """The run cannot go on: the reason is its message. What was saved stays."""

    exit_code = 11


class Preempted(TrainingStopped):
    """Asked to stop (SIGTERM), what there was is saved: the same command goes on. 75 is
    EX_TEMPFAIL."""

    exit_code = 75


class WorkdirInUse(SleepFMError, RuntimeError):
    """Another training is at work in the same workdir."""

    exit_code = 12
