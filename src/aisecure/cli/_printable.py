"""Texts from files and arguments, as a terminal may see them."""

from __future__ import annotations

import sys

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Return a text with everything escaped that a terminal might take as a command, hide, or not have.

    Control characters move the cursor and colour the screen; format characters turn the direction of what follows.

    >>> printable("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escaped(char) for char in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
