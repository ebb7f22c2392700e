"""Client certificates under uvicorn, which does not tell an application about them itself.

::

    uvicorn.run(
        app, proxy_headers=False,
        http="aisecure.adapters.uvicorn:HttpProtocol", ws="aisecure.adapters.uvicorn:WebSocketProtocol",
        ssl_certfile="server.pem", ssl_keyfile="server.key",
        ssl_ca_certs="clients-ca.pem", ssl_cert_reqs=ssl.CERT_REQUIRED,
    )

These are uvicorn's own protocols (those that it would have chosen), which add the ASGI extension ``tls`` to the scope of each
request on a TLS connection. Whether a client's certificate is asked for and which authorities are trusted is up to
``ssl_cert_reqs`` and ``ssl_ca_certs``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

__all__ = ["HttpProtocol", "WebSocketProtocol"]

_App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
#: As on the wire: RFC 8446 section 4.2.1 and its forerunners.
_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class _TellsTls:
    """Adds the extension to each scope of a connection."""

    app: _App

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Note the certificate, once for all requests of the connection."""
        super().connection_made(transport)  # type: ignore[misc]
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _telling(self.app, _tls(transport, connection))


def _tls(transport: asyncio.Transport, connection: ssl.SSLObject) -> dict[str, Any]:
    # Empty when the certificate was not verified, so that one which nobody checked is never told.
    verified = bool(transport.get_extra_info("peercert"))
    certificate = connection.getpeercert(binary_form=True) if verified else None
    return {
        "server_cert": None,
        "client_cert_chain": [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version() or ""),
        "cipher_suite": None,
    }


def _telling(app: _App, tls: dict[str, Any]) -> _App:
    async def told(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {**(scope.get("extensions") or {}), "tls": tls}}, receive, send)

    return told


if TYPE_CHECKING:

    class HttpProtocol(asyncio.Protocol):
        """uvicorn's HTTP protocol, which also tells of the client's certificate."""

    class WebSocketProtocol(asyncio.Protocol):
        """uvicorn's WebSocket protocol, which also tells of the client's certificate."""

else:

    class HttpProtocol(_TellsTls, AutoHTTPProtocol):
        """uvicorn's HTTP protocol, which also tells of the client's certificate."""

    if AutoWebSocketsProtocol is None:
        WebSocketProtocol = None  # as uvicorn says it: no library for WebSockets is installed
    else:

        class WebSocketProtocol(_TellsTls, AutoWebSocketsProtocol):
            """uvicorn's WebSocket protocol, which also tells of the client's certificate."""
