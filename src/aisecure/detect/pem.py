"""Private key blocks (RFC 7468, RFC 4880 armour): the only entity that goes over white space and lines."""

from __future__ import annotations

from aisecure.detect.expressions import lazy

__all__ = [
    "BODY_WITHIN",
    "END_MAX",
    "HEADER",
    "HEADER_MAX",
    "KIND",
    "SPAN_MAX",
    "body",
    "closing",
    "unfinished",
]

KIND = "secret.private_key"

_LABEL = r"(?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
HEADER = lazy(rf"-----BEGIN {_LABEL}")
_END = lazy(rf"-----END {_LABEL}")
#: Longest header: 11 + 3 * 17 + 11 + 6 + 5.
HEADER_MAX = 84
END_MAX = 82
#: A header is the start of a key when base64 follows within this many characters (armour headers such as
#: "Proc-Type: 4,ENCRYPTED" stand between). A mere mention of the header is not a key.
BODY_WITHIN = 280
_BODY = lazy(r"[A-Za-z0-9+/]{24}")
#: A block whose end line never comes ends here; a 16,384-bit RSA key takes 13,000 characters.
SPAN_MAX = 65_536

_UNFINISHED = lazy(r"-(?:-(?:-(?:-(?:-(?:B(?:E(?:G(?:I(?:N(?: [A-Z0-9 ]{0,68}-{0,4})?)?)?)?)?)?)?)?)?)?\Z")


def unfinished(text: str, start: int) -> int:
    """Return where a header may have begun that ``text[start:]`` does not finish, or the text's length."""
    low = max(start, len(text) - HEADER_MAX)
    tail = text[low:]
    found = _UNFINISHED.search(tail) if "-" in tail else None
    return low + found.start() if found else len(text)


def body(text: str, header_end: int) -> bool | None:
    """Whether a key follows the header; None while too little text is known to say."""
    if _BODY.search(text, header_end, header_end + BODY_WITHIN):
        return True
    return None if len(text) < header_end + BODY_WITHIN else False


def closing(text: str, start: int, end: int) -> int | None:
    """Return the end of the block's end line inside ``text[start:end]``, or None."""
    found = _END.search(text, start, end)
    return found.end() if found else None
