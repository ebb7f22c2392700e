"""The verifier: reads the files of a log and says whether they are as they were written.

It needs the standard library only (and ``cryptography`` for signatures), and shares no code with the writer, so that a
mistake there is not repeated here. This one file may be copied anywhere and run: ``python verifier.py FOLDER``. It hashes the
bytes as stored, block by block, in memory that does not grow with the log.

What it cannot see without help from outside: that the newest lines were cut off *and* the head file was made to
agree, and that somebody who may write the folder recomputed everything. Hold a signed checkpoint elsewhere (or the newest
leaf hash) and pass it: then both are found.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

__all__ = ["Report", "Verdict", "main", "verify"]

_SEGMENT = re.compile(r"audit-([0-9]{20})\.jsonl\Z")
_NO_LEAF = "0" * 64
_LONGEST_LINE = 65_535
_BLOCK = 1 << 17
#: RFC 6962 section 2.1: a leaf is hashed with a zero byte before it.
_LEAF_PREFIX = sha256(b"\0")

_LINE_START = b'{"ev":{'
_LINE_START_BYTES = len(_LINE_START)
#: The end of a line: who wrote it, leaf hash of the line before, own number, time, version.
_LINE_END = re.compile(
    rb',"inst":"[0-9A-Za-z.-]{1,40}","prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,18})'
    rb',"ts":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z","v":1\}\Z'
)
#: The part of it that ties lines together, and how many bytes follow that part.
_LINK = ',"prev":"%s","seq":%d,"ts":"'
_LINK_BYTES = len(_LINK % (_NO_LEAF, 0)) - 1
_AFTER_LINK = len('2026-11-22T21:30:00.123456Z","v":1}')

_HEAD_MAGIC = b"AISHEAD1"
_HEAD_FIELDS = struct.Struct(">QQQ32s")
_HEAD_START = len(_HEAD_MAGIC) + 4
_HEAD_BYTES = _HEAD_START + _HEAD_FIELDS.size + 64 * 32


class Verdict(StrEnum):
    """What became of a log."""

    OK = "ok"
    #: A line is not as it was written, or does not belong where it stands.
    CHANGED = "content changed"
    #: Lines are gone, and later ones are there.
    MISSING = "entries missing"
    #: A chain begins anew in the middle.
    RESET = "chain reset"
    #: The newest entries are gone: the head file, or a checkpoint held elsewhere, knows more.
    TRUNCATED = "truncated"
    #: The entry that a checkpoint held elsewhere names is another one here: history was written anew.
    FORKED = "forked"
    #: A checkpoint is not signed by a key that was given, or there is none at all.
    UNSIGNED = "signature missing"
    #: Behind the last entry lie bytes that a killed writer left. Benign: the next writer moves them aside.
    TORN = "torn tail"
    #: There is nothing to read.
    UNVERIFIABLE = "cannot verify"


class _Place(NamedTuple):
    """A line: number in the log, file, number in the file from 1, offset of its first byte."""

    seq: int
    file: str
    line: int
    offset: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        verdict: One of `Verdict`.
        entries: Lines that were found to chain, from the first on.
        last_leaf: Leaf hash (hex) of the last of them: what to hold elsewhere, with ``entries - 1``, for ``expect``.
        seq: First sequence number that is not as it should be, or None. When neighbouring lines were changed
            together, the later one may be named.
        file: File of that line.
        line: Its number in the file, from 1.
        offset: Offset of its first byte in the file.
        truncation_checked: Whether a checkpoint held elsewhere showed that no entry up to it is gone. Without one,
            only the head file can tell, and whoever shortens the log can rewrite that too.
        checkpoint: Entries of the largest signed checkpoint that the log agrees with, held elsewhere or lying in its folder.
        reason: One sentence.
    """

    verdict: Verdict
    entries: int = 0
    last_leaf: str = ""
    seq: int | None = None
    file: str | None = None
    line: int | None = None
    offset: int | None = None
    truncation_checked: bool = False
    checkpoint: int | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether every entry is as it was written; a torn tail holds no entry."""
        return self.verdict in (Verdict.OK, Verdict.TORN)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "ok": self.ok,
            "verdict": self.verdict.value,
            "entries": self.entries,
            "last_leaf": self.last_leaf,
            "seq": self.seq,
            "file": self.file,
            "line": self.line,
            "offset": self.offset,
            "truncation_checked": self.truncation_checked,
            "checkpoint": self.checkpoint,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        where = (
            ""
            if self.file is None
            else f" at entry {self.seq} ({self.file} line {self.line}, byte {self.offset})"
        )
        return f"{self.verdict}{where}: {self.entries} entries chain. {self.reason}"


def verify(
    folder: str | Path,
    *,
    expect: tuple[int, bytes | str] | None = None,
    checkpoints: Iterable[str] = (),
    keys: Iterable[str] = (),
) -> Report:
    """Return whether every line of a log is as it was written, and if not, which is the first that is not.

    May run while the log is written.

    Args:
        folder: The folder of the log.
        expect: What was held outside of the folder: sequence number and leaf hash (32 bytes, or hex) of an entry.
        checkpoints: Signed checkpoints that were held outside of the folder.
        keys: Public keys of the log, as ``name+hash+base64``. With keys, the checkpoints in the folder count too, and one at
            least has to be there or be given.

    Raises:
        ValueError: ``expect`` is no sequence number and leaf hash; a key is none; or there are checkpoints and no keys.

    >>> from aisecure.audit import AuditLog
    >>> AuditLog.open("audit").close()
    >>> print(verify("audit"))
    ok: 1 entries chain. Whether newer entries were cut off could not be checked: no checkpoint held elsewhere was given.
    """
    held = None if expect is None else _checkpoint(*expect)
    folder = Path(folder)
    known = {(key.name, key.id): key for key in map(_key, keys)}
    notes = [(note, True) for note in checkpoints]
    if notes and not known:
        raise ValueError("checkpoints need the keys that they are signed by")
    try:
        if known:
            notes += _own_notes(folder)
        # The head first: what it counts is in the files that are read after it, also while others write.
        head = _read_head(folder / "audit.head")
        # Names sort as the numbers in them do.
        walk = _Walk(sorted(path for path in folder.iterdir() if _SEGMENT.match(path.name)), head)
        if held is not None:
            walk.leaves.setdefault(held[0], None)
        signed, unsigned = _opened(notes, known)
        walk.roots = _Roots({one.size for one in signed})
        bad = walk.first_bad()
    except OSError as err:
        return Report(
            Verdict.UNVERIFIABLE, reason=f"{err.strerror or type(err).__name__}: the files could not be read."
        )
    found = _judge(walk, bad, head, held)
    return _with_checkpoints(found, walk, signed, unsigned) if known else found


class _Head(NamedTuple):
    """What the head file says: number of entries, and leaf hash (hex) of the last one."""

    next: int
    leaf: str


class _Bad(NamedTuple):
    verdict: Verdict
    place: _Place
    reason: str


class _Line(NamedTuple):
    """A line as stored; ``prev`` and ``seq`` are None when it does not have the form of one.

    ``torn``: it ends the log without a newline. ``first``: what the name of its file says of it, if it is the first there.
    """

    place: tuple[str, int, int]
    leaf: str
    prev: str | None
    seq: int | None
    complete: bool
    torn: bool
    first: int | None


class _Walk:
    """One pass over the files: fast as long as all is well, and line by line from the block that is not."""

    def __init__(self, files: list[Path], head: _Head | None) -> None:
        self._files, self._head = files, head
        self._firsts = [int(path.name[len("audit-") : -len(".jsonl")]) for path in files]
        self.seq = 0
        self.leaf = _NO_LEAF
        self.end = _Place(0, files[0].name if files else "", 1, 0)
        self.torn = False
        #: Leaf hashes that somebody will ask for, by sequence number, and where those lines are.
        self.leaves: dict[int, str | None] = {head.next - 1: None} if head and head.next else {}
        self.places: dict[int, _Place] = {}
        self.roots = _Roots(set())
        #: The line before the next one, and the leaf hash before that.
        self._before: _Place | None = None
        self._leaf_before = ""

    def first_bad(self) -> _Bad | None:
        """Return the first line that is not as it should be, or None."""
        for number, path in enumerate(self._files):
            if self._firsts[number] != self.seq:
                return self._search(number, 0, 1)
            offset, line, rest = 0, 1, b""
            with path.open("rb", buffering=0) as file:
                while block := file.read(_BLOCK):
                    data = rest + block
                    cut = data.rfind(b"\n") + 1
                    rest = data[cut:]
                    count = self._chains(data[:cut], path.name, line, offset) if cut else 0
                    if count is None or len(rest) > _LONGEST_LINE:
                        return self._search(number, offset, line)
                    offset += cut
                    line += count
            self.end = _Place(self.seq, path.name, line, offset)
            if rest:
                if number + 1 < len(self._files):
                    return self._search(number, offset, line)
                self.torn = True
        return None

    def _chains(self, data: bytes, file: str, line: int, offset: int) -> int | None:
        """Take a block of complete lines if each is tied to the one before; return their number, or None."""
        lines = data.split(b"\n")
        lines.pop()
        count, seq = len(lines), self.seq
        hashes = []
        for text in lines:
            leaf = _LEAF_PREFIX.copy()
            leaf.update(text)
            hashes.append(leaf.hexdigest())
        previous = [self.leaf, *hashes[:-1]]
        starts = [text[:_LINE_START_BYTES] for text in lines]
        if len(str(seq)) == len(str(seq + count - 1)):
            start = -(_LINK_BYTES + len(str(seq)) + _AFTER_LINK)
            links = b"".join([text[start:-_AFTER_LINK] for text in lines])
        else:
            links = b"".join(
                [
                    text[-(_LINK_BYTES + len(str(n)) + _AFTER_LINK) : -_AFTER_LINK]
                    for n, text in enumerate(lines, seq)
                ]
            )
        wanted = "".join([_LINK % tie for tie in zip(previous, range(seq, seq + count), strict=True)])
        if links != wanted.encode() or starts.count(_LINE_START) != count:
            return None
        self.roots.add(hashes)
        for n in self.leaves:
            if seq <= n < seq + count:
                before = sum(map(len, lines[: n - seq])) + n - seq  # each had a newline
                self._note(n, hashes[n - seq], _Place(n, file, line + n - seq, offset + before))
        last = offset + len(data) - len(lines[-1]) - 1
        self._before = _Place(seq + count - 1, file, line + count - 1, last)
        self.seq, self.leaf, self._leaf_before = seq + count, hashes[-1], previous[-1]
        return count

    def _note(self, seq: int, leaf: str, place: _Place) -> None:
        if seq in self.leaves:
            self.leaves[seq], self.places[seq] = leaf, place

    def _search(self, number: int, offset: int, line: int) -> _Bad | None:
        """Go on line by line from a place; the first bad line is told from its neighbours."""
        lines = self._lines(number, offset, line)
        here = next(lines, None)
        while here is not None:
            after = next(lines, None)
            if here.torn:
                self.end, self.torn = _Place(self.seq, *here.place), True
                return None
            bad = self._judge_line(here, after)
            if bad is not None:
                self.end = _Place(self.seq, *here.place)
                if self._head is not None and bad.place.seq >= self._head.next:
                    # Behind all that counts: what a writer left, or somebody appended; no entry of the log.
                    self.torn = True
                    return None
                return bad
            self._before, self._leaf_before = _Place(self.seq, *here.place), self.leaf
            self._note(self.seq, here.leaf, self._before)
            self.roots.add([here.leaf])
            self.seq, self.leaf = self.seq + 1, here.leaf
            self.end = _Place(self.seq, here.place[0], here.place[1] + 1, here.place[2])
            here = after
        return None

    def _judge_line(self, here: _Line, after: _Line | None) -> _Bad | None:
        place = _Place(self.seq, *here.place)
        if here.prev is None or here.seq is None or not here.complete:
            if here.first is not None and here.first > self.seq:
                return _Bad(
                    Verdict.MISSING, place, "A file begins with a later entry than the one that is due."
                )
            return _Bad(Verdict.CHANGED, place, "The line does not have the form of an entry.")
        named_right = here.first is None or here.first == self.seq
        if here.seq == self.seq and here.prev == self.leaf and named_right:
            return None
        vouched = self._vouched(here, after)
        if vouched is not False and self.seq and (here.seq == 0 or here.prev == _NO_LEAF):
            return _Bad(Verdict.RESET, place, "A chain begins anew here.")
        if here.seq > self.seq and vouched is not False:
            return _Bad(Verdict.MISSING, place, f"Entries {self.seq} to {here.seq - 1} are gone.")
        if (
            vouched is not False
            and self._before is not None
            and here.prev != self.leaf
            and (
                # The next line vouches for this one, so the line before is the one that was changed or slipped in.
                here.seq == self.seq or (here.seq == self.seq - 1 and here.prev == self._leaf_before)
            )
        ):
            return _Bad(Verdict.CHANGED, self._before, "The next line holds another hash of it.")
        return _Bad(Verdict.CHANGED, place, "The line is not the one that belongs here.")

    def _vouched(self, here: _Line, after: _Line | None) -> bool | None:
        """Return whether what follows confirms a line, or None if nothing follows."""
        if after is not None and after.complete:
            return after.prev == here.leaf
        if self._head is not None and here.seq is not None and self._head.next == here.seq + 1:
            return self._head.leaf == here.leaf
        return None

    def _lines(self, number: int, offset: int, line: int) -> Iterator[_Line]:
        for index in range(number, len(self._files)):
            path, last = self._files[index], index + 1 == len(self._files)
            with path.open("rb") as file:
                file.seek(offset)
                while stored := file.readline(_LONGEST_LINE + 2):
                    complete = stored.endswith(b"\n")
                    body = stored[:-1] if complete else stored
                    found = _LINE_END.search(body[-256:]) if body.startswith(_LINE_START) else None
                    yield _Line(
                        (path.name, line, offset),
                        sha256(b"\0" + body).hexdigest(),
                        found[1].decode() if found else None,
                        int(found[2]) if found else None,
                        complete,
                        last and not complete and len(stored) <= _LONGEST_LINE,
                        self._firsts[index] if line == 1 else None,
                    )
                    offset += len(stored)
                    line += 1
            offset, line = 0, 1


def _judge(walk: _Walk, bad: _Bad | None, head: _Head | None, held: tuple[int, str] | None) -> Report:
    """Return the report of a walk, compared with the head file and the checkpoint."""

    def report(verdict: Verdict, place: _Place | None, reason: str, *, checked: bool = False) -> Report:
        found = Report(
            verdict, walk.seq, walk.leaf if walk.seq else "", truncation_checked=checked, reason=reason
        )
        return found if place is None else replace(found, **place._asdict())

    if bad is not None:
        return report(bad.verdict, bad.place, bad.reason)
    if not walk.seq and head is None and held is None:
        return report(Verdict.UNVERIFIABLE, None, "There is no entry in this folder.")
    if head is not None and walk.seq < head.next:
        return report(Verdict.TRUNCATED, walk.end, f"The head file counts {head.next} entries.")
    if head is not None and head.next and walk.leaves[head.next - 1] != head.leaf:
        return report(
            Verdict.CHANGED, walk.places[head.next - 1], "The head file holds another hash of the line."
        )
    if held is not None:
        if walk.seq <= held[0]:
            return report(Verdict.TRUNCATED, walk.end, f"The checkpoint names entry {held[0]}.", checked=True)
        if walk.leaves[held[0]] != held[1]:
            return report(
                Verdict.FORKED,
                walk.places[held[0]],
                "The checkpoint holds another hash of the line.",
                checked=True,
            )
    completeness = (
        f"Nothing up to entry {held[0]} was cut off."
        if held is not None
        else "Whether newer entries were cut off could not be checked: no checkpoint held elsewhere was given."
    )
    if walk.torn:
        reason = (
            f"Bytes behind the last entry belong to none; the next writer moves them aside. {completeness}"
        )
        return report(Verdict.TORN, walk.end, reason, checked=held is not None)
    return report(Verdict.OK, None, completeness, checked=held is not None)


def _checkpoint(seq: int, leaf: bytes | str) -> tuple[int, str]:
    if isinstance(leaf, bytes):
        leaf = leaf.hex()
    if type(seq) is not int or seq < 0 or not re.fullmatch(r"[0-9a-f]{64}", leaf):
        raise ValueError("expect is a sequence number and a leaf hash of 32 bytes")
    return seq, leaf


def _read_head(path: Path) -> _Head | None:
    """Return what the head file says, or None if it is missing or damaged; the chain is checked without it too."""
    try:
        data = path.read_bytes() if path.stat().st_size == _HEAD_BYTES else b""
    except FileNotFoundError:
        return None
    if len(data) != _HEAD_BYTES or not data.startswith(_HEAD_MAGIC):
        return None
    _, _, size, leaf = _HEAD_FIELDS.unpack_from(data, _HEAD_START)
    end = _HEAD_START + _HEAD_FIELDS.size + 32 * size.bit_count()
    checksum = crc32(data[_HEAD_START:end]).to_bytes(4)
    if checksum != data[len(_HEAD_MAGIC) : _HEAD_START] or any(data[end:]):
        return None
    return _Head(size, leaf.hex())


# -- checkpoints: C2SP signed-note and tlog-checkpoint


class _Key(NamedTuple):
    """A public key: who signs, which of his keys, and its 32 bytes."""

    name: str
    id: bytes
    public: bytes


class _Signed(NamedTuple):
    """A checkpoint with a good signature: number of entries, root (hex), and whether it was held elsewhere."""

    size: int
    root: str
    is_held: bool


class _Roots:
    """The roots of the log's tree at the sizes that somebody asks for (RFC 6962 section 2.1)."""

    def __init__(self, sizes: set[int]) -> None:
        self._wanted = sorted(sizes, reverse=True)
        self._size = 0
        self._parts: list[bytes] = []  # roots of perfect subtrees, largest first
        self.found: dict[int, str] = {}
        self._look()

    def add(self, leaves: Sequence[str]) -> None:
        for leaf in leaves:
            if not self._wanted:
                return
            part, size = bytes.fromhex(leaf), self._size
            while size & 1:
                part, size = sha256(b"\1" + self._parts.pop() + part).digest(), size >> 1
            self._parts.append(part)
            self._size += 1
            self._look()

    def _look(self) -> None:
        if self._wanted and self._wanted[-1] == self._size:
            root = self._parts[-1] if self._parts else sha256().digest()
            for part in reversed(self._parts[:-1]):
                root = sha256(b"\1" + part + root).digest()
            self.found[self._wanted.pop()] = root.hex()


