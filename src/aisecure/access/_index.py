"""Decisions by look-up: the rules of a policy, arranged by what a request can name.

Rules lie in groups: those whose texts for ``==`` and whose role are the same. What a request says apart from the
resource picks a few groups, and these are merged once into a *bucket* that is then found by one look-up; the resource
is looked up in the bucket, literally and by the literal beginnings of patterns. So a decision costs the same with ten
rules and with a hundred thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from aisecure.access._buckets import Bucket, merged
from aisecure.access._granted import EVERYTHING, Granted, granted
from aisecure.access._groups import Marks, grouped
from aisecure.access._matcher import Compiled
from aisecure.access._model import Definition, Effect
from aisecure.access._names import MAX_NAME, is_plain, is_plain_path
from aisecure.access._order import order
from aisecure.access._patterns import NotLinear
from aisecure.access._policy import Policy
from aisecure.access._roles import RoleGraph
from aisecure.errors import Misconfigured

__all__ = ["MOST_REQUESTS", "UNPLAIN", "Index"]

#: In the place of a line: a rule might allow, but a name is not spelled plainly.
UNPLAIN: Final = -(1 << 62)

#: Most requests whose bucket is remembered (some 25 MiB), and most entries that remembered buckets hold of their
#: own; beyond, they are forgotten and made again.
MOST_REQUESTS: Final = 1 << 17
_ENTRIES: Final = 1 << 18

#: (request, further names of the subject) -> line of the rule that decides.
Judge = Callable[..., int]

_NO_ROLES: frozenset[str] = frozenset()

# Stands for every name that the policy does not know, so that such names are never remembered.
_UNKNOWN = None


class Index:
    """A compiled policy; immutable but for the buckets that it remembers, which are bounded.

    Args:
        definition: The model.
        compiled: Its matcher, taken apart.
        policy: The rules.
        graphs: Role graphs by name.
        subject: Position of the asking name in the request, or None.
        source: What error texts call the policy.
        otherwise: Judges a request for which something cannot be worked out.

    Attributes:
        judge: Returns the line of the rule that decides on a request, negative when it denies, or 0 when none does; the
            second argument is further names of the subject. A name that is not spelled plainly and that only a pattern
            or ``*`` would allow is not allowed.
        evaluates: Whether anything is evaluated besides being looked up; then every name has to be plain beforehand.
        subjects: The subjects that make a difference, the others being all alike; None when more than a look-up sees
            them.
        patterns: Positions of the request that patterns see, besides the resource; `judge` takes them for plain.
        unseen: Positions that make no difference.
        kept: For `aisecure.access._quick` to remember buckets in; forgotten together with those remembered here.

    Raises:
        Misconfigured: A pattern of a rule cannot be matched in linear time, or rules cannot be ordered.
    """

    def __init__(
        self,
        definition: Definition,
        compiled: Compiled,
        policy: Policy,
        graphs: Mapping[str, RoleGraph],
        subject: int | None,
        source: str,
        otherwise: Judge,
    ) -> None:
        terms = compiled.terms
        self._graphs = graphs
        self._subject = subject
        self._derived = compiled.derived
        self._otherwise = otherwise
        self.evaluates = bool(compiled.derived) or any(term.rests for term in terms)
        self._resource = _resource(definition, compiled, policy, subject)
        self._first = definition.effect.first_decides
        self._allows_rest = definition.effect.allows_the_rest
        self._weight: Callable[[int], int] = abs if self._first else _deny_weighs
        # Where the first rule that matches decides, a mark is its place in that order, and otherwise its line.
        self._order = order(definition, policy, source) if self._first else ()
        marks = _places(definition, policy, self._order) if self._first else _lines(definition, policy)
        try:
            self._groups = grouped(terms, self._resource, policy, marks, self._weight)
        except NotLinear as err:
            why, place = err.args
            raise Misconfigured(
                f"{source}: line {policy.lines[place]}: a pattern cannot be used: {why}; write it simpler",
                code="config.policy",
            ) from err
        self._lines = policy.lines
        self._columns = [set(policy.rules.column(field)) for field in range(policy.rules.width)]
        self._known = self._collect()
        self._key = tuple(sorted(self._known))
        if len(self._key) == 1:
            self._key *= 2  # so that what is picked is a tuple
        self._pick = _picker(self._key)
        self._known_at = tuple(self._known[position] for position in self._key)
        seen = {test.asked for term in terms for test in term.patterns}
        self._each = subject is not None and (self.evaluates or subject in seen or subject == self._resource)
        self.subjects = None if subject is None or self._each else self._known.get(subject, frozenset())
        self.patterns = frozenset(seen - {self._resource})
        self.unseen = frozenset(range(len(definition.request))) - seen - {self._resource} - set(self._known)
        self.kept: dict[Any, tuple[Any, ...]] = {}
        self._requests: dict[Any, Bucket] = {}
        self._buckets: dict[frozenset[Any], Bucket] = {}
        self._entries = 0
        look_up = self._first_judgement() if self._first else self._judgement()
        self._look_up = look_up
        self.judge: Judge = self._evaluating if self.evaluates else look_up

    def _collect(self) -> dict[int, frozenset[Any]]:
        """Return, for each position whose text picks groups, the texts that make a difference."""
        known: dict[int, set[Any]] = {}
        columns = self._columns
        for groups in self._groups:
            for term in groups.terms:
                for position, field in term.equal:
                    if position != self._resource:
                        known.setdefault(position, set()).update(columns[field])
                for position, text in term.asked:
                    known.setdefault(position, set()).add(text)
                for name, position, tenant, field in term.links:
                    graph = self._graphs[name]
                    known.setdefault(position, set()).update(graph.names, columns[field])
                    if isinstance(tenant, int) and graph.tenants:
                        known.setdefault(tenant, set()).update(graph.tenants)
        return {position: frozenset(texts) for position, texts in known.items()}

    # -- decisions

    def _evaluating(self, values: tuple[Any, ...], roles: frozenset[str] = _NO_ROLES) -> int:
        """Judge where conditions are evaluated; what fails there is for Casbin to judge, which may not get there at all."""
        try:
            if roles:
                return self._judge_each(values, roles)
            return self._look_up((*values, *[derive(values, ()) for derive in self._derived]))
        except Exception:  # noqa: BLE001  (conditions meet values of any type)
            return self._otherwise(values, roles)

    def _judgement(self) -> Judge:
        """Return the function that decides: one closure, since every decision runs through it."""
        requests, pick, at = self._requests, self._pick, self._resource
        make_bucket, judge_each, ask_further = self._bucket, self._judge_each, self.further
        each = self._each

        def judge(values: tuple[Any, ...], roles: frozenset[str] = _NO_ROLES) -> int:
            if each and roles:
                return judge_each(values, roles)
            bucket = requests.get((roles, pick(values)))
            if bucket is None:
                bucket = make_bucket(values, roles)
                if bucket is None:
                    return UNPLAIN
            exact, prefixes, choices, final, _, further = bucket
            name = values[at]
            line = exact.get(name, 0)
            if line < 0 or (line and final):
                return line
            # Whatever begins the name also begins the last beginning that is not after it.
            if prefixes and (place := bisect_right(prefixes, name)):
                for cut, prefix, pattern, others, other in choices[place - 1]:
                    if name[cut] == prefix and (pattern.open or (pattern.test or pattern.ready())(name)):
                        if others and not all(test(values) for test in others):
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

    def further(self, buckets: tuple[Bucket, ...], values: tuple[Any, ...], line: int) -> int:
        """Go on with large groups; `line` is what the request's own bucket says, if that does not deny."""
        name = values[self._resource]
        for bucket in buckets:
            found = bucket.exact.get(name, 0)
            if found < 0:
                return found
            line = found if line <= 0 < found else line
            for other in _matching(bucket, name, values):
                if other < 0:
                    return other
                if not line:
                    line = other if is_plain_path(name) else UNPLAIN
                break  # those that deny came first
        return line

    def _first_judgement(self) -> Judge:
        """Return the function that decides where the first rule that matches does."""
        requests, pick, at = self._requests, self._pick, self._resource

        def judge(values: tuple[Any, ...], roles: frozenset[str] = _NO_ROLES) -> int:
            if self._each and roles:
                return self._judge_each(values, roles)
            bucket = requests.get((roles, pick(values))) or self._bucket(values, roles)
            if bucket is None:
                return UNPLAIN
            return self._line(self._first_mark(bucket, values[at], values))

        return judge

    def _first_mark(self, bucket: Bucket, name: Any, values: tuple[Any, ...]) -> int:
        best, by_pattern = 0, False
        for part in (bucket, *bucket.further):
            mark = part.exact.get(name, 0)
            if mark and (not best or abs(mark) < abs(best)):
                best, by_pattern = mark, False
            for other in _matching(part, name, values):
                if not best or abs(other) < abs(best):
                    best, by_pattern = other, True
                break  # the others come later
        return UNPLAIN if best > 0 and by_pattern and not is_plain_path(name) else best

    def _line(self, mark: int) -> int:
        if mark in (0, UNPLAIN):
            return mark
        line = self._lines[self._order[abs(mark) - 1]]
        return line if mark > 0 else -line

    def _judge_each(self, values: tuple[Any, ...], roles: frozenset[str]) -> int:
        """Ask under every name by itself: the spelling of the subject matters."""
        subject = self._subject
        if subject is None:
            return self.judge(values)
        found: list[int] = []
        for name in (values[subject], *roles):
            asked = (*values[:subject], name, *values[subject + 1 :])
            found.append(self._look_up((*asked, *[derive(asked, ()) for derive in self._derived])))
        if self._first:
            return self._earliest(found)
        return min(found) if min(found) < 0 else max(found)

    def _earliest(self, lines: list[int]) -> int:
        """Return the line of the rule that comes first among those that decided under one name each."""
        if UNPLAIN in lines:
            return UNPLAIN
        at = {self._lines[place]: rank for rank, place in enumerate(self._order)}
        return min((line for line in lines if line), key=lambda line: at[abs(line)], default=0)

    def granted(self, values: tuple[Any, ...], roles: frozenset[str], resource: int) -> Granted:
        """Return what the rules cover of the resources at a position, whatever stands there in the values."""
        if self._derived or resource != self._resource or self._allows_rest:
            return EVERYTHING
        if self._each and self._subject is not None:
            before, after = values[: self._subject], values[self._subject + 1 :]
            found = [
                self._bucket((*before, name, *after), _NO_ROLES) for name in (values[self._subject], *roles)
            ]
        else:
            found = [self._bucket(values, roles)]
        parts = [part for bucket in found if bucket is not None for part in (bucket, *bucket.further)]
        return granted(parts, deny_wins=not self._first)

    # -- buckets

    def _bucket(self, values: tuple[Any, ...], roles: frozenset[str]) -> Bucket | None:
        """Return the bucket of a request, or None for unplain names; only known names are remembered."""
        names = self._pick(values)
        known = []
        for name, texts in zip(names, self._known_at, strict=False):
            if name in texts:
                known.append(name)  # what is known is plain, since policies are checked
                continue
            known.append(_UNKNOWN)
            if (
                isinstance(name, str)
                and not (name.isprintable() and len(name) <= MAX_NAME)
                and not is_plain(name)
            ):
                return None
        if self.subjects is not None and not roles <= self.subjects:
            roles &= self.subjects
        key = roles, tuple(known)
        bucket = self._requests.get(key)
        if bucket is None:
            plain = list(values)
            for position, name in zip(self._key, known, strict=True):
                plain[position] = name
            bucket = self._requests[key] = self.bucket_of(plain, roles)
        return bucket

    def known(self, position: int | None) -> frozenset[Any]:
        """Return the names at a position that make a difference."""
        return frozenset() if position is None else self._known.get(position, frozenset())

    def only_looks_up(self, parts: tuple[int, int | None, int, int]) -> bool:
        """Whether a decision takes no more than one bucket, by subject, tenant and action, and a resource in it."""
        subject, tenant, resource, action = parts
        return (
            not (self.evaluates or self._each or self._first or self._allows_rest or self.patterns)
            and resource == self._resource
            and set(self._known) <= {subject, tenant, action}
        )

    def stand_in(self, subject: int, tenant: int | None) -> Callable[[str, str], str] | None:
        """Return what gives, for a name in a tenant, the first name asked about that rules meet just as they meet it.

        Rules meet names of which none speaks through their roles alone, so those with the same roles share a bucket:
        there may be a hundred thousand of them.
        """
        links = {
            link
            for groups in self._groups
            for term in groups.terms
            for link in term.links
            if link.asked == subject
        }
        at_subject = any(
            position == subject
            for groups in self._groups
            for term in groups.terms
            for position, _ in (*term.equal, *term.asked)
        )
        if at_subject or len(links) != 1:
            return None
        (link,) = links
        if isinstance(link.tenant, int) and link.tenant != tenant:
            return None
        graph, spoken_of = self._graphs[link.graph], self._columns[link.field]
        fixed = None if isinstance(link.tenant, int) else link.tenant or ""
        first: dict[tuple[str, tuple[str, ...]], str] = {}

        def stand_in(name: str, place: str) -> str:
            if name in spoken_of:
                return name
            place = place if fixed is None else fixed
            return first.setdefault((place, graph.parents(name, place)), name)

        return stand_in

    def bucket_of(self, values: Sequence[Any], roles: frozenset[str]) -> Bucket:
        """Return the bucket of names that the policy knows, None standing for every other; the caller remembers it."""
        if len(self._requests) + len(self.kept) >= MOST_REQUESTS or self._entries > _ENTRIES:
            self._requests.clear()
            self.kept.clear()
            self._buckets.clear()
            self._entries = 0
        return self._make(self._met(list(values), roles))

    def _met(self, values: list[Any], roles: frozenset[str]) -> frozenset[Any]:
        """Return the keys of every group that the request meets, under each of the subject's names."""
        met: set[tuple[int, Any]] = set()
        subject = self._subject
        for name in (_UNKNOWN if subject is None else values[subject], *roles):
            if subject is not None:
                values[subject] = name
            for number, groups in enumerate(self._groups):
                met.update((number, key) for key in groups.met(values, self._graphs))
        return frozenset(met)

    def _make(self, met: frozenset[Any]) -> Bucket:
        bucket = self._buckets.get(met)
        if bucket is not None:
            return bucket  # of somebody with the same roles
        entries, further = [], []
        for number, key in met:
            large = self._groups[number].large(key)
            if large is None:
                entries += self._groups[number].entries(key)
            else:
                further.append(large)
        bucket = merged(entries, self._weight)
        if further:
            bucket = bucket._replace(final=False, further=tuple(further))
        self._entries += len(entries) + 1
        self._buckets[met] = bucket
        return bucket


