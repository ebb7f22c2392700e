"""Rules that meet a request by everything but the resource, arranged so that the resource is looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from aisecure.access._patterns import Pattern

__all__ = ["Bucket", "Choice", "Entry", "Test", "merged"]

#: What a request has to meet besides the resource's pattern.
Test = Callable[[Sequence[Any]], object]


class Entry(NamedTuple):
    """A rule as a bucket needs it.

    Attributes:
        pattern: What the resource has to match.
        others: What else has to hold.
        mark: Which rule it is, negative when it denies; how a mark weighs, the index says.
    """

    pattern: Pattern
    others: tuple[Test, ...]
    mark: int


# What cuts a beginning of the right length off a name, the beginning of the pattern, the pattern, what else has to hold,
# and the mark. To cut and compare takes fewer steps than to ask a text how it starts.
Choice = tuple[slice, str, Pattern, tuple[Test, ...], int]


class Bucket(NamedTuple):
    """Rules of one or several groups.

    Attributes:
        exact: Mark by resource.
        prefixes: Literal beginnings of patterns, sorted.
        choices: For each beginning the rules whose beginning it begins with, those that weigh most first.
        final: Whether a resource that is found literally needs no further look: no other rule can deny.
        sole: The only choices, when there is one beginning: most buckets need no search for it.
        further: Shared buckets of large groups.
    """

    exact: dict[str, int]
    prefixes: list[str]
    choices: list[tuple[Choice, ...]]
    final: bool
    sole: tuple[Choice, ...] = ()
    further: tuple[Bucket, ...] = ()


def merged(
    entries: Iterable[Entry], weight: Callable[[int], int], exact: dict[str, int] | None = None
) -> Bucket:
    """Return the bucket of some rules.

    Args:
        entries: The rules.
        weight: Of a mark; the least decides where several rules match.
        exact: Marks of further rules, each of one resource; becomes part of the bucket.
    """
    exact = {} if exact is None else exact
    final = all(mark > 0 for mark in exact.values())
    begun: dict[str, list[Choice]] = {}
    for pattern, others, mark in entries:
        final = final and mark > 0
        if pattern.exact is not None and not others:
            before = exact.get(pattern.exact, 0)
            if not before or weight(mark) < weight(before):
                exact[pattern.exact] = mark
        else:
            cut = slice(len(pattern.prefix))
            begun.setdefault(pattern.prefix, []).append((cut, pattern.prefix, pattern, others, mark))
    prefixes = sorted(begun)
    choices: list[tuple[Choice, ...]] = []
    open_: list[str] = []  # the beginnings of the current one, shortest first
    for prefix in prefixes:
        while open_ and not prefix.startswith(open_[-1]):
            open_.pop()
        open_.append(prefix)
        rules = [choice for beginning in open_ for choice in begun[beginning]]
        choices.append(tuple(sorted(rules, key=lambda choice: weight(choice[4]))))
    return Bucket(exact, prefixes, choices, final, choices[0] if len(choices) == 1 else ())
