"""Commands as Redis reads them (RESP), put together with as little work as a hit can bear."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Request", "Script", "Wired", "packed", "request"]


def _wired(arguments: Sequence[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


class Wired:
    """Arguments of a command that every call repeats, and the same as they go over the wire."""

    __slots__ = ("packed", "parts")

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.packed = _wired(parts)


NOTHING = Wired()


class Script:
    """A Lua script, known to the server by its digest once it ran."""

    __slots__ = ("by_digest", "source", "whole")

    def __init__(self, source: bytes) -> None:
        self.source = source
        # The name that Redis gives a script, no protection of anything.
        digest = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        self.by_digest = _wired((b"EVALSHA", digest))
        self.whole = _wired((b"EVAL", source))


class Request(NamedTuple):
    """The call of a script but for the script, whose digest or source goes between the two pieces."""

    key: bytes
    head: bytes
    rest: bytes


def request(keys: Sequence[bytes], args: Sequence[bytes], more: Wired = NOTHING) -> Request:
    """Return the call of a script.

    Args:
        keys: Its KEYS; on a Cluster all in one slot.
        args: Its ARGV.
        more: Further ARGV, packed once.
    """
    head = b"*%d\r\n" % (3 + len(keys) + len(args) + len(more.parts))
    return Request(keys[0], head, _wired([b"%d" % len(keys), *keys, *args]) + more.packed)


def packed(*arguments: bytes) -> bytes:
    """Return a whole command."""
    return b"*%d\r\n" % len(arguments) + _wired(arguments)
