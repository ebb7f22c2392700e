"""One connection with a deadline, and the head of one HTTP response over it."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple, Self

__all__ = ["Connect", "Connection", "Head", "ask", "hsts_max_age"]

#: Host, port and seconds in, a connected socket out.
Connect = Callable[[str, int, float], socket.socket]

MAX_HEAD_BYTES = 64 << 10
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")


class Connection:
    """A socket that ends at a deadline, however slowly the other end drips."""

    def __init__(self, connect: Connect, host: str, port: int, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.socket = connect(host, port, seconds)

    def secure(self, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """Shake hands; from then on the connection speaks TLS."""
        self._limit()
        secured = context.wrap_socket(self.socket, server_hostname=host)
        self.socket = secured
        return secured

    def send(self, data: bytes) -> None:
        """Send all of the data."""
        self._limit()
        self.socket.sendall(data)

    def read(self, most: int) -> bytes:
        """Return what comes next, at most that much; nothing at the end."""
        self._limit()
        return self.socket.recv(most)

    def read_exactly(self, size: int) -> bytes:
        """Return that many bytes.

        Raises:
            EOFError: The other end closed before.
        """
        data = b""
        while len(data) < size:
            more = self.read(size - len(data))
            if not more:
                raise EOFError("closed")
            data += more
        return data

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.socket.settimeout(left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


class Head(NamedTuple):
    """Status and headers of a response; names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)


def ask(connection: Connection, host: str, port: int, path: str, usual_port: int) -> Head:
    """Send a HEAD request without credentials, and return the head of the answer.

    Raises:
        ValueError: The answer is no HTTP, or its head is larger than `MAX_HEAD_BYTES`.
        OSError: The connection failed or timed out.
    """
    name = f"[{host}]" if ":" in host else host
    authority = name if port == usual_port else f"{name}:{port}"
    request = f"HEAD {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: aisecure\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    connection.send(request.encode("ascii"))
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.read(MAX_HEAD_BYTES)
        data += more
        if not more or len(data) > MAX_HEAD_BYTES:
            raise ValueError("no head of an HTTP response")
    first, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise ValueError("no head of an HTTP response")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Head(int(status[1]), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs))


def hsts_max_age(value: str) -> int | None:
    """Return the seconds of a ``Strict-Transport-Security`` value, or None when a browser would ignore it (RFC 6797 section 6.1).

    >>> hsts_max_age('max-age="300"; includeSubDomains')
    300
    """
    seen: dict[str, str] = {}
    for directive in value.split(";"):
        name, _, content = (part.strip() for part in directive.partition("="))
        if not name:
            continue
        if name.lower() in seen:
            return None
        seen[name.lower()] = content
    age = seen.get("max-age", "")
    if len(age) > 1 and age[0] == age[-1] == '"':
        age = age[1:-1]
    return int(age) if age.isascii() and age.isdigit() and len(age) < 19 else None
