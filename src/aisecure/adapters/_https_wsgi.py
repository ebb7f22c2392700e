"""Only HTTPS through to a WSGI application: reads the environment, and carries out the ruling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from aisecure.adapters._https import HttpsRule
from aisecure.adapters._problems import body_of, headers_of, status_of

__all__ = ["HttpsGate", "raw_target"]

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]


class HttpsGate:
    """A WSGI application in front of another.

    Args:
        app: The application inside.
        rule: What becomes of a request.
    """

    def __init__(self, app: WsgiApp, rule: HttpsRule) -> None:
        self._app = app
        self._rule = rule

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""

        def headers(name: str) -> Sequence[str]:
            # A WSGI server has joined repeated headers with commas by now.
            value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
            return () if value is None else (value,)

        path = environ.get("PATH_INFO", "")
        target, _, query = raw_target(environ).partition(b"?")
        ruling = self._rule.judge(
            method=environ["REQUEST_METHOD"],
            scheme=environ["wsgi.url_scheme"],
            peer=environ.get("REMOTE_ADDR", ""),
            path=path.encode("latin-1", "replace").decode("utf-8", "replace"),  # PEP 3333: bytes as Latin-1
            target=target,
            query=query,
            headers=headers,
        )
        if ruling.refusal is not None:
            body = body_of(ruling.refusal, ruling.request_id)
            lines = [
                *headers_of(ruling.refusal),
                ("content-length", str(len(body))),
                ("x-request-id", ruling.request_id),
            ]
            start_response(_status(status_of(ruling.refusal)), lines)
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
        if ruling.location:
            start_response(_status(308), [("location", ruling.location), ("content-length", "0")])
            return [b""]
        environ["wsgi.url_scheme"] = ruling.scheme
        hsts = self._rule.hsts
        if hsts is None or not ruling.secure:
            return self._app(environ, start_response)
        line = ("Strict-Transport-Security", hsts.header)

        def starting(status: str, response_headers: list[tuple[str, str]], *error: Any) -> Any:
            if not any(name.lower() == "strict-transport-security" for name, _ in response_headers):
                response_headers = [*response_headers, line]
            return start_response(status, response_headers, *error)

        return self._app(environ, starting)


def raw_target(environ: Environ) -> bytes:
    """Return path and query as they were sent, where the server tells; put together from the decoded ones otherwise."""
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if isinstance(raw, str) and raw:
        return raw.encode("latin-1", "replace")
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    query: str = environ.get("QUERY_STRING", "")
    # A decoded path may hold what would begin a query.
    return (path.replace("%", "%25").replace("?", "%3F") + (f"?{query}" if query else "")).encode(
        "latin-1", "replace"
    )


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"
