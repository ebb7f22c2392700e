"""Commands as Redis reads them (RESP), put together with as little work as a hit can bear."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["NOTHING", "Script", "Wired", "command"]


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


def command(
    script: Script, keys: Sequence[bytes], args: Sequence[bytes], more: Wired
) -> tuple[bytes, bytes, bytes]:
    """Return the call of a script in three pieces; `Script.by_digest` or `Script.whole` goes between the first two."""
    head = b"*%d\r\n" % (3 + len(keys) + len(args) + len(more.parts))
    count = b"%d" % len(keys)
    return head, b"$%d\r\n%b\r\n" % (len(count), count) + _wired([*keys, *args]), more.packed


def packed(*arguments: bytes) -> bytes:
    """Return a whole command."""
    return b"*%d\r\n" % len(arguments) + _wired(arguments)
