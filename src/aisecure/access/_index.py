"""Decisions by look-up: the rules of a policy, arranged by what a request can name.

Rules lie in groups: those of one term whose texts for ``==`` and whose role are the same. What a request says
apart from the resource picks a few groups, and these are merged once into a *bucket* that is then found by one
look-up; the resource is looked up in the bucket, literally and by the literal beginnings of patterns. So a decision
costs the same with ten rules and with a hundred thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aisecure.access._matcher import Term
from aisecure.access._model import Definition, Effect
from aisecure.access._names import MAX_NAME, is_plain, is_plain_path
from aisecure.access._patterns import PATTERNS, NotLinear, Pattern
from aisecure.access._policy import Policy
from aisecure.access._roles import RoleGraph
from aisecure.errors import Misconfigured

__all__ = ["UNPLAIN", "Index"]

#: In the place of a line: a rule might allow, but a name is not spelled plainly.
UNPLAIN: Final = -(1 << 62)

#: Most requests whose bucket is remembered, and most entries that remembered buckets hold of their own; beyond,
#: they are forgotten and made again.
_REQUESTS: Final = 1 << 16
_ENTRIES: Final = 1 << 18

#: A group larger than this is not copied into the buckets that need it: they share its own.
_LARGE: Final = 64

#: (request, further names of the subject) -> line of the rule that decides.
Judge = Callable[..., int]

_NO_ROLES: frozenset[str] = frozenset()

# Stands for every name that the policy does not know, so that such names are never remembered.
_UNKNOWN = None


class _Entry(NamedTuple):
    """A rule as a bucket needs it.

    Attributes:
        pattern: What the resource has to match.
        others: Positions of the request and what they have to match besides.
        line: Line of the rule, negative when it denies.
    """

    pattern: Pattern
    others: tuple[tuple[int, Pattern], ...]
    line: int


# Beginning of the pattern, the pattern, what else has to match, and the line.
_Choice = tuple[str, Pattern, tuple[tuple[int, Pattern], ...], int]


class _Bucket(NamedTuple):
    """Rules that meet a request by everything but the resource.

    Attributes:
        exact: Line by resource.
        prefixes: Literal beginnings of patterns, sorted.
        choices: For each beginning the rules whose beginning it begins with; those that deny come first.
        final: Whether a resource that is found literally needs no further look: no other rule can deny.
        further: Shared buckets of large groups.
    """

    exact: dict[str, int]
    prefixes: list[str]
    choices: list[tuple[_Choice, ...]]
    final: bool
    further: tuple[_Bucket, ...] = ()


_ANY = Pattern("")


class Index:
    """A compiled policy; immutable but for the buckets that it remembers, which are bounded.

    Args:
        definition: The model.
        terms: Its matcher, taken apart.
        policy: The rules.
        graphs: Role graphs by name.
        subject: Position of the asking name in the request, or None.
        source: What error texts call the policy.

    Attributes:
        subjects: The subjects that make a difference, the others being all alike; None when a pattern sees them.
        patterns: Positions of the request that patterns see, besides the resource; `judge` takes them for plain.
        unseen: Positions that make no difference.

    Raises:
        Misconfigured: A pattern of a rule cannot be matched in linear time.
    """

    def __init__(
        self,
        definition: Definition,
        terms: Iterable[Term],
        policy: Policy,
        graphs: Mapping[str, RoleGraph],
        subject: int | None,
        source: str,
    ) -> None:
        terms = tuple(terms)
        self._graphs = graphs
        self._subject = subject
        self._resource = _resource(definition, terms, policy, subject)
        self._terms = _filled(definition, terms, policy, self._resource, source)
        known = self._collect(policy)
        self._key = tuple(sorted(known))
        if len(self._key) == 1:
            self._key *= 2  # so that what is picked is a tuple
        self._pick = _picker(self._key)
        # By position, each known text by itself: what is not found is unknown.
        self._known = tuple({text: text for text in known[position]} for position in self._key)
        patterns = {test.asked for term in terms for test in term.patterns}
        self._each = subject is not None and (subject in patterns or subject == self._resource)
        self.subjects = None if subject is None or self._each else known.get(subject, frozenset())
        self.patterns = frozenset(patterns - {self._resource})
        self.unseen = frozenset(range(len(definition.request))) - patterns - {self._resource} - set(known)
        self._requests: dict[Any, _Bucket] = {}
        self._buckets: dict[frozenset[Any], _Bucket] = {}
        self._large: dict[Any, _Bucket] = {}
        self._entries = 0
        #: Returns the line of the rule that decides on a request, negative when it denies, or 0 when none does;
        #: the second argument is further names of the subject. A name that is not spelled plainly and that only a
        #: pattern or ``*`` would allow is not allowed.
        self.judge = self._judgement()

    def _collect(self, policy: Policy) -> dict[int, frozenset[str]]:
        """Return, for each position whose text picks groups, the texts that make a difference."""
        known: dict[int, set[str]] = {}
        for rules in self._terms:
            for position, field in rules.equal:
                known.setdefault(position, set()).update(rule[field] for rule in policy.rules)
            for position, text in rules.term.asked:
                known.setdefault(position, set()).add(text)
            for name, position, tenant, field in rules.term.links:
                graph = self._graphs[name]
                known.setdefault(position, set()).update(graph.names, (rule[field] for rule in policy.rules))
                if isinstance(tenant, int) and graph.tenants:
                    known.setdefault(tenant, set()).update(graph.tenants)
        return {position: frozenset(texts) for position, texts in known.items()}

    # -- decisions

    def _judgement(self) -> Judge:
        """Return the function that decides: one closure, since every decision runs through it."""
        requests, pick, at = self._requests, self._pick, self._resource
        make_bucket, judge_each, ask_further = self._bucket, self._judge_each, self._further
        each = self._each

        def judge(values: tuple[Any, ...], roles: frozenset[str] = _NO_ROLES) -> int:
            if roles and each:
                return judge_each(values, roles)
            bucket = requests.get((roles, pick(values)))
            if bucket is None:
                bucket = make_bucket(values, roles)
                if bucket is None:
                    return UNPLAIN
            exact, prefixes, choices, final, further = bucket
            name = values[at]
            line = exact.get(name, 0)
            if line < 0 or (line and final):
                return line
            # Whatever begins the name also begins the last beginning that is not after it.
            if prefixes and (place := bisect_right(prefixes, name)):
                for prefix, pattern, others, other in choices[place - 1]:
                    if name.startswith(prefix) and (pattern.open or (pattern.test or pattern.ready())(name)):
                        if others and not _match(others, values):
                            continue
                        if other < 0:
                            return other
                        # Those that deny come first, and one that allows is enough.
                        if not line:
                            # The signs that is_plain_path may refuse it, here for the sake of most names.
                            if (
                                not name.isprintable()
                                or "//" in name
                                or "." in name
                                or "%" in name
                                or len(name) > MAX_NAME
                            ) and not is_plain_path(name):
                                line = UNPLAIN
                            else:
                                line = other
                        break
            return ask_further(further, values, line) if further else line

        return judge

    def _further(self, buckets: tuple[_Bucket, ...], values: tuple[Any, ...], line: int) -> int:
        """Go on with large groups; `line` is what the request's own bucket says, if that does not deny."""
        name = values[self._resource]
        for exact, prefixes, choices, _, _ in buckets:
            found = exact.get(name, 0)
            if found < 0:
                return found
            line = found if line <= 0 < found else line
            if prefixes and (place := bisect_right(prefixes, name)):
                for _, pattern, others, other in choices[place - 1]:
                    if pattern.matches(name) and _match(others, values):
                        if other < 0:
                            return other
                        if not line:
                            line = other if is_plain_path(name) else UNPLAIN
        return line

    def _judge_each(self, values: tuple[Any, ...], roles: frozenset[str]) -> int:
        """Ask under every name by itself: the spelling of the subject matters."""
        subject = self._subject
        if subject is None:
            return self.judge(values)
        found = [
            self.judge((*values[:subject], name, *values[subject + 1 :]))
            for name in (values[subject], *roles)
        ]
        return min(found) if min(found) < 0 else max(found)

    # -- buckets

    def _bucket(self, values: tuple[Any, ...], roles: frozenset[str]) -> _Bucket | None:
        """Return the bucket of a request, or None for unplain names; only known names are remembered."""
        names = self._pick(values)
        known = tuple(map(dict.get, self._known, names))
        for name, same in zip(names, known, strict=False):
            if same is not _UNKNOWN or not isinstance(name, str):
                continue  # what is known is plain, since policies are checked
            if not (name.isprintable() and len(name) <= MAX_NAME) and not is_plain(name):
                return None
        if self.subjects is not None and not roles <= self.subjects:
            roles &= self.subjects
        key = roles, known
        bucket = self._requests.get(key)
        if bucket is None:
            plain = list(values)
            for position, name in zip(self._key, known, strict=True):
                plain[position] = name
            bucket = self._make(self._groups(plain, roles))
            if len(self._requests) >= _REQUESTS or self._entries > _ENTRIES:
                self._requests.clear()
                self._buckets.clear()
                self._entries = 0
            self._requests[key] = bucket
        return bucket

    def _groups(self, values: list[Any], roles: frozenset[str]) -> frozenset[Any]:
        """Return the keys of every group that the request meets, under each of the subject's names."""
        groups: set[tuple[int, Any]] = set()
        subject = self._subject
        for name in (_UNKNOWN if subject is None else values[subject], *roles):
            if subject is not None:
                values[subject] = name
            for number, rules in enumerate(self._terms):
                groups.update((number, key) for key in rules.met(values, self._graphs))
        return frozenset(groups)

    def _make(self, groups: frozenset[Any]) -> _Bucket:
        bucket = self._buckets.get(groups)
        if bucket is not None:
            return bucket  # of somebody with the same roles
        entries: list[_Entry] = []
        further = []
        for group in groups:
            number, key = group
            found = self._terms[number].groups[key]
            if len(found) <= _LARGE:
                entries += found
            else:
                if group not in self._large:
                    self._large[group] = _merged(found)
                further.append(self._large[group])
        bucket = _merged(entries)
        if further:
            bucket = bucket._replace(final=False, further=tuple(further))
        self._entries += len(entries) + 1
        self._buckets[groups] = bucket
        return bucket


