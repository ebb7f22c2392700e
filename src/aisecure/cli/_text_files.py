"""Texts of files, in whatever encoding they begin with, piece by piece."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from aisecure.cli._printable import printable
from aisecure.storage import check_name, file_error

__all__ = ["TextFile", "all_files", "opened"]

#: Bytes read at once.
_CHUNK = 1 << 16
#: Less is done before a bar is read.
_BAR_FROM_BYTES = 8 << 20
# The longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


class TextFile:
    """The text of a file, read once.

    Attributes:
        name: As it was given.
        is_binary: It has no text: a NUL among its first bytes and no mark of an encoding.
    """

    def __init__(self, name: str, raw: IO[bytes], advance: Callable[[int], object]) -> None:
        self.name = name
        self._raw = raw
        self._advance = advance
        self._start = raw.read(_CHUNK)
        self._encoding = next((name for mark, name in _MARKS if self._start.startswith(mark)), "utf-8")
        self._keeps_bytes = self._encoding in ("utf-8", "utf-8-sig")
        self.is_binary = b"\0" in self._start and self._keeps_bytes

    def __iter__(self) -> Iterator[str]:
        """Return the text in pieces; bytes that are none in its encoding come as lone surrogates, or as U+FFFD."""
        errors = "surrogateescape" if self._keeps_bytes else "replace"
        decoder = codecs.getincrementaldecoder(self._encoding)(errors)
        data = self._start
        while data:
            self._advance(len(data))
            if text := decoder.decode(data):
                yield text
            data = self._raw.read(_CHUNK)
        if text := decoder.decode(b"", final=True):
            yield text


def all_files(names: Iterable[str]) -> Iterator[str]:
    """Return the files among the names and in the folders among them, in order.

    Links to folders are not followed, and what is no ordinary file is left out. A folder that cannot be read is returned, for
    whoever opens it to say so.
    """
    for name in names:
        if name == "-" or not Path(name).is_dir():
            yield name
            continue
        unread: list[OSError] = []
        for folder, folders, files in os.walk(name, onerror=unread.append):
            folders.sort()
            yield from (str(path) for path in map(Path(folder).joinpath, sorted(files)) if path.is_file())
        yield from (str(err.filename) for err in unread)


@contextmanager
def opened(name: str) -> Iterator[TextFile]:
    """Open a file, or standard input for ``-``; a person who watches sees how far a long one is.

    Raises:
        Misconfigured: It is missing or may not be read.
        Unavailable: The disk failed.
    """
    if name == "-":
        yield TextFile(name, sys.stdin.buffer, lambda _: None)
        return
    path = Path(name)
    check_name(path)
    try:
        with path.open("rb") as raw, _bar(path, raw) as advance:
            yield TextFile(name, raw, advance)
    except OSError as err:
        if isinstance(err, BrokenPipeError):
            raise  # click ends quietly
        raise file_error(path, err) from err


@contextmanager
def _bar(path: Path, raw: IO[bytes]) -> Iterator[Callable[[int], object]]:
    size = os.fstat(raw.fileno()).st_size
    if size < _BAR_FROM_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(
        length=size, label=printable(path.name), file=sys.stderr, update_min_steps=1 << 20
    ) as bar:
        yield bar.update
