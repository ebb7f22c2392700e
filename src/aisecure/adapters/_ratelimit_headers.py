"""What is left of limits as header fields: RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-09.

The draft registers units for requests, bytes and concurrent requests; budgets of tokens and money are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from aisecure.standing import Standing

__all__ = ["ratelimit_headers"]

#: What a string of a structured field may hold (RFC 9651 section 3.3.3), without quote and backslash.
_OTHER = re.compile(r"[^ !#-\[\]-~]")
#: The largest whole number of a structured field (section 3.3.1).
_LARGEST = 999_999_999_999_999


def ratelimit_headers(standings: Iterable[Standing]) -> list[tuple[str, str]]:
    """Return the fields, with lower-case names; none when nothing was limited.

    >>> ratelimit_headers([Standing("chat", 10, 60, 7, 12.3)])
    [('ratelimit-policy', '"chat/60";q=10;w=60'), ('ratelimit', '"chat/60";r=7;t=13')]
    """
    latest = {
        (standing.name, standing.window_seconds, standing.limit): standing
        for standing in standings
        if standing.unit == "requests"
    }
    if not latest:
        return []
    policies, left = [], []
    for standing in latest.values():
        name = f"{_OTHER.sub('_', standing.name)[:80]}/{standing.window_seconds}"
        policies.append(f'"{name}";q={_whole(standing.limit)};w={_whole(standing.window_seconds)}')
        left.append(f'"{name}";r={_whole(standing.remaining)};t={_whole(math.ceil(standing.reset_seconds))}')
    return [("ratelimit-policy", ", ".join(policies)), ("ratelimit", ", ".join(left))]


def _whole(number: int) -> int:
    return max(0, min(int(number), _LARGEST))
