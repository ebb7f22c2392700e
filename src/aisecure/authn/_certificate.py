"""What a peer's certificate says, read once and remembered by its hash."""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Facts", "NameKind", "Reader", "tidy_dns", "tidy_email"]

NameKind = Literal["uri", "dns", "email", "subject", "fingerprint"]

#: A certificate with an RSA-4096 key and many names has about 4 KB.
MAX_CERTIFICATE_BYTES = 65_536
_MAX_REMEMBERED = 1_000


class Facts(NamedTuple):
    """A certificate reduced to what decides.

    Attributes:
        names: Of the kind that was asked for, tidied; empty when there is none.
        not_before: Seconds since the epoch.
        not_after: Seconds since the epoch, the last one on which it is valid.
        flaw: Why it is nobody's; empty when nothing is wrong with it. For the log: quotes nothing of the certificate.
        thumbprint: Its ``x5t#S256``.
    """

    names: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = 0.0
    flaw: str = ""
    thumbprint: str = ""


class Reader:
    """Reads names of one kind.

    Args:
        kind: Which.
    """

    def __init__(self, kind: NameKind) -> None:
        self._kind = kind
        self._known: dict[bytes, Facts] = {}
        self._lock = threading.Lock()

    def read(self, certificate: bytes) -> Facts:
        """Return what a certificate in DER says."""
        if len(certificate) > MAX_CERTIFICATE_BYTES:
            return Facts(flaw="is too large")
        digest = hashlib.sha256(certificate).digest()
        facts = self._known.get(digest)
        if facts is None:
            facts = self._facts(certificate, digest)
            with self._lock:
                if len(self._known) >= _MAX_REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[digest] = facts
        return facts

    def _facts(self, certificate: bytes, digest: bytes) -> Facts:
        from cryptography import x509

        try:
            parsed = x509.load_der_x509_certificate(certificate)
            flaw = _flaw(parsed) or ""
            names = () if flaw else self._names(parsed, digest)
        except Exception:  # noqa: BLE001  (the parser has errors of many classes for what is no certificate)
            return Facts(flaw="cannot be read")
        if any(not name or not name.isprintable() or "*" in name for name in names):
            # A NUL ends the name for some readers, and a wildcard is the name of many.
            return Facts(flaw="has a name that is a pattern, or that two readers may read differently")
        return Facts(
            names,
            parsed.not_valid_before_utc.timestamp(),
            parsed.not_valid_after_utc.timestamp(),
            flaw,
            base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        )

    def _names(self, parsed: x509.Certificate, digest: bytes) -> tuple[str, ...]:
        from cryptography import x509

        if self._kind == "fingerprint":
            return (digest.hex(),)
        if self._kind == "subject":
            return (parsed.subject.rfc4514_string(),) if len(parsed.subject.rdns) else ()
        try:
            alternative = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        if self._kind == "uri":
            return tuple(alternative.get_values_for_type(x509.UniformResourceIdentifier))
        if self._kind == "dns":
            return tuple(tidy_dns(name) for name in alternative.get_values_for_type(x509.DNSName))
        return tuple(tidy_email(name) for name in alternative.get_values_for_type(x509.RFC822Name))


def tidy_dns(name: str) -> str:
    """Return a host name as it is compared: RFC 5280 section 7.2 ignores case."""
    return name.lower()


def tidy_email(name: str) -> str:
    """Return a mail address as it is compared: RFC 5280 section 7.5 ignores the case of the host alone."""
    local, at, host = name.rpartition("@")
    return local + at + host.lower()


def _flaw(parsed: x509.Certificate) -> str | None:
    """Return what makes a certificate unfit to be a client's; RFC 5280 sections 4.2.1.3, 4.2.1.9 and 4.2.1.12."""
    from cryptography import x509

    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return "is that of a certificate authority"
        if isinstance(value, x509.ExtendedKeyUsage) and (
            x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH not in value
        ):
            return "is not for the authentication of clients"
        if isinstance(value, x509.KeyUsage) and not (value.digital_signature or value.key_agreement):
            return "is of a key that may not be used for authentication"
    return None
