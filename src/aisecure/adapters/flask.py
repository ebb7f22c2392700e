"""Flask behind a shield.

::

    app = Flask(__name__)
    AISecure(shield).init_app(app)

    @app.get("/me")
    def me() -> str:
        return current_principal.id

Before each request the credential (``Authorization: Bearer`` or ``DPoP``, ``X-API-Key``, never the query string; or
the certificate of the connection, where there is no other) establishes the principal, and the view runs as that
principal. Refusals are answered as RFC 9457 problems. ``X-Request-ID`` is echoed. Of a streamed response the first
chunk is awaited before the head is sent, so that a refusal before it is a status; a later one ends the stream with
the error frame that `aisecure.adapters.asgi` documents. With ``redact=RedactBodies()`` personal data and secrets are taken
out of the bodies of requests and responses. Flask hands JSON and form bodies to views itself; guards see
what a protected function is given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.local import LocalProxy

from aisecure._flow import drive
from aisecure.adapters._bodies import media_type
from aisecure.adapters._certificates import ClientCertificates, of_environ
from aisecure.adapters._challenges import Challenges
from aisecure.adapters._content_types import ContentTypes
from aisecure.adapters._credentials import read_credential, with_proofs
from aisecure.adapters._form import refused, too_large
from aisecure.adapters._https import Hsts, HttpsRule
from aisecure.adapters._https_wsgi import HttpsGate, raw_target
from aisecure.adapters._limited import LimitedRoute, LimitOptions
from aisecure.adapters._limited_views import answered
from aisecure.adapters._origin import PublicPaths, TrustedProxies, request_id, traceparent
from aisecure.adapters._problems import PLAIN, body_of, find, frame, headers_of, status_of
from aisecure.adapters._ratelimit_headers import ratelimit_headers
from aisecure.adapters._redact_bodies import RedactBodies
from aisecure.adapters._redacted_views import redact_request, redact_response
from aisecure.adapters._redaction import Redaction
from aisecure.adapters._target import ExternalAddress
from aisecure.adapters._uploads import CheckedFile, checked, recorded
from aisecure.adapters.asgi import MAX_BODY_BYTES, MAX_PATH_CHARS
from aisecure.call import Call, Credential, current_context, known_principal
from aisecure.errors import AISecureError, AuthenticationError, InputRejected, Misconfigured
from aisecure.ports import EventSink
from aisecure.principal import Principal
from aisecure.sanitize.uploads import UploadPolicy
from aisecure.shield import Shield
from aisecure.standing import collect_standings

if TYPE_CHECKING:
    from aisecure.authn.protected_resource import ProtectedResource

__all__ = [
    "AISecure",
    "CheckedFile",
    "HttpsOnly",
    "RedactBodies",
    "current_principal",
    "limit",
    "require",
    "upload",
]

F = TypeVar("F", bound=Callable[..., Any])


def _principal() -> Principal:
    return current_context().principal


#: Who is calling; `Principal.anonymous` on public paths.
current_principal = cast("Principal", LocalProxy(_principal))


def require(action: str, resource: str) -> Callable[[F], F]:
    """Return a decorator for views that lets a request pass only if the shield permits the action on the resource.

    It is a call of its own, without input, that meets every guard and leaves one event before the view runs::

        @app.get("/notes/<number>")
        @require("read", "document:{number}")
        def show(number: str) -> str: ...

    Args:
        action: Such as ``read``.
        resource: ``{name}`` is replaced by the view's argument of that name.

    Raises:
        Misconfigured: When a request comes, if the app is not behind `AISecure` or the route lacks the argument.
    """

    def permit() -> None:
        extension = current_app.extensions.get("aisecure")
        if extension is None:
            raise Misconfigured("require: call AISecure(shield).init_app(app) first", code="config.shield")
        known_principal()
        try:
            named = resource.format_map(request.view_args or {})
        except KeyError as err:
            raise Misconfigured(f"require: the route has no argument {err}", code="config.resource") from err
        drive(extension.shield.passage(current_context().call(action, named)).permit())

    def decorate(view: F) -> F:
        @wraps(view)
        def permitted(*args: Any, **kwargs: Any) -> Any:
            permit()
            return current_app.ensure_sync(view)(*args, **kwargs)

        return cast("F", permitted)

    return decorate


def limit(*limits: Any, **options: Unpack[LimitOptions]) -> Callable[[F], F]:
    """Return a decorator for views that lets a request pass only within limits.

    ::

        @app.get("/items/<number>")
        @limit("10/minute")
        def show(number: str) -> str: ...

    What it takes and how it counts is told at `aisecure.adapters.fastapi.limit`; the resource is ``route:GET /items/<number>``.
    The slot of a `Concurrency` is held until the response is sent. Rate limits may also stand before all views of an app or
    a blueprint, where each route counts for itself::

        @blueprint.before_request
        @limit("100/minute")
        def limited() -> None: ...

    In an app without `AISecure` refusals are raised, and answered by a handler of the app's own.

    Raises:
        ValueError, TypeError: The limits cannot be used.
    """
    route = LimitedRoute(limits, options)

    def decorate(view: F) -> F:
        @wraps(view)
        def limited(*args: Any, **kwargs: Any) -> Any:
            extension = current_app.extensions.get("aisecure")
            rule = request.url_rule
            passage = route.passage(
                () if extension is None else extension.shield.sinks,
                request.method,
                "*" if rule is None else rule.rule,
                request.remote_addr or "",
            )
            return answered(passage, lambda: current_app.ensure_sync(view)(*args, **kwargs))

        return cast("F", limited)

    return decorate


def upload(policy: UploadPolicy | None = None, *, field: str = "file") -> Callable[[F], F]:
    """Return a decorator for views that gives them one file of the form, checked by content, as an argument of that name.

    ::

        @app.post("/files")
        @upload(UploadPolicy(types=["application/pdf"]))
        def keep(file: CheckedFile) -> str:
            return file.upload.type

    Set ``max_body_bytes`` of `AISecure` to what a form with such a file weighs: the framework has read the whole body by then,
    to a temporary file where it is larger than 500 KB.

    Args:
        policy: What is let in; see `aisecure.sanitize.UploadPolicy`.
        field: Name of the form's field and of the view's argument.

    Raises:
        Misconfigured: The field's name is no name of an argument.
    """
    if not field.isidentifier():
        raise Misconfigured("upload: field is the name of an argument too", code="config.upload")
    rule = policy or UploadPolicy()

    def decorate(view: F) -> F:
        @wraps(view)
        def given(*args: Any, **kwargs: Any) -> Any:
            extension = current_app.extensions.get("aisecure")
            shield = None if extension is None else extension.shield
            route = f"route:{request.method} {'*' if request.url_rule is None else request.url_rule.rule}"
            files = request.files.getlist(field)
            if len(files) != 1:
                err = InputRejected(f"Send one file as {field!r} of a form.", code="input.upload_count")
                raise recorded(err, shield, route)
            file = files[0]
            kwargs[field] = checked(
                file.stream, file.filename or "", file.content_type or "", rule, shield, route
            )
            return current_app.ensure_sync(view)(*args, **kwargs)

        return cast("F", given)

    return decorate


class AISecure:
    """The extension: ``AISecure(shield).init_app(app)``, or ``AISecure(app, shield)`` at once.

    Args:
        parts: The shield, or the app and the shield.
        public: Paths that need no credential: exact, or everything below one as ``/static/*``.
        trusted_proxies: Addresses and networks whose ``X-Forwarded-For`` counts; see
            `aisecure.adapters.asgi.TrustedProxies`. Use it instead of werkzeug's ``ProxyFix``, not beside it.
        max_body_bytes: Becomes ``MAX_CONTENT_LENGTH`` where the app set none.
        external_url: As for `aisecure.adapters.asgi.AISecureMiddleware`, like the next two.
        certificate_header: Name of the header in which the trusted proxies tell the client's certificate. Without proxies
            it is read from ``SSL_CLIENT_CERT``, as mod_ssl and werkzeug set it.
        protected_resource: Metadata for clients that look for a token (RFC 9728).
        ratelimit_headers: As for `aisecure.adapters.asgi.AISecureMiddleware`.
        redact: What is redacted in the bodies of requests and responses; None redacts nothing. A response is redacted after
            the app's hooks, whichever were registered first.
        content_types: As for `aisecure.adapters.asgi.AISecureMiddleware`.

    Raises:
        Misconfigured: A setting cannot be used.
    """

    def __init__(
        self,
        *parts: Flask | Shield,
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
        apps = [part for part in parts if isinstance(part, Flask)]
        shields = [part for part in parts if isinstance(part, Shield)]
        if len(shields) != 1 or len(apps) + 1 != len(parts) or len(apps) > 1:
            raise TypeError("AISecure takes a Shield, or an app and a Shield")
        if redact is not None and not isinstance(redact, RedactBodies):
            raise TypeError("redact takes RedactBodies(...)")
        self.shield = shields[0]
        self._public = PublicPaths(public)
        self._proxies = TrustedProxies(trusted_proxies)
        self._max_body_bytes = max_body_bytes
        self._address = ExternalAddress(external_url, self._proxies)
        self._certificates = ClientCertificates(certificate_header, self._proxies)
        self._metadata = protected_resource
        self._tells_limits = ratelimit_headers
        self._redact = redact
        self._content_types = None if content_types is None else ContentTypes(content_types)
        self._challenges = Challenges(self.shield, protected_resource)
        for app in apps:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put an app behind the shield; one extension may serve several apps."""
        app.extensions["aisecure"] = self
        if app.config.get("MAX_CONTENT_LENGTH") is None:
            app.config["MAX_CONTENT_LENGTH"] = self._max_body_bytes
        # First in line, so that no other hook of the app acts for a caller who is not known yet.
        app.before_request_funcs.setdefault(None, []).insert(0, self._begin)
        after = app.after_request_funcs.setdefault(None, [])
        # Flask runs these from the last to the first: what another hook adds is redacted too.
        after.insert(len(after) if self._redact is None else 0, _finish)
        app.teardown_request(_end)
        app.register_error_handler(AISecureError, _problem)
        app.register_error_handler(RequestEntityTooLarge, self._too_large)
        loads = app.json.loads

        def loads_or_refuses(s: str | bytes, **options: Any) -> Any:
            try:
                return loads(s, **options)
            except RecursionError as err:  # Flask answers only ValueError with a status of the client's
                raise ValueError("nested too deep") from err

        app.json.loads = loads_or_refuses  # type: ignore[method-assign]

    def _begin(self) -> Response | None:
        answer = self._enter()
        if answer is None and self._content_types is not None:
            self._require_content_type(self._content_types)
        rule = self._redact
        if answer is None and rule is not None and rule.covers(request.path):
            resource = f"http:{request.method} {request.path[:MAX_PATH_CHARS]}"
            call = current_context().call("redact", resource)
            g.aisecure_redaction = Redaction(rule, self.shield, call)
            redact_request(request, g.aisecure_redaction)
        return answer

    def _enter(self) -> Response | None:
        headers = request.headers
        identifier = request_id(headers.getlist("X-Request-ID"))
        source = self._proxies.client(request.remote_addr or "", headers.getlist("X-Forwarded-For"))
        trace = traceparent(headers.getlist("traceparent"))
        # Set first, so that a refusal too carries the request's id.
        stack = g.aisecure = ExitStack()
        if self._tells_limits:
            g.aisecure_standings = stack.enter_context(collect_standings())
        limit = request.max_content_length
        if request.content_length is None and limit is not None and "wsgi.input" in request.environ:
            request.environ["wsgi.input"] = _Bounded(request.environ["wsgi.input"], limit)
            request.max_content_length = limit + 1  # so that the byte that is one too many is asked for
        nobody = Principal.anonymous()
        stack.enter_context(self.shield.acting_as(nobody, source=source, request_id=identifier, trace=trace))
        metadata = self._metadata
        if metadata is not None and request.path == metadata.path and request.method in {"GET", "HEAD"}:
            return Response(metadata.body, headers=list(metadata.headers))
        if request.path in self._public:
            return None
        resource = f"http:{request.method} {request.path[:MAX_PATH_CHARS]}"
        call = Call(nobody, "connect", resource, None, source, identifier, "", trace)
        try:
            credential = self._credential()
        except AuthenticationError as err:
            self.shield.passage(call).refuse_at_door(err)
            raise
        call = Call(nobody, "connect", resource, None, source, identifier, "", trace, credential)
        stack.enter_context(self.shield.acting_as(self.shield.authenticate(call).principal))
        return None

    def _require_content_type(self, types: ContentTypes) -> None:
        # A server that unpacks chunks says so by the header or by the flag; without either there is no body.
        if not (
            request.content_length
            or "Transfer-Encoding" in request.headers
            or (request.content_length is None and request.environ.get("wsgi.input_terminated"))
        ):
            return
        stated = request.headers.get("Content-Type")
        # WSGI has joined fields that came twice, by a comma, which no content type has outside of quotes.
        err = types.refusal(request.path, [] if stated is None or "," in stated else [stated])
        if err is not None:
            call = current_context().call("connect", f"http:{request.path[:MAX_PATH_CHARS]}")
            raise refused(self.shield.passage(call), err)

    def _credential(self) -> Credential | None:
        headers, environ = request.headers, request.environ
        peer = request.remote_addr or ""
        told = headers.getlist(self._certificates.header) if self._certificates.header else []
        certificate = self._certificates.of(peer, of_environ(environ), told)
        credential = read_credential(
            headers.getlist("Authorization"), headers.getlist("X-API-Key"), certificate
        )
        if credential is None or credential.scheme != "dpop":
            return credential
        url = self._address.of(
            scheme=environ["wsgi.url_scheme"],
            peer=peer,
            # werkzeug decodes the path; the server kept what was sent.
            path=raw_target(environ).partition(b"?")[0].decode("latin-1"),
            headers=headers.getlist,
        )
        return with_proofs(credential, headers.getlist("DPoP"), request.method, url)

    def _too_large(self, err: RequestEntityTooLarge) -> Response:
        context = current_context()
        resource = f"http:{request.path[:MAX_PATH_CHARS]}"
        call = Call(
            context.principal,
            "connect",
            resource,
            None,
            context.source,
            context.request_id,
            "",
            context.trace,
        )
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return _problem(refused(self.shield.passage(call), too_large(limit)))


class HttpsOnly:
    """The extension that lets only HTTPS through: ``HttpsOnly(hosts=["example.com"]).init_app(app)``, or ``HttpsOnly(app, ...)`` at once.

    It stands before Flask itself, so before `AISecure` and every hook, in whichever order they are set up. What it does
    is told at `aisecure.adapters.asgi.HttpsOnly`; the options are the same.

    Args:
        app: The app, or None to name it later.
        hosts: Names that a request may be redirected to, with a port or without; without them nothing is redirected.
        trusted_proxies: Addresses and networks whose ``X-Forwarded-Proto`` and ``Forwarded`` count. Use it instead of
            werkzeug's ``ProxyFix``, not beside it.
        hsts: An `aisecure.adapters.asgi.Hsts`, sent with every response over HTTPS that has none of its own; None sends nothing.
        exempt: Paths that may be asked for in clear, such as a load balancer's health check.
        sinks: Where events go, such as ``shield.sinks``.

    Raises:
        Misconfigured: A setting cannot be used.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        hosts: Collection[str] = (),
        trusted_proxies: Iterable[str] = (),
        hsts: Hsts | None = Hsts(),  # noqa: B008  (immutable)
        exempt: Collection[str] = (),
        sinks: Iterable[EventSink] = (),
    ) -> None:
        self._rule = HttpsRule(
            hosts=hosts, trusted_proxies=trusted_proxies, hsts=hsts, exempt=exempt, sinks=sinks
        )
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Let only HTTPS through to an app; one extension may serve several apps."""
        app.extensions["aisecure_https"] = self
        app.wsgi_app = HttpsGate(app.wsgi_app, self._rule)  # type: ignore[method-assign]


def _end(err: BaseException | None) -> None:
    stack = g.pop("aisecure", None)
    if stack is not None:
        stack.close()


def _problem(err: AISecureError) -> Response:
    identifier = current_context().request_id
    extension = current_app.extensions.get("aisecure")
    challenges = PLAIN if extension is None else extension._challenges  # noqa: SLF001  (of this module)
    headers = headers_of(err, challenges, request.headers.getlist("Authorization"))
    return Response(body_of(err, identifier), status_of(err), list(headers))


class _Bounded(io.RawIOBase):
    """A chunked body that ends in an error at the limit; werkzeug would cut it off there and pass on the rest."""

    def __init__(self, source: Any, limit: int) -> None:
        self._source = source
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(min(len(buffer), self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise RequestEntityTooLarge
        buffer[: len(data)] = data
        return len(data)


def _finish(response: Response) -> Response:
    identifier = current_context().request_id
    redaction = g.get("aisecure_redaction")
    if redaction is not None:
        try:
            redact_response(response, redaction, request.method)
        except AISecureError as err:
            response.close()
            response = _problem(err)
    if response.is_streamed and not response.direct_passthrough:
        try:
            response.response = _Framed(response, identifier)
        except AISecureError as err:
            response.close()
            response = _problem(err)
    if identifier:
        response.headers.setdefault("X-Request-ID", identifier)
    standings = g.get("aisecure_standings", ())
    for name, value in ratelimit_headers(standings, response.headers.get("Retry-After", "")):
        response.headers.add(name, value)
    return response


class _Framed:
    """The chunks of a streamed response; a refusal in their middle becomes the last chunk.

    A class and not a generator: closing a generator that was never started would not close what is inside.
    """

    def __init__(self, response: Response, identifier: str) -> None:
        self._source: Any = response.response
        # Not ``response.iter_encoded()``: it holds the response, which holds this, and only the collector
        # would end the call of a reader who went away without the server's close.
        self._chunks: Iterator[str | bytes] = iter(self._source)
        self._media_type = media_type(response.headers.get("Content-Type", ""))
        # A frame would not fit a stated length, and would not be understood inside a compressed body.
        fixed = "Content-Length" in response.headers or "Content-Encoding" in response.headers
        self._may_frame = not fixed
        self._identifier = identifier
        self._tail = b""
        self._over = False
        self._first = next(self._chunks, None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        first, self._first = self._first, None
        try:
            chunk = next(self._chunks) if first is None else first
        except Exception as err:
            ours = find(err)
            self._over = True
            last = frame(ours, self._identifier, self._media_type, self._tail) if ours else None
            if last is None or not self._may_frame:
                raise
            return last
        data = chunk.encode() if isinstance(chunk, str) else chunk
        self._tail = data or self._tail
        return data

    def close(self) -> None:
        """Close the view's own stream, so that a call whose reader went away still ends."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
