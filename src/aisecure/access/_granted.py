"""What a policy lets somebody reach, as names and beginnings of names: for stores that filter before we do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aisecure.access._buckets import Bucket

__all__ = ["EVERYTHING", "Granted", "granted"]

#: Most names and beginnings; a filter with more costs a store more than it saves.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Granted:
    """Resources on which a principal may do an action; an outline that a decision on each still has to confirm.

    Attributes:
        exact: Single resources.
        prefixes: What further resources begin with; the empty one stands for all.
        denied_exact: Single resources that are denied for certain.
        denied_prefixes: What further resources begin with that are denied for certain.
        complete: Whether nothing else can be allowed. When False, the policy cannot be put so; ask about each resource.
    """

    exact: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    denied_exact: frozenset[str] = frozenset()
    denied_prefixes: tuple[str, ...] = ()
    complete: bool = True

    def may_cover(self, resource: str) -> bool:
        """Whether the resource can be allowed; False is certain.

        >>> Granted(frozenset({"note:1"}), ("document:",)).may_cover("document:42")
        True
        """
        if not self.complete:
            return True
        if resource in self.denied_exact or resource.startswith(self.denied_prefixes):
            return False
        return resource in self.exact or resource.startswith(self.prefixes)


#: Nothing can be said.
EVERYTHING: Final = Granted(complete=False)


def granted(buckets: Iterable[Bucket], *, deny_wins: bool) -> Granted:
    """Return what the rules of buckets cover.

    Args:
        buckets: Those of a principal's names, with the large ones they share.
        deny_wins: Whether a rule that denies outweighs every other.
    """
    allowed: set[str] = set()
    prefixes: set[str] = set()
    denied: set[str] = set()
    denied_prefixes: set[str] = set()
    for bucket in buckets:
        for name, mark in bucket.exact.items():
            (allowed if mark > 0 else denied).add(name)
        for prefix, choices in zip(bucket.prefixes, bucket.choices, strict=True):
            for _, beginning, pattern, others, mark in choices:
                if beginning != prefix:
                    continue  # seen at its own place
                if mark > 0:
                    # A pattern or a further condition narrows what begins so; this is an outline.
                    if pattern.exact is None:
                        prefixes.add(prefix)
                    else:
                        allowed.add(pattern.exact)
                elif not others and pattern.open:
                    denied_prefixes.add(prefix)
                elif not others and pattern.exact is not None:
                    denied.add(pattern.exact)
        if len(allowed) + len(prefixes) > _MOST:
            return EVERYTHING
    if not deny_wins or len(denied) + len(denied_prefixes) > _MOST:
        denied, denied_prefixes = set(), set()
    return Granted(
        frozenset(allowed - denied),
        _shortest(prefixes),
        frozenset(denied),
        _shortest(denied_prefixes),
    )


def _shortest(prefixes: set[str]) -> tuple[str, ...]:
    """Return the beginnings, sorted, without those that another covers."""
    found: list[str] = []
    for prefix in sorted(prefixes):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return tuple(found)
