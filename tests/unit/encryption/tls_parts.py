"""Certificates of every kind, and peers on loopback that behave well, badly, or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aisecure.encryption.tls import pin_of

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and its key."""

    cert: Path
    key: Path

    @property
    def pin(self) -> str:
        return pin_of(self.cert.read_bytes())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _san(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


class Authority:
    """A certificate authority that signs whatever a test asks for."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        self.name = name
        folder.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._counter = 0
        ski = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = {
            "digital_signature": False, "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
            "key_agreement": False, "key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False,
        }  # fmt: skip
        self.certificate = (
            self._builder(name, name, self._key, -DAY * 30, DAY * 3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(ski, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _builder(self, subject: str, issuer: str, key: Any, start: dt.timedelta, end: dt.timedelta) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start)
            .not_valid_after(NOW + end)
        )

    def issue(
        self,
        *names: str,
        start: dt.timedelta = -DAY,
        end: dt.timedelta = DAY * 60,
        key: Any = None,
        self_signed: bool = False,
        client: bool = False,
        password: bytes | None = None,
    ) -> Pair:
        self._counter += 1
        names = names or ("localhost", "127.0.0.1", "::1")
        key = key or ec.generate_private_key(ec.SECP256R1())
        signer = key if self_signed else self._key
        issuer = names[0] if self_signed else self.name
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = (
            self._builder(names[0], issuer, key, start, end)
            .add_extension(_san(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )
        pair = Pair(self.folder / f"{self._counter}.pem", self.folder / f"{self._counter}.key")
        pair.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
        write_key(pair.key, key, password)
        return pair


def write_key(path: Path, key: Any, password: bytes | None = None) -> None:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def small_rsa() -> Any:
    return rsa.generate_private_key(65537, 1024)


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """Run ``serve(connection)`` for each connection, in threads; give the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        held: list[tuple[threading.Thread, socket.socket]] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=run, args=(connection,))
                held.append((thread, connection))
                thread.start()

        def run(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                # Or each answer waits 40 ms for an acknowledgement that the other end puts off.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(connection)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            acceptor.join(10)
            for thread, connection in held:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join(10)


class Peer:
    """A TLS server that answers every request alike, and remembers what it was told."""

    def __init__(
        self, context: ssl.SSLContext, answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    ) -> None:
        self.context = context
        self.answer = answer
        self.heard: list[bytes] = []
        self.failed: list[str] = []
        self.subjects: list[Any] = []

    def __call__(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            with self.context.wrap_socket(connection, server_side=True) as secured:
                self.subjects.append(secured.getpeercert())
                data = secured.recv(65536)
                if data:
                    self.heard.append(data)
                    secured.sendall(self.answer)
                    secured.unwrap()
        except OSError as err:
            self.failed.append(getattr(err, "reason", None) or type(err).__name__)


def plain_context(pair: Pair, *, low: str = "", suites: str = "") -> ssl.SSLContext:
    """A server's context as the library does not make it: of an old version, or with weak suites."""
    import warnings

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if suites:
        context.set_ciphers(suites)
    if low:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, low)
    return context


def connect(
    context: ssl.SSLContext, port: int, name: str = "localhost", say: bytes = b"GET / HTTP/1.0\r\n\r\n"
) -> bytes:
    """Shake hands, say something, and return all of the answer."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname=name) as secured,
    ):
        secured.sendall(say)
        out = b""
        while piece := secured.recv(65536):
            out += piece
        return out
