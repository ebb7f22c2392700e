"""`HttpsOnly` for ASGI: reads the scope, and carries out the ruling."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, MutableMapping
from typing import Any

from aisecure.adapters._answer import Answer, Message, Receive, Send, header
from aisecure.adapters._guarded_http import App
from aisecure.adapters._guarded_ws import refuse_handshake
from aisecure.adapters._https import READ_HEADERS, Hsts, HttpsRule, Ruling
from aisecure.adapters._origin import below_mount
from aisecure.ports import EventSink

__all__ = ["HttpsOnly"]

Scope = MutableMapping[str, Any]

_WANTED = {name.encode(): name for name in READ_HEADERS}


class HttpsOnly:
    """Lets only HTTPS through to an application; put it outermost, round `AISecureMiddleware` and everything else.

    What comes over plain HTTP is answered without the application: ``GET`` and ``HEAD`` for one of ``hosts`` with a redirect
    (308) to the same address over HTTPS, everything else with a problem (403, ``transport.insecure``), and a WebSocket is
    refused before it is accepted. A request that carries ``Authorization`` or ``X-API-Key`` is never redirected: its
    sender shall notice. It leaves the event ``transport.exposed``, and the credential is to be replaced.

    The application sees the scheme that the client used. Whether that was HTTPS is told by the connection itself, or by
    ``X-Forwarded-Proto`` and ``Forwarded`` of a trusted proxy, where every hop that they tell of has to be HTTPS.

    Args:
        app: The application inside.
        hosts: Names that a request may be redirected to, with a port or without; without them nothing is redirected,
            since the ``Host`` header is the client's own text.
        trusted_proxies: Addresses and networks whose word counts; see `TrustedProxies`.
        hsts: Sent with every response over HTTPS that has none of its own; None sends nothing.
        exempt: Paths that may be asked for in clear, such as a load balancer's health check: exact, or everything below
            one as ``/health/*``.
        sinks: Where events go, such as ``shield.sinks``.

    Raises:
        Misconfigured: A setting cannot be used.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str] = (),
        trusted_proxies: Iterable[str] = (),
        hsts: Hsts | None = Hsts(),  # noqa: B008  (immutable)
        exempt: Collection[str] = (),
        sinks: Iterable[EventSink] = (),
    ) -> None:
        self.app = app
        self._rule = HttpsRule(
            hosts=hosts, trusted_proxies=trusted_proxies, hsts=hsts, exempt=exempt, sinks=sinks
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        if kind not in {"http", "websocket"}:
            raise RuntimeError(f"HttpsOnly refuses the unknown scope type {kind!r}")
        ruling = self._judge(scope)
        if kind == "websocket" and ruling.refusal is not None:
            can_answer = "websocket.http.response" in (scope.get("extensions") or {})
            await refuse_handshake(send, ruling.refusal, ruling.request_id, can_answer=can_answer)
        elif ruling.refusal is not None:
            await Answer(send, ruling.request_id).fail(ruling.refusal)
        elif ruling.location:
            headers = [(b"location", ruling.location.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 308, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            scope = {**scope, "scheme": ruling.scheme}
            await self.app(scope, receive, self._with_hsts(send) if ruling.secure else send)

    def _judge(self, scope: Scope) -> Ruling:
        headers: dict[str, list[str]] = {}
        for raw, value in scope["headers"]:
            name = _WANTED.get(raw.lower())
            if name is not None:
                headers.setdefault(name, []).append(value.decode("latin-1"))
        client = scope.get("client")
        websocket = scope["type"] == "websocket"
        return self._rule.judge(
            method="CONNECT" if websocket else scope["method"],
            scheme=scope.get("scheme") or ("ws" if websocket else "http"),
            peer=client[0] if client else "",
            path=below_mount(scope["path"], scope.get("root_path") or ""),
            # Servers may leave the raw path out; the decoded one is encoded again.
            target=scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass"),
            query=scope.get("query_string") or b"",
            headers=lambda name: headers.get(name, ()),
        )

    def _with_hsts(self, send: Send) -> Send:
        hsts = self._rule.hsts
        if hsts is None:
            return send
        line = (b"strict-transport-security", hsts.header.encode())

        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not header(headers, line[0]):
                    headers.append(line)
                message = {**message, "headers": headers}
            return send(message)

        return sending
