"""Who may: every name that a policy knows, asked one by one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aisecure.access._snapshot import Snapshot
from aisecure.principal import Principal

__all__ = ["Holder", "who_can"]


@dataclass(frozen=True, slots=True)
class Holder:
    """A name that may do something.

    Attributes:
        name: Of a user or a role, as the policy writes it; ``*`` where a rule of the built-in model speaks of
            everybody.
        is_role: Whether rules speak of it or others have it as their role; whoever has it may, too.
        line: Of the rule that allows; 0 where everything is allowed that no rule denies.
    """

    name: str
    is_role: bool
    line: int

    def to_dict(self) -> dict[str, Any]:
        """Return the holder as JSON-ready data."""
        return asdict(self)


def who_can(version: Snapshot, action: str, resource: str, tenant: str) -> tuple[Holder, ...]:
    """Return the names of the policy that may, users before roles, each in order of the alphabet.

    Takes time linear in the names.

    Raises:
        Misconfigured, Unavailable: As for `Authorizer.decide`.
    """
    subject = version.parts()[0]
    field = next(
        (
            place
            for place, name in enumerate(version.definition.rule)
            if name == version.definition.request[subject]
        ),
        None,
    )
    roles = set() if field is None else set(version.policy.rules.column(field))
    users: set[str] = set()
    for links in version.policy.links.values():
        users.update(links.column(0))
        roles.update(links.column(1))
        break  # the first definition is that of the subjects
    found = []
    for name in users | roles:
        # As a role: a principal whose id is spelled like one is refused by itself.
        asked = (
            Principal(name, tenant=tenant)
            if name not in roles
            else Principal("", roles={name}, tenant=tenant)
        )
        if version.decide(asked, action, resource).allowed:
            line = version.judge(version.request_of(asked, action, resource), asked.roles)
            found.append(Holder(name, name in roles, max(line, 0)))
    return tuple(sorted(found, key=lambda holder: (holder.is_role, holder.name)))
