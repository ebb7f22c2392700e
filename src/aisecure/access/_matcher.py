"""A matcher taken apart: alternatives, each a list of conditions that an index can look up."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from aisecure.access._condition import Condition, NotCompiled, Reaches, Reader, is_asked_alone
from aisecure.access._model import Definition
from aisecure.access._patterns import PATTERNS
from aisecure.access._policy import Policy
from aisecure.errors import Misconfigured

__all__ = ["Compiled", "Link", "PatternTest", "Term", "asked_by_function", "compile_matcher", "parse"]

#: Most alternatives that ``||`` inside ``&&`` may multiply to.
_TERMS: Final = 32

# A field as it is written: Casbin reads "r.sub" as the name "r_sub".
_FIELD = re.compile(r"\b([rp])\.")

#: What Casbin offers to matchers besides the role definitions.
_FUNCTIONS: Final = frozenset(
    "keyMatch keyMatch2 keyMatch3 keyMatch4 keyMatch5 regexMatch ipMatch globMatch timeMatch eval".split()
)


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
        equal: Positions in request and rule that hold the same value.
        asked: Values that positions of the request hold.
        fixed: Texts that positions of the rule hold.
        links: Role conditions.
        patterns: Pattern conditions.
        rests: What remains to be evaluated for each rule.
    """

    equal: tuple[tuple[int, int], ...]
    asked: tuple[tuple[int, object], ...]
    fixed: tuple[tuple[int, str], ...]
    links: tuple[Link, ...]
    patterns: tuple[PatternTest, ...]
    rests: tuple[Condition, ...] = ()

    def holds(self, rule: tuple[str, ...]) -> bool:
        """Whether a rule has the texts that the term fixes."""
        return not self.fixed or all(rule[field] == text for field, text in self.fixed)

    def is_weaker(self, other: Term) -> bool:
        """Whether every request that meets a rule by the other term meets it by this one, where this one holds."""
        return self._asks() < other._asks()

    def _asks(self) -> set[object]:
        return {*self.equal, *self.asked, *self.links, *self.patterns, *self.rests}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A matcher taken apart.

    Attributes:
        terms: A rule matches when all conditions of any of them hold.
        derived: What is worked out of a request before anything is looked up, such as ``r.sub.age > 18``; their
            values stand behind those of the request, and terms speak of them as of further positions.
    """

    terms: tuple[Term, ...]
    derived: tuple[Condition, ...] = ()


def parse(definition: Definition) -> ast.expr:
    """Return the matcher's tree, made from the text that Casbin would evaluate.

    Raises:
        Misconfigured: It is no expression, or uses a name that the model does not define.
    """
    source = f"{definition.source}: [matchers] m"
    try:
        return _tree(definition, definition.matcher)
    except _NoExpression as err:
        raise Misconfigured(f"{source}: {err}", code="config.model") from err


class _NoExpression(ValueError):
    """A text is no expression, or has a name that the model does not define; says so."""


def _tree(definition: Definition, text: str) -> ast.expr:
    # Casbin's own spelling of its operators in Python.
    text = text.replace("&&", "and").replace("||", "or")
    text = re.sub(r"!(?!=)", "not ", text).strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise _NoExpression(
            "is not an expression; write spaces round && and ||, and compare with =="
        ) from err
    known = {f"r_{name}" for name in definition.request} | {f"p_{name}" for name in definition.rule}
    functions = _FUNCTIONS | definition.roles.keys()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known and node.id not in functions:
            raise _NoExpression(
                f"{node.id.replace('_', '.', 1)} is neither a field nor a function; fields are "
                f"{', '.join(sorted(known)).replace('_', '.')}"
            )
    return tree


def compile_matcher(
    definition: Definition, tree: ast.expr, reaches: Mapping[str, Reaches], policy: Policy, source: str
) -> Compiled:
    """Return a matcher taken apart.

    Args:
        definition: The model.
        tree: What `parse` made of its matcher.
        reaches: What each role definition answers.
        policy: The rules, for the expressions that stand in them.
        source: What error texts call the policy.

    Raises:
        NotCompiled: A condition is of another shape.
        Misconfigured: What a rule holds for ``eval`` is no expression; names the line.
    """

    def written(field: int) -> dict[str, ast.expr]:
        trees: dict[str, ast.expr] = {}
        for text, line in zip(policy.rules.column(field), policy.lines, strict=True):
            if text not in trees:
                fields = _FIELD.sub(r"\1_", text)
                try:
                    trees[text] = _tree(definition, fields)
                    # Casbin puts it between parentheses: nothing in it may close or hide them.
                    _tree(definition, f"({fields})")
                except _NoExpression:
                    raise Misconfigured(
                        f"{source}: line {line}: {definition.rule[field]} is no expression by itself over the "
                        "fields of the model",
                        code="config.policy",
                    ) from None
        return trees

    reader = _Reader(definition, reaches, written)
    terms = tuple(reader.term(conditions) for conditions in _alternatives(tree))
    return Compiled(terms, tuple(reader.derived))


def asked_by_function(definition: Definition, tree: ast.expr) -> frozenset[int]:
    """Return the positions of the request where another spelling of a name may pass a test that the plain one fails.

    That is what a matching function sees, and what is compared but for being the same; with rules that are expressions
    themselves, every position.
    """
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "eval":
                return frozenset(range(len(definition.request)))
            if node.func.id not in definition.roles:
                parts = node.args
        elif isinstance(node, ast.UnaryOp) or (
            isinstance(node, ast.Compare) and not all(isinstance(op, ast.Eq | ast.In) for op in node.ops)
        ):
            parts = [node]
        found.update(
            definition.request.index(part.id[2:])
            for whole in parts
            for part in ast.walk(whole)
            if isinstance(part, ast.Name) and part.id.startswith("r_")
        )
    return frozenset(found)


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
    def __init__(
        self,
        definition: Definition,
        reaches: Mapping[str, Reaches],
        written: Callable[[int], Mapping[str, ast.expr]],
    ) -> None:
        self._request = {f"r_{name}": index for index, name in enumerate(definition.request)}
        self._rule = {f"p_{name}": index for index, name in enumerate(definition.rule)}
        self._roles: Mapping[str, int] = definition.roles
        self._conditions = Reader(self._request, self._rule, definition.roles, reaches, written)
        self._places: dict[str, int] = {}
        self.derived: list[Condition] = []

    def term(self, conditions: list[ast.expr]) -> Term:
        equal: list[tuple[int, int]] = []
        asked: list[tuple[int, object]] = []
        fixed: list[tuple[int, str]] = []
        calls: list[ast.Call] = []
        others: list[ast.expr] = []
        for condition in conditions:
            sides = self._sides(condition)
            if isinstance(condition, ast.Call):
                calls.append(condition)
            elif sides is None:
                others.append(condition)
            elif isinstance(sides[1], str):
                fixed.append((sides[0], sides[1]))
            else:
                equal.append((sides[0], sides[1]))
        # Where the rule's tenant equals the asked one, either may stand for the other.
        tenants: dict[int, int | str] = {field: position for position, field in equal} | dict(fixed)
        links, patterns = [], []
        for call in calls:
            test = self._call(call, tenants)
            if isinstance(test, Link):
                links.append(test)
            elif isinstance(test, PatternTest):
                patterns.append(test)
            else:
                others.append(call)
        rests = []
        for condition in others:
            if is_asked_alone(condition):
                asked.append((self._derive(condition, self._conditions.truth(condition)), True))
            else:
                rests.append(self._conditions.truth(condition))
        return Term(tuple(equal), tuple(asked), tuple(fixed), tuple(links), tuple(patterns), tuple(rests))

    def _derive(self, node: ast.expr, condition: Condition) -> int:
        """Return the position of what is worked out of a request."""
        text = ast.dump(node)
        if text not in self._places:
            self._places[text] = len(self._request) + len(self.derived)
            self.derived.append(condition)
        return self._places[text]

    def _position(self, node: ast.expr) -> int | None:
        """Return the position of a field of the request, or of an attribute of one; None for anything else."""
        if isinstance(node, ast.Name):
            return self._request.get(node.id)
        if isinstance(node, ast.Attribute) and is_asked_alone(node):
            return self._derive(node, self._conditions.value(node))
        return None

    def _sides(self, condition: ast.expr) -> tuple[int, int | str] | None:
        """Return what an equality says: positions in request and rule, or a rule's field and its text."""
        if not (
            isinstance(condition, ast.Compare)
            and len(condition.ops) == 1
            and isinstance(condition.ops[0], ast.Eq)
        ):
            return None
        sides = (condition.left, condition.comparators[0])
        for one, other in (sides, sides[::-1]):
            if isinstance(other, ast.Name) and other.id in self._rule:
                position = self._position(one)
                if position is not None:
                    return position, self._rule[other.id]
            if (
                isinstance(one, ast.Name)
                and one.id in self._rule
                and isinstance(other, ast.Constant)
                and isinstance(other.value, str)
                # A constant that is spelled like a field would be taken for one.
                and other.value not in self._rule
            ):
                return self._rule[one.id], other.value
        return None

    def _call(self, call: ast.Call, tenants: Mapping[int, int | str]) -> Link | PatternTest | None:
        """Return a call that can be looked up; None for another."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if call.keywords or len(call.args) < 2:
            return None
        written = call.args[1]
        if not isinstance(written, ast.Name) or written.id not in self._rule:
            return None
        position = self._position(call.args[0])
        if position is None:
            return None
        field = self._rule[written.id]
        if name in self._roles and len(call.args) == self._roles[name]:
            if len(call.args) == 2:
                return Link(name, position, None, field)
            tenant = self._tenant(call.args[2], tenants)
            return None if tenant is None else Link(name, position, tenant, field)
        if name in PATTERNS and len(call.args) == 2:
            return PatternTest(name, position, field)
        return None

    def _tenant(self, argument: ast.expr, tenants: Mapping[int, int | str]) -> int | str | None:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
        if isinstance(argument, ast.Name) and argument.id in self._request:
            return self._request[argument.id]
        if isinstance(argument, ast.Name) and argument.id in self._rule:
            return tenants.get(self._rule[argument.id])
        return None
