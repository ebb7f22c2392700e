"""The rules and role links of a policy, read line by line as Casbin reads them, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecure.access._model import Definition
from aisecure.access._names import has_control
from aisecure.errors import Misconfigured

__all__ = ["Policy", "read_policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy says.

    Attributes:
        rules: Values of each ``p`` line, in order.
        lines: Line of each rule, from 1.
        links: Names of each ``g`` line, by role definition.
    """

    rules: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    links: Mapping[str, tuple[tuple[str, ...], ...]]


def read_policy(text: str, definition: Definition, source: str = "the policy") -> Policy:
    """Return the rules and links of a policy's text.

    A line that Casbin would pass over or that could never match is an error here: it may be somebody's deny rule.

    Raises:
        Misconfigured: Names source and line.
    """
    # Names return on many lines; each is kept once.
    same: dict[str, str] = {}
    rules: list[tuple[str, ...]] = []
    lines: list[int] = []
    links: dict[str, list[tuple[str, ...]]] = {name: [] for name in definition.roles}
    width = len(definition.rule)
    effect = definition.rule.index("eft") if "eft" in definition.rule else None

    def wrong(number: int, what: str) -> Misconfigured:
        return Misconfigured(f"{source}: line {number}: {what}", code="config.policy")

    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line[0] == "#":
            continue
        if has_control(line.replace("\t", " ")):
            raise wrong(number, "holds a control character or a line break of another kind; remove it")
        fields = _fields(line)
        if fields is None:
            raise wrong(number, "has an unbalanced bracket or parenthesis")
        key, values = fields[0], tuple([same.setdefault(field, field) for field in fields[1:]])
        if "" in values:
            raise wrong(number, "has an empty field; write a name, or remove the comma")
        if any(value[0] == '"' == value[-1] for value in values):
            raise wrong(
                number, "has a quoted field, and Casbin takes the quotes as part of the name; remove them"
            )
        if key == "p":
            if len(values) != width:
                raise wrong(number, f"has {len(values)} fields after p; the model asks for {width}")
            if effect is not None and values[effect] not in ("allow", "deny"):
                raise wrong(number, "has an effect that is neither allow nor deny")
            rules.append(values)
            lines.append(number)
        elif key in links:
            if len(values) < definition.roles[key]:
                raise wrong(
                    number, f"has {len(values)} names after {key}; the model asks for {definition.roles[key]}"
                )
            links[key].append(values[: definition.roles[key]])
        elif key not in definition.others:
            known = ", ".join(["p", *links, *sorted(definition.others)])
            raise wrong(number, f"begins with none of what the model defines: {known}")
    return Policy(tuple(rules), tuple(lines), {name: tuple(found) for name, found in links.items()})


def _fields(line: str) -> list[str] | None:
    """Split as Casbin does: at commas outside of brackets, of which most lines have none."""
    if "(" in line or "[" in line or ")" in line or "]" in line:
        from casbin.persist.adapter import _extract_tokens

        try:
            tokens: list[str] = _extract_tokens(line)
        except IndexError:
            return None
        return tokens
    return [field.strip() for field in line.split(",")]
