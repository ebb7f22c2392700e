"""Fetches a small JSON document of an issuer, and trusts nothing on the way.

No redirects, no proxy from the environment, no cookies, one deadline for everything, and a limit on what is read.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

from aisecure.authn.jwt.errors import BadKeys, NotFound, NotStrictJson, Unreachable
from aisecure.authn.jwt.strict_json import read_object

__all__ = ["MAX_BYTES", "Document", "Fetch", "check_url"]

#: A set of 10 RSA keys with certificates has about 40 KB.
MAX_BYTES = 256 << 10

_ADDRESS = re.compile(r"[!-~]{1,2048}")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_UNCACHED = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:$|[,\s=])", re.IGNORECASE)


class Document(NamedTuple):
    """What was fetched.

    Attributes:
        content: A JSON object.
        max_age: Seconds that it may be kept, as ``Cache-Control`` says; None when it does not.
    """

    content: dict[str, Any]
    max_age: float | None


class Fetch:
    """Fetches documents over HTTPS.

    Args:
        ssl_context: Whom to trust; the authorities of the machine when None.
        allow_http_loopback: Take ``http:`` addresses of this very machine too, for tests and development.
    """

    def __init__(
        self, *, ssl_context: ssl.SSLContext | None = None, allow_http_loopback: bool = False
    ) -> None:
        self._context = ssl_context
        self._allow_http_loopback = allow_http_loopback

    def __call__(self, url: str, deadline: float) -> Document:
        """Return a document.

        Args:
            url: Its address.
            deadline: When to give up, on `time.monotonic`. Only the look-up of the host name may take longer.

        Raises:
            Unreachable, NotFound: It cannot be had.
            BadKeys: It is none.
        """
        parts = check_url(url, allow_http_loopback=self._allow_http_loopback)
        try:
            return self._get(parts, deadline)
        except TimeoutError:
            raise Unreachable("was not sent in time") from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            # Their texts may quote what the server sent. ValueError: a length or a chunk size that is no number.
            raise Unreachable(f"could not be fetched ({type(err).__name__})") from None

    def _get(self, parts: SplitResult, deadline: float) -> Document:
        secure = parts.scheme == "https"
        host, port = cast("str", parts.hostname), parts.port or (443 if secure else 80)
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(_connect(host, port, deadline))
            if secure:
                plain.settimeout(_left(deadline))
                connected: socket.socket = stack.enter_context(
                    self._tls().wrap_socket(plain, server_hostname=host)
                )
            else:
                connected = plain
            connected.settimeout(_left(deadline))
            connected.sendall(_request(parts))
            response = http.client.HTTPResponse(_Timed(connected, deadline), method="GET")  # type: ignore[arg-type]
            stack.callback(response.close)
            response.begin()
            return _document(response)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


def check_url(url: str, *, allow_http_loopback: bool) -> SplitResult:
    """Return the parts of an address.

    Raises:
        BadKeys: It is none, or is not to be asked.
    """
    try:
        parts = urlsplit(url) if _ADDRESS.fullmatch(url) and "\\" not in url else None
        known = parts is not None and parts.hostname and parts.port != 0
    except (ValueError, TypeError):
        known = False
    if not known or parts is None or "@" in parts.netloc or "#" in url:
        raise BadKeys("has an unusable address")
    if parts.scheme != "https" and not (
        parts.scheme == "http" and allow_http_loopback and _is_loopback(cast("str", parts.hostname))
    ):
        raise BadKeys("has no https address")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """Return a connection; the addresses of a host share the time that is left, of which each would be given all."""
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (*_, address) in enumerate(places):
        try:
            share = _left(deadline) / (len(places) - number)
            return socket.create_connection((str(address[0]), port), timeout=share)
        except OSError:
            if number + 1 == len(places):
                raise
    raise OSError


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _request(parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        "Accept-Encoding: identity\r\nUser-Agent: aisecure\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _document(response: http.client.HTTPResponse) -> Document:
    if response.status == http.HTTPStatus.NOT_FOUND:
        raise NotFound("is not there")
    if response.status != http.HTTPStatus.OK:
        # Redirects too: whoever can make one could name any other server.
        raise BadKeys(f"was answered with status {response.status}")
    if (response.getheader("Content-Encoding") or "identity") != "identity":
        raise BadKeys("is compressed, which was not asked for")
    body = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise BadKeys(f"is larger than {MAX_BYTES} bytes")
    if response.length:
        raise Unreachable("was cut off")
    try:
        return Document(read_object(body), _max_age(response))
    except NotStrictJson as err:
        raise BadKeys(str(err)) from None


def _max_age(response: http.client.HTTPResponse) -> float | None:
    said = response.getheader("Cache-Control") or ""
    if _UNCACHED.search(said):
        return 0.0
    found = _MAX_AGE.search(said)
    if found is None:
        return None
    age = response.getheader("Age") or "0"
    return max(0.0, float(found[1]) - (int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0))


class _Timed(io.RawIOBase):
    """Reads a socket until a deadline, however slowly the bytes drip; what `http.client.HTTPResponse` needs of a socket."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._recv_into: Callable[[Any], int] = connected.recv_into
        self._settimeout = connected.settimeout
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._settimeout(_left(self._deadline))
        return self._recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)
