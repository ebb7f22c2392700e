"""Text that UTF-8 can hold: lone surrogates come in through JSON escapes and ``surrogateescape``."""

from __future__ import annotations

import re

__all__ = ["checked", "well_formed"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    r"""Return the text with each surrogate code point replaced by U+FFFD; text without any comes back as it is.

    >>> well_formed("a\ud83d") == "a\N{REPLACEMENT CHARACTER}"
    True
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def checked(text: str) -> str:
    """Return a text without lone surrogates, for an encoder.

    Raises:
        TypeError: It is no str.
    """
    if not isinstance(text, str):
        raise TypeError("encode takes a str; format numbers and decode bytes first")
    return well_formed(text)
