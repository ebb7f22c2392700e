"""Which of many rules covers one: every request that meets the one meets the other, too.

That is looked up and not tried for each pair: the terms of a matcher say which texts a covering rule holds, and with
what its pattern may begin. What cannot be looked up is not claimed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Final, Generic, TypeVar

from aisecure.access._matcher import Link, PatternTest, Term
from aisecure.access._names import is_plain_path
from aisecure.access._patterns import PATTERNS, NotLinear, Pattern
from aisecure.access._policy import Row
from aisecure.access._snapshot import Snapshot

__all__ = ["Covers", "Shape"]

#: So many of the roles that a role has are tried.
_ROLES: Final = 64
#: Patterns that have to be tested: so many with the same beginning, and so many tests in all.
_TESTED: Final = 8
_TESTS: Final = 500_000
#: A tenant that no policy can name, so that only the links of every tenant hold in it.
_NO_TENANT: Final = "\0"

Held = TypeVar("Held")


class Shape:
    """What the rules of a policy have in common: the terms of their matcher, and what roles reach.

    Args:
        version: The policy.
        terms: Its matcher; nothing in it is evaluated, nor can fail.
        shallow: Role definitions without a cycle or a chain that Casbin does not follow to its end; in others, who has
            a role need not have what that role has.
    """

    def __init__(self, version: Snapshot, terms: Sequence[Term], shallow: Collection[str]) -> None:
        self.terms = terms
        self._graphs = version.graphs
        self._shallow = shallow
        self._fixed = sorted({pair for term in terms for pair in term.fixed})
        self._holding: dict[tuple[bool, ...], tuple[int, ...]] = {}
        self.pattern = lru_cache(maxsize=1 << 16)(_pattern)
        self.roles = lru_cache(maxsize=1 << 16)(self._roles)

    def holding(self, rule: Row) -> tuple[int, ...]:
        """Return the numbers of the terms by which requests meet a rule, without those that another makes needless."""
        key = tuple([rule[field] == text for field, text in self._fixed])
        found = self._holding.get(key)
        if found is None:
            terms = [(number, term) for number, term in enumerate(self.terms) if term.holds(rule)]
            found = self._holding[key] = tuple(
                number for number, term in terms if not any(other.is_weaker(term) for _, other in terms)
            )
        return found

    def _roles(self, graph: str, name: str, tenant: str, *, is_name: bool) -> tuple[str, ...]:
        """Return what everybody has who has a role, or what a name has: the role or name itself first."""
        if not is_name and graph not in self._shallow:
            return (name,)
        reached = self._graphs[graph].reach(name, tenant)
        return (name, *sorted(reached - {name})[:_ROLES])


def _pattern(function: str, text: str) -> Pattern | None:
    try:
        return PATTERNS[function](text)
    except NotLinear:
        return None  # in a rule that the term does not hold for


class Covers:
    """Rules that may cover others, of which the first that was added counts where several cover the same.

    Args:
        shape: Of the policy.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._nodes: dict[int, dict[tuple[str, ...], _Node]] = {}
        size = len(shape.terms)
        self._ways = [
            [way for wide in range(size) if (way := _Way.of(shape, narrow, wide)) is not None]
            for narrow in range(size)
        ]
        self._tests = _TESTS

    def add(self, rule: Row, place: int) -> None:
        """Let a rule cover others."""
        for number in self._shape.holding(rule):
            term = self._shape.terms[number]
            key = (
                *[rule[field] for _, field in term.equal],
                *[rule[link.field] for link in term.links],
                *[rule[test.field] for test in term.patterns[1:]],
            )
            nodes = self._nodes.setdefault(number, {})
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = _Node()
            if not term.patterns:
                node.same.setdefault("", place)
                continue
            text = rule[term.patterns[0].field]
            node.same.setdefault(text, place)
            pattern = self._shape.pattern(term.patterns[0].function, text)
            if pattern is not None:
                node.add(pattern, place)

    def of(self, number: int, rule: Row, usable: Callable[[int], bool], *, spelled: bool) -> int | None:
        """Return the place of a rule that covers what meets another by a term; None when none is found.

        Args:
            number: Of the term.
            rule: The other.
            usable: Whether the rule at a place counts.
            spelled: Whether a name that is not spelled plainly meets the patterns of these rules.
        """
        for way in self._ways[number]:
            nodes = self._nodes.get(way.wide)
            if not nodes:
                continue
            for key in way.keys(rule):
                node = nodes.get(key)
                if node is not None:
                    for place in self._in(node, way, rule, spelled=spelled):
                        if usable(place):
                            return place
        return None

    def _in(self, node: _Node, way: _Way, rule: Row, *, spelled: bool) -> Iterator[int]:
        if way.same is not None:
            place = node.same.get(rule[way.same] if way.same >= 0 else "")
            if place is not None:
                yield place
        for literal, beginning in way.names(rule):
            if literal is None:
                yield from node.open_for(beginning)
                continue
            if literal in node.exact:
                yield node.exact[literal]
            if spelled or is_plain_path(literal):
                yield from node.open_for(literal)
                for pattern, place in node.tested_for(literal):
                    self._tests -= 1
                    if self._tests >= 0 and pattern.matches(literal):
                        yield place


