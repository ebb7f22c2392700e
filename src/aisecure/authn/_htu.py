"""The address that a DPoP proof names, brought into the one form in which two spellings of it are equal.

RFC 9449 section 4.3 compares ``htu`` with the request's address without query and fragment, after the normalisations of
RFC 3986 section 6.2.2 (case, percent-encoding, dot segments) and 6.2.3 (default port, empty path).
"""

from __future__ import annotations

import ipaddress
import re

__all__ = ["normal_address"]

#: A WebSocket's handshake is an HTTP request, whose client may call it either.
_SCHEMES = {"http": ("http", "80"), "ws": ("http", "80"), "https": ("https", "443"), "wss": ("https", "443")}
#: No user name: nobody names a request by one, and readers differ about where it ends.
_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?(?P<path>/[^?#]*)?(?:[?#][!-~]*)?"
)
#: ``pchar`` and the slash, RFC 3986 section 3.3.
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_MAX_CHARS = 8192


def normal_address(url: str) -> str | None:
    """Return scheme, host, port and path in normal form; None for what is no address of an HTTP resource.

    >>> normal_address("HTTPS://Api.Example.com:443/a/./b/../%7Euser?q=1")
    'https://api.example.com/a/~user'
    """
    match = _ADDRESS.fullmatch(url) if len(url) <= _MAX_CHARS else None
    if match is None:
        return None
    known = _SCHEMES.get(match["scheme"].lower())
    host = _host(match["host"])
    path = match["path"] or "/"
    if known is None or host is None or not _PATH.fullmatch(path):
        return None
    scheme, default = known
    port = (match["port"] or default).lstrip("0")
    return f"{scheme}://{host}{'' if port == default else ':' + port}{_path(path)}"


def _host(host: str) -> str | None:
    if not host.startswith("["):
        return host.lower()
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    except ValueError:
        return None


def _path(path: str) -> str:
    """Return a path with its percent-encoding in normal form, and without dot segments (RFC 3986 section 5.2.4)."""
    segments: list[str] = []
    parts = _PERCENT.sub(_decoded, path).split("/")[1:]
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part != ".":
            segments.append(part)
    if parts[-1] in (".", ".."):
        segments.append("")
    return "/" + "/".join(segments)


def _decoded(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    return chr(byte) if byte in _UNRESERVED else match[0].upper()
