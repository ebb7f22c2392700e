"""Which content types request bodies may have, the same for every framework."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from aisecure.adapters._bodies import media_type
from aisecure.errors import InputRejected, Misconfigured

__all__ = ["ContentTypes"]

_WORD = r"[a-z0-9!#$&^_.+-]{1,127}"
_TYPE = re.compile(rf"{_WORD}/(?:\*|{_WORD})")


class ContentTypes:
    """Media types that are taken, everywhere or by path.

    Args:
        types: Such as ``["application/json"]``, or for each path: ``{"/files": ["multipart/form-data"], "/*":
            ["application/json"]}``. A path is exact, or everything below one as ``/api/*``; the first that fits counts, and where
            none does all types are taken. A type may be a family, as ``image/*``.

    Raises:
        Misconfigured: It is none of these.
    """

    __slots__ = ("_rules",)

    def __init__(self, types: Collection[str] | Mapping[str, Collection[str]]) -> None:
        rules = types if isinstance(types, Mapping) else {"/*": types}
        self._rules = tuple((path, _media_types(listed)) for path, listed in rules.items())
        if not all(path.startswith("/") for path in rules):
            raise Misconfigured('content_types: paths begin with "/"', code="config.content_types")

    def refusal(self, path: str, stated: Sequence[str]) -> InputRejected | None:
        """Return why a body may not come in, or None.

        Args:
            path: Of the request.
            stated: Every value of ``Content-Type``.
        """
        taken = next((types for rule, types in self._rules if _fits(rule, path)), None)
        if taken is None:
            return None
        kind = (
            media_type(stated[0]) if len(stated) == 1 else ""
        )  # two would be read differently by different readers
        if kind in taken or f"{kind.partition('/')[0]}/*" in taken:
            return None
        return InputRejected(
            f"A body has to have one of these content types: {', '.join(sorted(taken))}.",
            code="input.content_type",
        )


def _media_types(listed: Collection[str]) -> frozenset[str]:
    types = frozenset(listed)
    if isinstance(listed, str) or not types or not all(_TYPE.fullmatch(each.lower()) for each in types):
        raise Misconfigured(
            'content_types: list media types, such as ["application/json"]', code="config.content_types"
        )
    return frozenset(each.lower() for each in types)


def _fits(rule: str, path: str) -> bool:
    return path.startswith(rule[:-1]) if rule.endswith("/*") else path == rule
