"""Addresses that a client may be pointed at: encrypted, and without a password in them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from aisecure.errors import Misconfigured

__all__ = ["Address", "parse", "require_tls"]

#: Characters that may stand in a URL, RFC 3986 appendix A. ``urlsplit`` drops tabs and line ends in silence.
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
#: Their plain forms, which are fine on the machine itself.
_PLAIN = {"http": "https", "ws": "wss", "redis": "rediss"}
MAX_URL_CHARS = 8192


class Address(NamedTuple):
    """The parts of a URL that matter here; ``port`` is 0 where the scheme has no usual one."""

    scheme: str
    host: str
    port: int
    path: str


def parse(url: str) -> Address:
    """Return the parts of an absolute URL; its text never reaches the error, since it may hold a password.

    Raises:
        Misconfigured: It is no absolute URL, or holds credentials.
    """
    if not isinstance(url, str):
        raise TypeError("a URL is a text")
    if len(url) > MAX_URL_CHARS or not _CHARACTERS.fullmatch(url):
        raise _wrong(
            "holds characters that do not belong in a URL; write it as https://host/path, with a name in its ASCII form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        if host.startswith("[") or ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError:
        parts = None
    if parts is None or not parts.scheme or not host:
        raise _wrong("is no absolute URL; write it as https://host/path")
    if "@" in parts.netloc:
        raise _wrong("holds credentials; give them to the client apart, so that they reach no log")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme, host, port or _PORTS.get(parts.scheme, 0), path)


def require_tls(
    url: str, *, schemes: Collection[str] = ("https", "wss"), allow_loopback: bool = False
) -> str:
    """Return the URL unchanged, if a client that is pointed at it will speak TLS.

    For the addresses of model providers, webhooks and stores in a configuration. It looks at the text only, and says
    nothing of what answers there: that is for `client_context` and `check_tls`.

    Args:
        url: An absolute URL.
        schemes: Those that mean TLS for the client, such as ``rediss``.
        allow_loopback: Also take the plain forms (``http``, ``ws``, ``redis``) for this machine itself: ``localhost``, 127.0.0.0/8 and ``::1``.

    Raises:
        Misconfigured: The scheme is another, the URL holds credentials, or it is none.

    >>> require_tls("https://api.example.com/v1")
    'https://api.example.com/v1'
    >>> require_tls("http://api.example.com/v1")
    Traceback (most recent call last):
    ...
    aisecure.errors.Misconfigured: url: has the scheme http, which is not encrypted; use https
    """
    address = parse(url)
    if address.scheme in schemes:
        return url
    if allow_loopback and _PLAIN.get(address.scheme) in schemes and _is_loopback(address.host):
        return url
    # A known scheme is named, any other is the user's own text.
    if address.scheme in _PLAIN:
        raise _wrong(f"has the scheme {address.scheme}, which is not encrypted; use {_PLAIN[address.scheme]}")
    raise _wrong(f"has a scheme that is none of: {', '.join(sorted(schemes))}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":  # RFC 6761 section 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong(problem: str) -> Misconfigured:
    return Misconfigured(f"url: {problem}", code="config.url")
