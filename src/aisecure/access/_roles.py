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
        self._parents: dict[str, dict[str, list[str]]] = {}
        for link in links:
            tenant = link[2] if len(link) > 2 else ""
            self._parents.setdefault(tenant, {}).setdefault(link[0], []).append(link[1])
        self._shared = self._parents.get(shared, {}) if shared is not None else {}
        self.names = frozenset[str]().union(*self._parents.values())
        self.tenants = frozenset(self._parents)

    def reach(self, name: str, tenant: str) -> set[str]:
        """Return the name itself and what it has through links of the tenant."""
        own, shared = self._parents.get(tenant, {}), self._shared
        seen, level = {name}, {name}
        for _ in range(_LINKS):
            above: set[str] = set()
            for below in level:
                above.update(own.get(below, ()))
                above.update(shared.get(below, ()))
            level = above - seen  # a cycle ends here
            if not level:
                break
            seen |= level
        return seen
