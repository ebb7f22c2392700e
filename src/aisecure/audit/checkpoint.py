"""Checkpoints: what the log is at a moment, signed, in the form that transparency logs use (C2SP tlog-checkpoint).

A checkpoint names a log, its number of entries, and the root of its tree. Whoever holds one knows later whether the entries
up to there are still the same, and whether any is gone. The key is best where those who may write the log are not: run
``aisecure audit checkpoint --watch`` under another account.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from aisecure.audit.head import HEAD_BYTES, Head
from aisecure.audit.merkle import leaf_hash
from aisecure.audit.note import InvalidNote, NoteKey, NoteSigner, open_note
from aisecure.audit.proofs import consistency_proof, inclusion_proof, root, verify_inclusion
from aisecure.audit.recovery import segment_path, segments
from aisecure.audit.tiles import Tiles
from aisecure.errors import IntegrityError, Misconfigured, Unavailable
from aisecure.storage import replace_file

__all__ = ["Checkpoint", "Checkpointer", "Proof", "checkpoints"]

_SIZE = re.compile("0|[1-9][0-9]{0,18}")
_NAME = re.compile("[0-9]{20}")
_PROOF_HEAD = "c2sp.org/tlog-proof@v1"
#: How long a head that is being written is looked at again.
_LOOKS = 50


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log is at a moment.

    Attributes:
        origin: Name of the log.
        size: Number of its entries.
        root: 32 bytes: root of its tree (RFC 6962).
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a text; lines after the third are extensions, and passed over.

        Raises:
            ValueError: It is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise ValueError("no checkpoint: a name, a size and a root, a line each")
        try:
            hashed = base64.b64decode(lines[2], validate=True)
        except ValueError:
            hashed = b""
        if len(hashed) != 32 or base64.b64encode(hashed).decode() != lines[2]:
            raise ValueError("no checkpoint: its root is no hash")
        return cls(lines[0], int(lines[1]), hashed)

    @classmethod
    def open(cls, note: str, keys: Collection[NoteKey]) -> Checkpoint:
        """Return the checkpoint of a signed note.

        Raises:
            InvalidNote: It is none, or no known key of the log's own name signed it.
        """
        text, signed = open_note(note, keys)
        try:
            checkpoint = cls.parse(text)
        except ValueError as err:
            raise InvalidNote(str(err)) from None
        if checkpoint.origin not in signed:
            raise InvalidNote("the log itself did not sign it")
        return checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in a log, for somebody who has neither the log nor a connection to it (C2SP tlog-proof).

    Attributes:
        index: Number of the entry.
        hashes: From its sibling up.
        checkpoint: The signed note.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def text(self) -> str:
        """Return the proof as a file has it."""
        hashes = "".join(f"{base64.b64encode(hash_).decode()}\n" for hash_ in self.hashes)
        return f"{_PROOF_HEAD}\nindex {self.index}\n{hashes}\n{self.checkpoint}"

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a file; a line ``extra`` is passed over.

        Raises:
            ValueError: It is no proof.
        """
        head, _, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines[:1] != [_PROOF_HEAD] or not checkpoint:
            raise ValueError("no proof of a log's entry")
        rest = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
        index = rest[0].removeprefix("index ") if rest and rest[0].startswith("index ") else ""
        if not _SIZE.fullmatch(index) or len(rest) > 64:
            raise ValueError("no proof of a log's entry: it has no index")
        try:
            hashes = tuple(base64.b64decode(line, validate=True) for line in rest[1:])
        except ValueError:
            raise ValueError("no proof of a log's entry: a line is no hash") from None
        return cls(int(index), hashes, checkpoint)

    def verify(self, line: bytes, keys: Collection[NoteKey]) -> Checkpoint:
        """Return the checkpoint when the line is that entry of its log.

        Args:
            line: The entry as stored, without its newline.
            keys: Public keys of the log.

        Raises:
            InvalidNote: No known key signed the checkpoint, or the line is not that entry.
        """
        checkpoint = Checkpoint.open(self.checkpoint, keys)
        if not verify_inclusion(leaf_hash(line), self.index, checkpoint.size, self.hashes, checkpoint.root):
            raise InvalidNote(f"the line is not entry {self.index} of {checkpoint.origin}")
        return checkpoint


