"""Whether a request came over HTTPS, and what becomes of one that did not; the same for every framework."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict
from urllib.parse import quote

from aisecure.adapters._origin import PublicPaths, TrustedProxies, request_id
from aisecure.errors import AISecureError, Denied, Misconfigured, Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.ports import EventSink

__all__ = ["READ_HEADERS", "Hsts", "HttpsOptions", "HttpsRule", "Ruling"]

_SECURE = frozenset({"https", "wss"})
#: What may stand in a path and a query, RFC 3986 section 3.3 and 3.4; everything else is percent-encoded.
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"
HOST = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
#: One element of ``Forwarded``, RFC 7239 section 4: pairs, whose values are tokens or quoted texts. Some proxies leave
#: the quotes of an IPv6 address out, so a token may hold brackets and colons here.
_PAIR = r'[ \t]*[A-Za-z]+=(?:"(?:[^"\\]|\\.)*"|[^\s",;=]+)[ \t]*'
FORWARDED = re.compile(rf"(?:{_PAIR}[,;])*{_PAIR}")
FORWARDED_PAIR = re.compile(r'([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^\s",;=]+)')
_MAX_HEADER = 4096
_MAX_PATH_CHARS = 512

#: Headers that hold a credential, the worst to lose first.
_CREDENTIALS = ("authorization", "x-api-key", "proxy-authorization", "cookie")
#: All that a ruling looks at.
READ_HEADERS = (*_CREDENTIALS, "forwarded", "host", "x-forwarded-for", "x-forwarded-proto", "x-request-id")

#: Two years: what hstspreload.org recommends, and Mozilla's server side TLS guidelines configure.
TWO_YEARS = 63_072_000
#: One year: the least that hstspreload.org takes.
PRELOAD_SECONDS = 31_536_000


@dataclass(frozen=True, slots=True)
class Hsts:
    """The ``Strict-Transport-Security`` header (RFC 6797): browsers that saw it speak only HTTPS to this host.

    Attributes:
        max_age: Seconds that they remember it; 0 makes them forget.
        include_subdomains: Also for every name below this one, so all of them have to serve HTTPS.
        preload: Agree to be built into browsers, which takes months to undo.

    Raises:
        Misconfigured: ``preload`` without what https://hstspreload.org/#submission-requirements asks for: subdomains
            included, and a ``max_age`` of at least a year.

    >>> Hsts(include_subdomains=True).header
    'max-age=63072000; includeSubDomains'
    """

    max_age: int = TWO_YEARS
    include_subdomains: bool = False
    preload: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.max_age, bool) or not isinstance(self.max_age, int) or self.max_age < 0:
            raise Misconfigured("Hsts: max_age is a number of seconds, 0 or more", code="config.https")
        if self.preload and not (self.include_subdomains and self.max_age >= PRELOAD_SECONDS):
            raise Misconfigured(
                f"Hsts: preload needs include_subdomains=True and a max_age of at least {PRELOAD_SECONDS}; add them, or leave preload out",
                code="config.https",
            )

    @property
    def header(self) -> str:
        """The header's value."""
        parts = (
            f"max-age={self.max_age}",
            "includeSubDomains" * self.include_subdomains,
            "preload" * self.preload,
        )
        return "; ".join(part for part in parts if part)


class HttpsOptions(TypedDict, total=False):
    """The options of `HttpsOnly`, for those who pass them on."""

    hosts: Collection[str]
    trusted_proxies: Iterable[str]
    hsts: Hsts | None
    exempt: Collection[str]
    sinks: Iterable[EventSink]


class Ruling(NamedTuple):
    """What becomes of a request.

    Attributes:
        scheme: The scheme that the client used, as far as it can be known.
        secure: It came over HTTPS.
        location: Where to redirect it.
        refusal: Why it is refused.
        request_id: For the answer to what is refused.
    """

    scheme: str
    secure: bool
    location: str = ""
    refusal: AISecureError | None = None
    request_id: str = ""


