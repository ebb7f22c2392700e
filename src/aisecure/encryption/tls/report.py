"""What is asked of a server, and what was found: values, ready for JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from aisecure.encryption.tls.floor import Minimum
from aisecure.encryption.tls.material import CertificateFacts, checked_pins
from aisecure.errors import Misconfigured

__all__ = ["FINDINGS", "TlsFinding", "TlsPolicy", "TlsReport", "finding"]

Level = Literal["fail", "warn"]


class _Row(NamedTuple):
    level: Level
    remedy: str


_NEW_CERTIFICATE = (
    "issue the certificate again with an EC P-256 key, or RSA of 2048 bits and more, signed over SHA-256"
)
#: Every finding there is: how much it weighs, and what to do about it.
FINDINGS: Mapping[str, _Row] = MappingProxyType({
    "tls.unreachable": _Row("fail", "check the name, the port and the network between"),
    "tls.handshake": _Row("fail", "serve TLS 1.2 or 1.3 on this port, with a suite that the policy allows"),
    "tls.expired": _Row("fail", "renew the certificate, and find out why that did not happen by itself"),
    "tls.not_yet_valid": _Row("fail", "check the clocks of both machines, or wait for the date"),
    "tls.expires_soon": _Row("warn", "renew the certificate; automatic renewal is late"),
    "tls.wrong_name": _Row("fail", "issue a certificate whose subjectAltName has this name, or use the name it has"),
    "tls.self_signed": _Row("fail", "use a certificate of an authority, or name the file of the certificate to trust"),
    "tls.untrusted": _Row("fail", "serve the whole chain (fullchain.pem), or name the file of the private authority"),
    "tls.weak_key": _Row("fail", _NEW_CERTIFICATE),
    "tls.weak_signature": _Row("fail", _NEW_CERTIFICATE),
    "tls.wrong_pin": _Row("fail", "find out who changed the server's key; if it was on purpose, add the new pin"),
    "tls.old_version": _Row("fail", "switch old versions off on the server (RFC 8996); aisecure's server_context does"),
    "tls.weak_suite": _Row("fail", "allow only ECDHE suites with GCM or ChaCha20-Poly1305 on the server (RFC 9325)"),
    "tls.no_1_3": _Row("warn", "switch TLS 1.3 on at the server"),
    "hsts.missing": _Row("fail", "send Strict-Transport-Security on HTTPS responses; HttpsOnly does"),
    "hsts.invalid": _Row("fail", "write it as: Strict-Transport-Security: max-age=63072000"),
    "hsts.short": _Row("fail", "raise max-age; 63072000 is two years"),
    "http.no_answer": _Row("warn", "check that the server answers HEAD requests over HTTPS"),
    "http.plain": _Row("fail", "answer plain HTTP with a redirect to https:// and nothing else, or close the port"),
    "http.downgrade": _Row("fail", "redirect to https:// addresses only"),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class TlsFinding:
    """One way in which a server misses the policy.

    Attributes:
        code: A key of the table in ``docs/reference/cli.md``; stable.
        level: ``fail``, or ``warn``, which leaves the report ``ok``.
        message: What was seen.
        remedy: What to do.
    """

    code: str
    level: Level
    message: str
    remedy: str


def finding(code: str, message: str) -> TlsFinding:
    """Return a finding, with the level and the remedy that the table has for its code."""
    return TlsFinding(code, FINDINGS[code].level, message, FINDINGS[code].remedy)


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What `check_tls` asks of a server.

    Attributes:
        minimum: Oldest version that the server may accept.
        ca: PEM file of the only certificates to trust; the system's when None.
        pins: Public keys of which it must have one, see `aisecure.encryption.tls.pin_of`.
        warn_days: Fewer days than these before it expires are told. Certificates of 90 days are renewed when 30 are left, so
            three weeks mean that renewal failed.
        hsts_seconds: Smallest ``max-age`` of an ``https://`` URL: six months, as Mozilla's HTTP Observatory asks. None does not look.
        timeout_seconds: For each connection, from its beginning to its end. There are up to eight. Looking a name up is the resolver's affair, with
            a limit of its own.

    Raises:
        Misconfigured: A pin or a number cannot be used.
    """

    minimum: Minimum = "1.2"
    ca: str | os.PathLike[str] | None = None
    pins: tuple[str, ...] = ()
    warn_days: float = 21
    hsts_seconds: int | None = 15_768_000
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        checked_pins(self.pins)
        if self.minimum not in ("1.3", "1.2"):
            raise Misconfigured('minimum: is "1.3" or "1.2"', code="config.tls")
        if not 0 < self.timeout_seconds <= 600:
            raise Misconfigured("timeout_seconds: is more than 0 and at most 600", code="config.tls")


@dataclass(frozen=True, slots=True)
class TlsReport:
    """What `check_tls` found.

    Attributes:
        target: What was checked, as it was given.
        host, port: Where TLS was spoken.
        findings: How the server misses the policy, worst first.
        version: Version that was agreed on, such as ``TLSv1.3``; empty when there was no handshake.
        suite: Suite that was agreed on.
        certificate: What the server's certificate says; None when none was seen.
        hsts: The value of its ``Strict-Transport-Security``, if it sends one.
        not_checked: What could not be looked at, each with the reason. The report says nothing about these.
    """

    target: str
    host: str
    port: int
    findings: tuple[TlsFinding, ...]
    version: str = ""
    suite: str = ""
    certificate: CertificateFacts | None = None
    hsts: str = ""
    not_checked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing weighs as much as a failure."""
        return all(found.level != "fail" for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "target": self.target,
            "ok": self.ok,
            "host": self.host,
            "port": self.port,
            "version": self.version,
            "suite": self.suite,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "hsts": self.hsts,
            "findings": [
                {"code": found.code, "level": found.level, "message": found.message, "remedy": found.remedy}
                for found in self.findings
            ],
            "not_checked": list(self.not_checked),
        }
