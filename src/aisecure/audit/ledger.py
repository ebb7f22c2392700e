"""The files of the log, and how many processes take turns at them.

A folder holds ``audit-<first seq>.jsonl`` segments, ``audit.head`` (see `head`) and ``audit.lock``. One append:
take the lock, read the head, look whether the segment is as the head says, write the line, write the head.

The lock is ``flock`` on a file of its own: the segments are replaced by rotation, and POSIX record locks vanish
when any descriptor of the file is closed. Not for network file systems.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal

from aisecure.audit.entry import LONGEST_LINE, NO_LEAF, encode_event, seal, timestamp
from aisecure.audit.head import HEAD_BYTES, Head
from aisecure.audit.merkle import CompactRange, leaf_hash
from aisecure.audit.recovery import adopt, last_line, move_aside, segment_path, segments
from aisecure.errors import IntegrityError, Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock

__all__ = ["FORMAT", "Durability", "Ledger"]

#: Name of the line and file format, written into the first event.
FORMAT = "aisecure-audit/1"

#: ``os``: the line is with the operating system, and outlives the process. ``sync``: it is on the disk.
Durability = Literal["os", "sync"]

#: How long an append waits for other threads and processes. A writer holds the lock for microseconds; a stopped one
#: (SIGSTOP, a debugger) must not stop all others for ever.
LOCK_SECONDS = 10.0

#: First and longest pause between two looks at a lock that is held.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.000_05, 0.005

_OPEN = os.O_RDWR | os.O_CLOEXEC


class Ledger:
    """Appends bodies to the chain; any number of threads, processes and forked children may share a folder.

    Args: as for `AuditLog.open`.
    """

    def __init__(
        self, folder: Path, *, origin: str, clock: Clock, segment_bytes: int, durability: Durability
    ) -> None:
        self.folder = folder
        self._origin = origin
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._sync = durability == "sync"
        self._closed = False
        # What this process has seen of the log: it may never become shorter, nor its file another one.
        self._seen_next = 0
        self._seen_file: tuple[int, int] | None = None  # (segment, inode)
        self._fresh()
        _LEDGERS.add(self)

    def _fresh(self) -> None:
        """Start over without descriptors; also the state of a forked child."""
        self._threads = threading.RLock()
        self._inside = False
        self._writer = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock_file = self._head_file = self._segment_file = -1
        self._segment_path = ""
        self._head: Head | None = None
        self._head_bytes = b""

    def open(self) -> None:
        """Begin the log, or continue it after repairing what a crash left.

        Raises:
            OSError: The folder cannot be used.
            IntegrityError: The files do not fit each other.
            Unavailable: Another process holds the lock.
        """
        self.append(())

    def append(self, bodies: Sequence[bytes]) -> int:
        """Append bodies, one line each, next to each other; return the sequence number of the first.

        Raises:
            OSError: The disk or the folder refused; nothing of the failed line stays.
            IntegrityError: The files do not fit each other, or are not those that this process knew.
            Unavailable: The lock could not be had, or the log is closed.
        """
        self._enter()
        try:
            self._refresh()
            sequence = [self._add(body) for body in bodies]
            return sequence[0] if sequence else -1
        finally:
            self._leave()

    def close(self) -> None:
        """Release the descriptors."""
        with self._threads:
            self._closed = True
            self._drop_descriptors()

    # -- taking turns

    def _enter(self) -> None:
        # Without a timeout first: asking for one costs five times as much.
        if not self._threads.acquire(blocking=False) and not self._threads.acquire(timeout=LOCK_SECONDS):
            raise Unavailable("another thread holds the audit log", code="unavailable.audit")
        if self._inside or self._closed:
            # Inside: a signal handler or a finalizer in the middle of an append; waiting would never end.
            why = "was called from inside itself" if self._inside else "is closed"
            self._threads.release()
            raise Unavailable(f"the audit log {why}", code="unavailable.audit")
        self._inside = True
        try:
            self._take_lock()
        except BaseException:
            self._inside = False
            self._threads.release()
            raise

    def _leave(self) -> None:
        if self._lock_file >= 0:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)
        self._inside = False
        self._threads.release()

    def _take_lock(self) -> None:
        if self._lock_file < 0:
            self._lock_file = os.open(self.folder / "audit.lock", _OPEN | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait_for_lock()

    def _wait_for_lock(self) -> None:
        deadline, pause = time.monotonic() + LOCK_SECONDS, _FIRST_PAUSE
        while time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        raise Unavailable("another process holds the audit log", code="unavailable.audit")

    # -- knowing where the log ends

    def _refresh(self) -> None:
        """Make ``_head`` the state of the files, and see that they are still the same files."""
        head = self._head
        if head is None or os.pread(self._head_file, HEAD_BYTES + 1, 0) != self._head_bytes:
            # Another process wrote in between, the common case with several workers. Somebody may also have tidied
            # the lock file away, so that the other process locked a new one: so do we.
            while not os.fstat(self._lock_file).st_nlink:
                os.close(self._lock_file)
                self._lock_file = -1
                self._take_lock()
            head = self._reread()
        try:
            found = os.stat(self._segment_path)  # noqa: PTH116  (a quarter of the cost of Path.stat)
        except FileNotFoundError:
            raise _broken("its current file is gone") from None
        if self._seen_file is not None and found.st_ino != self._seen_file[1]:
            raise _broken("its current file was replaced by another")
        if found.st_size != head.length:
            self._load()

    def _reread(self) -> Head:
        """Take over the head that another process wrote."""
        if self._head is not None:
            data = os.pread(self._head_file, HEAD_BYTES + 1, 0)
            head = Head.decode(data)
            if head is not None:
                self._not_before_seen(head)
                if head.segment != self._head.segment:
                    self._open_segment(head.segment)
                self._head, self._head_bytes = head, data
                return head
        self._load()
        return self._state()

    def _load(self) -> None:
        """Read the state from the files and repair what a crash left; tell in the log what was done."""
        self._drop_files()
        known = segments(self.folder)
        try:
            self._head_file = os.open(self.folder / "audit.head", _OPEN)
            head = Head.decode(os.pread(self._head_file, HEAD_BYTES + 1, 0))
        except FileNotFoundError:
            head = None
        told: list[SecurityEvent] = []
        if head is None:
            head = self._rebuild(known, told)
            if self._head_file >= 0:
                os.ftruncate(self._head_file, HEAD_BYTES)
        else:
            self._open_segment(head.segment)
            self._fits(head)
        self._not_before_seen(head)
        head = self._repair(head, told)
        if self._head_file < 0:
            self._head_file = os.open(self.folder / "audit.head", _OPEN | os.O_CREAT, 0o600)
        if head.next == 0:
            detail = {"origin": self._origin, "format": FORMAT}
            told.insert(0, SecurityEvent("log.genesis", time=self._clock.time(), detail=detail))
        else:
            self._put_head(head)
        self._head = head
        for event in told:
            self._put(encode_event(event)[0])

    def _rebuild(self, known: list[int], told: list[SecurityEvent]) -> Head:
        """Return the state that the segments themselves show; an empty one if there are none."""
        tree, leaf, end = CompactRange(), NO_LEAF, 0
        for first in known or [0]:
            if known and (first != tree.size or (first != known[0] and end != self._size())):
                raise _broken(f"it has no head, and its lines do not chain up to entry {tree.size}")
            self._open_segment(first, create=not known)
            end, leaf = adopt(self._segment_file, 0, tree, leaf)
        rest = self._size() - end
        if rest > LONGEST_LINE or b"\n" in os.pread(self._segment_file, rest, end)[:-1]:
            # More than one broken line is no torn tail.
            raise _broken(f"it has no head, and its lines do not chain up to entry {tree.size}")
        if tree.size:
            detail = {"entries": tree.size}
            told.append(
                SecurityEvent("log.rebuilt", time=self._clock.time(), result=Result.UNKNOWN, detail=detail)
            )
        return Head((known or [0])[-1], end, leaf, tree)

    def _fits(self, head: Head) -> None:
        """Refuse a segment that is shorter than its head, or ends in another line."""
        if self._size() < head.length:
            raise _broken("it is shorter than its head says")
        if head.length and leaf_hash(last_line(self._segment_file, head.length)) != head.leaf:
            raise _broken("its last entry is not the one that its head names")

    def _not_before_seen(self, head: Head) -> None:
        if head.next < self._seen_next:
            raise _broken(f"it went back from entry {self._seen_next} to {head.next}")

    def _repair(self, head: Head, told: list[SecurityEvent]) -> Head:
        """Adopt complete lines that a killed writer left, and move torn bytes aside."""
        head = self._heal(head, told)
        following = segment_path(self.folder, head.next)
        # A writer was killed between the first line of a new segment and the head.
        if head.next != head.segment and following.exists():
            self._open_segment(head.next)
            healed = self._heal(Head(head.next, 0, head.leaf, head.tree), told)
            if healed.length:
                return healed
            following.unlink()
            self._open_segment(head.segment)
        return head

    def _heal(self, head: Head, told: list[SecurityEvent]) -> Head:
        size, before = self._size(), head.next
        if size == head.length:
            return head
        end, leaf = adopt(self._segment_file, head.length, head.tree, head.leaf)
        detail: dict[str, Any] = {"adopted": head.next - before, "bytes": 0}
        if end < size:
            stamp = timestamp(self._clock.time()).replace(":", "").replace("-", "")
            target = self.folder / f"audit.torn-{head.next}-{stamp}"
            detail["bytes"], detail["sha256"], detail["file"] = move_aside(self._segment_file, end, target)
        told.append(
            SecurityEvent("log.recovered", time=self._clock.time(), result=Result.UNKNOWN, detail=detail)
        )
        return Head(head.segment, end, leaf, head.tree)

    # -- writing

    def _add(self, body: bytes) -> int:
        """Append a body; begin a new segment first if it would make the current one too large."""
        head = self._state()
        # A segment holds at least its own first line and one event, so that a large event cannot turn them for ever.
        if head.length + len(body) + 256 > self._segment_bytes and head.next - head.segment > 1:
            self._turn(head)
        return self._put(body)

    def _turn(self, head: Head) -> None:
        """Begin the next segment with a line that says how the old one ended."""
        path = segment_path(self.folder, head.next)
        with open(self._segment_path, "rb") as old:
            digest = file_digest(old, "sha256").hexdigest()
        detail = {
            "file": os.path.basename(self._segment_path),  # noqa: PTH119
            "bytes": head.length,
            "sha256": digest,
            "first_seq": head.segment,
            "last_seq": head.next - 1,
        }
        body = encode_event(SecurityEvent("log.segment", time=self._clock.time(), detail=detail))[0]
        try:
            created = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            # Another writer was killed while it did the same; take over what it left.
            self._load()
            return
        os.close(self._segment_file)
        self._segment_file, self._segment_path = created, str(path)
        self._seen_file = (head.next, os.fstat(created).st_ino)
        self._head = Head(head.next, 0, head.leaf, head.tree)
        try:
            self._sync_folder()
            self._put(body)
        except OSError:
            self._head = None
            path.unlink(missing_ok=True)
            raise

    def _put(self, body: bytes) -> int:
        """Write one line and then the head; return the line's sequence number."""
        head = self._state()
        tree = head.tree
        seq = tree.size
        line = seal(
            body, writer=self._writer, prev=head.leaf.hex(), seq=seq, ts=timestamp(self._clock.time())
        )
        # Should anything fail from here on, the files are read afresh before the next line.
        self._head = None
        self._write(line + b"\n", head.length)
        head.leaf = leaf_hash(line)
        tree.append(head.leaf)
        head.length += len(line) + 1
        self._put_head(head)
        self._head = head
        return seq

    def _write(self, data: bytes, length: int) -> None:
        try:
            _write_all(self._segment_file, data)
            if self._sync:
                os.fdatasync(self._segment_file)
        except OSError:
            # The event is reported as not written, so nothing of it stays; if this fails too, the next one repairs.
            with contextlib.suppress(OSError):
                os.ftruncate(self._segment_file, length)
            raise

    def _put_head(self, head: Head) -> None:
        data = head.encode()
        _write_all(self._head_file, data, 0)
        self._head_bytes = data
        self._seen_next = head.next

    def _state(self) -> Head:
        if self._head is None:
            raise RuntimeError("the state of the log has not been read")
        return self._head

    # -- descriptors

    def _open_segment(self, first: int, *, create: bool = False) -> None:
        path = segment_path(self.folder, first)
        if self._segment_file >= 0:
            os.close(self._segment_file)
            self._segment_file = -1
        try:
            flags = _OPEN | os.O_APPEND | (os.O_CREAT | os.O_EXCL if create else 0)
            self._segment_file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            raise _broken(f"its current file, {path.name}, is gone") from None
        inode = os.fstat(self._segment_file).st_ino
        if self._seen_file is not None and self._seen_file[0] == first and self._seen_file[1] != inode:
            raise _broken("its current file was replaced by another")
        self._segment_path, self._seen_file = str(path), (first, inode)
        if create:
            self._sync_folder()

    def _size(self) -> int:
        return os.fstat(self._segment_file).st_size

    def _sync_folder(self) -> None:
        """Make the name of a new file durable, not only its content."""
        if self._sync:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _drop_files(self) -> None:
        for descriptor in (self._head_file, self._segment_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._head_file = self._segment_file = -1
        self._head, self._head_bytes = None, b""

    def _drop_descriptors(self) -> None:
        self._drop_files()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def after_fork(self) -> None:
        """Let go of what belongs to the parent; the next append opens the files again."""
        # The descriptors share the parent's lock: closing them here leaves it held, unlocking would take it away.
        with contextlib.suppress(OSError):
            self._drop_descriptors()
        self._fresh()


def _write_all(descriptor: int, data: bytes, offset: int | None = None) -> None:
    written = os.write(descriptor, data) if offset is None else os.pwrite(descriptor, data, offset)
    if written != len(data):
        # A disk that is filling up takes what fits.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _broken(how: str) -> IntegrityError:
    return IntegrityError(
        f"the audit log does not fit itself: {how}; run verify, keep the folder as evidence, start in another",
        code="integrity.audit",
    )


_LEDGERS: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in list(_LEDGERS):
        ledger.after_fork()


os.register_at_fork(after_in_child=_after_fork)
