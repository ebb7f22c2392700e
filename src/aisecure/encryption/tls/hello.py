"""The first two messages of a handshake, by hand: would a server speak an old version, or a weak suite?

Today's OpenSSL cannot offer most of what is asked about here, so a library's handshake could not tell. The hello is
that of RFC 5246 section 7.4.1.2; nothing is agreed on, and the connection is dropped at the server's answer.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Collection
from enum import IntEnum
from typing import NamedTuple

__all__ = ["ALL_SUITES", "STRONG_SUITES", "WEAK_SUITES", "Answer", "Version", "client_hello", "read_answer"]


class Version(IntEnum):
    """Version numbers on the wire."""

    SSL_3_0 = 0x0300
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303

    @property
    def label(self) -> str:
        """The version as people write it."""
        return self.name.replace("_", " ", 1).replace("_", ".")


#: Suites of TLS 1.2 that the policy allows; names and numbers are those of the IANA registry.
STRONG_SUITES = {
    0xC02B: "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xC02C: "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xC030: "ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCA8: "ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xCCA9: "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}  # fmt: skip
#: Those it does not: no encryption, no authentication, export and 64-bit ciphers, RC4, keys sent under RSA (no forward
#: secrecy), finite-field Diffie-Hellman, and CBC. RFC 9325 section 4.1.
WEAK_SUITES = {
    0x0001: "RSA_WITH_NULL_MD5", 0x0002: "RSA_WITH_NULL_SHA", 0x003B: "RSA_WITH_NULL_SHA256",
    0xC006: "ECDHE_ECDSA_WITH_NULL_SHA", 0xC010: "ECDHE_RSA_WITH_NULL_SHA",
    0x0034: "DH_anon_WITH_AES_128_CBC_SHA", 0x003A: "DH_anon_WITH_AES_256_CBC_SHA", 0x006C: "DH_anon_WITH_AES_128_CBC_SHA256",
    0x00A6: "DH_anon_WITH_AES_128_GCM_SHA256", 0xC018: "ECDH_anon_WITH_AES_128_CBC_SHA", 0xC019: "ECDH_anon_WITH_AES_256_CBC_SHA",
    0x0003: "RSA_EXPORT_WITH_RC4_40_MD5", 0x0008: "RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0014: "DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0004: "RSA_WITH_RC4_128_MD5", 0x0005: "RSA_WITH_RC4_128_SHA",
    0xC007: "ECDHE_ECDSA_WITH_RC4_128_SHA", 0xC011: "ECDHE_RSA_WITH_RC4_128_SHA",
    0x0009: "RSA_WITH_DES_CBC_SHA", 0x0015: "DHE_RSA_WITH_DES_CBC_SHA",
    0x000A: "RSA_WITH_3DES_EDE_CBC_SHA", 0x0016: "DHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC008: "ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", 0xC012: "ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0x002F: "RSA_WITH_AES_128_CBC_SHA", 0x0035: "RSA_WITH_AES_256_CBC_SHA",
    0x003C: "RSA_WITH_AES_128_CBC_SHA256", 0x003D: "RSA_WITH_AES_256_CBC_SHA256",
    0x009C: "RSA_WITH_AES_128_GCM_SHA256", 0x009D: "RSA_WITH_AES_256_GCM_SHA384",
    0x0033: "DHE_RSA_WITH_AES_128_CBC_SHA", 0x0039: "DHE_RSA_WITH_AES_256_CBC_SHA",
    0x0067: "DHE_RSA_WITH_AES_128_CBC_SHA256", 0x006B: "DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x009E: "DHE_RSA_WITH_AES_128_GCM_SHA256", 0x009F: "DHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCAA: "DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xC009: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xC00A: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC013: "ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xC014: "ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC023: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", 0xC024: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    0xC027: "ECDHE_RSA_WITH_AES_128_CBC_SHA256", 0xC028: "ECDHE_RSA_WITH_AES_256_CBC_SHA384",
}  # fmt: skip
ALL_SUITES = {**STRONG_SUITES, **WEAK_SUITES}

_HANDSHAKE, _ALERT = 22, 21
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
#: A record's content is at most this (RFC 5246 section 6.2.1); a ServerHello has about a hundred bytes.
_MAX_RECORD = 1 << 14
_MAX_HELLO = 4096


class Answer(NamedTuple):
    """What a server said to a hello.

    Attributes:
        version: The version that it chose; None when it refused.
        suite: The suite that it chose, by its name, or its number where it was not offered.
    """

    version: Version | None
    suite: str = ""


def client_hello(version: Version, suites: Collection[int], host: str) -> bytes:
    """Return a record with a ClientHello.

    Args:
        version: The newest version that the hello offers.
        suites: Numbers of the suites that it offers.
        host: Goes into ``server_name`` unless it is an address.
    """
    body = version.to_bytes(2, "big") + os.urandom(32) + b"\0"
    body += _vector(2, b"".join(suite.to_bytes(2, "big") for suite in suites))
    body += b"\x01\x00"  # no compression
    body += _vector(2, _extensions(version, host))
    message = bytes([_CLIENT_HELLO]) + _vector(3, body)
    record_version = min(version, Version.TLS_1_0)  # what old and middle boxes expect of a first record
    return bytes([_HANDSHAKE]) + record_version.to_bytes(2, "big") + _vector(2, message)


def _extensions(version: Version, host: str) -> bytes:
    out = b""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        out += b"\x00\x00" + _vector(2, _vector(2, b"\x00" + _vector(2, host.encode("ascii"))))
    groups = b"".join(group.to_bytes(2, "big") for group in (29, 23, 24, 25))  # x25519, P-256, P-384, P-521
    out += b"\x00\x0a" + _vector(2, _vector(2, groups))
    out += b"\x00\x0b" + _vector(2, b"\x01\x00")
    out += b"\xff\x01" + _vector(2, b"\x00")  # secure renegotiation: without it some servers hang up
    if version >= Version.TLS_1_2:
        schemes = "0403 0503 0603 0804 0805 0806 0401 0501 0601 0203 0201"  # the last two with SHA-1
        out += b"\x00\x0d" + _vector(2, _vector(2, bytes.fromhex(schemes)))
    return out


def _vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def read_answer(read: Callable[[int], bytes]) -> Answer:
    """Return what the server answers.

    Args:
        read: Returns exactly that many bytes.

    Raises:
        EOFError: Raised by ``read``: the server closed.
        ValueError: It answers with something that is no TLS.
    """
    message = b""
    while True:
        head = read(5)
        size = int.from_bytes(head[3:])
        if head[0] not in (_HANDSHAKE, _ALERT) or head[1] != 3 or not 0 < size <= _MAX_RECORD:
            raise ValueError("no TLS record")
        body = read(size)
        if head[0] == _ALERT:
            return Answer(None)
        message += body
        if len(message) >= 4:
            if message[0] != _SERVER_HELLO:
                raise ValueError("no ServerHello")
            length = int.from_bytes(message[1:4])
            if length > _MAX_HELLO:
                raise ValueError("no ServerHello")
            if len(message) >= 4 + length:
                return _server_hello(message[4 : 4 + length])


def _server_hello(body: bytes) -> Answer:
    session = body[34] if len(body) > 34 else 0
    chosen = body[35 + session : 37 + session]
    if len(body) < 38 + session:
        raise ValueError("no ServerHello")
    version, suite = int.from_bytes(body[:2]), int.from_bytes(chosen)
    return Answer(Version(version), ALL_SUITES.get(suite, f"0x{suite:04X}"))