class _Way:
    """How rules of one term may cover those of another: where the texts are that a covering rule has to hold.

    Attributes:
        wide: Number of the covering term.
        same: Field whose text the first pattern of the covering rule may have; -1 where it has no pattern, None where
            the covered rule has none for the same.
    """

    def __init__(self, shape: Shape, narrow: Term, wide: int) -> None:
        self.wide = wide
        self.same: int | None = None
        self._shape = shape
        self._compared = dict(narrow.equal)
        self._patterns: dict[int, list[PatternTest]] = {}
        for test in narrow.patterns:
            self._patterns.setdefault(test.asked, []).append(test)
        links = {link._replace(field=-1): link.field for link in narrow.links}
        # Each role condition of the covering rule, and the field of the covered one that names a role for the same.
        self._linked_at = [(link, links.get(link._replace(field=-1))) for link in shape.terms[wide].links]
        self._first: int | None = None

    @classmethod
    def of(cls, shape: Shape, narrow: int, wide: int) -> _Way | None:
        """Return the way from one term to another, None when there is none."""
        way, term = cls(shape, shape.terms[narrow], wide), shape.terms[wide]
        asked = {position for position, _ in term.equal} | {test.asked for test in term.patterns}
        if not asked <= way._compared.keys() | way._patterns.keys():
            return None
        if any(field is None and link.asked not in way._compared for link, field in way._linked_at):
            return None
        if any(way._field_of(test) is None for test in term.patterns[1:]):
            return None
        if term.patterns:
            way._first = term.patterns[0].asked
            way.same = way._field_of(term.patterns[0])
        else:
            way.same = -1
        return way

    def _field_of(self, wanted: PatternTest) -> int | None:
        tests = self._patterns.get(wanted.asked, ())
        return next((test.field for test in tests if test.function == wanted.function), None)

    def keys(self, rule: Row) -> Iterator[tuple[str, ...]]:
        """Yield the texts that a covering rule may hold, in the order in which `Covers` keeps them."""
        term = self._shape.terms[self.wide]
        options: list[tuple[str, ...]] = []
        for position, _ in term.equal:
            text = self._text(position, rule)
            if text is None:
                return
            options.append((text,))
        for link, field in self._linked_at:
            options.append(self._linked(link, field, rule))
        for test in term.patterns[1:]:
            field = self._field_of(test)
            options.append(() if field is None else (rule[field],))
        yield from product(*options)

    def _text(self, position: int, rule: Row) -> str | None:
        """Return the only name at a position that meets a rule, None when there are others."""
        field = self._compared.get(position)
        if field is not None:
            return rule[field]
        return next((name for name, _ in self._at(position, rule) if name is not None), None)

    def _linked(self, link: Link, field: int | None, rule: Row) -> tuple[str, ...]:
        if isinstance(link.tenant, int):
            tenant = self._text(link.tenant, rule)
            tenant = _NO_TENANT if tenant is None else tenant
        else:
            tenant = link.tenant or ""
        if field is not None:
            return self._shape.roles(link.graph, rule[field], tenant, is_name=False)
        name = self._text(link.asked, rule)
        return () if name is None else self._shape.roles(link.graph, name, tenant, is_name=True)

    def names(self, rule: Row) -> Iterator[tuple[str | None, str]]:
        """Yield what is known of the names that meet a rule where the first pattern looks: the only one, or how they begin."""
        if self._first is not None:
            yield from self._at(self._first, rule)

    def _at(self, position: int, rule: Row) -> Iterator[tuple[str | None, str]]:
        field = self._compared.get(position)
        if field is not None:
            yield rule[field], ""
        for test in self._patterns.get(position, ()):
            pattern = self._shape.pattern(test.function, rule[test.field])
            if pattern is not None:
                yield pattern.exact, pattern.prefix


class _Node:
    """Rules with the same texts but for one pattern."""

    __slots__ = ("_open", "_tested", "exact", "same")

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.same: dict[str, int] = {}
        self._open: _Beginnings[int] | None = None
        self._tested: _Beginnings[list[tuple[Pattern, int]]] | None = None

    def add(self, pattern: Pattern, place: int) -> None:
        if pattern.exact is not None:
            self.exact.setdefault(pattern.exact, place)
        elif pattern.open:
            if self._open is None:
                self._open = _Beginnings()
            self._open.held.setdefault(pattern.prefix, place)
        else:
            if self._tested is None:
                self._tested = _Beginnings()
            tests = self._tested.held.setdefault(pattern.prefix, [])
            if len(tests) < _TESTED:
                tests.append((pattern, place))

    def open_for(self, name: str) -> Iterator[int]:
        """Yield the rules that take everything which begins so, or with a part of it."""
        return iter(()) if self._open is None else self._open.of(name)

    def tested_for(self, name: str) -> Iterator[tuple[Pattern, int]]:
        """Yield the patterns to test a name with."""
        if self._tested is not None:
            for tests in self._tested.of(name):
                yield from tests


class _Beginnings(Generic[Held]):
    """Things by a literal beginning."""

    __slots__ = ("_shorter", "_sorted", "held")

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self._sorted: list[str] = []
        self._shorter: list[int] = []

    def of(self, name: str) -> Iterator[Held]:
        """Yield what is held of beginnings of a name, the longest first."""
        if len(self._sorted) != len(self.held):
            self._sort()
        # Whatever begins the name also begins the last beginning that is not after it.
        at = bisect_right(self._sorted, name) - 1
        while at >= 0:
            if name.startswith(self._sorted[at]):
                yield self.held[self._sorted[at]]
            at = self._shorter[at]

    def _sort(self) -> None:
        self._sorted = sorted(self.held)
        self._shorter = []
        open_: list[int] = []
        for at, beginning in enumerate(self._sorted):
            while open_ and not beginning.startswith(self._sorted[open_[-1]]):
                open_.pop()
            self._shorter.append(open_[-1] if open_ else -1)
            open_.append(at)