def checkpoints(folder: Path) -> list[int]:
    """Return the sizes of the checkpoints that lie in a log's folder, ascending."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(
            int(path.name) for path in (folder / "checkpoints").iterdir() if _NAME.fullmatch(path.name)
        )
    return []


class Checkpointer:
    """Signs checkpoints of a log and makes proofs; any number of processes may, and one at a time does.

    Never signs two that contradict each other: before it signs, it sees that the log still begins with what it signed last,
    and that its own hashes and those of the writers are the same.

    Args:
        folder: The folder of the log.
        signer: Its key; named as the log is. None makes proofs only.

    Raises:
        Misconfigured: There is no log, or it has another name than the key.

    >>> from aisecure.audit import AuditLog
    >>> AuditLog.open("audit", origin="example.org/log").close()
    >>> signer = NoteSigner.generate("example.org/log")
    >>> note = Checkpointer("audit", signer).make()
    >>> note.splitlines()[:2]
    ['example.org/log', '1']
    >>> Checkpointer("audit").prove(0).verify(Path("audit/audit-00000000000000000000.jsonl").read_bytes()[:-1], [signer.key]).size
    1
    """

    def __init__(self, folder: str | Path, signer: NoteSigner | None = None) -> None:
        self.folder = Path(folder)
        self.origin = _origin(self.folder)
        if signer is not None and signer.name != self.origin:
            raise Misconfigured(
                f"{folder}: the log is called {self.origin}, and the key {signer.name}; make a key of the log's name",
                code="config.signing_key",
            )
        self._signer = signer

    def make(self) -> str:
        """Sign the log as it is now, keep the note in ``checkpoints/<size>``, and return it.

        Raises:
            IntegrityError: The log is not what was signed before, or does not fit itself; nothing was signed.
            Misconfigured: There is no key.
            OSError: A file cannot be read or written.
        """
        if self._signer is None:
            raise Misconfigured("a checkpoint needs a signing key", code="config.signing_key")
        with self._turn():
            head = self._head()
            now = head.tree.root()
            tiles = self._grown(head.next, now)
            if tiles is None:
                raise _contradiction("its lines are not those that its writers counted")
            known = checkpoints(self.folder)
            if known:
                before = self._checkpoint(known[-1])
                if before.size > head.next:
                    raise _contradiction(f"{before.size} entries were signed before, and it has {head.next}")
                if before.size and _root(before.size, tiles) != before.root:
                    raise _contradiction(f"its first {before.size} entries are not those that were signed")
            note = self._signer.sign(Checkpoint(self.origin, head.next, now).text())
            path = self.folder / "checkpoints" / f"{head.next:020d}"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(path, note.encode())
            return note

    def latest(self) -> str | None:
        """Return the note of the largest checkpoint in the folder, or None."""
        known = checkpoints(self.folder)
        return _note(self.folder, known[-1]) if known else None

    def prove(self, index: int, *, size: int | None = None) -> Proof:
        """Return a proof that an entry is in the log.

        Args:
            index: Its sequence number.
            size: Of the checkpoint that the proof leads to; the largest one in the folder when None.

        Raises:
            LookupError: There is no such checkpoint, or the entry came after it.
            IntegrityError: The log is not what was signed.
            OSError: A file cannot be read.
        """
        known = checkpoints(self.folder)
        size = known[-1] if size is None and known else size
        if size not in known or size is None:
            raise LookupError("there is no such checkpoint; sign one with aisecure audit checkpoint")
        if not 0 <= index < size:
            raise LookupError(f"entry {index} is not among the {size} of the checkpoint; sign a later one")
        wanted = self._checkpoint(size).root
        stored = Tiles(self.folder)
        hashes = _proven(index, size, wanted, stored) if stored.size >= size else None
        if hashes is None:
            with self._turn():
                grown = self._grown(size, wanted, anew=stored.size >= size)
            hashes = _proven(index, size, wanted, grown) if grown else None
        if hashes is None:
            raise _contradiction(f"its first {size} entries are not those that were signed")
        return Proof(index, hashes, _note(self.folder, size))

    def prove_consistency(self, first: int, second: int) -> list[bytes]:
        """Return the hashes that show that the log of ``second`` entries begins with that of ``first``.

        Raises:
            ValueError: ``first`` is 0, or larger than ``second``.
            IntegrityError: The log has fewer entries.
            OSError: A file cannot be read.
        """
        with self._turn():
            tiles = Tiles(self.folder)
            tiles.extend(max(second, tiles.size))
        return consistency_proof(first, second, tiles.node)

    def entry(self, index: int) -> bytes:
        """Return the line of an entry as stored, without its newline.

        Raises:
            LookupError: There is no such entry.
            OSError: A file cannot be read.
        """
        firsts = [first for first in segments(self.folder) if first <= index]
        if index >= 0 and firsts:
            with segment_path(self.folder, firsts[-1]).open("rb") as lines:
                for number, line in enumerate(lines, firsts[-1]):
                    if number == index and line.endswith(b"\n"):
                        return line[:-1]
        raise LookupError(f"there is no entry {index}")

    def _grown(self, size: int, wanted: bytes, *, anew: bool = False) -> Tiles | None:
        """Return hashes up to a size that come to a root, made anew where those that are stored do not; None if neither do."""
        for fresh in (True,) if anew else (False, True):
            tiles = Tiles(self.folder, anew=fresh)
            with contextlib.suppress(IntegrityError):
                tiles.extend(max(size, tiles.size))
                if _root(size, tiles) == wanted:
                    return tiles
        return None

    def _checkpoint(self, size: int) -> Checkpoint:
        note = _note(self.folder, size)
        try:
            # Its own signature is looked at: what somebody else put there binds nobody.
            if self._signer is not None:
                return Checkpoint.open(note, [self._signer.key])
            return Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
        except ValueError as err:
            raise _contradiction(f"the checkpoint of {size} entries is damaged ({err})") from None

    def _head(self) -> Head:
        for _ in range(_LOOKS):
            head = Head.decode((self.folder / "audit.head").read_bytes()[: HEAD_BYTES + 1])
            if head is not None:
                return head
            time.sleep(0.001)  # it is being written
        raise Unavailable(
            "the head of the audit log is damaged; open the log to mend it", code="unavailable.audit"
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        lock = os.open(self.folder / "checkpoints.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _proven(index: int, size: int, wanted: bytes, tiles: Tiles) -> tuple[bytes, ...] | None:
    """Return a proof by stored hashes that leads to a root, or None where they are damaged."""
    try:
        hashes = tuple(inclusion_proof(index, size, tiles.node))
        leaf = tiles.node(0, index)
    except IntegrityError:
        return None
    return hashes if verify_inclusion(leaf, index, size, hashes, wanted) else None


def _root(size: int, tiles: Tiles) -> bytes | None:
    """Return the root of stored hashes, or None where they are damaged."""
    try:
        return root(size, tiles.node)
    except IntegrityError:
        return None


def _note(folder: Path, size: int) -> str:
    return (folder / "checkpoints" / f"{size:020d}").read_text("utf-8")


def _origin(folder: Path) -> str:
    """Return the name of a log, from its first entry."""
    try:
        with segment_path(folder, 0).open("rb") as file:
            return str(orjson.loads(file.readline())["ev"]["detail"]["origin"])
    except OSError as err:
        raise Misconfigured(f"{folder}: holds no audit log ({err.strerror})") from err
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise _contradiction("its first entry is none of a log") from None


def _contradiction(how: str) -> IntegrityError:
    return IntegrityError(f"the audit log does not fit itself: {how}; run verify", code="integrity.audit")
