"""Why a decision is what it is: which rule, through which roles, and what the nearest rule would still have needed.

For people who look after a policy. An explanation names rules, roles and tenants, so it belongs neither in an answer to
a caller nor in an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from heapq import nsmallest
from typing import Any, Final

from aisecure.access._matcher import Compiled, Link, PatternTest, Term
from aisecure.access._patterns import PATTERNS, Pattern
from aisecure.access._policy import Row
from aisecure.access._snapshot import Snapshot
from aisecure.decisions import Decision
from aisecure.principal import Principal

__all__ = ["Explanation", "Missing", "RuleShown", "explain"]

#: Rules that are shown of those that match, and of those that nearly would.
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Missing:
    """What a rule asks for and the request has not.

    Attributes:
        field: What it is about, as the model names it: ``sub``, ``dom``, ``obj``, ``act``.
        needed: What the rule asks for.
        asked: What the request has.
        by_role: Whether `needed` is a role that the principal would have to have.
    """

    field: str
    needed: str
    asked: str
    by_role: bool = False

    def __str__(self) -> str:
        if self.by_role:
            return f"the role {self.needed}"
        if not self.needed:
            return f"a condition on {self.field}"
        return f"{self.field} {self.needed} instead of {self.asked}"


@dataclass(frozen=True, slots=True)
class RuleShown:
    """A rule of the policy.

    Attributes:
        line: Its line, or its number where the policy is no text.
        rule: Its fields.
        allows: Whether it allows or denies.
        through: The name that was asked under, and the roles that lead from it to the rule.
        missing: What keeps the rule from matching; empty for a rule that matches.
    """

    line: int
    rule: Row
    allows: bool
    through: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()

    def __str__(self) -> str:
        text = f"line {self.line}: {', '.join(self.rule)}"
        if len(self.through) > 1:
            text += f"  (through {' > '.join(self.through)})"
        if self.missing:
            text += "  needs " + " and ".join(map(str, self.missing))
        return text


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and what led to it.

    Attributes:
        decision: As `Authorizer.decide` gives it.
        version: Of the policy.
        deciding: The rule that decided; None when none did.
        matching: Other rules that match, at most five.
        nearest: Rules that allow and would match with the fewest changes, at most five; empty when the call is allowed.
        note: What an explanation cannot say here; empty when it says all.
    """

    decision: Decision
    version: str
    deciding: RuleShown | None = None
    matching: tuple[RuleShown, ...] = ()
    nearest: tuple[RuleShown, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready data."""
        shown = {**asdict(self), "decision": self.decision.to_dict()}
        for name in ("deciding", "matching", "nearest"):
            value = getattr(self, name)
            many = (value,) if isinstance(value, RuleShown) else value or ()
            found = [{**asdict(rule), "missing": [str(part) for part in rule.missing]} for rule in many]
            shown[name] = found if name != "deciding" else (found[0] if found else None)
        return shown

    def __str__(self) -> str:
        lines = [("allowed" if self.decision.allowed else "denied") + f" [{self.decision.code}]"]
        if self.deciding is not None:
            lines.append(f"  by {self.deciding}")
        else:
            lines += [f"  {reason}" for reason in self.decision.reasons]
        lines += [f"  also matches {rule}" for rule in self.matching]
        lines += [f"  nearest is {rule}" for rule in self.nearest]
        if self.note:
            lines.append(f"  ({self.note})")
        return "\n".join(lines)


def explain(version: Snapshot, principal: Principal, action: str, resource: str) -> Explanation:
    """Return a decision with its reasons; takes time linear in the rules.

    Raises:
        Misconfigured, Unavailable: As for `Authorizer.decide`.
    """
    decision = version.decide(principal, action, resource)
    compiled = version.matcher()
    if compiled is None:
        return Explanation(
            decision, version.version, note="Casbin evaluates this matcher, so only the decision is known"
        )
    if decision.code == "access.name":
        return Explanation(decision, version.version)
    asked = _Asked(version, compiled, principal, action, resource)
    matching = list(asked.matching())
    line = version.judge(asked.values, principal.roles)
    deciding = next((rule for rule in matching if rule.line == abs(line)), None)
    others = tuple(rule for rule in matching if rule is not deciding)[:_SHOWN]
    nearest = () if decision.allowed else tuple(asked.nearest())
    return Explanation(decision, version.version, deciding, others, nearest)


class _Asked:
    """One request, held against every rule."""

    def __init__(
        self, version: Snapshot, compiled: Compiled, principal: Principal, action: str, resource: str
    ) -> None:
        self._version = version
        self._compiled = compiled
        self._fields = version.definition.request
        self.values = version.request_of(principal, action, resource)
        subject = version.parts()[0]
        self._names = (self.values[subject], *sorted(principal.roles))
        # Under each name that the principal has, with what is worked out of the request.
        self._requests = [
            self._extended((*self.values[:subject], name, *self.values[subject + 1 :]))
            for name in self._names
        ]
        self._pattern: Callable[[str, str], Pattern] = lru_cache(maxsize=4096)(
            lambda function, text: PATTERNS[function](text)
        )
        self._reach = lru_cache(maxsize=None)(
            lambda graph, name, tenant: version.graphs[graph].reach(name, tenant)
        )
        definition = version.definition
        self._effect = definition.rule.index("eft") if "eft" in definition.rule else None

    def _extended(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        derived: list[Any] = []
        for work_out in self._compiled.derived:
            try:
                derived.append(work_out(values, ()))
            except Exception:  # noqa: BLE001  (conditions meet values of any type; what fails does not hold)
                derived.append(None)
        return (*values, *derived)

    def matching(self) -> Iterator[RuleShown]:
        """Yield the rules that match, in order."""
        for line, rule in self._rules():
            for values in self._requests:
                term = next(
                    (term for term in self._terms(rule) if not self._missing(term, rule, values, 1)), None
                )
                if term is not None:
                    yield RuleShown(line, rule, self._allows(rule), self._through(term, rule, values))
                    break

    def nearest(self) -> list[RuleShown]:
        """Return the rules that allow and lack least."""
        return nsmallest(_SHOWN, self._nearly(), key=lambda rule: (len(rule.missing), rule.line))

    def _nearly(self) -> Iterator[RuleShown]:
        least = len(self._fields) + 1
        for line, rule in self._rules():
            if not self._allows(rule):
                continue
            found: Sequence[Missing] | None = None
            for values in self._requests:
                for term in self._terms(rule):
                    missing = self._missing(term, rule, values, least)
                    if found is None or len(missing) < len(found):
                        found = missing
            # One that lacks nothing matches, and another outweighs it.
            if found:
                yield RuleShown(line, rule, allows=True, missing=tuple(found))

    # -- one rule

    def _rules(self) -> Iterator[tuple[int, Row]]:
        return zip(self._version.policy.lines, self._version.policy.rules, strict=True)

    def _allows(self, rule: Row) -> bool:
        return self._effect is None or rule[self._effect] != "deny"

    def _terms(self, rule: Row) -> list[Term]:
        return [term for term in self._compiled.terms if term.holds(rule)]

    def _missing(self, term: Term, rule: Row, values: Sequence[Any], most: int) -> list[Missing]:
        """Return what a rule lacks of a term; stops when it is more than is wanted."""
        other = {position: rule[field] for position, field in term.equal if values[position] != rule[field]}
        missing = [
            Missing(self._name(position), needed, str(values[position])) for position, needed in other.items()
        ]
        # Roles count in the tenant that the rule needs: who has one in their own may lack it there.
        there = [other.get(position, value) for position, value in enumerate(values)] if other else values
        missing += [
            self._lacking(link, rule, values)
            for link in term.links
            if rule[link.field] not in self._reach(link.graph, values[link.asked], self._tenant(link, there))
        ]
        if len(missing) > most:
            return missing
        missing += [
            Missing(self._name(test.asked), rule[test.field], str(values[test.asked]))
            for test in term.patterns
            if not self._matches(test, rule, values)
        ]
        missing += [
            Missing(self._name(position), "", str(values[position]))
            for position, text in term.asked
            if values[position] != text
        ]
        for rest in term.rests:
            try:
                holds = rest(values, rule)
            except Exception:  # noqa: BLE001  (as above)
                holds = False
            if not holds:
                missing.append(Missing("the request and the rule", "", ""))
        return missing

    def _tenant(self, link: Link, values: Sequence[Any]) -> str:
        return values[link.tenant] if isinstance(link.tenant, int) else link.tenant or ""

    def _lacking(self, link: Link, rule: Row, values: Sequence[Any]) -> Missing:
        of_subject = link.asked == self._version.parts()[0]
        return Missing(self._name(link.asked), rule[link.field], str(values[link.asked]), by_role=of_subject)

    def _matches(self, test: PatternTest, rule: Row, values: Sequence[Any]) -> bool:
        asked = values[test.asked]
        return isinstance(asked, str) and self._pattern(test.function, rule[test.field]).matches(asked)

    def _name(self, position: int) -> str:
        return self._fields[position] if position < len(self._fields) else "the request"

    def _through(self, term: Term, rule: Row, values: Sequence[Any]) -> tuple[str, ...]:
        """Return the chain of roles from the name that was asked under to the one that the rule speaks of."""
        subject = self._version.parts()[0]
        link = next((link for link in term.links if link.asked == subject), None)
        if link is None:
            return ()
        graph, tenant, goal = self._version.graphs[link.graph], self._tenant(link, values), rule[link.field]
        start = values[subject]
        came: dict[str, str] = {start: start}
        level = [start]
        while level and goal not in came:
            above: list[str] = []
            for name in level:
                for role in graph.parents(name, tenant):
                    if role not in came:
                        came[role] = name
                        above.append(role)
            level = above
        chain = [goal]
        while chain[-1] != start and chain[-1] in came:
            chain.append(came[chain[-1]])
        return tuple(reversed(chain))
