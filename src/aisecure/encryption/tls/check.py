"""A server looked at from outside: what it proves, what it would agree to, and what it says over HTTP."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from aisecure.encryption.tls.client import client_context
from aisecure.encryption.tls.hello import (
    ALL_SUITES,
    STRONG_SUITES,
    WEAK_SUITES,
    Version,
    client_hello,
    read_answer,
)
from aisecure.encryption.tls.material import CertificateFacts, facts_of
from aisecure.encryption.tls.report import TlsFinding, TlsPolicy, TlsReport, finding
from aisecure.encryption.tls.urls import Address, parse
from aisecure.encryption.tls.wire import Connect, Connection, Head, ask, hsts_max_age
from aisecure.errors import Misconfigured

__all__ = ["check_tls"]

#: OpenSSL's reasons for refusing a certificate (x509_vfy.h), by our findings.
_REASONS = {
    9: "tls.not_yet_valid", 10: "tls.expired", 18: "tls.self_signed", 62: "tls.wrong_name", 64: "tls.wrong_name",
    66: "tls.weak_key", 67: "tls.weak_key", 68: "tls.weak_signature",
}  # fmt: skip
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: A name or address, with a port or without; an IPv6 address that has one stands in brackets.
_BARE = re.compile(
    r"(?P<host>[^:/\[\]]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)(?::(?P<port>[0-9]{1,5}))?"
)


def check_tls(
    target: str, *, policy: TlsPolicy | None = None, connect: Connect | None = None, now: float | None = None
) -> TlsReport:
    """Return how a server meets the policy.

    Of ``https://`` and ``http://`` URLs the HTTP side is looked at too: HSTS, and that plain HTTP leads nowhere but to
    HTTPS. Of a bare host or ``host:port`` (443 when left out) only TLS is. It opens up to eight connections, one after the
    other, sends no credentials, and reads a bounded amount. Point it at your own servers: it connects wherever it is told to.

    Args:
        target: A URL, a host, or ``host:port``.
        policy: What to ask for.
        connect: Host, port and seconds in, a connected socket out; for proxies and tests.
        now: Seconds since the epoch, UTC; the machine's time when None.

    Raises:
        Misconfigured: The target is neither, or the policy's file of certificates cannot be read.
    """
    address = _address(target)
    return _Check(
        target,
        address,
        policy or TlsPolicy(),
        connect or (lambda host, port, seconds: socket.create_connection((host, port), seconds)),
        time.time() if now is None else now,
    ).run()


def _address(target: str) -> Address:
    if isinstance(target, str) and "://" not in target:
        bare = _BARE.fullmatch(target)
        port = int(bare["port"] or 443) if bare else 0
        if not bare or not 0 < port < 65536:
            raise Misconfigured(
                "target: is a URL, a host, or host:port; an IPv6 address stands in brackets",
                code="config.url",
            )
        name = bare["host"].strip("[]")
        parse(f"https://[{name}]/" if ":" in name else f"https://{name}/")  # refuses what cannot be a host
        return Address("", name, port, "/")
    address = parse(target)
    if address.scheme not in ("https", "http", "wss", "ws") or not address.port:
        raise Misconfigured("target: is an http or https URL, a host, or host:port", code="config.url")
    return address


class _Seen(NamedTuple):
    """What a handshake showed."""

    version: str
    suite: str
    der: bytes


class _Check:
    def __init__(
        self, target: str, address: Address, policy: TlsPolicy, connect: Connect, now: float
    ) -> None:
        self._target = target
        self._address = address
        self._plain = address.scheme in ("http", "ws")
        self._host = address.host
        # Where TLS is expected: a plain URL is checked for where it ought to lead.
        self._port = 443 if self._plain else address.port
        self._policy = policy
        self._connect = connect
        self._now = now
        self._found: dict[str, TlsFinding] = {}
        self._not_checked: list[str] = []
        self._hsts = ""

    def run(self) -> TlsReport:
        if self._plain:
            self._plain_http(self._address.port, refused_is_fine=False)
        seen = self._handshake()
        facts = self._judge(seen) if seen else None
        if "tls.unreachable" not in self._found:
            self._probe_old()
            if self._address.scheme == "https" and self._port == 443:
                self._plain_http(80, refused_is_fine=True)
        worst_first = sorted(self._found.values(), key=lambda found: found.level != "fail")
        return TlsReport(
            self._target,
            self._host,
            self._port,
            tuple(worst_first),
            seen.version if seen else "",
            seen.suite if seen else "",
            facts,
            self._hsts,
            tuple(self._not_checked),
        )

    def _add(self, code: str, message: str) -> None:
        self._found.setdefault(code, finding(code, message))

    def _open(self, port: int) -> Connection:
        return Connection(self._connect, self._host, port, self._policy.timeout_seconds)

    # -- the handshake that a careful client makes, and what it shows

    def _handshake(self) -> _Seen | None:
        context = client_context(ca=self._policy.ca, minimum="1.2")
        try:
            connection = self._open(self._port)
        except (OSError, ValueError) as err:  # ValueError: a label that is too long for the resolver
            self._add("tls.unreachable", f"no connection to port {self._port}: {_reason(err)}")
            return None
        with connection:
            try:
                secured = connection.secure(context, self._host)
            except ssl.SSLCertVerificationError as err:
                self._add(
                    _REASONS.get(err.verify_code, "tls.untrusted"),
                    f"the certificate was refused: {err.verify_message}",
                )
            except (OSError, ValueError) as err:
                self._add("tls.handshake", f"no handshake: {_reason(err)}")
                return None
            else:
                seen = _seen(secured)
                if self._address.scheme == "https":
                    self._https(connection)
                return seen
        return self._unverified()

    def _unverified(self) -> _Seen | None:
        """Look at a certificate that was refused, to say what is wrong with it; nothing is sent."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        try:
            with self._open(self._port) as connection:
                return _seen(connection.secure(context, self._host))
        except (OSError, ValueError) as err:
            self._not_checked.append(f"certificate: {_reason(err)}")
            return None

    def _judge(self, seen: _Seen) -> CertificateFacts | None:
        if seen.version != "TLSv1.3":
            if self._policy.minimum == "1.3":
                self._add("tls.old_version", f"agreed on {seen.version}")
            else:
                self._add("tls.no_1_3", f"agreed on {seen.version}")
        try:
            facts = facts_of(seen.der)
        except ValueError as err:
            self._not_checked.append(f"certificate: {err}")
            return None
        days = facts.days_left(self._now)
        if days <= 0:
            self._add("tls.expired", f"the certificate expired on {facts.not_after:%Y-%m-%d}")
        elif days < self._policy.warn_days:
            self._add(
                "tls.expires_soon",
                f"the certificate expires on {facts.not_after:%Y-%m-%d}, in {days:.1f} days",
            )
        if facts.not_before.timestamp() > self._now:
            self._add("tls.not_yet_valid", f"the certificate is valid from {facts.not_before:%Y-%m-%d}")
        for weakness in facts.weaknesses:
            self._add(
                "tls.weak_signature" if weakness.startswith("signed") else "tls.weak_key",
                f"the certificate has or is: {weakness}",
            )
        if self._policy.pins and facts.pin not in self._policy.pins:
            self._add("tls.wrong_pin", f"the server's key is {facts.pin}")
        return facts

    # -- what it would agree to

    def _probe_old(self) -> None:
        for version in (Version.SSL_3_0, Version.TLS_1_0, Version.TLS_1_1):
            self._probe(version, ALL_SUITES, "tls.old_version")
        self._probe(Version.TLS_1_2, WEAK_SUITES, "tls.weak_suite")
        if self._policy.minimum == "1.3":
            self._probe(Version.TLS_1_2, STRONG_SUITES, "tls.old_version")

    def _probe(self, version: Version, suites: Collection[int], code: str) -> None:
        try:
            with self._open(self._port) as connection:
                connection.send(client_hello(version, suites, self._host))
                answer = read_answer(connection.read_exactly)
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return  # the curt way to refuse
        except (OSError, ValueError) as err:
            self._not_checked.append(f"{version.label} ({len(suites)} suites): {_reason(err)}")
            return
        if answer.version is not None:
            # A server that knows nothing newer answers with its own version.
            self._add(
                "tls.old_version" if answer.version < version else code,
                f"the server accepts {answer.version.label} with {answer.suite}",
            )

    # -- what it says over HTTP

    def _https(self, connection: Connection) -> None:
        try:
            head = ask(connection, self._host, self._port, self._address.path, 443)
        except (OSError, ValueError) as err:
            self._add("http.no_answer", f"no answer to a HEAD request: {_reason(err)}")
            return
        if head.status in _REDIRECTS and _scheme_of(head) == "http":
            self._add("http.downgrade", "an HTTPS address redirects to plain HTTP")
        value = head.first("strict-transport-security")  # RFC 6797 section 8.1: the first counts
        self._hsts = value or ""
        if self._policy.hsts_seconds is None:
            return
        if value is None:
            self._add("hsts.missing", "the response has no Strict-Transport-Security")
            return
        age = hsts_max_age(value)
        if age is None:
            self._add("hsts.invalid", "browsers ignore its Strict-Transport-Security")
        elif age < self._policy.hsts_seconds:
            self._add("hsts.short", f"max-age is {age} seconds, less than {self._policy.hsts_seconds}")

    def _plain_http(self, port: int, *, refused_is_fine: bool) -> None:
        try:
            with self._open(port) as connection:
                head = ask(connection, self._host, port, self._address.path, 80)
        except ConnectionRefusedError as err:
            if not refused_is_fine:
                self._not_checked.append(f"plain HTTP on port {port}: {_reason(err)}")
            return
        except (OSError, ValueError) as err:
            self._not_checked.append(f"plain HTTP on port {port}: {_reason(err)}")
            return
        if head.status in _REDIRECTS and _scheme_of(head) == "https":
            return
        if head.status >= 400:  # refused, not served
            return
        self._add(
            "http.plain",
            f"plain HTTP on port {port} is answered with status {head.status}, not with a redirect to HTTPS",
        )


def _seen(secured: ssl.SSLSocket) -> _Seen:
    cipher = secured.cipher()
    return _Seen(
        secured.version() or "", cipher[0] if cipher else "", secured.getpeercert(binary_form=True) or b""
    )


def _scheme_of(head: Head) -> str:
    """Return the scheme of a redirect's target; nothing when it is relative, which keeps the scheme."""
    with contextlib.suppress(ValueError):
        return urlsplit(head.first("location") or "").scheme
    return ""


def _reason(err: Exception) -> str:
    """Return why something failed; texts of OpenSSL and the system name no secrets."""
    if isinstance(err, TimeoutError):
        return "timed out"
    if isinstance(err, ssl.SSLError):
        return (err.reason or type(err).__name__).lower().replace("_", " ")
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return str(err) if type(err) in (ValueError, EOFError) else type(err).__name__
