"""`sourcedata/sub-01-sleep-stage.tsv`: stages of a participant's recordings, outside BIDS' rules.

What `events.tsv` says goes before: it is where BIDS has stages.
"""

from __future__ import annotations

from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import read_text
from sleepfm_jax.recordings.recording import Recording
from sleepfm_jax.recordings.scorings import openneuro
from sleepfm_jax.recordings.scorings.hypnogram import lay, lines_of


def add_sleep_stages(recording: Recording, path: str | Path) -> None:
    """Gives a recording the stages that a table of all of a participant's recordings has for it.

    A recording that the table does not speak of is left as it is, with a note.

    Raises:
      RecordingError: no such table, a wrong row, two of its sessions are this recording's, or
      stages that do not overlap the recording.
    """
    path, name = Path(path), Path(recording.path).stem
    lines = lines_of(path, read_text(path, "table"))
    if not openneuro.understands(lines):
        raise RecordingError(path, "is no table of sleep stages as OpenNeuro's datasets have them")
    found = openneuro.sessions(path, lines)
    if not (len(found) == 1 and "" in found) and not openneuro.sessions_of(found, name):
        recording.notes.append(f"{path.name} has no sleep_epoch of {name}: no stages from it")
        return
    scoring = openneuro.scoring(path, lines, name)
    laid = lay(path, scoring, start=recording.start, duration=recording.duration)
    recording.stages = laid.stages
    recording.notes += [f"stages of sourcedata/{path.name}", *laid.notes]
