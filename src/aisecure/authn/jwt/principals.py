"""Who a token speaks of: the principal that its claims describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aisecure.authn._given import MAX_NAME
from aisecure.authn.jwt.errors import BadToken
from aisecure.principal import Principal

__all__ = ["ClaimMapping"]

Path = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Which claims make a principal. What is there and is of another type than expected refuses the token.

    A path names a claim (``groups``), or one inside others (``realm_access.roles``). A name with a ``/`` or ``:``
    in it, as issuers use for claims of their own, is taken whole; a tuple of names serves for everything else.

    Attributes:
        id: Path of the principal's id, a text.
        tenant: The tenant of every principal; or a function that is given the claims and returns it, and refuses by raising
            LookupError, TypeError or ValueError.
        tenant_claim: Path of the tenant, a text, instead; a token without it is refused.
        roles: Path of the roles, a list of texts; a token without it gives none.
        scopes: Paths of the scopes, a list or a text with spaces between them; the first that is there counts.

    >>> mapping = ClaimMapping(tenant_claim="org_id", roles="realm_access.roles")
    >>> mapping.principal({"sub": "u-17", "org_id": "acme", "realm_access": {"roles": ["member"]}})
    Principal(tenant='acme', roles=['member'], method='jwt')
    """

    id: Path = "sub"
    tenant: str | Callable[[Mapping[str, Any]], str] = "default"
    tenant_claim: Path | None = None
    roles: Path | None = None
    scopes: tuple[Path, ...] = ("scope", "scp")

    def __post_init__(self) -> None:
        if self.tenant_claim is not None and self.tenant != "default":
            raise ValueError("tenant, tenant_claim: give one of them")
        if not (callable(self.tenant) or (isinstance(self.tenant, str) and self.tenant)):
            raise ValueError("tenant: give a name or a function")
        given = [self.id, *(path for path in (self.tenant_claim, self.roles) if path is not None)]
        # A bare text would be a tuple of letters.
        if not isinstance(self.scopes, tuple) or not all(map(_is_path, (*given, *self.scopes))):
            raise ValueError("id, tenant_claim, roles, scopes: give names of claims, or tuples of names")

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Return the principal of verified claims.

        Raises:
            BadToken: A claim that has to be there is not, or one is of another type.
        """
        roles = None if self.roles is None else _found(claims, self.roles)
        auth_time = claims.get("auth_time")
        return Principal(
            _name(_found(claims, self.id), "id"),
            roles=() if roles is None else _list(roles, "roles"),
            tenant=self._tenant(claims),
            scopes=self._scopes(claims),
            claims=claims,
            method="jwt",
            # Only that: ``iat`` is when the token was made, and a refreshed one is made without anybody logging in.
            authenticated_at=None if auth_time is None else float(auth_time),
        )

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        if self.tenant_claim is not None:
            return _name(_found(claims, self.tenant_claim), "tenant")
        if isinstance(self.tenant, str):
            return self.tenant
        try:
            return _name(self.tenant(claims), "tenant")
        except (LookupError, TypeError, ValueError):
            raise BadToken("The function that tells the tenant refused the claims.") from None

    def _scopes(self, claims: Mapping[str, Any]) -> list[str]:
        for path in self.scopes:
            value = _found(claims, path)
            if value is not None:
                # RFC 8693 section 4.2: a text; some issuers write a list, and some an empty text.
                return (
                    []
                    if value == ""
                    else _list(value.split(" ") if isinstance(value, str) else value, "scopes")
                )
        return []


def _is_path(path: Any) -> bool:
    return (
        isinstance(path, str | tuple)
        and bool(path)
        and all(isinstance(name, str) and name for name in _names(path))
    )


def _names(path: Path) -> tuple[str, ...]:
    if not isinstance(path, str):
        return path
    return (path,) if "/" in path or ":" in path else tuple(path.split("."))


def _found(claims: Mapping[str, Any], path: Path) -> Any:
    """Return the value at a path, or None."""
    value: Any = claims
    for name in _names(path):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise BadToken("A claim that is mapped holds no further claims.")
        value = value.get(name)
    return value


def _list(value: Any, what: str) -> list[str]:
    if not isinstance(value, list):
        raise BadToken(f"The claim for {what} is of another type.")
    return [_name(item, what) for item in value]


def _name(value: Any, what: str) -> str:
    """Return a name as policies and logs may have it."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        raise BadToken(f"The claim for {what} is missing, or has something that is no name.")
    return value