class _Rules:
    """The rules of one term, in groups by the texts for ``==`` and the roles."""

    def __init__(self, term: Term, resource: int) -> None:
        self.term = term
        # A comparison of the resource is a pattern that one name matches, so that resources are not in the key.
        compared = [field for position, field in term.equal if position == resource]
        self.equal = tuple(pair for pair in term.equal if pair[0] != resource)
        self._compared = compared[0] if compared else None
        self._equals = tuple(compared[1:])
        patterns = list(term.patterns)
        self._pattern = None
        if self._compared is None:
            self._pattern = next((test for test in patterns if test.asked == resource), None)
            if self._pattern is not None:
                patterns.remove(self._pattern)
        self._others = tuple(patterns)
        self._asked_key = _picker([position for position, _ in self.equal])
        self._rule_key = _picker([field for _, field in self.equal])
        self._targets = _picker([link.field for link in term.links])
        self.groups: dict[Any, list[_Entry]] = {}

    def add(self, rule: tuple[str, ...], line: int, read: _PatternReader) -> None:
        if self._compared is not None:
            text = rule[self._compared]
            if any(rule[field] != text for field in self._equals):
                return  # one name cannot be two
            pattern = read.exactly(text)
        elif self._pattern is not None:
            pattern = read.pattern(self._pattern.function, rule[self._pattern.field])
        else:
            pattern = _ANY
        others: tuple[tuple[int, Pattern], ...] = ()
        if self._others:
            others = tuple(
                (test.asked, read.pattern(test.function, rule[test.field])) for test in self._others
            )
        key = self._rule_key(rule), self._targets(rule)
        self.groups.setdefault(key, []).append(_Entry(pattern, others, line))

    def met(self, values: Sequence[Any], graphs: Mapping[str, RoleGraph]) -> list[Any]:
        """Return the keys of the groups that a request meets."""
        if any(values[position] != text for position, text in self.term.asked):
            return []
        key = self._asked_key(values)
        links = self.term.links
        if not links:
            return [(key, ())] if (key, ()) in self.groups else []
        reached = [
            graphs[link.graph].reach(
                values[link.asked], values[link.tenant] if isinstance(link.tenant, int) else link.tenant or ""
            )
            for link in links
        ]
        targets: Iterable[Any] = reached[0] if len(reached) == 1 else product(*reached)
        return [(key, target) for target in targets if (key, target) in self.groups]


