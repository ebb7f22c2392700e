"""Mutual TLS: who is calling is told by the certificate of the connection."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aisecure.authn._certificate import NameKind, Reader, tidy_dns, tidy_email
from aisecure.authn.method import Answer, refused
from aisecure.errors import Misconfigured
from aisecure.ports import Clock, SystemClock
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.call import Credential

__all__ = ["MutualTls"]

_KINDS = ("uri", "dns", "email", "subject", "fingerprint")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
Principals = Mapping[str, Principal] | Callable[[str], Principal | None]


class MutualTls:
    """Turns the peer's certificate into a principal, by one kind of name and an explicit table.

    Whether the certificate was signed by an authority that is trusted for clients, and whether it was revoked, is checked
    by the TLS connection or by the proxy that ends it: trust one there that issues certificates to your callers and
    to nobody else. Here its dates, its purpose and its name are checked.

    Args:
        principals: By name, who it is: a `Principal` with id, roles, tenant and scopes. Or a function of the name, which
            returns None for a stranger.
        name: Which name of the certificate counts. ``uri`` is a SPIFFE id or another URI, of which there may be one only;
            ``dns`` and ``email`` are alternative names, of which exactly one may be in the table (with a function: there may be
            one only); ``subject`` is the whole subject as RFC 4514 writes it; ``fingerprint`` is the SHA-256 of the
            certificate in hexadecimal.
        clock: Time.

    Raises:
        Misconfigured: The table has a name that no certificate can have.

    >>> MutualTls({"spiffe://acme.example/bot": Principal("bot", roles={"service"})}, name="uri")
    MutualTls(name='uri', 1 known)
    """

    name = "mtls"
    #: A certificate answers no HTTP challenge.
    schemes: tuple[str, ...] = ()

    def __init__(self, principals: Principals, *, name: NameKind, clock: Clock | None = None) -> None:
        if name not in _KINDS:
            raise ValueError(f"name is one of {', '.join(_KINDS)}")
        self._kind = name
        self._reader = Reader(name)
        self._clock = clock or SystemClock()
        self._table: dict[str, Principal] | None = None
        self._look_up: Callable[[str], Principal | None]
        if callable(principals):
            self._look_up = principals
            return
        self._table = {}
        for written, principal in principals.items():
            if not isinstance(principal, Principal) or principal.is_anonymous:
                raise TypeError("principals: give a Principal with an id for each name")
            tidied = _tidy(name, written)
            if tidied in self._table:
                raise Misconfigured("principals: two entries are the same name", code="config.mtls")
            self._table[tidied] = principal
        self._look_up = self._table.get

    def __repr__(self) -> str:
        known = "a function" if self._table is None else f"{len(self._table)} known"
        return f"MutualTls(name={self._kind!r}, {known})"

    @property
    def aauthenticate(self) -> Callable[[Credential], Awaitable[Answer]] | None:
        """None: nothing is asked over a network."""
        return None

    def takes(self, credential: Credential) -> bool:
        """Whether the certificate is all that was shown."""
        return credential.scheme == "mtls"

    def authenticate(self, credential: Credential) -> Answer:
        """Return the principal of the connection's certificate, or the refusal."""
        if not credential.certificate:
            return refused("The connection has no certificate.")
        facts = self._reader.read(credential.certificate)
        if facts.flaw:
            return refused(f"The certificate {facts.flaw}.")
        now = self._clock.time()
        if now < facts.not_before:
            return refused("The certificate is not valid yet.")
        if now > facts.not_after:
            return refused("The certificate has expired.")
        names = facts.names
        if self._table is not None and self._kind != "uri":
            names = tuple(name for name in set(names) if name in self._table)
        if len(names) != 1:
            return refused(
                "The certificate has several names that count."
                if names
                else "The certificate has no name of a caller."
            )
        known = self._look_up(names[0])
        if known is None:
            return refused("The certificate is that of a stranger.")
        return Principal(
            known.id,
            roles=known.roles,
            tenant=known.tenant,
            scopes=known.scopes,
            claims={**known.claims, "x5t#S256": facts.thumbprint},
            method=self.name,
            authenticated_at=now,
        )


def _tidy(kind: NameKind, name: str) -> str:
    """Return a name of the table in the form in which names of certificates are compared.

    Raises:
        Misconfigured: No certificate can have it.
    """
    if not isinstance(name, str) or not name or not name.isprintable() or "*" in name:
        raise Misconfigured(
            "principals: a name has 1 or more printable characters and no asterisk", code="config.mtls"
        )
    if kind == "dns":
        return tidy_dns(name)
    if kind == "email":
        return tidy_email(name)
    if kind == "fingerprint":
        digits = name.replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(digits):
            raise Misconfigured(
                "principals: a fingerprint is the SHA-256 of the certificate, 64 hexadecimal digits",
                code="config.mtls",
            )
        return digits
    if kind == "subject":
        from cryptography import x509

        try:
            return x509.Name.from_rfc4514_string(name).rfc4514_string()
        except ValueError as err:
            raise Misconfigured(
                "principals: write a subject as RFC 4514 does, such as CN=bot,O=Acme", code="config.mtls"
            ) from err
    return name
