"""Who has which roles: a graph of links, and what can be reached from a name, at most as far as Casbin goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["RoleGraph"]

#: Casbin's role managers look at a name and at what is at most nine links away (their level 10).
_LINKS: Final = 9


class RoleGraph:
    """The links of one role definition (``g``, ``g2``); immutable, so asking cannot make it grow (CWE-770).

    Args:
        links: ``(user, role)`` or ``(user, role, tenant)``.
        shared: Links of this tenant hold in every tenant.

    Attributes:
        names: Every name that has a role.
        tenants: Every tenant that has links; the empty one in a definition without tenants.
    """

    __slots__ = ("_parents", "_shared", "names", "tenants")

    def __init__(self, links: Iterable[tuple[str, ...]], *, shared: str | None = None) -> None:
        # One role stands bare: most names have one, and there may be a hundred thousand of them.
        parents: dict[str, dict[str, str | tuple[str, ...]]] = {}
        for name, role, *tenants in links:
            tenant = tenants[0] if tenants else ""
            of = parents.get(tenant)
            if of is None:
                of = parents[tenant] = {}
            held = of.get(name)
            if held is None:
                of[name] = role
            else:
                of[name] = (held, role) if isinstance(held, str) else (*held, role)
        self._parents = parents
        self._shared = parents.get(shared, {}) if shared is not None else {}
        self.names = frozenset[str]().union(*parents.values())
        self.tenants = frozenset(parents)

    def parents(self, name: str, tenant: str) -> tuple[str, ...]:
        """Return what a name has through one link of the tenant, or of the shared one."""
        found: tuple[str, ...] = ()
        for links in (self._parents.get(tenant), self._shared):
            held = links.get(name) if links else None
            if held is not None:
                found += (held,) if isinstance(held, str) else held
        return found

    def reach(self, name: str, tenant: str) -> set[str]:
        """Return the name itself and what it has through links of the tenant."""
        seen, level = {name}, {name}
        for _ in range(_LINKS):
            above: set[str] = set()
            for below in level:
                above.update(self.parents(below, tenant))
            level = above - seen  # a cycle ends here
            if not level:
                break
            seen |= level
        return seen

    def reaches(self, name: str, role: str, tenant: str = "") -> bool:
        """Whether a name is a role or has it."""
        return role in self.reach(name, tenant)
