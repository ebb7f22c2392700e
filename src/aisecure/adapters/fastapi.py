"""FastAPI behind a shield: one line for the app, one annotation for who is calling.

::

    app = FastAPI()
    secure(app, shield, public=("/health",))

    @app.get("/me")
    def me(principal: CurrentPrincipal) -> str:
        return principal.id

`secure` adds `aisecure.adapters.asgi.AISecureMiddleware` (see there for what a caller gets to see) and a handler that
answers the library's errors as problems. ``secure(app, shield, redact=RedactBodies())`` takes personal data and secrets out of
the bodies of requests and responses. Routes that use `CurrentPrincipal` or `require` show the two ways
to authenticate by a header in ``/docs``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Unpack

from fastapi import Depends, FastAPI, File, Request, Response, Security, UploadFile
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect

from aisecure._flow import Passage, adrive
from aisecure.adapters._challenges import Challenges
from aisecure.adapters._https import HttpsOptions
from aisecure.adapters._limited import LimitedRoute, LimitOptions
from aisecure.adapters._problems import PLAIN, body_of, headers_of, status_of
from aisecure.adapters._uploads import CheckedFile, checked, recorded
from aisecure.adapters.asgi import AISecureMiddleware, HttpsOnly, RedactBodies
from aisecure.call import current_context, known_principal
from aisecure.errors import AISecureError, InputRejected, Misconfigured
from aisecure.principal import Principal
from aisecure.sanitize.uploads import UploadPolicy
from aisecure.shield import Shield

__all__ = [
    "CheckedFile",
    "CurrentPrincipal",
    "RedactBodies",
    "add_exception_handlers",
    "current_principal",
    "limit",
    "require",
    "secure",
    "upload",
    "uploads",
]


def secure(app: FastAPI, shield: Shield, *, https: HttpsOptions | None = None, **options: Any) -> None:
    """Put an app behind a shield.

    Args:
        app: Has to be called before the app serves its first request.
        shield: Also found by `require`, as ``app.state.aisecure``.
        https: When given, only HTTPS comes through: the options of `aisecure.adapters.asgi.HttpsOnly`, such as
            ``{"hosts": ["example.com"]}``. The ``trusted_proxies`` below and the shield's sinks serve it too.
        options: Those of `AISecureMiddleware`, such as ``public`` and ``redact``.
    """
    app.state.aisecure = shield
    app.state.aisecure_challenges = Challenges(shield, options.get("protected_resource"))
    app.add_middleware(AISecureMiddleware, shield=shield, **options)
    if https is not None:
        shared: HttpsOptions = {"trusted_proxies": options.get("trusted_proxies", ()), "sinks": shield.sinks}
        # Added last, so outermost.
        app.add_middleware(HttpsOnly, **(shared | https))
    add_exception_handlers(app)


def add_exception_handlers(app: FastAPI) -> None:
    """Answer the library's errors as RFC 9457 problems, also in an app without the middleware."""
    app.add_exception_handler(AISecureError, _problem)


async def _problem(request: Request, err: Exception) -> Response:
    if not isinstance(err, AISecureError):
        raise err
    request_id = current_context().request_id
    challenges = getattr(request.app.state, "aisecure_challenges", PLAIN)
    headers = headers_of(err, challenges, request.headers.getlist("authorization"))
    return Response(body_of(err, request_id), status_of(err), dict(headers))


# These only describe the credentials in the OpenAPI document; the middleware has read them already.
_BEARER = HTTPBearer(auto_error=False, description="An API key or access token.")
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")


async def current_principal(
    _bearer: Annotated[Any, Security(_BEARER)] = None,
    _api_key: Annotated[Any, Security(_API_KEY)] = None,
) -> Principal:
    """Return who is calling.

    Raises:
        AuthenticationError: Nobody: the path is public, or the app is not behind `secure`.
    """
    return known_principal()


#: Annotation of a parameter that receives who is calling.
CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