class HttpsRule:
    """Decides about one request; the adapters read it and carry out the ruling.

    Args:
        hosts: Names that a request may be redirected to, each with a port or without: ``example.com``, ``example.com:8443``.
        trusted_proxies: Addresses and networks whose ``X-Forwarded-Proto`` and ``Forwarded`` count; see `TrustedProxies`.
        hsts: Sent with each response over HTTPS; None sends nothing.
        exempt: Paths that may be asked for in clear, such as a load balancer's health check.
        sinks: Where events go.

    Raises:
        Misconfigured: A setting cannot be used.
    """

    def __init__(
        self,
        *,
        hosts: Collection[str] = (),
        trusted_proxies: Iterable[str] = (),
        hsts: Hsts | None = Hsts(),
        exempt: Collection[str] = (),
        sinks: Iterable[EventSink] = (),
    ) -> None:
        if isinstance(hosts, str):
            raise TypeError("hosts is a list of names")
        self.hsts = hsts
        self._hosts: dict[str, str] = {}
        for host in hosts:
            match = HOST.fullmatch(host)
            if match is None or int(match["port"] or 443) not in range(1, 65536):
                raise Misconfigured(
                    f"hosts: {host!r} is no name such as example.com or example.com:8443", code="config.https"
                )
            self._hosts[match["name"].lower()] = host.lower().removesuffix(":443")
        self._proxies = TrustedProxies(trusted_proxies)
        self._exempt = PublicPaths(exempt)
        self._sinks = tuple(sinks)

    def judge(
        self,
        *,
        method: str,
        scheme: str,
        peer: str,
        path: str,
        target: bytes,
        query: bytes,
        headers: Callable[[str], Sequence[str]],
    ) -> Ruling:
        """Return what becomes of a request; leaves an event when one is refused, or exposed a credential.

        Args:
            method: Of the request; ``CONNECT`` for a WebSocket.
            scheme: As the server saw it.
            peer: Address of the other end of the connection; empty for a socket file.
            path: Decoded path.
            target: The path as it was sent.
            query: The query as it was sent, without the question mark.
            headers: Returns every value of a header, by its lower-case name.
        """
        scheme = self._scheme(scheme, peer, headers)
        if scheme in _SECURE:
            return Ruling(scheme, secure=True)
        if path in self._exempt:
            return Ruling(scheme, secure=False)
        identifier = request_id(headers("x-request-id"))
        credential = next((name for name in _CREDENTIALS if headers(name)), "")
        location = ""
        # A client that was redirected would go on sending its key in clear with every request, and nobody would notice.
        if method in {"GET", "HEAD"} and credential in {"", "cookie"}:
            location = self._location(headers("host"), target, query)
        refusal: AISecureError | None = None
        if not location:
            refusal = Denied(
                "This address takes requests over HTTPS only."
                + (" The credential that was sent in clear must be replaced." if credential else ""),
                code="transport.insecure",
            )
        if credential or refusal:
            source = self._proxies.client(peer, headers("x-forwarded-for"))
            refusal = (
                self._record(credential, f"http:{method} {path[:_MAX_PATH_CHARS]}", source, identifier)
                or refusal
            )
        return Ruling(
            scheme, secure=False, location="" if refusal else location, refusal=refusal, request_id=identifier
        )

    def _scheme(self, scheme: str, peer: str, headers: Callable[[str], Sequence[str]]) -> str:
        """Return the scheme that the client used; each hop that a trusted proxy tells of has to be HTTPS.

        What stands left of the proxy's own word may be the client's invention, and an invention may not help: so one
        ``http`` anywhere counts, and so does what cannot be read.
        """
        if not self._proxies.trusts(peer):
            return scheme
        said: list[str] = []
        for value in headers("x-forwarded-proto"):
            said += (word.strip().lower() for word in value.split(","))
        for value in headers("forwarded"):
            if len(value) > _MAX_HEADER or not FORWARDED.fullmatch(value):
                said.append("unreadable")
                continue
            pairs = ((name.lower(), word.strip('"').lower()) for name, word in FORWARDED_PAIR.findall(value))
            said += (word for name, word in pairs if name == "proto")
        if not said:
            return scheme
        secure = all(word in _SECURE for word in said)
        plain = "ws" if scheme in {"ws", "wss"} else "http"
        return f"{plain}s" if secure else plain

    def _location(self, hosts: Sequence[str], target: bytes, query: bytes) -> str:
        """Return where the request should have gone, or nothing when its host is not one of ours."""
        match = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        host = self._hosts.get(match["name"].lower()) if match else None
        # A target of another form, such as ``http://...`` or ``.evil.com``, would become part of the host.
        if host is None or not target.startswith(b"/"):
            return ""
        return f"https://{host}{quote(target, _PATH_SAFE)}" + (
            f"?{quote(query, _QUERY_SAFE)}" if query else ""
        )

    def _record(self, credential: str, resource: str, source: str, identifier: str) -> AISecureError | None:
        kind, detail = (
            ("transport.exposed", {"credential": credential}) if credential else ("transport.insecure", {})
        )
        event = SecurityEvent(
            kind,
            result=Result.FAILURE,
            action="connect",
            resource=resource,
            source=source,
            request_id=identifier,
            code="transport.insecure",
            detail=detail,
        )
        failed: AISecureError | None = None
        for sink in self._sinks:
            try:
                sink.record(event)
            except Exception as err:  # noqa: BLE001  (the other sinks must still hear of it)
                failed = Unavailable(
                    f"The event could not be recorded ({type(err).__name__}).", code="unavailable.events"
                )
        return failed
