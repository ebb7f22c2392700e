"""A Casbin model as data: what is asked, what a rule holds, which roles there are, and how rules are weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from aisecure.access._defaults import DEFAULT_MODEL
from aisecure.errors import Misconfigured

__all__ = ["Definition", "Effect", "casbin_model", "default_definition", "read_model"]


class Effect(StrEnum):
    """How the rules that match become an answer: Casbin's policy effects, with its own spelling of them."""

    ALLOW_OVERRIDE = "some(where (p_eft == allow))"
    DENY_OVERRIDE = "!some(where (p_eft == deny))"
    ALLOW_AND_DENY = "some(where (p_eft == allow)) && !some(where (p_eft == deny))"
    PRIORITY = "priority(p_eft) || deny"
    SUBJECT_PRIORITY = "subjectPriority(p_eft) || deny"

    @property
    def allows_the_rest(self) -> bool:
        """Whether what no rule denies is allowed."""
        return self is Effect.DENY_OVERRIDE

    @property
    def first_decides(self) -> bool:
        """Whether the first rule that matches decides."""
        return self in (Effect.PRIORITY, Effect.SUBJECT_PRIORITY)


@dataclass(frozen=True, slots=True)
class Definition:
    """A model as read and checked.

    Attributes:
        source: What error texts call it: a file's path, or words.
        request: Names of the values that are asked about, in order: ``sub``, ``obj`` ...
        rule: Names of a rule's fields, in order.
        roles: Number of names in a link, by role definition: ``{"g": 3}``.
        others: Further policy definitions (``p2``), whose rules no plain request meets.
        effect: How matching rules become an answer.
        matcher: The matcher as Casbin evaluates it: ``r_sub == p_sub``.
        text: The model as written.
    """

    source: str
    request: tuple[str, ...]
    rule: tuple[str, ...]
    roles: Mapping[str, int]
    others: frozenset[str]
    effect: Effect
    matcher: str
    text: str


def read_model(text: str, source: str = "the model") -> Definition:
    """Return the definition that a model's text gives, read by Casbin's own loader.

    Raises:
        Misconfigured: Names the source and the section or key to mend.
    """
    model = casbin_model(text, source)
    for section, title in (
        ("r", "request_definition"), ("p", "policy_definition"), ("e", "policy_effect"), ("m", "matchers"),
    ):  # fmt: skip
        if section not in (model[section] or {}):
            raise Misconfigured(f'{source}: [{title}] has no "{section} = ..."; add it', code="config.model")
    effects = {effect.value: effect for effect in Effect}
    effect = effects.get(model["e"]["e"].value)
    if effect is None:
        raise Misconfigured(
            f"{source}: [policy_effect] e: Casbin has no such effect; take one of its five, such as "
            "some(where (p.eft == allow))",
            code="config.model",
        )
    roles = {}
    for name, assertion in (model["g"] or {}).items():
        if assertion.params_tokens:
            # The conditions are Python functions; without them pycasbin takes every link as holding.
            raise Misconfigured(
                f"{source}: [role_definition] {name}: conditional roles need functions that a file cannot "
                "hold; write plain roles",
                code="config.model",
            )
        roles[name] = assertion.value.count("_")
        if roles[name] not in (2, 3):
            raise Misconfigured(
                f"{source}: [role_definition] {name}: write two or three underscores: _, _ or _, _, _",
                code="config.model",
            )
    return Definition(
        source,
        _fields(model, "r", source),
        _fields(model, "p", source),
        roles,
        frozenset(model["p"]) - {"p"},
        effect,
        model["m"]["m"].value,
        text,
    )


def casbin_model(text: str, source: str = "the model") -> Any:
    """Return Casbin's own object for a model's text, without rules.

    Raises:
        Misconfigured: Casbin cannot read it.
    """
    # Here and not at the top: the import takes longer than everything else of a start.
    from casbin.model import Model

    model = Model()
    try:
        model.load_model_from_text(text)
    except Exception as err:  # its reader raises whatever a slip meets; the text may be anything
        raise Misconfigured(
            f'{source}: not a Casbin model: every line is "[section]" or "key = value"', code="config.model"
        ) from err
    return model


@cache
def default_definition() -> Definition:
    """Return what `read_model` gives for `DEFAULT_MODEL`, written out so that Casbin need not be imported."""
    return Definition(
        source="the built-in model",
        request=("sub", "dom", "obj", "act"),
        rule=("sub", "dom", "obj", "act", "eft"),
        roles={"g": 3},
        others=frozenset(),
        effect=Effect.ALLOW_AND_DENY,
        matcher=(
            '(g(r_sub, p_sub, r_dom) || p_sub == "*") && (r_dom == p_dom || p_dom == "*") && '
            'keyMatch(r_obj, p_obj) && (r_act == p_act || p_act == "*")'
        ),
        text=DEFAULT_MODEL,
    )


def _fields(model: Any, section: str, source: str) -> tuple[str, ...]:
    fields = tuple(token.partition("_")[2] for token in model[section][section].tokens)
    if len(set(fields)) < len(fields) or not all(field.isidentifier() for field in fields):
        title = "request_definition" if section == "r" else "policy_definition"
        raise Misconfigured(
            f"{source}: [{title}] {section}: write different plain names between commas", code="config.model"
        )
    return fields
