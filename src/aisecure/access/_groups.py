"""The rules of terms that ask for the same fields of a rule, in groups by the texts of these fields."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress, islice, product
from operator import eq
from typing import Any, Final

from aisecure.access._buckets import Bucket, Entry, Test, merged
from aisecure.access._matcher import PatternTest, Term
from aisecure.access._patterns import ALWAYS_LINEAR, PATTERNS, NotLinear, Pattern
from aisecure.access._policy import Policy, Row
from aisecure.access._roles import RoleGraph

__all__ = ["Groups", "Marks", "grouped"]

#: A group larger than this is not copied into the buckets that need it: they share its own, made when it is loaded.
_LARGE: Final = 64

_ANY = Pattern("")

#: Of the rule at a place in the policy: which it is, negative when it denies, or 0 when it has no say.
Marks = Callable[[int], int]


class Groups:
    """Rules found by what a request says apart from the resource.

    Args:
        terms: Terms alike but for what they ask of a request.
        resource: Position that is looked up inside a bucket.
        weaker: Terms of others that ask less: what they hold need not stand here, and may not be readable here.
        policy: The rules.
        marks: What the index calls each rule.
        weight: Of a mark.

    Raises:
        NotLinear: A pattern cannot be matched in linear time; its second argument is the rule's place.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        resource: int,
        weaker: Sequence[Term],
        policy: Policy,
        marks: Marks,
        weight: Callable[[int], int],
    ) -> None:
        self.terms = terms
        self._rules = policy.rules
        self._marks = marks
        self._weight = weight
        self._weaker = weaker
        self._fields = _fields(terms[0], resource)
        # A comparison of the resource is a pattern that one name matches, so that resources are not in the key.
        compared = [field for position, field in terms[0].equal if position == resource]
        self._compared = compared[0] if compared else None
        self._equals = compared[1:]
        patterns = list(terms[0].patterns)
        self._pattern = None
        if self._compared is None:
            self._pattern = next((test for test in patterns if test.asked == resource), None)
            if self._pattern is not None:
                patterns.remove(self._pattern)
        self._others = patterns
        self._rests = terms[0].rests
        self._read: dict[tuple[str, str], Pattern] = {}
        self._firsts, self._order, self._group_of = self._arranged()
        self._check()
        self._large = self._made_large()

    # -- grouping

    def _arranged(self) -> tuple[dict[Any, int], array[int], array[int]]:
        """Return the first rule of each group; the rules, those of a group together; and the first of the group of each.

        The two arrays are empty when every group holds one rule. A list a group would cost several times the memory and
        time, and so would a loop over the rules.
        """
        count = len(self._rules)
        firsts: dict[Any, int] = {}
        of = array("i", map(firsts.setdefault, self._rules.picked(self._fields), range(count)))
        if len(firsts) == count:
            return firsts, array("i"), array("i")
        order = sorted(range(count), key=of.__getitem__)
        return firsts, array("i", order), array("i", map(of.__getitem__, order))

    def _members(self, key: Any) -> Iterator[int]:
        """Yield the places of a group's rules."""
        first, groups = self._firsts[key], self._group_of
        if not groups:
            yield first
            return
        for at in range(bisect_left(groups, first), len(groups)):
            if groups[at] != first:
                break
            yield self._order[at]

    def met(self, values: Sequence[Any], graphs: Mapping[str, RoleGraph]) -> set[Any]:
        """Return the keys of the groups that a request meets."""
        found: set[Any] = set()
        known = self._firsts
        for term in self.terms:
            if any(values[position] != text for position, text in term.asked):
                continue
            options: dict[int, set[Any]] = {}
            for position, field in term.equal:
                if field in self._fields:
                    _narrow(options, field, {values[position]})
            for field, text in term.fixed:
                _narrow(options, field, {text})
            for link in term.links:
                tenant = values[link.tenant] if isinstance(link.tenant, int) else link.tenant or ""
                _narrow(options, link.field, graphs[link.graph].reach(values[link.asked], tenant))
            if not self._fields:
                found.update(known)  # one group, or none
            elif len(self._fields) == 1:
                found.update(key for key in options[self._fields[0]] if key in known)
            else:
                keys = product(*[options[field] for field in self._fields])
                found.update(key for key in keys if key in known)
        return found

    # -- buckets

    def large(self, key: Any) -> Bucket | None:
        """Return the bucket that a large group has for itself."""
        return self._large.get(key)

    def entries(self, key: Any) -> Iterator[Entry]:
        """Yield what a bucket needs of each rule of a group."""
        for place in self._members(key):
            entry = self._entry(place)
            if entry is not None:
                yield entry

    def _entry(self, place: int) -> Entry | None:
        mark = self._marks(place)
        if not mark:
            return None
        rule = self._rules[place]
        if self._compared is not None:
            text = rule[self._compared]
            if any(rule[field] != text for field in self._equals):
                return None  # one name cannot be two
            pattern = self._exactly(text)
        elif self._pattern is not None:
            found = self._readable(self._pattern, rule)
            if found is None:
                return None
            pattern = found
        else:
            pattern = _ANY
        others: list[Test] = []
        for test in self._others:
            found = self._readable(test, rule)
            if found is None:
                return None
            others.append(partial(_matches, found, test.asked))
        others += [partial(_holds, rest, rule) for rest in self._rests]
        return Entry(pattern, tuple(others), mark)

    def _readable(self, test: PatternTest, rule: Row) -> Pattern | None:
        try:
            return self._pattern_of(test.function, rule[test.field])
        except NotLinear:
            return None  # `_check` saw that it stands under a weaker term, too

    def _made_large(self) -> dict[Any, Bucket]:
        groups = self._group_of
        # Those whose first rule is still that of the rule so much further on.
        large = set(compress(groups, map(eq, groups, islice(groups, _LARGE, None))))
        return (
            {key: self._large_bucket(key) for key, first in self._firsts.items() if first in large}
            if large
            else {}
        )

    def _large_bucket(self, key: Any) -> Bucket:
        field = self._compared
        if self._pattern is not None and self._pattern.function == "keyMatch":
            field = self._pattern.field
        if field is None or self._equals or self._others or self._rests:
            return merged(self.entries(key), self._weight)
        # Most large groups name their resources one by one.
        names = self._rules.column(field)
        star = self._compared is None
        exact: dict[str, int] = {}
        patterns: list[int] = []
        marks, weight = self._marks, self._weight
        for place in self._members(key):
            name = names[place]
            if star and "*" in name:
                patterns.append(place)
            elif mark := marks(place):
                before = exact.get(name)
                if before is None or weight(mark) < weight(before):
                    exact[name] = mark
        return merged((entry for entry in map(self._entry, patterns) if entry), self._weight, exact)

    # -- patterns

    def _check(self) -> None:
        """Read each pattern that may be refused."""
        tests = [*([self._pattern] if self._pattern else []), *self._others]
        for test in tests:
            if test.function in ALWAYS_LINEAR:
                continue
            for text in dict.fromkeys(self._rules.column(test.field)):
                try:
                    self._pattern_of(test.function, text)
                except NotLinear as err:
                    self._excuse(test.field, text, err)

    def _excuse(self, field: int, text: str, err: NotLinear) -> None:
        for place, found in enumerate(self._rules.column(field)):
            if found == text and self._marks(place):
                rule = self._rules[place]
                here = any(term.holds(rule) for term in self.terms)
                if here and not any(term.holds(rule) for term in self._weaker):
                    raise NotLinear(str(err), place) from None

    def _pattern_of(self, function: str, text: str) -> Pattern:
        key = function, text
        pattern = self._read.get(key)
        if pattern is None:
            pattern = self._read[key] = PATTERNS[function](text)
        return pattern

    def _exactly(self, text: str) -> Pattern:
        return Pattern(text, exact=text)


