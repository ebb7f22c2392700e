"""Which names may be asked about: what one reader takes for two names, or two for one, is refused.

A policy compares spellings. A web server, a file system or a log may take another spelling for the same thing
(CWE-41, CWE-180), so a deny rule for ``/files/secret/*`` would not meet ``/files//secret/x``. Nothing is
normalised here, since only the application knows how: such a name is denied, and the application asks again with
the plain one.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAX_NAME", "has_control", "is_plain", "is_plain_path"]

#: Longest name, in characters. Web servers commonly take 8 KiB for a request line; no name needs more.
MAX_NAME: Final = 8192

# C0, DEL, C1, the two Unicode line separators, and halves of surrogate pairs, which no UTF-8 text can hold.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PERCENT = re.compile("%[0-9A-Fa-f]{2}")
_DOTS = re.compile(r"(?:\A|[/:])\.\.?(?:/|\Z)")


def has_control(text: str) -> bool:
    """Whether the text holds a control character, a line separator or a lone surrogate."""
    # isprintable is a cheap no; it also says no to harmless things, so the expression has the last word.
    return not text.isprintable() and _CONTROL.search(text) is not None


def is_plain(name: str) -> bool:
    """Whether the name has a sensible length and holds neither control characters nor line breaks."""
    return len(name) <= MAX_NAME and (name.isprintable() or _CONTROL.search(name) is None)


def is_plain_path(name: str) -> bool:
    """Whether the name is also free of ``//``, ``.`` and ``..`` segments and percent-encoding.

    >>> is_plain_path("/files/a.txt"), is_plain_path("/files/../secret"), is_plain_path("/files/%73ecret")
    (True, False, False)
    """
    if not is_plain(name) or "//" in name:
        return False
    if "%" in name and _PERCENT.search(name):
        return False
    return "." not in name or _DOTS.search(name) is None