def require(action: str, resource: str) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that lets a request pass only if the shield permits the action on the resource.

    It is a call of its own, without input, that meets every guard and leaves one event before the route runs::

        @app.get("/notes/{number}", dependencies=[Depends(require("read", "document:{number}"))])

    Args:
        action: Such as ``read``.
        resource: ``{name}`` is replaced by the path parameter of that name.

    Raises:
        Misconfigured: When a request comes, if the app is not behind `secure` or the route lacks the parameter.
    """

    async def permitted(connection: HTTPConnection, principal: CurrentPrincipal) -> Principal:
        shield = getattr(connection.app.state, "aisecure", None)
        if shield is None:
            raise Misconfigured("require: call secure(app, shield) first", code="config.shield")
        try:
            named = resource.format_map(connection.path_params)
        except KeyError as err:
            raise Misconfigured(
                f"require: the route has no path parameter {err}", code="config.resource"
            ) from err
        call = replace(current_context(), principal=principal).call(action, named)
        await adrive(shield.passage(call).permit())
        return principal

    return permitted


def limit(*limits: Any, **options: Unpack[LimitOptions]) -> Callable[..., Any]:
    """Return a dependency that lets a request pass only within limits.

    ::

        @app.get("/items/{number}", dependencies=[Depends(limit("10/minute"))])

    It is a call of its own, without input, with action ``request`` on ``route:GET /items/{number}``: all paths of a route
    count together. On a router each of its routes counts for itself; limits with a ``name`` count together wherever that
    name and the same store are used. Where a mounted app is mounted is no part of the resource, and a WebSocket counts as
    ``GET`` when it connects.

    Who counts is the caller; one who is not known by the address that the middleware established, or in an app without it
    by that of the connection. It also works without a shield; `add_exception_handlers` then answers the refusals.

    Args:
        limits: ``"10/minute"``, `aisecure.quotas.Limit`s; or ready guards that need no input, such as `RateLimitGuard`,
            `Concurrency` (whose slot is held until the response is sent and its background tasks are done),
            `LoadShedder` or `CircuitBreaker` (to which exceptions are failures, but not an `HTTPException` below 500).
        options: Those of `aisecure.quotas.rate_limit`, such as ``by="tenant"`` or ``store=``.

    Raises:
        ValueError, TypeError: The limits cannot be used.
    """
    route = LimitedRoute(limits, options)

    def passage_of(scope: Scope) -> Passage:
        shield = getattr(scope["app"].state, "aisecure", None)
        peer = scope.get("client")
        return route.passage(
            () if shield is None else shield.sinks,
            scope.get("method", "GET"),
            _template(scope),
            peer[0] if peer else "",
        )

    async def admitted(connection: HTTPConnection) -> None:
        await adrive(passage_of(connection.scope).permit())

    async def limited(connection: HTTPConnection) -> AsyncIterator[None]:
        passage = passage_of(connection.scope)
        try:
            await adrive(passage.enter())
            yield
            passage.succeed()
        except _ANSWERS as err:
            if getattr(err, "status_code", 422) < 500:
                passage.succeed()
            else:
                passage.fail(err)
            raise
        except (ClientDisconnect, WebSocketDisconnect):
            raise  # the passage says by itself that nobody waited for its end
        except BaseException as err:
            passage.fail(err)
            raise
        finally:
            passage.close()

    # A dependency that is told of the request's end costs FastAPI four times as much as one that is not.
    return limited if route.settles else admitted


def upload(
    policy: UploadPolicy | None = None, *, field: str = "file"
) -> Callable[..., Awaitable[CheckedFile]]:
    """Return a dependency that takes one file of a form, checked by content.

    ::

        @app.post("/files")
        def keep(file: Annotated[CheckedFile, Depends(upload(UploadPolicy(types=["application/pdf"])))]) -> str:
            return file.upload.type

    The check runs in a thread. Set ``max_body_bytes`` of `secure` to what a form with such a file weighs: the framework has read
    the whole body by then, to a temporary file where it is larger than 1 MiB.

    Args:
        policy: What is let in; see `aisecure.sanitize.UploadPolicy`.
        field: Name of the form's field.

    Raises:
        RuntimeError: ``python-multipart`` is not installed; the extra ``fastapi`` brings it.
    """
    rule = policy or UploadPolicy()

    async def one(request: Request, file: UploadFile = File(alias=field)) -> CheckedFile:  # noqa: B008
        return await _checked(request, file, rule)

    return one


def uploads(
    policy: UploadPolicy | None = None, *, field: str = "files", max_files: int = 10
) -> Callable[..., Awaitable[list[CheckedFile]]]:
    """Return a dependency that takes several files of one field, each checked as by `upload`.

    Args:
        policy: What each of them may be.
        field: Name of the form's field.
        max_files: More are refused.

    Raises:
        ValueError: No file would be taken.
        RuntimeError: As for `upload`.
    """
    if max_files < 1:
        raise ValueError("max_files is at least 1")
    rule = policy or UploadPolicy()

    async def several(
        request: Request,
        files: list[UploadFile] = File(alias=field),  # noqa: B008
    ) -> list[CheckedFile]:
        if len(files) > max_files:
            err = InputRejected(f"More than {max_files} files.", code="input.upload_count")
            raise recorded(err, _shield_of(request), _route_of(request))
        return [await _checked(request, file, rule) for file in files]

    return several


async def _checked(request: Request, file: UploadFile, rule: UploadPolicy) -> CheckedFile:
    return await run_in_threadpool(
        checked,
        file.file,
        file.filename or "",
        file.content_type or "",
        rule,
        _shield_of(request),
        _route_of(request),
    )


def _shield_of(request: Request) -> Shield | None:
    return getattr(request.app.state, "aisecure", None)


def _route_of(request: Request) -> str:
    return f"route:{request.method} {_template(request.scope)}"


#: What routes raise to answer.
_ANSWERS = (HTTPException, RequestValidationError, WebSocketRequestValidationError)


def _template(scope: Scope) -> str:
    """Return the path of a request's route as it was declared."""
    route = scope.get("route")
    # FastAPI shares the routes of a router that is included, and tells beside them under which prefix this one was found.
    included = scope.get("fastapi", {}).get("effective_route_context")
    if included is not None and getattr(included, "original_route", None) is route:
        route = included
    return str(getattr(route, "path", "*"))
