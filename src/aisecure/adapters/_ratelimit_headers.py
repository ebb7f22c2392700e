"""What is left of limits as header fields: RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-11.

The draft (of 23 May 2026, not a standard yet) has units for requests, bytes and concurrent requests, and allows no others:
budgets of tokens and money are left out. There is no partition key (``pk``): it would tell who counts together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import chain, count

from aisecure.standing import Standing

__all__ = ["ratelimit_headers"]

#: What a string of a structured field may not hold (RFC 9651 section 3.3.3), with quote and backslash.
_OTHER = re.compile(r"[^ !#-\[\]-~]")
#: ``Retry-After`` as whole seconds; it may also hold a date, or what an application wrote.
_SECONDS = re.compile(r"[0-9]{1,15}")
#: The largest whole number of a structured field (section 3.3.1).
_LARGEST = 999_999_999_999_999
#: A longer name of a limit is cut.
_MAX_NAME = 80


def ratelimit_headers(standings: Iterable[Standing], retry_after: str = "") -> list[tuple[str, str]]:
    """Return the fields, with lower-case names; none when nothing was limited.

    ``t`` is when the whole limit is there again. It is longer where ``r`` in so short a time would be a faster pace than
    the limit's, which the draft wants capped (section 6), and no longer than ``Retry-After`` where nothing is left.

    Args:
        standings: As they were told. Of several for one limit, as when two tools have a count each, the lowest is shown.
        retry_after: Value of that header field, if the response has one.

    >>> ratelimit_headers([Standing("chat", 10, 60, 7, 52.3)])
    [('ratelimit-policy', '"chat/60";q=10;w=60'), ('ratelimit', '"chat/60";r=7;t=53')]
    """
    lowest: dict[tuple[str, int, int], Standing] = {}
    for standing in standings:
        if standing.unit == "requests":
            limit = standing.name, standing.window_seconds, standing.limit
            known = lowest.get(limit)
            if known is None or standing.remaining <= known.remaining:
                lowest[limit] = standing
    if not lowest:
        return []
    policies: dict[str, str] = {}
    left = []
    for standing in lowest.values():
        plain = f"{_OTHER.sub('_', standing.name)[:_MAX_NAME]}/{standing.window_seconds}"
        # Names that differ only in what a field cannot hold, or in their ends, are told apart by the limit, or by number.
        more = chain(("", f"/{standing.limit}"), map("/{}".format, count(2)))
        name = next(plain + each for each in more if plain + each not in policies)
        policies[name] = f'"{name}";q={_whole(standing.limit)};w={_whole(standing.window_seconds)}'
        left.append(f'"{name}";r={_whole(standing.remaining)};t={_whole(_seconds(standing, retry_after))}')
    return [("ratelimit-policy", ", ".join(policies.values())), ("ratelimit", ", ".join(left))]


def _seconds(standing: Standing, retry_after: str) -> int:
    if standing.remaining > 0:
        paced: float = standing.remaining * standing.window_seconds / standing.limit
        return math.ceil(max(standing.reset_seconds, paced))
    seconds = math.ceil(standing.reset_seconds)
    return min(seconds, int(retry_after)) if _SECONDS.fullmatch(retry_after) else seconds


def _whole(number: int) -> int:
    return max(0, min(int(number), _LARGEST))