def _key(text: str) -> _Key:
    name, _, rest = text.strip().partition("+")
    given, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    found = _Key(name, sha256(name.encode() + b"\n" + raw).digest()[:4], raw[1:])
    if not name or len(raw) != 33 or raw[0] != 1 or found.id.hex() != given:
        raise ValueError("a key is name+hash+base64 of an Ed25519 public key")
    return found


def _own_notes(folder: Path) -> list[tuple[str, bool]]:
    try:
        paths = sorted(path for path in (folder / "checkpoints").iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    return [(path.read_text("utf-8", "replace"), False) for path in paths]


def _opened(notes: list[tuple[str, bool]], known: dict[tuple[str, bytes], _Key]) -> tuple[list[_Signed], str]:
    """Return the checkpoints that a known key signed, and what is wrong with the first of the others."""
    signed: list[_Signed] = []
    unsigned = ""
    for note, is_held in notes:
        try:
            size, root = _open_note(note, known)
        except ValueError as err:
            where = "held elsewhere" if is_held else "in the folder"
            unsigned = unsigned or f"A checkpoint {where} is not good: {err}."
        else:
            signed.append(_Signed(size, root, is_held))
    return signed, unsigned


def _open_note(note: str, known: dict[tuple[str, bytes], _Key]) -> tuple[int, str]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    body, _, under = note.rpartition("\n\n")
    lines = body.split("\n")
    if len(note) > 65_536 or len(lines) < 3 or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1], re.ASCII):
        raise ValueError("it is no checkpoint")
    text, is_signed = f"{body}\n".encode(), False
    for line in under.removesuffix("\n").split("\n"):
        found = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)", line)
        try:
            raw = base64.b64decode(found[2], validate=True) if found else b""
        except ValueError:
            raw = b""
        if found is None or len(raw) <= 4:
            raise ValueError("a line under it is no signature")
        key = known.get((found[1], raw[:4]))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text)
        except InvalidSignature:
            raise ValueError(f"the signature of {key.name} does not fit") from None
        is_signed = is_signed or key.name == lines[0]
    if not is_signed:
        raise ValueError("no known key of the log's own name signed it")
    root = base64.b64decode(lines[2], validate=True)
    if len(root) != 32:
        raise ValueError("its root is no hash")
    return int(lines[1]), root.hex()


