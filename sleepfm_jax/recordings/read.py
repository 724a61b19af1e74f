"""One file of a sleep or EEG laboratory -> `Recording`: channels, annotations, stages.

Nothing is lost or changed silently: what is unusual about a channel is in its `notes`, what is
unusual about the file, and every signal that could not be kept, in the recording's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import Annotation, read_head, size_of
from sleepfm_jax.recordings.formats.arrays import read_npz
from sleepfm_jax.recordings.formats.brainvision_eeglab import read_brainvision, read_eeglab
from sleepfm_jax.recordings.formats.edf import read_edf
from sleepfm_jax.recordings.formats.edf_bytes import TEXT_OF_BIOSEMI
from sleepfm_jax.recordings.formats.gdf import read_gdf
from sleepfm_jax.recordings.formats.hdf5 import read_hdf5
from sleepfm_jax.recordings.formats.wfdb_records import read_wfdb
from sleepfm_jax.recordings.own_process import in_own_process
from sleepfm_jax.recordings.recording import Channel, Recording
from sleepfm_jax.recordings.scorings.hypnogram import read_hypnogram, score
from sleepfm_jax.recordings.transfer import refuse_text

__all__ = [
    "Annotation",
    "Channel",
    "Recording",
    "RecordingError",
    "read_edf",
    "read_hypnogram",
    "read_recording",
    "score",
]


def read_recording(
    path: str | Path,
    *,
    subject: str,
    recording: str | None = None,
    hypnogram: str | Path | None = None,
    exam: int | None = None,
    modalities: Mapping[str, str] | None = None,
) -> Recording:
    """Read one recording of any format known here; the format is found by content.

    EDF, EDF+, BDF (`read_edf`), GDF (`read_gdf`), BrainVision by its header (`read_brainvision`),
    EEGLAB (`read_eeglab`), HDF5 (`read_hdf5`, with `exam` for CODE-15), `.npz` (`read_npz`), WFDB
    by its header, a signal file or the record's name (`read_wfdb`). EEGLAB and HDF5 files are read
    in a process of their own (`in_own_process`).
    The stages are those of `hypnogram` where given, else the file's own, else None. `modalities`
    {label: modality} counts for labels that are not known here, in the first five formats.

    Raises:
      RecordingError: see the reader of each format; a format not known; `exam` where there are
      none; `modalities` for another format.
    """
    path = Path(path)
    # A WFDB record may be named without an ending, and its signal files have no magic number.
    wfdb = not os.path.exists(path) and os.path.isfile(f"{path}.hea")
    head = b"" if wfdb else read_head(path, 8)
    if exam is not None and head != b"\x89HDF\r\n\x1a\n":
        raise RecordingError(path, f"exam {exam} is asked for, but it is no CODE-15 file")
    names = {"subject": subject, "recording": recording}
    reader = None if wfdb else _reader_of_labels(path, head)
    if reader is not None:
        read = reader(path, modalities=modalities, **names)
    elif head == b"\x89HDF\r\n\x1a\n":
        read = in_own_process(read_hdf5, path, exam=exam, **names)
    elif head[:4] == b"PK\x03\x04" and path.suffix.lower() == ".npz":
        read = read_npz(path, **names)
    elif wfdb or path.suffix == ".hea" or os.path.isfile(path.with_suffix(".hea")):
        read = read_wfdb(path, **names)
    elif head[:2] == b"\x1f\x8b":
        raise RecordingError(path, "is compressed with gzip: unpack it first")
    else:
        size_of(path)
        if head.startswith((b"\xef\xbf\xbdHDF", b"\x89HDF")):
            refuse_text(path)
        raise RecordingError(
            path,
            f"is none of EDF, BDF, GDF, BrainVision's .vhdr, EEGLAB's .set, HDF5, .npz, and no "
            f"WFDB header {path.stem}.hea lies beside it (it begins with {head!r})",
        )
    if modalities and reader is None:
        raise RecordingError(path, "its format takes no modalities from elsewhere")
    return read if hypnogram is None else score(read, hypnogram)


def _reader_of_labels(path: Path, head: bytes) -> Callable[..., Recording] | None:
    """The reader of a format whose labels are free text, from a file's first 8 bytes, or None."""
    if head in (b"\xffBIOSEMI", *TEXT_OF_BIOSEMI) or head.strip(b" \x00") == b"0":
        return read_edf
    if head[:4] == b"GDF ":
        return read_gdf
    if head.removeprefix(b"\xef\xbb\xbf")[:5] == b"Brain":
        return read_brainvision
    if head[:6] == b"MATLAB" and path.suffix.lower() == ".set":
        return partial(in_own_process, read_eeglab)
    return None
