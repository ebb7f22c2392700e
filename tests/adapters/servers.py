"""Real servers on loopback, in threads of the test process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hypercorn.asyncio
import uvicorn
from werkzeug.serving import WSGIRequestHandler, make_server


class Switch:
    """An app that stands for another, so that one server serves every test of a module."""

    app: Any = None

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await self.app(scope, receive, send)

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


@contextmanager
def serve_asgi(app: Any, ssl_context: ssl.SSLContext | None = None, **options: Any) -> Iterator[str]:
    """Run an ASGI app under uvicorn; give its address."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **kwargs: Any) -> None:
            await super().startup(*args, **kwargs)
            started.set()

    options = {"ws": "websockets-sansio", **options}
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", proxy_headers=False,
        timeout_graceful_shutdown=2, lifespan="on", interface="asgi3", **options,
    )  # fmt: skip
    config.load()
    config.ssl = ssl_context  # for this, uvicorn has ssl_context_factory from 0.47 on
    server = Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serve_wsgi(app: Any, ssl_context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a WSGI app under werkzeug's threaded server; give its address."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, ssl_context=ssl_context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def serve_hypercorn(app: Any, *, certfile: str = "", keyfile: str = "", ca_certs: str = "") -> Iterator[str]:
    """Run an ASGI app under hypercorn, over TLS that demands a client's certificate when files are given; give its address."""
    config = hypercorn.Config()
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 2
    if certfile:
        config.certfile, config.keyfile, config.ca_certs = certfile, keyfile, ca_certs
        config.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    config.bind = [f"fd://{listener.fileno()}"]
    ready, stop, held = threading.Event(), asyncio.Event(), []

    async def run() -> None:
        held.append(asyncio.get_running_loop())
        ready.set()
        await hypercorn.asyncio.serve(app, config, mode="asgi", shutdown_trigger=stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        # The socket listens already: who connects now waits until it is served.
        yield f"{'https' if certfile else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        held[0].call_soon_threadsafe(stop.set)
        thread.join(10)
        listener.detach()
