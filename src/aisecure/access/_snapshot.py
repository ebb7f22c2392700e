"""One version of a policy, complete and immutable: every decision is made by exactly one of these."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from aisecure.access._condition import NotCompiled
from aisecure.access._granted import EVERYTHING, Granted
from aisecure.access._index import UNPLAIN, Index
from aisecure.access._matcher import Compiled, asked_by_function, compile_matcher, parse
from aisecure.access._model import Definition, default_definition, read_model
from aisecure.access._names import is_plain, is_plain_path
from aisecure.access._policy import Policy, checked_policy, read_policy
from aisecure.access._quick import Answers, Decide, quick
from aisecure.access._roles import RoleGraph
from aisecure.access._sources import PolicyRows, PolicyText
from aisecure.decisions import Decision
from aisecure.errors import Misconfigured
from aisecure.principal import Principal

__all__ = ["EVERY_TENANT", "Snapshot"]

#: The tenant of the built-in model that stands for all.
EVERY_TENANT: Final = "*"

#: What models call the parts of a call.
_SUBJECT, _TENANT = ("sub", "subject", "user"), ("dom", "domain", "tenant")
_RESOURCE, _ACTION = ("obj", "object", "resource"), ("act", "action")


class Snapshot:
    """A policy ready to decide.

    Attributes:
        definition: The model.
        policy: Rules, their lines and the role links.
        graphs: What the role links reach, by role definition.
        judge: Takes the values of a request and further names of the subject, and returns the line of the rule that
            decides: negative when it denies, 0 when no rule meets the request, `UNPLAIN` when only the spelling of a
            name stands against a rule that allows. The values have to be plain: see `enforce`.
        version: First 16 hexadecimal digits of the SHA-256 of model and policy.
        rules: Number of ``p`` rules.
        compiled: Whether the index decides; otherwise pycasbin does.
        reason: Why it is not compiled, or empty.

    Args:
        definition: The model.
        policy: What it says, already taken apart.
        shared_tenant: Links of this tenant hold in every tenant.
        source: What error texts call the policy.
        version: A name for exactly this model and policy; made of them when there is none.

    Raises:
        Misconfigured: Names the line to mend.
    """

    __slots__ = (
        "_allows_rest", "_answers", "_checks", "_index", "_loose", "_parts", "_places", "_request", "_role_names",
        "_size", "_source", "_subjects", "compiled", "decide", "definition", "graphs", "judge", "policy", "reason", "rules",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        definition: Definition,
        policy: Policy,
        *,
        shared_tenant: str | None = None,
        source: str = "the policy",
        version: str | None = None,
    ) -> None:
        built_in = definition is default_definition()
        self.definition, self.policy = definition, policy
        self.version = _digest(definition, _lines(policy)) if version is None else version
        self.rules = len(policy.rules)
        self._source = definition.source
        self._request = definition.request
        self._size = len(definition.request)
        self._allows_rest = definition.effect.allows_the_rest and self.rules > 0
        self._answers = Answers.of(self.version, rules=self.rules, allows_rest=self._allows_rest)
        self._parts = _parts(definition)
        self._places = _places(definition, self._parts)
        self._role_names: frozenset[str] = frozenset()
        if built_in:
            self._role_names = _role_names(policy)
            _refuse_inner_stars(definition, policy, source)
            shared_tenant = EVERY_TENANT
        self.judge: Callable[..., int]
        self._subjects: frozenset[str] | None = None
        self.graphs: Mapping[str, RoleGraph] = {
            name: RoleGraph(links, shared=shared_tenant) for name, links in policy.links.items()
        }
        self._compile(source)
        #: Answers for a principal, under its id and each of its roles.
        self.decide: Decide = self._decide
        if self._index is not None and self._parts is not None and self.rules:
            self.decide = quick(self._index, self._answers, self._parts, self._role_names) or self._decide

    @classmethod
    def of(cls, read: PolicyText | PolicyRows) -> Snapshot:
        """Return the version that a source's policy makes.

        Raises:
            Misconfigured: Names source, line and remedy.
        """
        definition = default_definition() if read.model is None else read_model(read.model, read.model_name)
        if isinstance(read, PolicyRows):
            policy, version = checked_policy(read.rows, definition, read.policy_name), None
        else:
            policy = read_policy(read.policy, definition, read.policy_name)
            version = _digest(definition, read.policy)
        return cls(
            definition, policy, shared_tenant=read.shared_tenant, source=read.policy_name, version=version
        )

    @property
    def asks_principals(self) -> bool:
        """Whether `decide` can be asked."""
        return self._parts is not None

    def _compile(self, source: str) -> None:
        definition, policy, graphs = self.definition, self.policy, self.graphs
        tree = parse(definition)
        subject = None if self._parts is None else self._parts[0]
        self._index: Index | None = None
        self.compiled, self.reason = True, ""
        everything = frozenset(range(len(definition.request)))
        paths = asked_by_function(definition, tree)
        loose: frozenset[int] = frozenset()
        checked: frozenset[int]

        @cache
        def interpreter() -> Callable[..., int]:
            from aisecure.access._interpreter import Interpreter

            return Interpreter(definition, policy, graphs, subject).judge

        def otherwise(values: tuple[Any, ...], roles: frozenset[str]) -> int:
            return interpreter()(values, roles)

        try:
            compiled = self._take_apart(tree, source)
        except NotCompiled as err:
            self.compiled, self.reason = False, str(err)
            self.judge = interpreter()
            checked = everything
        else:
            index = self._index = Index(definition, compiled, policy, graphs, subject, source, otherwise)
            self.judge, self._subjects = index.judge, index.subjects
            # It looks after most others by itself, where it costs least.
            checked = everything if index.evaluates else index.patterns
            loose = frozenset() if index.evaluates else index.unseen
        if not self.rules:
            self.judge = _nothing
        if self._allows_rest:
            # Another spelling of any name is a way round a rule that denies.
            checked = paths = everything
            loose = frozenset()
            self._subjects = None
        self._loose = tuple(sorted(loose))
        self._checks = tuple(
            (position, is_plain_path if position in paths else is_plain) for position in sorted(checked)
        )

    def matcher(self) -> Compiled | None:
        """Return the matcher taken apart, or None where pycasbin evaluates it; made anew, since only people ask for it."""
        return self._take_apart(parse(self.definition), "the policy") if self.compiled else None

    def _take_apart(self, tree: ast.expr, source: str) -> Compiled:
        reaches = {name: graph.reaches for name, graph in self.graphs.items()}
        return compile_matcher(self.definition, tree, reaches, self.policy, source)

    def enforce(self, values: tuple[Any, ...]) -> bool:
        """Answer a raw Casbin request.

        Raises:
            TypeError: The number of values is not what the model asks for.
            Unavailable: The matcher cannot be evaluated for these values.
        """
        if len(values) != self._size:
            raise TypeError(f"enforce takes {len(self._request)} values: {', '.join(self._request)}")
        if self._checks and not self._is_checked(values):
            return False
        line = self.judge(values)
        if line > 0:
            # The values that made no difference have to be plain names, too.
            for position in self._loose:
                if isinstance(values[position], str) and not is_plain(values[position]):
                    return False
            return True
        return not line and self._allows_rest

    def _is_checked(self, values: tuple[Any, ...]) -> bool:
        """Whether the names that have to be plain before anything else are."""
        for position, is_good in self._checks:
            if isinstance(values[position], str) and not is_good(values[position]):
                return False
        return True

    def _decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """Answer where more than look-ups is asked."""
        if self._parts is None:
            self.parts()
        answers = self._answers
        name: str | None = principal.id
        if name in self._role_names:
            return answers.collision
        if self._subjects is not None and name not in self._subjects:
            if not is_plain(principal.id):
                return answers.name
            name = None  # one of the many that the policy does not know
        if self._places is None:
            values: tuple[Any, ...] = (name, principal.tenant, resource, action)
        else:
            mine = (name, principal.tenant, resource, action)
            values = tuple([mine[place] for place in self._places])
        if self._checks and not self._is_checked(values):
            return answers.name
        line = self.judge(values, principal.roles)
        if line > 0:
            for position in self._loose:
                if values[position] is not None and not is_plain(values[position]):
                    return answers.name
            return answers.allow
        if not line:
            return answers.otherwise
        if line == UNPLAIN:
            return answers.name
        return answers.rule(line)

    def granted(self, principal: Principal, action: str) -> Granted:
        """Return an outline of the resources on which a principal may do an action.

        Raises:
            Misconfigured: As for `parts`.
        """
        _, _, resource, _ = self.parts()
        name = principal.id
        if not self.rules or name in self._role_names or not is_plain(name):
            return Granted()
        if self._index is None:
            return EVERYTHING
        mine = (name, principal.tenant, "", action)
        values = mine if self._places is None else tuple([mine[place] for place in self._places])
        return self._index.granted(values, principal.roles, resource)

    def request_of(self, principal: Principal, action: str, resource: str) -> tuple[Any, ...]:
        """Return the values of the request that `decide` makes of these."""
        self.parts()
        mine = (principal.id, principal.tenant, resource, action)
        return mine if self._places is None else tuple([mine[place] for place in self._places])

    def parts(self) -> tuple[int, int | None, int, int]:
        """Return the positions of subject, tenant, resource and action in a request.

        Raises:
            Misconfigured: The model asks about something else, which a principal, an action and a resource do not say.
        """
        if self._parts is None:
            raise Misconfigured(
                f"{self._source}: [request_definition] r: decisions about principals need sub, obj and act, and "
                "know dom besides; ask other models with enforce(...)",
                code="config.model",
            )
        return self._parts


def _digest(definition: Definition, policy: str) -> str:
    digest = hashlib.sha256(definition.text.encode("utf-8", "surrogatepass"))
    digest.update(b"\0" + policy.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def _lines(policy: Policy) -> str:
    """Return the policy as text, for the digest alone."""
    rules = [("p", *rule) for rule in policy.rules]
    links = [(name, *link) for name, found in policy.links.items() for link in found]
    return "\n".join(map(", ".join, rules + links))


def _parts(definition: Definition) -> tuple[int, int | None, int, int] | None:
    places: list[int | None] = []
    for names in (_SUBJECT, _TENANT, _RESOURCE, _ACTION):
        found = [index for index, name in enumerate(definition.request) if name in names]
        if len(found) > 1:
            return None
        places.append(found[0] if found else None)
    subject, tenant, resource, action = places
    if subject is None or resource is None or action is None:
        return None
    return (subject, tenant, resource, action) if len(definition.request) == 4 - places.count(None) else None


def _places(definition: Definition, parts: tuple[int, int | None, int, int] | None) -> tuple[int, ...] | None:
    """Return which of subject, tenant, resource and action stands at each position; None for just this order."""
    if parts is None or parts == (0, 1, 2, 3):
        return None
    return tuple(parts.index(position) for position in range(len(definition.request)))


def _nothing(values: tuple[Any, ...], roles: frozenset[str] = frozenset()) -> int:
    """Judge by a policy without rules."""
    return 0


def _role_names(policy: Policy) -> frozenset[str]:
    """Return what the built-in model takes for roles: whom rules speak of, and what is given to others."""
    return frozenset(policy.rules.column(0)).union(policy.links["g"].column(1))


def _refuse_inner_stars(definition: Definition, policy: Policy, source: str) -> None:
    resources = policy.rules.column(definition.rule.index("obj"))
    for text, line in zip(resources, policy.lines, strict=True):
        if "*" in text[:-1]:
            raise Misconfigured(
                f"{source}: line {line}: a resource may end in *; Casbin ignores what follows a *, so the rule "
                "would cover more than it says",
                code="config.policy",
            )
