"""Conditions of a matcher that no look-up answers: comparisons, attributes, negation, made into functions.

They are evaluated for the few rules that everything else has let through. What may stand in one is what Casbin's
evaluator would compute in the same way; where it fails (a missing attribute, a comparison of different types), the
request goes to that evaluator, which knows what it would have skipped.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aisecure.access._patterns import PATTERNS, as_function

__all__ = ["Condition", "NotCompiled", "Reaches", "Reader", "is_asked_alone"]

#: Answers for the values of a request and the fields of a rule.
Condition = Callable[[Sequence[Any], Sequence[str]], Any]

_OPERATORS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda one, other: one in other, ast.NotIn: lambda one, other: one not in other,
}  # fmt: skip
#: Casbin's evaluator looks up no such attribute.
_HIDDEN: Final = ("_", "func_")
#: Nor these methods, which may reach further than the object.
_METHODS: Final = frozenset(
    {"format", "format_map", "mro", "tb_frame", "gi_frame", "ag_frame", "cr_frame", "exec"}
)


class NotCompiled(Exception):
    """The matcher has a part that the index does not know, so Casbin evaluates it; the text says which."""


class Reaches(Protocol):
    """What a role definition answers."""

    def __call__(self, name: str, role: str, tenant: str = "") -> bool:
        """Whether a name is a role or has it."""


class Reader:
    """Makes conditions from trees.

    Args:
        request: Position of each field of the request: ``{"r_sub": 0}``.
        rule: Position of each field of a rule.
        roles: Number of names in a link, by role definition.
        reaches: What each role definition answers.
        written: Returns, for a field of the rules, the tree of each text that stands there; for ``eval(p.sub_rule)``.
    """

    def __init__(
        self,
        request: Mapping[str, int],
        rule: Mapping[str, int],
        roles: Mapping[str, int],
        reaches: Mapping[str, Reaches],
        written: Callable[[int], Mapping[str, ast.expr]],
    ) -> None:
        self._request = request
        self._rule = rule
        self._roles = roles
        self._reaches = reaches
        self._written = written
        self._in_rule = False
        self._functions = {name: as_function(read) for name, read in PATTERNS.items()}

    def truth(self, node: ast.expr) -> Condition:
        """Return a condition whose value is always a truth value, as Casbin demands of a matcher.

        Raises:
            NotCompiled: It has a part of another kind.
        """
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            if isinstance(node.op, ast.And):
                return lambda values, rule: all(part(values, rule) for part in parts)
            return lambda values, rule: any(part(values, rule) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.truth(node.operand)
            return lambda values, rule: not inner(values, rule)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            compare = _OPERATORS.get(type(node.ops[0]))
            if compare is not None:
                left, right = self.value(node.left), self.value(node.comparators[0])
                return lambda values, rule: compare(left(values, rule), right(values, rule))
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            known = node.value
            return lambda _values, _rule: known
        raise _unknown(node)

    def value(self, node: ast.expr) -> Condition:
        """Return a function for a field, an attribute, a constant, or a list of these.

        Raises:
            NotCompiled: It is something else.
        """
        if isinstance(node, ast.Name) and node.id in self._request:
            place = self._request[node.id]
            return lambda values, _rule: values[place]
        if isinstance(node, ast.Name) and node.id in self._rule:
            field = self._rule[node.id]
            return lambda _values, rule: rule[field]
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            known = node.value
            return lambda _values, _rule: known
        if (
            isinstance(node, ast.Attribute)
            and not node.attr.startswith(_HIDDEN)
            and node.attr not in _METHODS
        ):
            of, name = self.value(node.value), node.attr
            return lambda values, rule: _attribute(of(values, rule), name)
        if isinstance(node, ast.Tuple | ast.List):
            parts = [self.value(part) for part in node.elts]
            return lambda values, rule: [part(values, rule) for part in parts]
        raise _unknown(node)

    def _call(self, node: ast.Call) -> Condition:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if node.keywords:
            raise _unknown(node)
        if name in self._roles and len(node.args) == self._roles[name]:
            arguments = [self.value(argument) for argument in node.args]
            reaches = self._reaches[name]
            return lambda values, rule: reaches(*[argument(values, rule) for argument in arguments])
        if name == "eval" and len(node.args) == 1 and not self._in_rule:
            return self._eval(node, node.args[0])
        if name in self._functions and len(node.args) == 2 and _is_written(node.args[1]):
            asked, written = self.value(node.args[0]), self.value(node.args[1])
            matches = self._functions[name]
            return lambda values, rule: matches(asked(values, rule), written(values, rule))
        raise _unknown(node)

    def _eval(self, node: ast.Call, argument: ast.expr) -> Condition:
        if not isinstance(argument, ast.Name) or argument.id not in self._rule:
            raise _unknown(node)
        field = self._rule[argument.id]
        self._in_rule = True
        conditions = {text: self.truth(tree) for text, tree in self._written(field).items()}
        self._in_rule = False
        return lambda values, rule: conditions[rule[field]](values, rule)


def is_asked_alone(node: ast.expr) -> bool:
    """Whether a condition is about the request and no field of a rule."""
    return not any(isinstance(part, ast.Name) and part.id.startswith("p_") for part in ast.walk(node))


def _is_written(node: ast.expr) -> bool:
    """Whether a pattern stands in the policy or the model: one that a caller wrote is not read as a pattern here."""
    return (isinstance(node, ast.Constant) and isinstance(node.value, str)) or (
        isinstance(node, ast.Name) and node.id.startswith("p_")
    )


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except (AttributeError, TypeError):
        return value[name]


def _unknown(node: ast.expr) -> NotCompiled:
    return NotCompiled(f"the index does not know the shape of: {ast.unparse(node)}")
