"""Files that appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Protocol, Self

from aisecure.errors import Misconfigured
from aisecure.storage import check_name, file_error

__all__ = ["NewFile", "Writable", "os_errors", "write_all"]


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into ours, which name the file.

    Raises:
        Unavailable: The disk is full, or failed.
        Misconfigured: The file is missing, a folder, not for this process, or has a name that no file has.
    """
    check_name(path)
    try:
        yield
    except OSError as err:
        raise file_error(path, err) from err


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take bytes; an ordinary unbuffered file may take some of them only, and says how many."""


def write_all(file: Writable, data: bytes) -> None:
    """Write all of it, also where less is taken at once: by a pipe, or by a disk that is about to be full."""
    while data:
        taken = file.write(data)
        if not isinstance(taken, int):  # an object of a user that takes everything and says nothing
            if isinstance(file, RawIOBase):
                raise BlockingIOError(errno.EAGAIN, "takes nothing now; pass a target that waits")
            return
        data = data[taken:]


class NewFile:
    """A file that is written beside its target and takes the target's name when it is complete.

    Until `commit` the target is as it was, also when the process is killed or the disk is full; what a killed
    process leaves is named ``.aisecure-*.new``, has mode 0600, and may be deleted. A symbolic link is followed. Where
    the target is no ordinary file (a pipe, ``/dev/stdout``), bytes go straight to it.

    Args:
        target: The file; its folder exists.
        overwrite: Whether a file of that name may be replaced.
        mode: Permission bits.

    Raises:
        Misconfigured: The target exists (code ``config.exists``), or cannot be written.
        Unavailable: The disk is full or failed.
    """

    def __init__(self, target: Path, *, overwrite: bool, mode: int = 0o600) -> None:
        self.target = target
        self._overwrite = overwrite
        self._process = os.getpid()
        self._new: Path | None = None
        with os_errors(target):
            self._real = Path(os.path.realpath(target))
            if _is_special(target):
                self._file = FileIO(os.open(target, os.O_WRONLY | os.O_CLOEXEC), "wb")
                return
            if not overwrite and os.path.lexists(self._real):
                raise self._exists()
            new = self._real.with_name(f".aisecure-{secrets.token_hex(8)}.new")
            self._file = FileIO(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            )
            self._new = new
            if mode != 0o600:
                os.fchmod(self._file.fileno(), mode)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        try:
            write_all(self._file, data)
        except OSError as err:
            raise file_error(self.target, err) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.discard()

    def commit(self) -> None:
        """Give it the name of the target, so that it survives a power cut."""
        with os_errors(self.target):
            if self._new is None:
                self._file.close()
                return
            os.fsync(self._file.fileno())
            self._file.close()
            if self._overwrite:
                self._new.replace(self._real)
            else:
                self._link()
            self._new = None
            folder = os.open(self._real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _link(self) -> None:
        """Take the name unless it was taken meanwhile."""
        assert self._new is not None  # noqa: S101  (for the type checker)
        try:
            os.link(self._new, self._real)  # fails where a rename would replace
        except FileExistsError:
            pass
        except OSError:
            # A file system without hard links, such as FAT: looking first is the best it offers.
            if not os.path.lexists(self._real):
                self._new.replace(self._real)
                return
        else:
            self._new.unlink()
            return
        raise self._exists()

    def discard(self) -> None:
        """Forget it; the target is as it was. Does nothing after `commit`, nor in a forked child."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._new is not None and self._process == os.getpid():
            with contextlib.suppress(OSError):
                self._new.unlink(missing_ok=True)
            self._new = None

    def _exists(self) -> Misconfigured:
        return Misconfigured(
            f"{self.target}: exists already; choose another name, or say overwrite=True (--force)",
            code="config.exists",
        )


def _is_special(target: Path) -> bool:
    try:
        mode = os.stat(target).st_mode  # noqa: PTH116  (follows links, and raises what is asked for)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)
