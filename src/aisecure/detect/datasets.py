"""Training data without personal data and secrets: files of JSON lines; data frames are in `aisecure.adapters.pandas`."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aisecure._json_lines import JsonLines
from aisecure._json_place import JsonPlace
from aisecure.decisions import Finding
from aisecure.detect.placeholders import Placeholders
from aisecure.detect.redact import Redactor
from aisecure.errors import Misconfigured
from aisecure.ports import TextFilter
from aisecure.storage import check_name, file_error

__all__ = ["redact_jsonl"]

#: Characters read at once.
_CHUNK = 1 << 16


def redact_jsonl(
    source: str | Path,
    target: str | Path,
    redactor: Redactor | None = None,
    *,
    fields: Collection[str] | None = None,
    placeholders: Placeholders | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Counter[str]:
    """Write a file of JSON lines without what is found in it; return how many of each kind there were.

    Every string, number and name is looked at, names also as the labels of their values; what was JSON stays JSON, and a number
    that is redacted becomes a string. A line that is no JSON is redacted as text. Memory does not grow with the file. Names
    that end in ``.gz`` are compressed. The target appears only when all of it is written.

    Args:
        source: The file, in UTF-8; bytes that are none stay as they are.
        target: What is written; may be the source itself, with ``overwrite``.
        redactor: What finds and replaces; the default `Redactor` when None.
        fields: Only the values of these outermost names are redacted, such as ``{"prompt", "completion"}``; all when None.
        placeholders: For a reversible redactor: what its placeholders stand for, so that a value has the same one in every line.
        overwrite: Replace a target that exists.
        progress: Called with the number of characters read so far.

    Raises:
        TypeError: ``fields`` is one text.
        Misconfigured: The source is missing or may not be read, or the target exists.
        Unavailable: The disk failed or is full; there is no target then.
    """
    if isinstance(fields, str):
        raise TypeError("fields is a collection of names, not one text")
    source, target = Path(source), Path(target)
    check_name(source)
    check_name(target)
    if not overwrite and target.exists():
        raise Misconfigured(f"{target.name} exists; overwrite=True replaces it")
    redactor = redactor or Redactor()
    kept = placeholders or Placeholders()

    def make(place: JsonPlace) -> TextFilter:
        if fields is not None and place.field not in fields:
            return _Unchanged()
        return redactor.stream(placeholders=kept, context=place.name)

    lines = JsonLines(make)
    counts: Counter[str] = Counter()
    read = 0
    with _opened(source) as text, _written(target) as out:
        for chunk in iter(lambda: text.read(_CHUNK), ""):
            out.write(lines.feed(chunk))
            counts.update(finding.kind for finding in lines.take())
            read += len(chunk)
            if progress is not None:
                progress(read)
        out.write(lines.finish())
        counts.update(finding.kind for finding in lines.take())
    return counts


class _Unchanged:
    """A filter for what is left as it is."""

    __slots__ = ()
    findings: tuple[Finding, ...] = ()

    def feed(self, chunk: str) -> str:
        return chunk

    def finish(self) -> str:
        return ""


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("rb") as raw:
            under = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            yield io.TextIOWrapper(under, encoding="utf-8", errors="surrogateescape", newline="")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise Misconfigured(f"{path.name}: is no whole gzip file") from None
    except OSError as err:
        raise file_error(path, err) from err


@contextmanager
def _written(path: Path) -> Iterator[IO[str]]:
    """Open a file that takes its name only when all is written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    except OSError as err:
        raise file_error(path, err) from err
    try:
        with os.fdopen(handle, "wb") as raw, _as_text(raw, path) as out:
            yield out
        os.replace(name, path)  # noqa: PTH105  (the name is a text)
    except OSError as err:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise file_error(path, err) from err
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


def _as_text(raw: IO[bytes], path: Path) -> IO[str]:
    under = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) if path.suffix == ".gz" else raw
    return io.TextIOWrapper(under, encoding="utf-8", errors="surrogateescape", newline="")
