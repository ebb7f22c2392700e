"""Mistakes in the links of roles: circles, chains that are too long, roles about which no rule speaks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from aisecure.access._policy import Row, Rows
from aisecure.access._roles import RoleGraph

__all__ = ["RoleTree", "Strand"]

#: Links that Casbin follows from a name.
_LINKS: Final = 9
#: Steps that searches for circles and long chains may take in all.
_STEPS: Final = 2_000_000


class Strand(NamedTuple):
    """A few links in a row.

    Attributes:
        names: From the member to the role.
        tenant: Where the links hold; empty in a definition without tenants.
    """

    names: tuple[str, ...]
    tenant: str


class RoleTree:
    """The links of one role definition, looked at as a whole.

    Args:
        links: As the policy has them.
        graph: What they reach.

    Attributes:
        is_shallow: Whether no tenant has a circle, nor a chain longer than Casbin follows.
        is_searched: Whether nothing was left out because it would have taken too long.
    """

    def __init__(self, links: Rows, graph: RoleGraph) -> None:
        self._links = links
        self._graph = graph
        self._steps = _STEPS
        self._tenants: dict[str, set[str]] = {}
        self._above: dict[str, list[str]] = {}
        for name, role in zip(links.column(0), links.column(1), strict=True) if len(links) else ():
            self._above.setdefault(name, []).append(role)
        self._depth = self._depths()
        self._circling = {name for name in self._above if name not in self._depth}
        self.is_shallow = not self._circling and max(self._depth.values(), default=0) <= _LINKS

    @property
    def is_searched(self) -> bool:
        return self._steps > 0

    def _depths(self) -> dict[str, int]:
        """Return the length of the longest chain above each name, without names from which a circle is reached."""
        below: dict[str, list[str]] = {}
        open_ = {name: len(roles) for name, roles in self._above.items()}
        for name, roles in self._above.items():
            for role in roles:
                below.setdefault(role, []).append(name)
        depth = {role: 0 for role in below if role not in self._above}
        ready = list(depth)
        while ready:
            role = ready.pop()
            for name in below.get(role, ()):
                depth_here = max(depth.get(name, 0), depth[role] + 1)
                open_[name] -= 1
                depth[name] = depth_here
                if not open_[name]:
                    ready.append(name)
        return {name: value for name, value in depth.items() if not open_.get(name)}

    def circles(self) -> Iterator[Strand]:
        """Yield chains that come back to where they began, one for each tenant and group of roles."""
        seen: set[frozenset[str]] = set()
        for tenant, names in self._by_tenant(self._circling).items():
            circle = self._circle(names, tenant)
            if circle is not None and frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                yield Strand(circle, tenant)

    def _by_tenant(self, names: Collection[str]) -> Mapping[str, dict[str, None]]:
        """Return the names, in order, that have links of each tenant."""
        found: dict[str, dict[str, None]] = {}
        for link in self._links if names else ():
            if link[0] in names:
                found.setdefault(link[2] if len(link) > 2 else "", {})[link[0]] = None
        return found

    def _circle(self, starts: Iterable[str], tenant: str) -> tuple[str, ...] | None:
        done: set[str] = set()
        for start in starts:
            path: dict[str, Iterator[str]] = {}
            name = start
            while self._steps > 0:
                self._steps -= 1
                if name not in path and name not in done:
                    path[name] = iter(self._graph.parents(name, tenant))
                elif name in path:
                    return (*list(path)[list(path).index(name) :], name)
                above = None
                while path and above is None:
                    last = next(reversed(path))
                    above = next(path[last], None)
                    if above is None:
                        done.add(last)
                        del path[last]
                if above is None:
                    break
                name = above
        return None

    def too_long(self) -> Iterator[Strand]:
        """Yield a name and a role above it that Casbin does not find, once for each such role."""
        told: set[str] = set()
        below: set[str] = set()
        deep = [name for name, depth in self._depth.items() if depth > _LINKS]
        for name in sorted(deep, key=self._depth.__getitem__):
            if below.intersection(self._above[name]):
                below.add(name)
                continue
            for tenant in self._tenants_above(name):
                chain = self._chain(name, tenant)
                if chain is not None:
                    below.add(name)
                    if chain[-1] not in told:
                        told.add(chain[-1])
                        yield Strand(chain, tenant)
                    break

    def _tenants_above(self, name: str) -> list[str]:
        """Return the tenants that have a link somewhere above a name."""
        if not self._tenants:
            for link in self._links:
                self._tenants.setdefault(link[0], set()).add(link[2] if len(link) > 2 else "")
        above, level = {name}, [name]
        while level and self._steps > 0:
            level = list({role for below in level for role in self._above.get(below, ())} - above)
            self._steps -= len(level) + 1
            above.update(level)
        return sorted(set[str]().union(*[self._tenants.get(role, ()) for role in above]))

    def _chain(self, name: str, tenant: str) -> tuple[str, ...] | None:
        """Return the shortest chain to a role that is one link too far away, if there is one."""
        came, level = {name: name}, [name]
        for _ in range(_LINKS + 1):
            above: list[str] = []
            for below in level:
                for role in self._graph.parents(below, tenant):
                    self._steps -= 1
                    if role not in came:
                        came[role] = below
                        above.append(role)
            level = above
            if self._steps <= 0:
                return None
        if not level:
            return None
        chain = [level[0]]
        while chain[-1] != name:
            chain.append(came[chain[-1]])
        return tuple(reversed(chain))

    def unspoken(self, spoken: Collection[str]) -> Iterator[Row]:
        """Yield the first link to each role about which no rule speaks, and which has no further role."""
        told: set[str] = set()
        for link in self._links:
            role = link[1]
            if role not in spoken and role not in told and role not in self._above:
                told.add(role)
                yield link

    def given(self) -> tuple[set[str], set[str], set[tuple[str, str]]]:
        """Return the roles that somebody has, those that somebody has in every tenant, and those by tenant."""
        everywhere = {link[1] for link in self._links if link[1] in self._graph.parents(link[0], "\0")}
        in_tenant = {(link[1], link[2] if len(link) > 2 else "") for link in self._links}
        return {role for role, _ in in_tenant}, everywhere, in_tenant
