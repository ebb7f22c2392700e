"""A matcher taken apart: alternatives, each a list of conditions that an index can look up."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from aisecure.access._model import Definition
from aisecure.access._patterns import PATTERNS
from aisecure.errors import Misconfigured

__all__ = ["Link", "NotCompiled", "PatternTest", "Term", "asked_by_function", "compile_matcher", "parse"]

#: Most alternatives that ``||`` inside ``&&`` may multiply to.
_TERMS: Final = 32

#: What Casbin offers to matchers besides the role definitions.
_FUNCTIONS: Final = frozenset(
    "keyMatch keyMatch2 keyMatch3 keyMatch4 keyMatch5 regexMatch ipMatch globMatch timeMatch eval".split()
)


class NotCompiled(Exception):
    """The matcher has a part that the index does not know, so Casbin evaluates it; the text says which."""


class Link(NamedTuple):
    """``g(r.sub, p.sub, r.dom)``: the rule's name is among what the asked name is or has.

    Attributes:
        graph: Name of the role definition.
        asked: Position of the asked name in the request.
        tenant: Position of the tenant in the request, a fixed tenant, or None in a definition without.
        field: Position of the rule's name in the rule.
    """

    graph: str
    asked: int
    tenant: int | str | None
    field: int


class PatternTest(NamedTuple):
    """``keyMatch(r.obj, p.obj)``."""

    function: str
    asked: int
    field: int


@dataclass(frozen=True, slots=True)
class Term:
    """Conditions that must all hold.

    Attributes:
        equal: Positions in request and rule that hold the same text.
        asked: Texts that positions of the request hold.
        fixed: Texts that positions of the rule hold.
        links: Role conditions.
        patterns: Pattern conditions.
    """

    equal: tuple[tuple[int, int], ...]
    asked: tuple[tuple[int, str], ...]
    fixed: tuple[tuple[int, str], ...]
    links: tuple[Link, ...]
    patterns: tuple[PatternTest, ...]

    def holds(self, rule: tuple[str, ...]) -> bool:
        """Whether a rule has the texts that the term fixes."""
        return not self.fixed or all(rule[field] == text for field, text in self.fixed)

    def is_weaker(self, other: Term) -> bool:
        """Whether every request that meets a rule by the other term meets it by this one, where this one holds."""
        return self._asks() < other._asks()

    def _asks(self) -> set[tuple[object, ...]]:
        return {*self.equal, *self.asked, *self.links, *self.patterns}


def parse(definition: Definition) -> ast.expr:
    """Return the matcher's tree, made from the text that Casbin would evaluate.

    Raises:
        Misconfigured: It is no expression, or uses a name that the model does not define.
    """
    source = f"{definition.source}: [matchers] m"
    # Casbin's own spelling of its operators in Python.
    text = definition.matcher.replace("&&", "and").replace("||", "or")
    text = re.sub(r"!(?!=)", "not ", text).strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise Misconfigured(
            f"{source}: is not an expression; write spaces round && and ||, and compare with ==",
            code="config.model",
        ) from err
    known = {f"r_{name}" for name in definition.request} | {f"p_{name}" for name in definition.rule}
    functions = _FUNCTIONS | definition.roles.keys()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known and node.id not in functions:
            raise Misconfigured(
                f"{source}: {node.id.replace('_', '.', 1)} is neither a field nor a function; fields are "
                f"{', '.join(sorted(known)).replace('_', '.')}",
                code="config.model",
            )
    return tree


def compile_matcher(definition: Definition, tree: ast.expr) -> tuple[Term, ...]:
    """Return the alternatives of a matcher; a rule matches when all conditions of any of them hold.

    Raises:
        NotCompiled: A condition is of another shape.
    """
    reader = _Reader(definition)
    return tuple(reader.term(conditions) for conditions in _alternatives(tree))


def asked_by_function(definition: Definition, tree: ast.expr) -> frozenset[int]:
    """Return the positions of the request that a matching function sees, whatever shape the matcher has."""
    return frozenset(
        definition.request.index(node.id[2:])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and not (isinstance(call.func, ast.Name) and call.func.id in definition.roles)
        for argument in call.args
        for node in ast.walk(argument)
        if isinstance(node, ast.Name) and node.id.startswith("r_")
    )


def _alternatives(tree: ast.expr) -> list[list[ast.expr]]:
    """Multiply out: ``a and (b or c)`` is ``a and b`` or ``a and c``."""
    if not isinstance(tree, ast.BoolOp):
        return [[tree]]
    if isinstance(tree.op, ast.Or):
        found = [term for value in tree.values for term in _alternatives(value)]
    else:
        found = [[]]
        for value in tree.values:
            found = [head + tail for head in found for tail in _alternatives(value)]
            if len(found) > _TERMS:
                break
    if len(found) > _TERMS:
        raise NotCompiled("it has too many alternatives")
    return found


class _Reader:
    def __init__(self, definition: Definition) -> None:
        self._request = {f"r_{name}": index for index, name in enumerate(definition.request)}
        self._rule = {f"p_{name}": index for index, name in enumerate(definition.rule)}
        self._roles: Mapping[str, int] = definition.roles

    def term(self, conditions: list[ast.expr]) -> Term:
        equal, asked, fixed = [], [], []
        calls: list[ast.Call] = []
        for condition in conditions:
            if isinstance(condition, ast.Call):
                calls.append(condition)
                continue
            left, right = self._sides(condition)
            if left in self._request and right in self._rule:
                equal.append((self._request[left], self._rule[right]))
            elif left in self._request:
                asked.append((self._request[left], right))
            else:
                fixed.append((self._rule[left], right))
        # Where the rule's tenant equals the asked one, either may stand for the other.
        tenants: dict[int, int | str] = {field: position for position, field in equal} | dict(fixed)
        links, patterns = [], []
        for call in calls:
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            arguments = [argument.id if isinstance(argument, ast.Name) else "" for argument in call.args]
            if call.keywords or len(arguments) < 2:
                raise NotCompiled(_words(call))
            if arguments[0] not in self._request or arguments[1] not in self._rule:
                raise NotCompiled(_words(call))
            position, field = self._request[arguments[0]], self._rule[arguments[1]]
            if name in self._roles and len(arguments) == self._roles[name]:
                tenant = self._tenant(call.args[2], tenants) if len(arguments) > 2 else None
                links.append(Link(name, position, tenant, field))
            elif name in PATTERNS and len(arguments) == 2:
                patterns.append(PatternTest(name, position, field))
            else:
                raise NotCompiled(_words(call))
        return Term(tuple(equal), tuple(asked), tuple(fixed), tuple(links), tuple(patterns))

    def _sides(self, condition: ast.expr) -> tuple[str, str]:
        """Return the two sides of an equality: a field first, then a field of the rule or a constant."""
        if not (
            isinstance(condition, ast.Compare)
            and len(condition.ops) == 1
            and isinstance(condition.ops[0], ast.Eq)
        ):
            raise NotCompiled(_words(condition))
        sides = (condition.left, condition.comparators[0])
        for one, other in (sides, sides[::-1]):
            if not isinstance(one, ast.Name) or one.id not in self._request | self._rule:
                continue
            if isinstance(other, ast.Constant) and isinstance(other.value, str):
                # A constant that is spelled like a field would be taken for one.
                if other.value not in self._rule:
                    return one.id, other.value
            elif isinstance(other, ast.Name) and one.id in self._request and other.id in self._rule:
                return one.id, other.id
        raise NotCompiled(_words(condition))

    def _tenant(self, argument: ast.expr, tenants: Mapping[int, int | str]) -> int | str:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
        if isinstance(argument, ast.Name) and argument.id in self._request:
            return self._request[argument.id]
        if isinstance(argument, ast.Name) and self._rule.get(argument.id) in tenants:
            return tenants[self._rule[argument.id]]
        raise NotCompiled("a role condition takes its tenant from the rule alone")


def _words(node: ast.expr) -> str:
    return f"the index does not know the shape of: {ast.unparse(node)}"
