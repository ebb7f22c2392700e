"""What is known about an API key: to its holder once, to its owner always, and to nobody else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["ApiKeyRecord", "IssuedKey", "KeyState"]


class KeyState(StrEnum):
    """What a key is worth at a moment."""

    ACTIVE = "active"
    #: Rotated: accepted beside its successor until the overlap ends.
    REPLACED = "replaced"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key at the only moment its secret is known.

    Attributes:
        key_id: Names the key in lists and logs.
        secret: What the caller sends: the whole text of the key. Show it once; it is stored nowhere.
        expires_at: Seconds since the epoch, UTC, or None.
    """

    key_id: str
    secret: str = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """What is stored about a key, without its hash. Times are seconds since the epoch, UTC.

    The ``repr`` leaves the principal and the key's name out, since they may be personal data.

    Attributes:
        tenant, principal, roles, scopes: On whose behalf the key acts, and with what.
        key_id: Names the key in lists and logs.
        created_at: When it was issued.
        expires_at: From when on it is refused, or None. For a rotated key the end of the overlap.
        revoked_at: When it was revoked, or None.
        name: For people: what the key is used for.
        last_used_at: When it was last accepted, give or take the interval of `ApiKeys`; None when it never was.
        replaced_by: Id of the key that a rotation put in its place, or None.
    """

    tenant: str
    key_id: str
    principal: str = field(repr=False)
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    name: str = field(default="", repr=False)
    last_used_at: float | None = None
    replaced_by: str | None = None

    def state(self, now: float) -> KeyState:
        """Return what the key is worth at a moment, in seconds since the epoch."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and now >= self.expires_at:
            return KeyState.EXPIRED
        return KeyState.ACTIVE if self.replaced_by is None else KeyState.REPLACED

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {**asdict(self), "roles": list(self.roles), "scopes": list(self.scopes)}
