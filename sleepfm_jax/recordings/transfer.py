"""Faults of a transfer: binary files that were changed as if they were text, filled up or joined.

No sample of a file is true once bytes were added or replaced in its midst, and no format has a
checksum that says so. What tells: all bytes of such a file obey the rules of text, which samples
never do by chance, and its size is seldom what its header says.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sleepfm_jax.errors import RecordingError

_BLOCK = 1 << 16
# Line feeds, or characters above 127, from which on chance is ruled out: of 16 line feeds among
# samples, all behind a carriage return, one file in 256^16. More of them where the size is right:
# a flat trace may hold nothing but CR LF.
_MIN, _MIN_IN_FULL = 16, 256
_ADVICE = "no sample of it is true; copy it again, as binary"


@dataclass(frozen=True)
class _Text:
    """What about a file is as if it were text."""

    pairs: int  # CR LF; 0 where a line feed stands alone
    characters: int  # above 127; 0 where the bytes are not UTF-8
    replaced: int  # of them U+FFFD, EF BF BD


def refuse_text(path: Path, expected: int | None = None, *, name: str = "") -> None:
    """Refuses a binary file whose bytes were changed as if they were text.

    Reads no further than to the first bytes that show that they were not, mostly 64 KiB.

    Args:
      expected: bytes that the file has if it is sound, None where nothing says so.
      name: of the file, where `path` is another one of its recording.

    Raises:
      RecordingError: line feeds became CR LF, or bytes above 127 became characters of UTF-8.
    """
    file = path.with_name(name) if name else path
    text = _scan(file)
    said = f"signal file {name}: " if name else ""
    surplus = 0 if expected is None else file.stat().st_size - expected
    enough = _MIN_IN_FULL if expected is not None and surplus == 0 else _MIN
    longer = f", and the file is {surplus} bytes too long" if surplus > 0 else ""
    if text.replaced >= enough:
        raise RecordingError(
            path,
            f"{said}bytes above 127 became EF BF BD ({text.replaced} times){longer}, as programs "
            f"do that read a file as UTF-8 text and write it again: {_ADVICE}",
        )
    if text.characters >= enough:
        raise RecordingError(
            path,
            f"{said}bytes above 127 became two bytes of UTF-8 ({text.characters} times){longer}, "
            f"as programs do that read a file as Latin-1 text and write it as UTF-8: {_ADVICE}",
        )
    if text.pairs >= enough or 0 < text.pairs == surplus:
        raise RecordingError(
            path,
            f"{said}every line feed became CR LF ({text.pairs} of them){longer}, as git "
            f"(core.autocrlf) and transfers in text mode do to text: {_ADVICE}",
        )


def _scan(path: Path) -> _Text:
    decoder = codecs.getincrementaldecoder("utf-8")()
    pairs = characters = replaced = 0
    alone, valid = False, True  # a line feed without CR; UTF-8 so far
    last = b""
    with path.open("rb") as file:
        while (block := file.read(_BLOCK)) and (valid or not alone):
            if not alone:
                found = block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
                alone = found < block.count(b"\n")
                pairs += found
            if valid:
                try:
                    replaced += decoder.decode(block).count("\ufffd")
                except UnicodeDecodeError:
                    valid = False
                characters += int((np.frombuffer(block, np.uint8) >= 0xC0).sum())
            last = block[-1:]
    return _Text(0 if alone else pairs, characters if valid else 0, replaced if valid else 0)


def surplus_hint(path: Path, at: int, magic: bytes = b"") -> str:
    """What the bytes behind the last sample look like, in brackets; "" where nothing is known.

    Args:
      at: the first of them.
      magic: what a file of the kind begins with.
    """
    with path.open("rb") as file:
        file.seek(at)
        head = file.read(_BLOCK)
        if magic and head.startswith(magic):
            return " (another file begins there: two were joined)"
        while head and not head.strip(b"\x00"):
            head = file.read(_BLOCK)
        return "" if head else " (all of them zero: the file was filled up)"


def zeros_at_the_end(path: Path, first: int, last: int) -> int:
    """How many bytes before `last` are zero without exception, back to `first` at most."""
    found = 0
    with path.open("rb") as file:
        while (end := last - found) > first:
            begin = max(first, end - _BLOCK)
            file.seek(begin)
            block = file.read(end - begin)
            kept = len(block.rstrip(b"\x00"))
            found += len(block) - kept
            if kept:
                break
    return found
