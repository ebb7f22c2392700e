"""Certificates and their keys: read from files with every reason for refusal told, and described as facts."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from aisecure.errors import Misconfigured
from aisecure.storage import read_private

__all__ = ["CertificateFacts", "checked_pins", "facts_of", "load_chain", "pin_of", "read_anchors"]

#: A file of certificates larger than this is something else; the bundle of a whole operating system has 0.3 MB.
MAX_CERTIFICATE_BYTES = 4 << 20
#: Smallest keys that 112 bits of security allow: RFC 9325 section 4.5.
MIN_RSA_BITS, MIN_EC_BITS = 2048, 224

_BROKEN_HASHES = frozenset({"md2", "md4", "md5", "sha1"})
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says, without judging whether it is trusted.

    Attributes:
        subject: Whom it names, as RFC 4514 text.
        issuer: Who signed it.
        names: Its DNS names and addresses, in its own order.
        not_before, not_after: Between these it is valid, UTC.
        key: Kind and size of its key, such as ``EC secp256r1`` or ``RSA 2048``.
        signature: Hash of its signature, such as ``sha256``; the scheme's own name where it has none.
        pin: Its pin, see `pin_of`.
        weaknesses: Reasons not to use it whoever signed it: a short key, a broken hash.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key: str
    signature: str
    pin: str
    weaknesses: tuple[str, ...] = ()

    def days_left(self, now: float) -> float:
        """Return the days until it expires; negative once it has.

        Args:
            now: Seconds since the epoch, UTC.
        """
        return (self.not_after.timestamp() - now) / _SECONDS_A_DAY

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON-ready data; times as ISO 8601."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": list(self.names),
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "key": self.key,
            "signature": self.signature,
            "pin": self.pin,
            "weaknesses": list(self.weaknesses),
        }


def facts_of(certificate: x509.Certificate | bytes) -> CertificateFacts:
    """Return what a certificate says.

    Args:
        certificate: The object, or its DER bytes.

    Raises:
        ValueError: The bytes are no certificate, or one of a kind that cannot be read.
    """
    try:
        if isinstance(certificate, bytes):
            certificate = x509.load_der_x509_certificate(certificate)
        key, weak = _key_of(certificate.public_key())
        hashed = certificate.signature_hash_algorithm
        signature = hashed.name if hashed is not None else certificate.signature_algorithm_oid._name  # noqa: SLF001  (the only name it has)
        if signature in _BROKEN_HASHES:
            weak = (*weak, f"signed over {signature}")
        return CertificateFacts(
            certificate.subject.rfc4514_string(),
            certificate.issuer.rfc4514_string(),
            _names(certificate),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            key,
            signature,
            _pin(certificate.public_key()),
            weak,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as err:
        raise ValueError("the bytes are no certificate that can be read") from err


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


def _key_of(key: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(key, rsa.RSAPublicKey):
        weak = (f"RSA key of {key.key_size} bits",) if key.key_size < MIN_RSA_BITS else ()
        return f"RSA {key.key_size}", weak
    if isinstance(key, ec.EllipticCurvePublicKey):
        weak = (f"EC key of {key.curve.key_size} bits",) if key.curve.key_size < MIN_EC_BITS else ()
        return f"EC {key.curve.name}", weak
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", ()
    if isinstance(key, ed448.Ed448PublicKey):
        return "Ed448", ()
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSA {key.key_size}", ("a DSA key",)
    return type(key).__name__, ("a key of an unusual kind",)


def pin_of(certificate: bytes | str) -> str:
    r"""Return the pin of a public key: ``sha256/`` and the Base64 of the SHA-256 of its SubjectPublicKeyInfo.

    The form is that of RFC 7469 section 2.4, as curl and OkHttp write it. It names the key, not the certificate,
    so that it survives a renewal that keeps the key.

    Args:
        certificate: A certificate, or a public key alone (for a backup that has no certificate yet), PEM or DER.
            Of several certificates in PEM the first counts, which is the server's own.

    Raises:
        ValueError: It is neither.

    >>> key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----"
    >>> pin_of(key)
    'sha256/oekVYFTgT6yJmunydRMs3Ael28TqLCrTof/G4NJTaB8='
    """
    data = certificate.encode("utf-8", "replace") if isinstance(certificate, str) else bytes(certificate)
    loaders: tuple[Any, ...] = (x509.load_der_x509_certificate, load_der_public_key)
    if b"-----BEGIN CERTIFICATE-----" in data:
        loaders = (x509.load_pem_x509_certificate,)
    elif b"-----BEGIN" in data:
        loaders = (load_pem_public_key,)
    for load in loaders:
        try:
            found = load(data)
            return _pin(found.public_key() if isinstance(found, x509.Certificate) else found)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
            continue
    raise ValueError("pin_of takes a certificate or a public key, as PEM or DER")


def _pin(key: Any) -> str:
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + base64.b64encode(sha256(spki).digest()).decode()


def checked_pins(pins: Iterable[str]) -> frozenset[str]:
    """Return the pins, each checked for its form.

    Raises:
        Misconfigured: One is no ``sha256/`` and 44 characters of Base64, or there is exactly one. A key that is lost, or
            replaced because it was stolen, would lock every client out; so RFC 7469 section 2.5 demands a backup.
    """
    if isinstance(pins, str):
        raise TypeError("pins is a list of texts such as sha256/...")
    found = frozenset(pins)
    for pin in found:
        algorithm, _, text = pin.partition("/") if isinstance(pin, str) else ("", "", "")
        try:
            good = (
                algorithm == "sha256" and len(base64.b64decode(text, validate=True)) == sha256().digest_size
            )
        except (binascii.Error, ValueError):
            good = False
        if not good:
            raise Misconfigured(
                "pins: each is sha256/ and the Base64 of 32 bytes; print one with: aisecure tls pin FILE",
                code="config.tls",
            )
    if len(found) == 1:
        raise Misconfigured(
            "pins: one pin has no backup, so a lost key locks every client out; make a second key, keep it offline,"
            " and add its pin: aisecure tls pin backup.pub",
            code="config.tls",
        )
    return found


def _read(path: Path, purpose: str) -> bytes:
    try:
        # O_NONBLOCK: a FIFO in the file's place must not hang the program.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Misconfigured(
                    f"{path}: is no ordinary file; name the file of {purpose}", code="config.tls"
                )
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_CERTIFICATE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as err:
        raise Misconfigured(
            f"{path}: {err.strerror or type(err).__name__}; name the file of {purpose}", code="config.tls"
        ) from err
    except ValueError as err:  # NUL or a lone surrogate in the name
        raise Misconfigured(
            f"{str(path)!r}: is no file name; name the file of {purpose}", code="config.tls"
        ) from err
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise Misconfigured(
            f"{path}: larger than {MAX_CERTIFICATE_BYTES} bytes; name the file of {purpose}",
            code="config.tls",
        )
    return data


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion) as err:
        raise Misconfigured(
            f"{path}: holds no certificate in PEM form; convert it with: openssl x509 -in {path} -out {path}.pem",
            code="config.tls",
        ) from err


def read_anchors(path: str | os.PathLike[str]) -> str:
    """Return the PEM text of the certificates that a file lists as trusted.

    Raises:
        Misconfigured: The file cannot be read or holds none.
    """
    where = Path(path)
    found = _certificates(where, _read(where, "the certificates to trust"))
    # Written anew, so that what stands between the certificates cannot matter.
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in found)


def load_chain(
    context: ssl.SSLContext,
    certificate: str | os.PathLike[str],
    key: str | os.PathLike[str] | None,
    password: str | bytes | None,
    *,
    now: float,
) -> CertificateFacts:
    """Load a certificate with its chain and key into a context; return what the certificate says.

    Args:
        context: Where to.
        certificate: PEM file, the own certificate first, then those of its issuers.
        key: PEM file of the private key, mode 0600; the certificate's file when None.
        password: Of an encrypted key.
        now: Seconds since the epoch, UTC.

    Raises:
        Misconfigured: A file cannot be read, the key's mode is too wide (``config.mode``), the key belongs to another
            certificate, or the certificate is outside its dates; the text names file and remedy.
        Unavailable: The disk failed.
    """
    certificate_path = Path(certificate)
    key_path = certificate_path if key is None else Path(key)
    leaf = _certificates(certificate_path, _read(certificate_path, "the certificate"))[0]
    try:
        facts = facts_of(leaf)
    except ValueError:
        facts = None
    if facts is None:
        raise Misconfigured(
            f"{certificate_path}: its certificate cannot be read; issue it again", code="config.tls"
        )
    secret = password.encode() if isinstance(password, str) else password
    own = _private(key_path, read_private(key_path), secret)
    if _pin(own.public_key()) != facts.pin:
        raise Misconfigured(
            f"{key_path} is not the key of the first certificate in {certificate_path}; name the two that belong together,"
            " and put the server's own certificate before those of its issuers",
            code="config.tls",
        )
    if facts.not_after.timestamp() <= now:
        raise Misconfigured(
            f"{certificate_path}: expired on {facts.not_after:%Y-%m-%d}; renew it", code="config.tls"
        )
    if facts.not_before.timestamp() > now:
        raise Misconfigured(
            f"{certificate_path}: is valid only from {facts.not_before:%Y-%m-%d %H:%M} UTC; check the clock of this machine",
            code="config.tls",
        )
    try:
        # A password of nothing rather than none: OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate_path, key_path, lambda: secret or b"")
    except (ssl.SSLError, ValueError) as err:
        reason = getattr(err, "reason", None) or type(err).__name__
        raise Misconfigured(
            f"{certificate_path}: OpenSSL refuses it ({reason}); issue it again", code="config.tls"
        ) from err
    return facts


def _private(path: Path, data: bytes, password: bytes | None) -> Any:
    try:
        return load_pem_private_key(data, password)
    except TypeError:  # encrypted without a password, or the other way round
        problem = (
            "is encrypted, give its password"
            if password is None
            else "is not encrypted, leave the password out"
        )
    except (ValueError, UnsupportedAlgorithm):
        problem = (
            "holds no private key in PEM form that this password opens"
            if password
            else "holds no private key in PEM form"
        )
    # Outside of the except block: what the parser says of the bytes of a key goes nowhere.
    raise Misconfigured(f"{path}: {problem}", code="config.tls")
