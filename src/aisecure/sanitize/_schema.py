"""A pydantic type as a rule: what follows it comes out as its value, what does not comes out as places and rule names.

Never told are values, nor what people or models wrote as keys: pydantic's messages and locations hold both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from aisecure.sanitize._strict_json import JsonLimits, Malformed, plain

__all__ = ["Extra", "Schema", "Violation", "Violations"]

T = TypeVar("T")
Extra = Literal["forbid", "ignore", "allow"]

#: Violations that are told; the rest of a long list says nothing new.
_MOST = 20
_BUILT_IN = frozenset(get_args(ErrorType))
_RULE = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Parts of a rule that its author wrote. Others, such as the length that was met, describe the value.
_WRITTEN = (
    "ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "max_digits", "decimal_places", "expected", "pattern",
)  # fmt: skip
_LONGEST_RULE = 200
#: Kinds of core schema that only wrap another.
_WRAPPERS = frozenset(
    {"definitions", "default", "function-after", "function-before", "function-wrap", "nullable"}
)
_OBJECTS = frozenset({"model", "model-fields", "typed-dict", "dataclass", "dataclass-args", "dict"})
_LISTS = frozenset({"list", "tuple", "set", "frozenset", "generator"})


class Violation(NamedTuple):
    """One rule that was broken.

    Attributes:
        pointer: JSON Pointer (RFC 6901) of the place; a name that the schema does not know is told as ``*``.
        rule: Pydantic's name of the rule, such as ``missing`` or ``string_too_long``, or one of the JSON parser's.
        expected: What the rule's author wrote, such as ``max_length=5``; empty when that says nothing more.
    """

    pointer: str
    rule: str
    expected: str = ""

    def __str__(self) -> str:
        where = self.pointer or "the whole value"
        return f"{where}: {self.rule}{f' ({self.expected})' if self.expected else ''}"


class Violations(Exception):
    """A value does not follow its schema."""

    def __init__(self, found: tuple[Violation, ...]) -> None:
        self.found = found
        super().__init__(f"{len(found)} rules broken")


class Schema(Generic[T]):
    """Any type that pydantic takes.

    Args:
        kind: A model, TypedDict, dataclass, ``list[Item]``, an annotated type, or a ready `TypeAdapter`.
        limits: How large values may be.
        extra: What happens to fields that the schema does not name; None leaves that to each model's own setting.
        strict: Convert nothing: a number as text is refused.

    Raises:
        pydantic.PydanticUserError: The type is none of these.
    """

    def __init__(
        self, kind: Any, *, limits: JsonLimits, extra: Extra | None = "forbid", strict: bool = False
    ) -> None:
        if extra not in {"forbid", "ignore", "allow", None}:
            raise ValueError("extra is 'forbid', 'ignore', 'allow' or None")
        self._adapter: TypeAdapter[T] = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
        self._adapter.rebuild()
        self._kind = kind
        self.limits = limits
        self._extra = extra
        self._strict = strict
        core = self._adapter.core_schema
        self._names = _names(core)
        root = _root(core)
        #: Whether a text is the value itself, and not JSON of it.
        self.is_text = root == "str"
        #: First characters that JSON of the schema may have.
        self.openings = "{" if root in _OBJECTS else "[" if root in _LISTS else "{["

    def of_value(self, value: Any) -> T:
        """Return the value that plain data, or an object of the schema's own type, stands for.

        Raises:
            Violations: It does not follow the schema.
        """
        try:
            given = plain(value, self.limits)
        except Malformed as err:
            raise Violations((Violation("", err.rule),)) from None
        by_name = hasattr(type(value), "model_fields") or is_dataclass(value)
        return self._validated(given, by_name=by_name or None)

    def of_json(self, value: Any) -> T:
        """Return the value that parsed JSON stands for.

        Raises:
            Violations: It does not follow the schema.
        """
        return self._validated(value, is_json=True)

    def is_own(self, value: Any) -> bool:
        """Whether a value is, or is meant to be, one of the schema, though it may look like a provider's message."""
        if isinstance(value, Mapping):
            return not self._names.isdisjoint(("choices", "role"))
        return isinstance(self._kind, type) and isinstance(value, self._kind)

    def dumped(self, value: T) -> Any:
        """Return a value of the schema as plain JSON data, under the names that it is read by."""
        return self._adapter.dump_python(value, mode="json", by_alias=True)

    def _validated(self, value: Any, *, is_json: bool = False, by_name: bool | None = None) -> T:
        try:
            if self._strict and is_json:
                # Only here are dates and enumerations, which JSON has as texts, no conversions.
                return self._adapter.validate_json(orjson.dumps(value), strict=True, extra=self._extra)
            return self._adapter.validate_python(
                value, strict=self._strict or None, extra=self._extra, by_alias=True, by_name=by_name
            )
        except ValidationError as err:
            found = err.errors(include_url=False, include_input=False)[:_MOST]
            # ``from None``: the exception carries the value.
            raise Violations(tuple(self._violation(error, value) for error in found)) from None
        except RecursionError:
            raise Violations((Violation("", "too_deep"),)) from None

    def _violation(self, error: Any, value: Any) -> Violation:
        rule = error["type"]
        built_in = rule in _BUILT_IN
        pointer = self._pointer(error["loc"], value, is_missing=rule.startswith("missing"))
        if not built_in and not _RULE.fullmatch(rule):
            rule = "value_error"
        told = error.get("ctx", {}) if built_in else {}
        expected = ", ".join(f"{name}={told[name]}" for name in _WRITTEN if name in told)
        return Violation(pointer, rule, expected[:_LONGEST_RULE])

    def _pointer(self, loc: tuple[int | str, ...], value: Any, *, is_missing: bool) -> str:
        """Return the place of an error, without the labels of unions, which are no part of the value."""
        steps: list[str] = []
        for number, step in enumerate(loc):
            if isinstance(value, Mapping):
                is_there = step in value
                if is_there or (is_missing and number == len(loc) - 1):
                    known = isinstance(step, str) and step in self._names
                    steps.append(step.replace("~", "~0").replace("/", "~1") if known else "*")  # type: ignore[union-attr]
                if is_there:
                    value = value[step]
            elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
                steps.append(str(step))
                value = value[step]
        return "".join(f"/{step}" for step in steps)


def _root(core: Any) -> str:
    while isinstance(core, Mapping) and core.get("type") in _WRAPPERS and "schema" in core:
        core = core["schema"]
    return str(core.get("type", "")) if isinstance(core, Mapping) else ""


def _names(core: Any) -> frozenset[str]:
    """Return every field name and alias that a core schema mentions."""
    names: set[str] = set()
    waiting, seen = [core], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Mapping):
            fields = node.get("fields")
            if isinstance(fields, Mapping):
                names |= set(fields)
            elif isinstance(fields, list):
                names |= {field["name"] for field in fields if "name" in field}
            _add_texts(node.get("validation_alias"), names)
            # Defaults and metadata are no schemas, and may be large.
            waiting += [
                inner for key, inner in node.items() if key not in {"default", "metadata", "serialization"}
            ]
        elif isinstance(node, list | tuple):
            waiting += node
    return frozenset(names)


def _add_texts(alias: Any, names: set[str]) -> None:
    if isinstance(alias, str):
        names.add(alias)
    elif isinstance(alias, list):
        for part in alias:
            _add_texts(part, names)
