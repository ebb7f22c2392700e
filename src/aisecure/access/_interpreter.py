"""pycasbin itself, for matchers that the index does not know: one decision at a time, with its traps closed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from aisecure.access._model import Definition, Effect, casbin_model
from aisecure.access._patterns import PATTERNS, as_function
from aisecure.access._policy import Policy
from aisecure.access._roles import RoleGraph
from aisecure.errors import Misconfigured, Unavailable

__all__ = ["Interpreter"]

_NO_ROLES: frozenset[str] = frozenset()


class Interpreter:
    """Decides as `aisecure.access._index.Index` does, by evaluating the matcher for each rule in turn.

    A lock is held for each decision: pycasbin parses the matcher every time, and parsing is not safe between threads
    on Python 3.11 (CPython issue 106905). Its role managers, which keep every name they are ever asked about, are
    replaced by our graphs, and its regular expressions by linear ones.
    """

    def __init__(
        self,
        definition: Definition,
        policy: Policy,
        graphs: Mapping[str, RoleGraph],
        subject: int | None,
    ) -> None:
        import casbin

        self._effect = definition.effect
        self._eft = definition.rule.index("eft") if "eft" in definition.rule else None
        self._subject = subject
        self._lock = threading.Lock()
        model = casbin_model(definition.text, definition.source)
        rules = [list(rule) for rule in policy.rules]
        model["p"]["p"].policy = rules
        for name, links in policy.links.items():
            model["g"][name].policy = [list(link) for link in links]
        try:
            model.sort_policies_by_subject_hierarchy()
            model.sort_policies_by_priority()
            self._enforcer = casbin.Enforcer(model)
        except (RuntimeError, TypeError, ValueError) as err:
            # A cycle under subjectPriority, or priorities that are partly numbers and partly words.
            raise Misconfigured(
                f"{definition.source}: Casbin cannot order the rules: number every priority, and let no role "
                "reach itself",
                code="config.policy",
            ) from err
        for name, graph in graphs.items():
            roles = _Links(graph, domains=definition.roles[name] > 2)
            model["g"][name].rm = self._enforcer.rm_map[name] = roles
        for name, read in PATTERNS.items():
            self._enforcer.add_function(name, as_function(read))
        # By identity: Casbin answers with the very list that it was given, and equal rules may stand on two lines.
        self._line_of = {id(rule): line for rule, line in zip(rules, policy.lines, strict=True)}
        self._order = {id(rule): index for index, rule in enumerate(model["p"]["p"].policy)}

    def judge(self, values: tuple[Any, ...], roles: frozenset[str] = _NO_ROLES) -> int:
        """Return the line of the rule that decides, negative when it denies, or 0 when none does.

        Raises:
            Unavailable: The matcher cannot be evaluated for these values.
        """
        requests = [values]
        if self._subject is not None:
            requests += [(*values[: self._subject], role, *values[self._subject + 1 :]) for role in roles]
        found = [self._ask(request) for request in requests]
        if self._effect in (Effect.PRIORITY, Effect.SUBJECT_PRIORITY):
            return min(found)[1]
        lines = [line for _, line in found]
        return min(lines) if min(lines) < 0 else max(lines)

    def _ask(self, values: tuple[Any, ...]) -> tuple[int, int]:
        """Return the place of the deciding rule in the order of evaluation, and its signed line."""
        with self._lock:
            try:
                allowed, rule = self._enforcer.enforce_ex(*values)
            except Exception as err:  # the matcher may call anything on values of any type
                raise Unavailable(
                    "The access policy could not be evaluated, so the request was refused.",
                    code="unavailable.policy",
                ) from err
        place, line = self._order.get(id(rule), len(self._order)), self._line_of.get(id(rule), 0)
        if allowed:
            return place, line
        denies = self._eft is not None and bool(rule) and rule[self._eft] == "deny"
        if denies and self._effect is not Effect.ALLOW_OVERRIDE:
            return place, -line
        return len(self._order), 0


class _Links:
    """A role graph behind the one method of pycasbin's role managers that a decision calls."""

    def __init__(self, graph: RoleGraph, *, domains: bool) -> None:
        self._graph = graph
        self._domains = domains
        # A decision asks about one name for every rule; it is worked out once. The lock is held meanwhile.
        self._last: tuple[str, str] | None = None
        self._reached: set[str] = set()

    def has_link(self, name: str, role: str, *domain: str) -> bool:
        tenant = domain[0] if domain and self._domains else ""
        if (name, tenant) != self._last:
            self._reached = self._graph.reach(name, tenant)
            self._last = name, tenant
        return role in self._reached
