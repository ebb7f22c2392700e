"""The order in which rules are looked at, where the first that matches decides."""

from __future__ import annotations

from collections.abc import Sequence

from aisecure.access._model import Definition, Effect, casbin_model
from aisecure.access._policy import Policy
from aisecure.errors import Misconfigured

__all__ = ["order"]


def order(definition: Definition, policy: Policy, source: str) -> Sequence[int]:
    """Return the places of the rules in the order in which Casbin looks at them.

    That is as they are written; by ``p.priority`` where rules have one, the smallest first; under
    ``subjectPriority`` those of the subjects lowest in the tree of roles first.

    Raises:
        Misconfigured: Priorities are partly numbers and partly words, or a role reaches itself.
    """
    try:
        if definition.effect is Effect.SUBJECT_PRIORITY:
            return _by_subject(definition, policy)
        if "priority" in definition.rule:
            numbers = policy.rules.column(definition.rule.index("priority"))
            keys = [int(number) if number.isdigit() else number for number in numbers]
            return sorted(range(len(keys)), key=keys.__getitem__)
    except (RuntimeError, TypeError, ValueError) as err:
        raise Misconfigured(
            f"{source}: Casbin cannot order the rules: number every priority, and let no role reach itself",
            code="config.policy",
        ) from err
    return range(len(policy.rules))


def _by_subject(definition: Definition, policy: Policy) -> Sequence[int]:
    # Casbin's own, since the order among subjects of one level is that of its sorting.
    model = casbin_model(definition.text, definition.source)
    rules = [list(rule) for rule in policy.rules]
    place_of = {id(rule): place for place, rule in enumerate(rules)}
    model["p"]["p"].policy = rules
    for name, links in policy.links.items():
        model["g"][name].policy = [list(link) for link in links]
    model.sort_policies_by_subject_hierarchy()
    model.sort_policies_by_priority()
    return [place_of[id(rule)] for rule in model["p"]["p"].policy]
