"""Hypnograms in `.xlsx` workbooks, such as ISRUC's: a row a sleep_epoch under a header."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

from sleepfm_jax.errors import RecordingError
from sleepfm_jax.recordings.files import Annotation, size_of
from sleepfm_jax.recordings.scorings.plain_text import number_notes, stage_codes
from sleepfm_jax.recordings.scorings.scoring import Scoring, Span
from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS

_MAX_BYTES = 8_000_000  # unpacked; a night has some hundred kilobytes
_MAX_ROWS, _MAX_COLUMNS = 100_000, 100


def xlsx_scoring(path: Path) -> Scoring:
    """Stages of the first sheet that has a `Stage` column; `Epoch` and `Events` are used if there.

    An event of a sleep_epoch has no time inside it: it is placed at the epoch's start, for 30 s.

    Raises:
      RecordingError: not a workbook, one that unpacks to more than 8 MB, none of its sheets has
      a Stage column, an unknown stage, or epoch numbers that do not count up.
    """
    for title, rows in _sheets(path):
        header = [str(cell).strip().lower() if cell is not None else "" for cell in rows[0]]
        if "stage" in header:
            return _scoring(path, title, header, rows[1:])
    raise RecordingError(path, "none of its sheets has a column 'Stage' in its first row")


def _sheets(path: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """(title, rows) of every sheet that is not empty."""
    size_of(path)
    import openpyxl  # half a second to import, and only for workbooks

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions it does not know
            archive = zipfile.ZipFile(file)
            if "xl/workbook.xml" not in archive.namelist():
                raise RecordingError(path, "is a zip archive, but no .xlsx workbook")
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > _MAX_BYTES:
                raise RecordingError(path, f"unpacks to {unpacked / 1e6:.0f} MB: no hypnogram")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = []
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # what the file says of its size need not be true
                limits = {"max_row": _MAX_ROWS, "max_col": _MAX_COLUMNS}
                if rows := list(sheet.iter_rows(**limits, values_only=True)):
                    sheets.append((sheet.title, rows))
    except RecordingError:
        raise
    except Exception as error:  # openpyxl raises whatever its parser stumbles over
        cause = error.__cause__ or error.__context__ or error
        raise RecordingError(path, f"is not a readable .xlsx workbook ({cause})") from error
    return sheets


def _scoring(path: Path, title: str, header: list[str], rows: list[tuple[Any, ...]]) -> Scoring:
    def cell(row: tuple[Any, ...], name: str) -> str:
        at = header.index(name) if name in header else len(row)
        value = row[at] if at < len(row) else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value).strip()

    scored = [(i, row) for i, row in enumerate(rows, 2) if cell(row, "stage")]
    texts = {cell(row, "stage") for _, row in scored}
    codes = stage_codes(path, texts, [])
    spans: list[Span] = []
    events: list[Annotation] = []
    previous = 0
    for number, row in scored:
        text = cell(row, "stage")
        if text.lower() not in codes:
            raise RecordingError(
                path, f"sheet {title!r}, row {number}: {text[:40]!r} is not a sleep stage"
            )
        epoch = cell(row, "epoch") if "epoch" in header else str(previous + 1)
        if not epoch.isdecimal() or len(epoch) > 6 or int(epoch) <= previous:
            raise RecordingError(
                path,
                f"sheet {title!r}, row {number}: epoch {epoch[:20]!r} does not follow {previous}",
            )
        previous = int(epoch)
        onset = (previous - 1) * SLEEP_EPOCH_SECONDS
        spans.append((onset, SLEEP_EPOCH_SECONDS, codes[text.lower()]))
        for part in cell(row, "events").split(","):
            if part.strip():
                events.append(Annotation(onset, float(SLEEP_EPOCH_SECONDS), part.strip()))
    return Scoring("xlsx", spans, events, notes=number_notes(texts))
