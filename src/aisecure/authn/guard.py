"""The guard that turns an API key into a principal, and its making from the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aisecure.authn.keys import PEPPER_BYTES, ApiKeys
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError, Misconfigured
from aisecure.guard import Changed, Guard, Verdict
from aisecure.principal import Principal
from aisecure.storage import read_private, update_private

if TYPE_CHECKING:
    from aisecure.authn.settings import Settings
    from aisecure.call import Call
    from aisecure.ports import Ports

__all__ = ["ApiKeyGuard", "build"]

#: Ways in which a caller may show an API key.
_SCHEMES = frozenset({"api_key", "bearer"})

_MISSING = Decision.deny("authn.missing", AuthenticationError.default_detail, "No credential was sent.")
_FOREIGN = Decision.deny(
    "authn.invalid",
    AuthenticationError.default_detail,
    "The credential is of a kind that is not accepted here.",
)


class ApiKeyGuard(Guard):
    """Refuses a call unless its principal is established, by an API key or already.

    A credential that was sent is always checked, also when somebody else spoke for the caller: a wrong key is
    never overlooked.

    Args:
        keys: Verifies.
        options: As for `Guard`.
    """

    name = "authn"

    def __init__(
        self,
        keys: ApiKeys,
        *,
        name: str | None = None,
        on: str | tuple[str, ...] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if not isinstance(keys, ApiKeys):
            raise TypeError(f"ApiKeyGuard takes ApiKeys, not {type(keys).__name__}")
        self.keys = keys

    def identify(self, call: Call) -> Verdict:
        """Establish who is calling."""
        credential = call.credential
        if credential is None:
            return _MISSING if call.principal.is_anonymous else None
        if credential.scheme not in _SCHEMES:
            return _FOREIGN
        answer = self.keys.check(credential.value)
        return Changed(call.with_principal(answer)) if isinstance(answer, Principal) else answer

    def health(self) -> dict[str, Any]:
        """Return whether keys can be looked up."""
        self.keys.list(tenant="", principal_id="")
        return {"ok": True}


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guard that the settings ask for; the pepper is created when absent.

    Raises:
        Misconfigured: The pepper cannot be read or created, or is not the one of the stored keys.
        Unavailable: The disk is full or failed, or the database locked.
    """
    path = settings.pepper_file
    pepper = _open_pepper(ports.data_dir / "keys" / "authn.pepper" if path is None else ports.base_dir / path)
    keys = ApiKeys(
        ports.storage(),
        pepper=pepper,
        prefix=settings.prefix,
        environment=settings.environment,
        clock=ports.clock,
        notices=ports.notices,
        events=ports.events,
    )
    return (ApiKeyGuard(keys),)


def _open_pepper(path: Path) -> bytes:
    try:
        pepper = read_private(path)  # also where the folder cannot be written, as a mounted secret
    except Misconfigured as err:
        if err.code != "config.missing":
            raise
        pepper = update_private(path, lambda before: os.urandom(PEPPER_BYTES) if before is None else before)
    if len(pepper) != PEPPER_BYTES:
        raise Misconfigured(
            f"{path}: holds {len(pepper)} bytes, not {PEPPER_BYTES}; restore it from a backup"
        )
    return pepper
