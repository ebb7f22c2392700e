"""Digests of local model files: computed by streaming, remembered by file identity."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

from aisecure.errors import Unavailable

__all__ = ["FileDigests", "lock_entry_for_file"]

# Device, inode, size, times of the last change of content and of inode. The last one is the reason why setting a file's
# time back, or swapping a link, does not pass for the old file.
_Identity = tuple[int, int, int, int, int]


class FileDigests:
    """SHA-256 of files, hashed again only when the file behind the path is another one or was written to.

    Safe for threads: those who want the same file wait for the first.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_Identity, str]] = {}
        self._locks: dict[Path, threading.Lock] = {}
        self._lock = threading.Lock()

    def sha256(self, path: Path) -> str | None:
        """Return the digest in lower-case hexadecimal, or None if there is no regular file (links are followed).

        Raises:
            Unavailable: The file could not be read, or changed while it was.
        """
        with self._lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            known = self._known.get(path)
            try:
                if known is not None and _identity(path.stat()) == known[0]:
                    return known[1]
                fresh = _digest(path)
            except (FileNotFoundError, NotADirectoryError):
                self._known.pop(path, None)
                return None
            except (OSError, ValueError) as err:
                raise Unavailable(
                    f"a model file could not be read ({type(err).__name__})", code="unavailable.model_file"
                ) from err
            if fresh is None:
                self._known.pop(path, None)
                return None
            self._known[path] = fresh
            return fresh[1]


def _digest(path: Path) -> tuple[_Identity, str] | None:
    # Not blocking: opening a pipe that somebody put in the file's place would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _identity(os.fstat(descriptor)) != _identity(before):
            raise OSError("the file changed while it was read")
    finally:
        os.close(descriptor)
    return _identity(before), digest


def _identity(facts: os.stat_result) -> _Identity:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def lock_entry_for_file(
    path: str | Path,
    *,
    name: str | None = None,
    id: str = "",
    responses: tuple[str, ...] = (),
    relative_to: str | Path | None = None,
) -> str:
    """Return the entry of a lock file, as TOML, for a local model file as it is now.

    Args:
        path: The file.
        name: What the application calls the model; the file's name without its suffix when None.
        id: What the server of the file calls it, to be sent as the model of requests; none when empty.
        responses: Further names that the server of the file gives in its responses, beside path and base name.
        relative_to: Folder of the lock file, to write the path relative to it when the file is inside.

    Raises:
        FileNotFoundError: There is no such regular file.
        Unavailable: It could not be read.
        ValueError: The path or name cannot be written to a lock file.
    """
    path = Path(path)
    digest = FileDigests().sha256(path)
    if digest is None:
        raise FileNotFoundError(f"no regular file at {path}")
    shown = path.absolute()
    if relative_to is not None and shown.is_relative_to(Path(relative_to).absolute()):
        shown = shown.relative_to(Path(relative_to).absolute())
    lines = [
        f"[models.{_quoted(path.stem if name is None else name)}]",
        f"path = {_quoted(str(shown))}",
        f'digest = "sha256:{digest}"',
    ]
    if id:
        lines.insert(1, f"id = {_quoted(id)}")
    if responses:
        lines.append(f"responses = [{', '.join(map(_quoted, responses))}]")
    return "\n".join([*lines, 'status = "approved"', ""])


def _quoted(text: str) -> str:
    """Return the text as a basic string of TOML 1.0."""
    if any(0xD800 <= ord(ch) <= 0xDFFF for ch in text):
        raise ValueError("the text is not UTF-8, and a lock file is")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(f"\\u{ord(ch):04x}" if ord(ch) < 0x20 or ord(ch) == 0x7F else ch for ch in escaped)
        + '"'
    )
