"""Servers on loopback that publish keys, and lie, stall and break off as a test asks for."""

from __future__ import annotations

import json
import os
import ssl
import threading
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.unit.authn.issuing import AUDIENCE, claims_at, header_of, sign

from aisecure.authn import JwtVerifier
from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import Unavailable
from aisecure.testing import FrozenClock, capture_events

METADATA, KEYS = "/.well-known/openid-configuration", "/keys"


class Reply(NamedTuple):
    """An answer that is none of a kind; ``body`` is sent as it stands."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


Page = dict[str, Any] | Reply | Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A real HTTP server; what it says at each path can be changed while it runs.

    ``asked`` holds the paths that were asked for; functions among ``pages`` write to the connection themselves.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.arrived = threading.Semaphore(0)
        self._closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                site.headers.append(dict(self.headers))
                site.arrived.release()
                page = site.pages.get(self.path, Reply(status=404))
                if callable(page):
                    page(self)
                    return
                if isinstance(page, dict):
                    page = Reply(json.dumps(page).encode(), headers=(("Content-Type", "application/json"),))
                self.send_response(page.status)
                for name, value in page.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            # The other side may go away at any time.
            def handle_error(self, *_: Any) -> None:
                """Say nothing."""

        self._server = Server((host, 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.origin = f"{'https' if tls else 'http'}://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def publish(self, *keys: dict[str, Any], issuer: str | None = None, **headers: str) -> None:
        """Publish keys, and metadata that lead to them."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.pages[METADATA] = {"issuer": issuer or self.origin, "jwks_uri": self.origin + KEYS}
        self.pages[KEYS] = Reply(json.dumps({"keys": list(keys)}).encode(), headers=named)

    def stall(self, handler: BaseHTTPRequestHandler) -> None:
        """A page that is never sent."""
        self._closing.wait(60)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """A page that is sent byte by byte, and never whole."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self._closing.wait(0.01):
            handler.wfile.write(b" ")

    def until(self, event: threading.Event, page: Page) -> Page:
        """A page that is sent when something has happened."""

        def wait(handler: BaseHTTPRequestHandler) -> None:
            event.wait(60)
            reply = page if isinstance(page, Reply) else Reply(json.dumps(page).encode())
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + reply.body)

        return wait

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Service:
    """A service that trusts a site as an issuer; its clock stands still."""

    def __init__(self, site: Site | None = None, *algorithms: str, **options: Any) -> None:
        self.clock = FrozenClock()
        self.events = capture_events()
        if site is not None:
            options.setdefault("issuer", site.origin)
        self.issuer = options["issuer"]
        settings = {
            "audience": AUDIENCE,
            "algorithms": algorithms or ("ES256",),
            "leeway": 0,
            "timeout_seconds": 20,
            "allow_http_loopback": True,
            "clock": self.clock,
            "events": self.events,
            **options,
        }
        self.verifier = JwtVerifier(**settings)

    def token(self, number: int = 0, algorithm: str = "ES256", *, kid: Any = None, **changes: Any) -> str:
        header = header_of(algorithm, number, **({} if kid is None else {"kid": kid}))
        claims = claims_at(self.clock.time(), **{"iss": self.issuer, **changes})
        return sign(header, claims, algorithm=algorithm, number=number)

    def ask(self, token: str | None = None, scheme: str = "bearer") -> str:
        """What comes of a token: nothing, the reason of the refusal, or the code of what is not available."""
        try:
            answer = self.verifier.authenticate(Credential(scheme, self.token() if token is None else token))
        except Unavailable as err:
            return err.code
        return answer.reasons[-1] if isinstance(answer, Decision) else ""


def settle() -> None:
    """Wait until nothing is looked up any more."""
    while threads := [thread for thread in threading.enumerate() if thread.name == "aisecure-jwks"]:
        for thread in threads:
            if thread.is_alive():  # else it is about to start
                thread.join(30)


def fork(run: Callable[[], bool]) -> Callable[[], bool]:
    """Run a function in a forked process; return what waits for it and tells whether it was right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        child = os.fork()
    if not child:
        code = 2
        try:
            code = 0 if run() else 1
        finally:
            os._exit(code)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
