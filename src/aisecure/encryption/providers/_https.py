"""One bounded request over verified HTTPS: no redirects, no proxies, no endless answers."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from aisecure.errors import Misconfigured, Unavailable

__all__ = ["Answer", "Endpoint"]

#: A wrapped key of the largest size takes a tenth of it.
MAX_ANSWER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; its ``repr`` leaves the body out."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None

    def json(self) -> dict[str, Any]:
        """Return the body as an object of JSON, empty when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Endpoint:
    """A server and how to reach it. Each request has a connection of its own, so threads and forks share nothing.

    Args:
        address: ``https://host[:port]``.
        ca: PEM file of an authority.
        context: A TLS context that verifies, instead of ``ca``.
        timeout: Seconds to connect, and again for all the rest; looking up the name is left to the system.
        plain_http_unsafe: Take plain http for hosts beyond loopback.

    Raises:
        TypeError, ValueError: For what is none of these.
        Misconfigured: The file cannot be read, or the context does not verify.
    """

    __slots__ = ("_context", "_host", "_port", "_timeout", "address")

    def __init__(
        self,
        address: str,
        *,
        ca: str | Path | None,
        context: ssl.SSLContext | None,
        timeout: float,
        plain_http_unsafe: bool,
    ) -> None:
        if not isinstance(address, str):
            raise TypeError(f"an address is a text, not {type(address).__name__}")
        self._host, self._port, secure = _split(address)
        if not 0 < timeout <= 3600:
            raise ValueError("timeout is seconds above 0 and at most an hour")
        if not secure and not (plain_http_unsafe or _is_loopback(self._host)):
            raise ValueError("plain http shows token and keys to the network: use https")
        self._context = _verifying(ca, context) if secure else None
        self._timeout = timeout
        self.address = address.rstrip("/")

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Return the answer to one request with a JSON body.

        Raises:
            Unavailable: There was none in time, or it was larger than `MAX_ANSWER_BYTES`.
        """
        connection = self._connection()
        connection.set_debuglevel(0)  # a level set for the class would print token and key
        try:
            connection.connect()
            # Timeouts of a socket begin anew with each byte; this one is for the whole.
            end = Timer(self._timeout, _end, (connection.sock,))
            end.daemon = True
            end.start()
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
                with connection.getresponse() as response:
                    content = response.read(MAX_ANSWER_BYTES + 1)
                    whole = not response.length  # what is still to come of the promised length
                    retry_after = response.headers.get("Retry-After", "")
            finally:
                end.cancel()
        except (OSError, HTTPException, RuntimeError) as err:  # the last: no thread could be started
            reason = type(err).__name__
        else:
            if whole and len(content) <= MAX_ANSWER_BYTES:
                return Answer(response.status, content, _seconds(retry_after))
            reason = "an answer that was cut short, or too large"
        finally:
            connection.close()
        # Outside the handler: the error of a connection may hold what was sent.
        raise Unavailable(f"{self.address} could not be asked: {reason}", code="unavailable.key_provider")

    def _connection(self) -> HTTPConnection:
        if self._context is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)


def _split(address: str) -> tuple[str, int, bool]:
    """Return host, port, and whether it is https."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if (
        not host
        or not address.isascii()
        or not address.isprintable()
        or parts.scheme not in {"http", "https"}
        or parts.username is not None
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        # Not quoted: somebody may have put a token into it.
        raise ValueError("an address is https://host or https://host:port, and nothing more")
    secure = parts.scheme == "https"
    return host, port or (443 if secure else 80), secure


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _verifying(ca: str | Path | None, context: ssl.SSLContext | None) -> ssl.SSLContext:
    if context is not None:
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"context is an ssl.SSLContext, not {type(context).__name__}")
        if ca is not None:
            raise ValueError("give ca, or a context that has it")
        if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
            raise Misconfigured(
                "the TLS context does not verify the server; set CERT_REQUIRED and check_hostname"
            )
        return context
    try:
        made = ssl.create_default_context(cafile=ca)
    except OSError as err:  # ssl.SSLError is one
        raise Misconfigured(f"{ca}: no certificates can be read; name a PEM file of the authority") from err
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _end(connection: socket.socket) -> None:
    """Make every wait on the connection end; the one who waits closes it."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _seconds(header: str) -> float | None:
    return float(header) if header.isdecimal() and len(header) < 7 else None
