"""Any ASGI application behind a shield: who is calling, on every request and every WebSocket.

::

    app = AISecureMiddleware(app, shield)

What it does, in the order of a request:

1. Reads the one credential (``Authorization: Bearer`` or ``DPoP``, ``X-API-Key``, never the query string; or the
   certificate of the connection, where there is no other), the client's address, ``X-Request-ID`` (taken when it
   is 1 to 128 of ``A-Za-z0-9._-``, else made; echoed) and ``traceparent``.
2. Establishes the principal and runs the application as that principal, so that every function protected with
   the same shield knows who asks. Paths in ``public`` are run as nobody.
3. Answers refusals as RFC 9457 problems: 401 with ``WWW-Authenticate``, 429 and 503 with ``Retry-After`` where it
   is known. A response's head leaves together with its first body message, so a stream that is refused
   before its first chunk is a status too. A stream that is refused later ends with an error frame:

   ====================  ==============================================================
   content type          frame
   ====================  ==============================================================
   text/event-stream     ``event: error``, then ``data: {problem}`` and an empty line
   JSON lines (ndjson)   one line ``{"error":{problem}}``
   other ``text/*``      a line ``[aisecure: <code>]``
   anything else         none: the connection is broken off, so that the body is visibly incomplete
   ====================  ==============================================================

4. With ``resources``, a request to a mapped path is itself a call: the guards see its JSON or text body before the
   application does, and the response before the caller does. Path and query are not part of the input.
5. With ``redact``, personal data and secrets are taken out of the bodies of requests and responses, on mapped paths and others;
   see `RedactBodies`.
6. WebSockets are authenticated before they are accepted; on mapped paths each message is a call. A refusal is
   the message ``{"error": {problem}}`` and close code 1008, or 1013 when a check could not run.

Only the scope ``lifespan`` passes unlooked at; a scope of an unknown type is refused. Servers that rewrite the
peer's address from ``X-Forwarded-For`` themselves (uvicorn's ``proxy_headers``) are to be told not to, or
to be told the same proxies.

`HttpsOnly` lets only HTTPS through to an application, and goes outermost::

    app = HttpsOnly(AISecureMiddleware(app, shield), hosts=["example.com"], sinks=shield.sinks)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from aisecure.adapters._answer import Answer, Message, Outlet, Receive, Send
from aisecure.adapters._certificates import ClientCertificates, of_scope
from aisecure.adapters._challenges import Challenges
from aisecure.adapters._content_types import ContentTypes
from aisecure.adapters._credentials import read_credential, with_proofs
from aisecure.adapters._form import refused, too_large
from aisecure.adapters._guarded_http import App, serve
from aisecure.adapters._guarded_ws import Socket
from aisecure.adapters._https import Hsts
from aisecure.adapters._https_asgi import HttpsOnly
from aisecure.adapters._origin import PublicPaths, TrustedProxies, below_mount, request_id, traceparent
from aisecure.adapters._problems import find, headers_of
from aisecure.adapters._redact_bodies import RedactBodies
from aisecure.adapters._redacted_http import RedactedAnswer, redacted_request
from aisecure.adapters._redaction import Redaction
from aisecure.adapters._target import ExternalAddress
from aisecure.call import Call, Credential
from aisecure.errors import AISecureError, AuthenticationError, Denied, Misconfigured
from aisecure.principal import Principal
from aisecure.shield import Shield
from aisecure.standing import collect_standings

if TYPE_CHECKING:
    from aisecure.authn.protected_resource import ProtectedResource

__all__ = ["MAX_BODY_BYTES", "AISecureMiddleware", "Hsts", "HttpsOnly", "RedactBodies", "TrustedProxies"]

#: Default limit of a request's body: far above any prompt, far below what hurts.
MAX_BODY_BYTES = 1 << 20

Scope = MutableMapping[str, Any]
Resources = Mapping[str, str] | Callable[[Scope], str | None]

_WANTED = frozenset(
    {
        b"authorization", b"content-length", b"content-type", b"dpop", b"traceparent", b"transfer-encoding", b"x-api-key",
        b"x-forwarded-for", b"x-request-id",
    }
)  # fmt: skip
_NONE: list[str] = []
#: A longer path is cut in events.
MAX_PATH_CHARS = 512


class _Request(NamedTuple):
    """What the middleware reads from a scope."""

    path: str
    source: str
    request_id: str
    trace: str
    headers: dict[bytes, list[str]]

    def first(self, name: bytes) -> str:
        return self.headers.get(name, ("",))[0]


class AISecureMiddleware:
    """Authenticates, sets the context, and answers refusals; see the module's text.

    Args:
        app: The application inside.
        shield: Whose guards say who is calling.
        resources: Paths whose requests are calls themselves, with their resource, such as
            ``{"/chat": "model:support-bot"}``; or a function of the scope that returns a resource or None.
        public: Paths that need no credential: exact, or everything below one as ``/static/*``.
        trusted_proxies: Addresses and networks whose ``X-Forwarded-For`` counts; see `TrustedProxies`.
        max_body_bytes: Larger request bodies and WebSocket messages are refused (413, 1009), and so are larger answers
            that have to be read whole.
        external_url: Scheme, host and port under which clients know this service, such as ``https://api.example.com``. A
            DPoP proof has to name it; without it the ``Host`` header is believed, which the client writes.
        certificate_header: Name of the header in which the trusted proxies tell the client's certificate:
            ``Client-Cert`` (RFC 9440), or one of percent-encoded PEM. They have to remove what clients send under this
            name. The certificate of a connection from a trusted proxy is never taken for the client's.
        protected_resource: Metadata for clients that look for a token (RFC 9728), served without authentication.
        ratelimit_headers: Tell callers what is left of the limits that their request met, in ``RateLimit-Policy`` and
            ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-11), also with a refusal. Of a stream it is what
            was known when its head left. Limits are told by their names, of which callers then learn; never by keys.
        redact: What is redacted in the bodies of requests and responses; None redacts nothing.
        content_types: Media types that request bodies may have, such as ``["application/json"]``, or for each path:
            ``{"/files": ["multipart/form-data"], "/*": ["application/json"]}``, of which the first that fits counts. Others are
            refused (415) before the application sees them. None takes any.

    Raises:
        Misconfigured: A setting cannot be used.
    """

    def __init__(
        self,
        app: App,
        shield: Shield,
        *,
        resources: Resources | None = None,
        public: Collection[str] = (),
        trusted_proxies: Iterable[str] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
        external_url: str = "",
        certificate_header: str = "",
        protected_resource: ProtectedResource | None = None,
        ratelimit_headers: bool = False,
        redact: RedactBodies | None = None,
        content_types: Collection[str] | Mapping[str, Collection[str]] | None = None,
    ) -> None:
        if not isinstance(shield, Shield):
            raise TypeError("AISecureMiddleware takes an application and a Shield")
        if max_body_bytes < 1:
            raise Misconfigured("max_body_bytes: is a number of bytes, at least 1", code="config.body")
        if redact is not None and not isinstance(redact, RedactBodies):
            raise TypeError("redact takes RedactBodies(...)")
        self.app = app
        self.shield = shield
        self._resources = resources or {}
        self._public = PublicPaths(public)
        self._proxies = TrustedProxies(trusted_proxies)
        self._max_body_bytes = max_body_bytes
        self._address = ExternalAddress(external_url, self._proxies)
        self._certificates = ClientCertificates(certificate_header, self._proxies)
        self._certificate_header = self._certificates.header.encode()
        self._wanted = _WANTED | {self._certificate_header}
        self._metadata = protected_resource
        self._tells_limits = ratelimit_headers
        self._redact = redact
        self._content_types = None if content_types is None else ContentTypes(content_types)
        self._challenges = Challenges(shield, protected_resource)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await self.app(scope, receive, send)
        else:
            # A protocol that this version does not know cannot be guarded, so it is not served.
            raise RuntimeError(f"AISecureMiddleware refuses the unknown scope type {kind!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._read(scope)
        answer = Answer(
            send, request.request_id, self._challenges, request.headers.get(b"authorization", _NONE)
        )
        metadata = self._metadata
        if metadata is not None and request.path == metadata.path and scope["method"] in {"GET", "HEAD"}:
            await _document(metadata, answer)
            return
        if self._tells_limits:
            with collect_standings() as answer.standings:
                await self._served(scope, receive, request, answer)
        else:
            await self._served(scope, receive, request, answer)

    async def _served(self, scope: Scope, receive: Receive, request: _Request, answer: Answer) -> None:
        try:
            principal = await self._authenticate(request, scope, scope["method"])
            with self.shield.acting_as(
                principal, source=request.source, request_id=request.request_id, trace=request.trace
            ):
                if self._content_types is not None:
                    receive = self._of_known_types(self._content_types, principal, request, receive, answer)
                if self._redact is not None and self._redact.covers(request.path):
                    await self._redacted(self._redact, scope, receive, principal, request, answer)
                else:
                    await self._run(scope, receive, principal, request, answer, answer)
            if answer.refusal is not None:
                await answer.fail(answer.refusal)
            else:
                await answer.begin()
        except Exception as err:
            ours = answer.refusal or find(err)
            if ours is None or not await answer.fail(ours):
                raise

    async def _redacted(
        self,
        rule: RedactBodies,
        scope: Scope,
        receive: Receive,
        principal: Principal,
        request: _Request,
        answer: Answer,
    ) -> None:
        method = scope["method"]
        call = self._call(principal, request, "redact", f"http:{method} {request.path[:MAX_PATH_CHARS]}")
        redaction = Redaction(rule, self.shield, call)
        receive = self._limited(principal, request, receive, answer)
        redacted = await redacted_request(redaction, scope, receive, self._max_body_bytes)
        if redacted is None:
            return
        outlet = RedactedAnswer(answer, redaction, method)
        try:
            await self._run(*redacted, principal, request, answer, outlet, is_limited=True)
        finally:
            outlet.close()

    async def _run(
        self,
        scope: Scope,
        receive: Receive,
        principal: Principal,
        request: _Request,
        answer: Answer,
        outlet: Outlet,
        *,
        is_limited: bool = False,
    ) -> None:
        """Run the application, and send what it answers through an outlet that ends in the answer."""
        resource = self._resource(scope, request.path)
        if resource is not None:
            passage = self.shield.passage(self._call(principal, request, "invoke", resource))
            kind = request.first(b"content-type")
            await serve(self.app, scope, receive, outlet, passage, kind, self._max_body_bytes)
            return
        if not is_limited:
            receive = self._limited(principal, request, receive, answer)
        await self.app(scope, receive, outlet.send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._read(scope)
        resource = self._resource(scope, request.path)
        can_answer = "websocket.http.response" in (scope.get("extensions") or {})
        principal = Principal.anonymous()

        def passages(value: Any) -> Any:
            call = self._call(principal, request, "invoke", resource or "")
            return self.shield.passage(call.with_input(value))

        def headers(err: AISecureError) -> Iterable[tuple[str, str]]:
            return headers_of(err, self._challenges, request.headers.get(b"authorization", _NONE))

        socket = Socket(
            receive,
            send,
            can_answer=can_answer,
            request_id=request.request_id,
            passages=passages,
            mapped=resource is not None,
            max_bytes=self._max_body_bytes,
            headers=headers,
        )
        try:
            principal = await self._authenticate(request, scope, "GET")
            with self.shield.acting_as(
                principal, source=request.source, request_id=request.request_id, trace=request.trace
            ):
                await self.app(scope, socket.receive, socket.send)
            socket.end()
        except BaseException as err:
            socket.end(err)
            ours = find(err)
            if ours is None:
                raise
            await socket.refuse(ours)

    # -- reading

    def _read(self, scope: Scope) -> _Request:
        found: dict[bytes, list[str]] = {}
        wanted = self._wanted
        for name, value in scope["headers"]:
            if name in wanted:
                found.setdefault(name, []).append(value.decode("latin-1"))
        get = found.get
        return _Request(
            below_mount(scope["path"], scope.get("root_path") or ""),
            self._proxies.client(_peer(scope), get(b"x-forwarded-for", _NONE)),
            request_id(get(b"x-request-id", _NONE)),
            traceparent(get(b"traceparent", _NONE)),
            found,
        )

    async def _authenticate(self, request: _Request, scope: Scope, method: str) -> Principal:
        if request.path in self._public:
            return Principal.anonymous()
        call = self._connect(request, method)
        try:
            credential = self._credential(request, scope, method)
        except AuthenticationError as err:
            self.shield.passage(call).refuse_at_door(err)
            raise
        if credential is not None:
            call = replace(call, credential=credential)
        return (await self.shield.aauthenticate(call)).principal

    def _credential(self, request: _Request, scope: Scope, method: str) -> Credential | None:
        get = request.headers.get
        told = get(self._certificate_header)
        certificate = of_scope(scope) if scope.get("extensions") else b""
        if certificate or told:
            certificate = self._certificates.of(_peer(scope), certificate, told or _NONE)
        credential = read_credential(get(b"authorization", _NONE), get(b"x-api-key", _NONE), certificate)
        if credential is not None and credential.scheme == "dpop":
            return with_proofs(credential, get(b"dpop", _NONE), method, self._url(scope))
        return credential

    def _url(self, scope: Scope) -> str:
        return self._address.of(
            scheme=scope.get("scheme") or "http",
            peer=_peer(scope),
            # Servers may leave the raw path out; the decoded one is encoded again.
            path=(scope.get("raw_path") or quote(scope["path"], errors="replace").encode()).decode("latin-1"),
            headers=lambda name: [
                value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()
            ],
        )

    def _connect(self, request: _Request, method: str) -> Call:
        resource = f"http:{method} {request.path[:MAX_PATH_CHARS]}"
        return self._call(Principal.anonymous(), request, "connect", resource)

    def _call(self, principal: Principal, request: _Request, action: str, resource: str) -> Call:
        return Call(principal, action, resource, None, request.source, request.request_id, "", request.trace)

    def _resource(self, scope: Scope, path: str) -> str | None:
        if callable(self._resources):
            return self._resources(scope)
        return self._resources.get(path)

    def _of_known_types(
        self, rule: ContentTypes, principal: Principal, request: _Request, receive: Receive, answer: Answer
    ) -> Receive:
        """Return a ``receive`` that refuses a body of a type that is not taken."""
        err = rule.refusal(request.path, request.headers.get(b"content-type", _NONE))
        if err is None:
            return receive

        def refuse() -> Denied:
            call = self._call(principal, request, "connect", f"http:{request.path[:MAX_PATH_CHARS]}")
            return refused(self.shield.passage(call), err)

        if request.first(b"content-length").strip("0 ") or request.first(b"transfer-encoding"):
            raise refuse()

        async def typed() -> Message:
            message = await receive()
            if message["type"] == "http.request" and message.get("body"):  # HTTP/2 announces no body
                answer.refusal = refuse()
                raise answer.refusal
            return message

        return typed

    def _limited(self, principal: Principal, request: _Request, receive: Receive, answer: Answer) -> Receive:
        """Return a ``receive`` that refuses a body over the limit."""
        limit = self._max_body_bytes

        def refuse() -> Denied:
            call = self._call(principal, request, "connect", f"http:{request.path[:MAX_PATH_CHARS]}")
            return refused(self.shield.passage(call), too_large(limit))

        stated = request.first(b"content-length")
        if stated:
            # The server holds the client to the length it stated.
            if not stated.isdecimal() or len(stated) > 18 or int(stated) > limit:
                raise refuse()
            return receive
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > limit:
                    # Frameworks turn whatever fails here into an answer of their own; this one counts.
                    answer.refusal = refuse()
                    raise answer.refusal
            return message

        return limited


def _peer(scope: Scope) -> str:
    """Return the address of the other end of the connection; empty for a socket file."""
    client = scope.get("client")
    return client[0] if client else ""


async def _document(metadata: ProtectedResource, answer: Answer) -> None:
    headers = [(name.encode(), value.encode()) for name, value in metadata.headers]
    await answer.send({"type": "http.response.start", "status": 200, "headers": headers})
    await answer.send({"type": "http.response.body", "body": metadata.body})
