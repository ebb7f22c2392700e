"""Clients that hold a key or a certificate, and make of it whatever a test asks for."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from aisecure.call import Credential

TOKEN = "token-of-ana.7c1d"
URL = "https://api.example.com/notes"
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sender_constrained.json").read_text())

_COUNTER = itertools.count()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(*parts: Any) -> str:
    """A compact JWS of ready parts: objects become JSON, bytes become base64url, texts stay as they are."""
    ready = (part if isinstance(part, str | bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(b64(part) if isinstance(part, bytes) else part for part in ready)


class Holder:
    """A client with a DPoP key."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm = algorithm
        if algorithm.startswith("ES"):
            curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm]
            self.key: Any = ECKey.generate_key(curve)
        elif algorithm.startswith("Ed"):
            self.key = OKPKey.generate_key("Ed25519")
        else:
            self.key = RSAKey.generate_key(2048)
        self.public = {k: v for k, v in self.key.as_dict(private=False).items() if k in _PUBLIC}
        self.thumbprint = self.key.thumbprint()
        self.claims = {"sub": "ana", "cnf": {"jkt": self.thumbprint}}

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.public, **changes}
        return {name: value for name, value in header.items() if value is not ...}

    def payload(self, now: float, **changes: Any) -> dict[str, Any]:
        payload = {
            "jti": f"jti-{next(_COUNTER)}",
            "htm": "GET",
            "htu": URL,
            "iat": int(now),
            "ath": b64(hashlib.sha256(TOKEN.encode()).digest()),
            **changes,
        }
        return {name: value for name, value in payload.items() if value is not ...}

    def sign(self, header: Any, payload: Any) -> str:
        """Sign any two segments, also such as are no JSON."""
        signed = compact(header, payload).encode()
        name = "Ed25519" if self.algorithm == "EdDSA" else self.algorithm
        algorithm = jws.JWSRegistry(algorithms=[name]).get_alg(name)
        return f"{signed.decode()}.{b64(algorithm.sign(signed, self.key))}"

    def proof(self, now: float, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return self.sign(self.header(**(header or {})), self.payload(now, **changes))


_PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e"})


def credential(
    *proofs: str, scheme: str = "dpop", method: str = "GET", url: str = URL, certificate: bytes = b""
) -> Credential:
    return Credential(scheme, TOKEN, proofs, method, url, certificate)


class ClientAuthority:
    """Signs certificates for clients."""

    def __init__(self, name: str = "Clients") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(
            self.name, self.key, [(x509.BasicConstraints(ca=True, path_length=None), True)], 0, 4e9
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        *names: x509.GeneralName,
        subject: x509.Name | str = "client",
        start: float = 1_000_000_000,
        end: float = 4_000_000_000,
        purposes: list[x509.ObjectIdentifier] | None = None,
        extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
    ) -> ClientCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        if isinstance(subject, str):
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        added = list(extensions or ())
        if names:
            added.append((x509.SubjectAlternativeName(names), False))
        if purposes is None:
            purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if purposes:
            added.append((x509.ExtendedKeyUsage(purposes), False))
        return ClientCertificate(self._signed(subject, key, added, start, end), key)

    def _signed(self, subject: x509.Name, key: Any, extensions: Any, start: float, end: float) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.fromtimestamp(start, dt.UTC))
            .not_valid_after(dt.datetime.fromtimestamp(end, dt.UTC))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())


class ClientCertificate:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.der = certificate.public_bytes(Encoding.DER)
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, name: str) -> Path:
        """Write certificate and key into one file, as `ssl.SSLContext.load_cert_chain` takes them."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.key_pem + self.pem)
        return path
