"""E-mail addresses (RFC 5321, 5322, 6531): dot-atom local parts and host names, also internationalised.

Not covered: quoted local parts and address literals in brackets. A local part counts up to `LOCAL_MAX`
characters, more than RFC 5321 section 4.5.3.1.1 allows, so that an over-long one is redacted whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["EMAIL", "KIND"]

KIND = "pii.email"
#: With `DOMAIN_MAX` and the ``@`` below `blocks.STRIDE` + 1.
LOCAL_MAX = 100
DOMAIN_MAX = 99

# In the queries of links it is percent-encoded (RFC 3986 section 2.1).
_SIGN = lazy("@|%40")
_AFTER_LAST_FOREIGN = lazy(r".*[^\w.+%'~-]", re.DOTALL)
_DOMAIN = lazy(r"(?:[^\W_][\w-]{0,62}\.)+([^\W_][\w-]{0,62})")
_ASCII_TLD = lazy(r"xn--[a-z0-9-]{2,59}|[a-z]{2,24}", re.IGNORECASE | re.ASCII)
_OTHER_TLD = lazy(r"[^\W\d_]{2,24}")
# image@2x.png, unit@instance.service: file names, not hosts.
_FILE_SUFFIXES = frozenset({"gif", "jpeg", "jpg", "png", "service", "socket", "svg", "timer", "webp"})


def _find(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    free = at  # an address does not begin inside the one before
    for found in _SIGN.finditer(window, at):
        sign = found.start()
        low = max(free, sign - LOCAL_MAX)
        foreign = _AFTER_LAST_FOREIGN.match(window[low:sign])
        start = low + foreign.end() if foreign else low
        while start < sign and window[start] in ".+%'~-":
            start += 1
        end = _domain_end(window, found.end()) if start < sign else 0
        if end and not _is_repository(window, start, sign, end):
            yield Candidate(start, end, KIND, 1.0)
            free = end


def _domain_end(window: str, start: int) -> int:
    """Return the end of the host name that begins here, or 0."""
    host = _DOMAIN.match(window, start, start + DOMAIN_MAX)
    if host is None:
        return 0
    # Walk back over labels that cannot be a top-level domain: a@example.com.42, a@example.com.x_y
    labels_end, label_start = host.end(), host.start(1)
    while True:
        pattern = _ASCII_TLD if window[label_start].isascii() else _OTHER_TLD
        top = pattern.match(window, label_start, labels_end)
        if top is not None:
            return 0 if top.group().lower() in _FILE_SUFFIXES else top.end()
        labels_end = label_start - 1
        label_start = window.rfind(".", start, labels_end) + 1
        if label_start == 0:
            return 0


def _is_repository(window: str, start: int, sign: int, end: int) -> bool:
    """Whether this is the address of a repository, ``git@host:path``."""
    return (
        window[start:sign] == "git"
        and window.startswith(":", end)
        and not window[end + 1 : end + 2].isdigit()
    )


EMAIL = Recognizer((KIND,), lazy("@|%99"), _find)