def _with_checkpoints(found: Report, walk: _Walk, signed: list[_Signed], unsigned: str) -> Report:
    """Return the report, compared with the signed checkpoints."""
    if not found.ok:
        return found
    for one in sorted(signed):
        if one.size > walk.seq:
            reason = f"A signed checkpoint counts {one.size} entries."
            return replace(found, verdict=Verdict.TRUNCATED, truncation_checked=True, reason=reason)
        if walk.roots.found[one.size] != one.root:
            reason = f"The first {one.size} entries are not those that were signed."
            return replace(found, verdict=Verdict.FORKED, truncation_checked=True, reason=reason)
    largest = max((one.size for one in signed), default=None)
    if unsigned or largest is None:
        reason = unsigned or "There is no signed checkpoint."
        return replace(found, verdict=Verdict.UNSIGNED, checkpoint=largest, reason=reason)
    held = max((one.size for one in signed if one.is_held), default=None)
    said = f"The first {largest} entries are those that were signed."
    if held is not None:
        said += f" Nothing of the first {held} was cut off."
        return replace(found, checkpoint=largest, truncation_checked=True, reason=said)
    return replace(found, checkpoint=largest, reason=f"{said} {found.reason}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program of its own: ``python verifier.py FOLDER``; return 0 when the log is as it was written, else 1."""
    parser = argparse.ArgumentParser(description="Check an aisecure audit log.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="a signed checkpoint held elsewhere"
    )
    parser.add_argument("--key", action="append", default=[], help="public key of the log, or a file with it")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        report = verify(
            given.folder,
            checkpoints=[path.read_text("utf-8", "replace") for path in given.checkpoint],
            keys=[Path(key).read_text("utf-8", "replace") if "+" not in key else key for key in given.key],
        )
    except (OSError, ValueError) as err:
        parser.error(str(err))
    print(json.dumps(report.to_dict(), indent=2) if given.json else report)  # noqa: T201  (a program's output)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
