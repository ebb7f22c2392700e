"""One version of a policy, complete and immutable: every decision is made by exactly one of these."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from aisecure.access._index import UNPLAIN, Index
from aisecure.access._matcher import NotCompiled, Term, asked_by_function, compile_matcher, parse
from aisecure.access._model import Definition, default_definition, read_model
from aisecure.access._names import is_plain, is_plain_path
from aisecure.access._policy import Policy, read_policy
from aisecure.access._roles import RoleGraph
from aisecure.access._sources import Texts
from aisecure.decisions import ALLOW, Decision
from aisecure.errors import Misconfigured
from aisecure.principal import Principal

__all__ = ["EVERY_TENANT", "Snapshot"]

#: The tenant of the built-in model that stands for all.
EVERY_TENANT: Final = "*"

#: What models call the parts of a call.
_SUBJECT, _TENANT = ("sub", "subject", "user"), ("dom", "domain", "tenant")
_RESOURCE, _ACTION = ("obj", "object", "resource"), ("act", "action")

_NO_RULE = Decision.deny("access.denied", "No rule of the policy allows this action on this resource.")
_EMPTY = Decision.deny("access.denied", "The policy has no rules, so nothing is allowed.")
_NAME = Decision.deny(
    "access.name",
    "A name in the request is spelled in a way that others may read differently: write it plainly, without control "
    "characters, '//', '/./', '/../' and percent-encoding, in at most 8,192 characters.",
)
_COLLISION = Decision.deny(
    "access.name", "The principal's id is also the name of a role in the policy: rename one of them."
)


class Snapshot:
    """A policy ready to decide.

    Attributes:
        version: First 16 hexadecimal digits of the SHA-256 of model and policy.
        rules: Number of ``p`` rules.
        compiled: Whether the index decides; otherwise pycasbin does.
        reason: Why it is not compiled, or empty.
    """

    __slots__ = (
        "_allows_rest", "_checks", "_judge", "_loose", "_otherwise", "_parts", "_places", "_request", "_role_names",
        "_size", "_source", "_subjects", "compiled", "reason", "rules", "version",
    )  # fmt: skip

    def __init__(self, texts: Texts) -> None:
        built_in = texts.model is None
        definition = (
            default_definition() if texts.model is None else read_model(texts.model, texts.model_name)
        )
        policy = read_policy(texts.policy, definition, texts.policy_name)
        digest = hashlib.sha256(definition.text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0" + texts.policy.encode("utf-8", "surrogatepass"))
        self.version = digest.hexdigest()[:16]
        self.rules = len(policy.rules)
        self._source = definition.source
        self._request = definition.request
        self._size = len(definition.request)
        self._allows_rest = definition.effect.allows_the_rest and self.rules > 0
        self._otherwise = ALLOW if self._allows_rest else _NO_RULE if self.rules else _EMPTY
        self._parts = _parts(definition)
        self._places = _places(definition, self._parts)
        self._role_names: frozenset[str] = frozenset()
        if built_in:
            self._role_names = _role_names(policy)
            _refuse_inner_stars(definition, policy, texts.policy_name)
        self._judge: Callable[..., int]
        self._subjects: frozenset[str] | None = None
        self._compile(definition, policy, texts)

    def _compile(self, definition: Definition, policy: Policy, texts: Texts) -> None:
        tree = parse(definition)
        shared = EVERY_TENANT if texts.model is None else texts.shared_tenant
        graphs = {name: RoleGraph(links, shared=shared) for name, links in policy.links.items()}
        subject = None if self._parts is None else self._parts[0]
        self.compiled, self.reason = True, ""
        everything = frozenset(range(len(definition.request)))
        paths = asked_by_function(definition, tree)
        loose: frozenset[int] = frozenset()
        checked: frozenset[int]
        try:
            index = Index(definition, _terms(definition, tree), policy, graphs, subject, texts.policy_name)
        except NotCompiled as err:
            from aisecure.access._interpreter import Interpreter

            self.compiled, self.reason = False, str(err)
            self._judge = Interpreter(definition, policy, graphs, subject).judge
            checked = everything
        else:
            self._judge, self._subjects = index.judge, index.subjects
            checked = index.patterns  # it looks after most others by itself, where it costs least
            loose = index.unseen
        if not self.rules:
            self._judge = _nothing
        if self._allows_rest:
            # Another spelling of any name is a way round a rule that denies.
            checked = paths = everything
            loose = frozenset()
            self._subjects = None
        self._loose = tuple(sorted(loose))
        self._checks = tuple(
            (position, is_plain_path if position in paths else is_plain) for position in sorted(checked)
        )

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
        line = self._judge(values)
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

    def decide(self, principal: Principal, action: str, resource: str) -> Decision:
        """Answer for a principal, under its id and each of its roles."""
        if self._parts is None:
            self.parts()
        name: str | None = principal.id
        if name in self._role_names:
            return _COLLISION
        if self._subjects is not None and name not in self._subjects:
            if not is_plain(principal.id):
                return _NAME
            name = None  # one of the many that the policy does not know
        if self._places is None:
            values: tuple[Any, ...] = (name, principal.tenant, resource, action)
        else:
            mine = (name, principal.tenant, resource, action)
            values = tuple([mine[place] for place in self._places])
        if self._checks and not self._is_checked(values):
            return _NAME
        line = self._judge(values, principal.roles)
        if line > 0:
            for position in self._loose:
                if values[position] is not None and not is_plain(values[position]):
                    return _NAME
            return ALLOW
        if not line:
            return self._otherwise
        if line == UNPLAIN:
            return _NAME
        return Decision.deny(
            "access.rule", f"The rule on line {-line} of the policy denies this action on this resource."
        )

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


def _terms(definition: Definition, tree: Any) -> tuple[Term, ...]:
    if definition.effect.value.startswith(("priority", "subjectPriority")):
        raise NotCompiled("the index does not weigh rules by priority")
    return compile_matcher(definition, tree)


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
    return frozenset(rule[0] for rule in policy.rules).union(link[1] for link in policy.links["g"])


def _refuse_inner_stars(definition: Definition, policy: Policy, source: str) -> None:
    resource = definition.rule.index("obj")
    for rule, line in zip(policy.rules, policy.lines, strict=True):
        if "*" in rule[resource][:-1]:
            raise Misconfigured(
                f"{source}: line {line}: a resource may end in *; Casbin ignores what follows a *, so the rule "
                "would cover more than it says",
                code="config.policy",
            )