def _matching(bucket: Bucket, name: Any, values: tuple[Any, ...]) -> Iterator[int]:
    """Yield the marks of the patterns of a bucket that match, those that weigh most first."""
    place = bisect_right(bucket.prefixes, name) if bucket.prefixes else 0
    if place:
        for _, _, pattern, others, mark in bucket.choices[place - 1]:
            if pattern.matches(name) and all(test(values) for test in others):
                yield mark


def _deny_weighs(mark: int) -> int:
    return mark if mark > 0 else UNPLAIN - mark


def _lines(definition: Definition, policy: Policy) -> Marks:
    """Return the line of a rule, negative when it denies, or 0 for the kind that has no say under the effect."""
    lines = policy.lines
    if "eft" not in definition.rule:
        return lines.__getitem__
    effects = policy.rules.column(definition.rule.index("eft"))
    if definition.effect is Effect.ALLOW_OVERRIDE:
        return lambda place: lines[place] if effects[place] != "deny" else 0
    if definition.effect is Effect.DENY_OVERRIDE:
        return lambda place: -lines[place] if effects[place] == "deny" else 0
    return lambda place: -lines[place] if effects[place] == "deny" else lines[place]


def _places(definition: Definition, policy: Policy, order: Sequence[int]) -> Marks:
    """Return the place of a rule in the order of evaluation, from 1, negative when it denies."""
    ranks = {place: rank for rank, place in enumerate(order, 1)}
    if "eft" not in definition.rule:
        return ranks.__getitem__
    effects = policy.rules.column(definition.rule.index("eft"))
    return lambda place: -ranks[place] if effects[place] == "deny" else ranks[place]


def _resource(definition: Definition, compiled: Compiled, policy: Policy, subject: int | None) -> int:
    """Return the position that is looked up inside a bucket: what patterns see, or else what rules name most variously."""
    terms = compiled.terms
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
                texts.setdefault(position, set()).update(policy.rules.column(field))
    spare = next((position for position in range(len(definition.request)) if position != subject), 0)
    return max(texts, key=lambda position: len(texts[position]), default=spare)


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
    """Return what takes these positions out of a sequence: nothing, a text, or a tuple of texts."""
    if not positions:
        return lambda _: ()
    return itemgetter(*positions)