def grouped(
    terms: Sequence[Term], resource: int, policy: Policy, marks: Marks, weight: Callable[[int], int]
) -> tuple[Groups, ...]:
    """Return groups for the terms, one for those that are alike in what they ask of a rule.

    Raises:
        NotLinear: As for `Groups`.
    """
    alike: dict[Any, list[Term]] = {}
    for term in terms:
        shape = (
            _fields(term, resource),
            tuple(e for e in term.equal if e[0] == resource),
            term.patterns,
            term.rests,
        )
        alike.setdefault(shape, []).append(term)
    return tuple(
        Groups(
            same,
            resource,
            [term for term in terms if term not in same and all(term.is_weaker(one) for one in same)],
            policy,
            marks,
            weight,
        )
        for same in alike.values()
    )


def _fields(term: Term, resource: int) -> tuple[int, ...]:
    """Return the fields of a rule whose texts say whether a request meets it, but for the resource."""
    equal = {field for position, field in term.equal if position != resource}
    return tuple(sorted(equal | {field for field, _ in term.fixed} | {link.field for link in term.links}))


def _narrow(options: dict[int, set[Any]], field: int, texts: set[Any]) -> None:
    options[field] = options[field] & texts if field in options else texts


def _matches(pattern: Pattern, position: int, values: Sequence[Any]) -> bool:
    return pattern.matches(values[position])


def _holds(rest: Callable[[Sequence[Any], Sequence[str]], Any], rule: Row, values: Sequence[Any]) -> Any:
    return rest(values, rule)
