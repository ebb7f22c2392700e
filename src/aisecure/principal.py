"""Who is calling: an identity that some method has established, or nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["Principal"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Principal:
    """An authenticated user, service or agent; immutable.

    Args:
        id: Stable identifier, unique inside the tenant. Prefer an opaque id to an e-mail address.
        roles: Names of roles, as the policy knows them.
        tenant: The customer or organisation the principal belongs to; part of every stored key.
        scopes: What the credential was issued for; a call may use less than the principal's roles allow.
        claims: Further verified facts, such as JWT claims; lists become tuples and mappings read-only, all the way
            down, since one principal may serve many requests.
        method: How the identity was established: ``api_key``, ``jwt``, ``mtls``; empty when asserted by code.
        authenticated_at: When, in seconds since the epoch (UTC), or None.

    The ``repr`` leaves the id and the claims out: they are often personal data.

    >>> Principal("u-17", roles={"member"}, tenant="acme")
    Principal(tenant='acme', roles=['member'], method='')
    """

    __slots__ = ("authenticated_at", "claims", "id", "method", "roles", "scopes", "tenant")

    id: str
    roles: frozenset[str]
    tenant: str
    scopes: frozenset[str]
    claims: Mapping[str, Any]
    method: str
    authenticated_at: float | None

    def __init__(
        self,
        id: str,
        *,
        roles: Collection[str] = (),
        tenant: str = "default",
        scopes: Collection[str] = (),
        claims: Mapping[str, Any] | None = None,
        method: str = "",
        authenticated_at: float | None = None,
    ) -> None:
        if not isinstance(id, str) or not isinstance(tenant, str):
            raise TypeError("Principal: id and tenant are strings")
        for name, values in (("roles", roles), ("scopes", scopes)):
            # A bare string is a collection of letters, and every letter would become a role.
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise TypeError(f"Principal: {name} is a collection of strings")
        put = object.__setattr__
        put(self, "id", id)
        put(self, "roles", frozenset(roles))
        put(self, "tenant", tenant)
        put(self, "scopes", frozenset(scopes))
        put(self, "claims", _frozen(claims) if claims else _NOTHING)
        put(self, "method", method)
        put(self, "authenticated_at", authenticated_at)

    @classmethod
    def anonymous(cls) -> Principal:
        """Return the principal of a caller who showed no credential; it has no roles."""
        return _ANONYMOUS

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody has been established."""
        return not self.id

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Principal is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Principal is immutable: cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Principal) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.id, self.tenant, self.roles, self.scopes, self.method))

    def __repr__(self) -> str:
        if self.is_anonymous:
            return "Principal.anonymous()"
        return f"Principal(tenant={self.tenant!r}, roles={sorted(self.roles)!r}, method={self.method!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Slots with a refusing __setattr__ do not unpickle by themselves; queues between workers need it.
        return _restore, (
            self.id, self.roles, self.tenant, self.scopes, _thawed(self.claims), self.method, self.authenticated_at,
        )  # fmt: skip


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({name: _frozen(one) for name, one in value.items()})
    return tuple([_frozen(one) for one in value]) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    """Return a value with dictionaries for the mappings, which cannot be pickled."""
    if isinstance(value, Mapping):
        return {name: _thawed(one) for name, one in value.items()}
    return tuple([_thawed(one) for one in value]) if isinstance(value, tuple) else value


def _restore(
    id: str,
    roles: frozenset[str],
    tenant: str,
    scopes: frozenset[str],
    claims: dict[str, Any],
    method: str,
    authenticated_at: float | None,
) -> Principal:
    return Principal(
        id,
        roles=roles,
        tenant=tenant,
        scopes=scopes,
        claims=claims,
        method=method,
        authenticated_at=authenticated_at,
    )


_ANONYMOUS = Principal("", tenant="default")
