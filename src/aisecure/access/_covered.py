"""Rules that never decide anything, because others cover them; all of them together can be removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from aisecure.access._covers import Covers, Shape
from aisecure.access._model import Effect
from aisecure.access._names import MAX_NAME
from aisecure.access._order import order
from aisecure.access._policy import Row
from aisecure.access._snapshot import Snapshot

__all__ = ["Covered", "allows", "covered", "has_say"]


class Covered(NamedTuple):
    """A rule that never decides.

    Attributes:
        place: Of the rule, from 0.
        by: Of a rule that covers it, or a part of it where several do.
        same_effect: Whether those that cover it have its effect.
    """

    place: int
    by: int
    same_effect: bool


def allows(version: Snapshot) -> Callable[[Row], bool]:
    """Return what tells whether a rule allows."""
    if "eft" not in version.definition.rule:
        return lambda _: True
    field = version.definition.rule.index("eft")
    return lambda rule: rule[field] != "deny"


def has_say(version: Snapshot) -> Callable[[Row], bool]:
    """Return what tells whether the effect of the model looks at a rule."""
    rule_allows = allows(version)
    if version.definition.effect is Effect.ALLOW_OVERRIDE:
        return rule_allows
    if version.definition.effect is Effect.DENY_OVERRIDE:
        return lambda rule: not rule_allows(rule)
    return lambda _: True


def covered(version: Snapshot, shape: Shape, without: Collection[int]) -> Iterator[Covered]:
    """Yield rules that can be removed, all of them together, without any decision becoming another.

    Args:
        version: The policy.
        shape: Of its rules.
        without: Places of rules that are gone already.
    """
    counts = has_say(version)
    rules = [
        (place, rule)
        for place, rule in enumerate(version.policy.rules)
        # Of a name that is too long no pattern knows.
        if place not in without and counts(rule) and max(map(len, rule)) <= MAX_NAME
    ]
    if version.definition.effect.first_decides:
        yield from _by_order(version, shape, rules)
    else:
        yield from _by_effect(version, shape, rules)


def _by_order(version: Snapshot, shape: Shape, rules: list[tuple[int, Row]]) -> Iterator[Covered]:
    """Yield the rules that come after what covers them, where the first that matches decides."""
    rank = {place: at for at, place in enumerate(order(version.definition, version.policy, "the policy"))}
    rule_allows = allows(version)
    earlier = Covers(shape)
    for place, rule in sorted(rules, key=lambda pair: rank[pair[0]]):
        earlier.add(rule, place)
    for place, rule in rules:
        by: list[int] = []
        for number in shape.holding(rule):
            found = earlier.of(number, rule, lambda at, mine=rank[place]: rank[at] < mine, spelled=False)  # type: ignore[misc]
            if found is None:
                break
            by.append(found)
        else:
            if by:
                same = all(rule_allows(version.policy.rules[at]) == rule_allows(rule) for at in by)
                yield Covered(place, by[0], same)


def _by_effect(version: Snapshot, shape: Shape, rules: list[tuple[int, Row]]) -> Iterator[Covered]:
    """Yield the rules that another of their effect covers, and those that allow what another denies."""
    rule_allows = allows(version)
    allowing, denying = Covers(shape), Covers(shape)
    for place, rule in rules:
        (allowing if rule_allows(rule) else denying).add(rule, place)
    gone: set[int] = set()
    # The last first: of rules that cover each other, the first stays.
    for place, rule in reversed(rules):

        def usable(at: int, mine: int = place) -> bool:
            return at != mine and at not in gone

        by: list[int] = []
        denied = False
        for number in shape.holding(rule):
            found = denying.of(number, rule, usable, spelled=True)
            denied = denied or found is not None
            if found is None and rule_allows(rule):
                found = allowing.of(number, rule, usable, spelled=False)
            if found is None:
                break
            by.append(found)
        else:
            if by:
                gone.add(place)
                yield Covered(place, by[0], not (denied and rule_allows(rule)))