def _filled(
    definition: Definition, terms: tuple[Term, ...], policy: Policy, resource: int, source: str
) -> tuple[_Rules, ...]:
    """Return the rules of each term that has any; a rule that a weaker term holds stands only there."""
    effect = definition.rule.index("eft") if "eft" in definition.rule else None
    all_rules = [_Rules(term, resource) for term in terms]
    weaker = [[other.term for other in all_rules if other.term.is_weaker(rules.term)] for rules in all_rules]
    read = _PatternReader()
    for rule, line in zip(policy.rules, policy.lines, strict=True):
        denies = effect is not None and rule[effect] == "deny"
        # The other kind of rule has no say under these effects.
        if denies and definition.effect is Effect.ALLOW_OVERRIDE:
            continue
        if not denies and definition.effect is Effect.DENY_OVERRIDE:
            continue
        try:
            for rules, others in zip(all_rules, weaker, strict=True):
                if rules.term.holds(rule) and not any(other.holds(rule) for other in others):
                    rules.add(rule, -line if denies else line, read)
        except NotLinear as err:
            raise Misconfigured(
                f"{source}: line {line}: a pattern cannot be used: {err}; write it simpler",
                code="config.policy",
            ) from err
    return tuple(rules for rules in all_rules if rules.groups)


class _PatternReader:
    """Reads each pattern once while an index is filled."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Pattern] = {}

    def pattern(self, function: str, text: str) -> Pattern:
        key = function, text
        if key not in self._read:
            self._read[key] = PATTERNS[function](text)
        return self._read[key]

    def exactly(self, text: str) -> Pattern:
        key = "", text
        if key not in self._read:
            self._read[key] = Pattern(text, exact=text)
        return self._read[key]


def _resource(definition: Definition, terms: tuple[Term, ...], policy: Policy, subject: int | None) -> int:
    """Return the position that is looked up inside a bucket: what patterns see, or else what rules name most variously."""
    seen = [test.asked for term in terms for test in term.patterns]
    if seen:
        return max(seen, key=lambda position: (position != subject, seen.count(position)))
    linked = {link.asked for term in terms for link in term.links} | {
        link.tenant for term in terms for link in term.links if isinstance(link.tenant, int)
    }
    asked = {position for term in terms for position, _ in term.asked}
    texts: dict[int, set[str]] = {}
    for term in terms:
        for position, field in term.equal:
            if position != subject and position not in linked | asked:
                texts.setdefault(position, set()).update(rule[field] for rule in policy.rules)
    spare = next((position for position in range(len(definition.request)) if position != subject), 0)
    return max(texts, key=lambda position: len(texts[position]), default=spare)


def _merged(entries: list[_Entry]) -> _Bucket:
    exact: dict[str, int] = {}
    begun: dict[str, list[_Choice]] = {}
    for pattern, others, line in entries:
        if pattern.exact is not None and not others:
            before = exact.get(pattern.exact, 0)
            if not before or line < 0 < before:
                exact[pattern.exact] = line
        else:
            begun.setdefault(pattern.prefix, []).append((pattern.prefix, pattern, others, line))
    prefixes = sorted(begun)
    choices: list[tuple[_Choice, ...]] = []
    open_: list[str] = []  # the beginnings of the current one, shortest first
    for prefix in prefixes:
        while open_ and not prefix.startswith(open_[-1]):
            open_.pop()
        open_.append(prefix)
        rules = [choice for beginning in open_ for choice in begun[beginning]]
        choices.append(tuple(sorted(rules, key=lambda choice: choice[3] > 0)))
    final = all(line > 0 for _, _, line in entries)
    return _Bucket(exact, prefixes, choices, final)


def _match(others: tuple[tuple[int, Pattern], ...], values: tuple[Any, ...]) -> bool:
    return all(pattern.matches(values[position]) for position, pattern in others)


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
    """Return what takes these positions out of a sequence: nothing, a text, or a tuple of texts."""
    if not positions:
        return lambda _: ()
    return itemgetter(*positions)
