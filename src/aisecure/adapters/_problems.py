"""Errors on their way out: RFC 9457 responses before a response has begun, error frames after."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from aisecure.adapters._challenges import Challenges
from aisecure.errors import AISecureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["CONTENT_TYPE", "body_of", "close_code", "find", "frame", "headers_of", "status_of"]

CONTENT_TYPE = "application/problem+json"

#: Codes whose HTTP status is more exact than that of their class.
_STATUS = {
    "authn.throttled": 429,
    "input.content_type": 415,
    "input.media_type": 415,
    "input.too_large": 413,
    "input.upload_size": 413,
    "input.upload_type": 415,
    "quota.circuit_open": 503,
    "quota.overloaded": 503,
}
#: Content types of a stream of JSON lines.
JSON_LINES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines"}
)
#: For a response to somebody of whom nothing is known.
PLAIN = Challenges()
#: WebSocket close codes, RFC 6455 section 7.4.1 and the IANA registry: policy violation, too big, try again later.
_POLICY, _TOO_BIG, _LATER = 1008, 1009, 1013


def status_of(err: AISecureError) -> int:
    """Return the HTTP status of an error."""
    return _STATUS.get(err.code, err.status)


def body_of(err: AISecureError, request_id: str) -> bytes:
    """Return the problem document as JSON."""
    problem = err.problem(instance=request_id or None)
    problem["status"] = status_of(err)
    if status_of(err) != err.status:
        from http import HTTPStatus

        problem["title"] = HTTPStatus(problem["status"]).phrase
    return json.dumps(problem, separators=(",", ":")).encode()


def headers_of(
    err: AISecureError, challenges: Challenges = PLAIN, authorization: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Return the headers of the problem response, with lower-case names.

    Args:
        err: The error.
        challenges: Says what a caller is told to bring.
        authorization: Values of every ``Authorization`` header of the request.
    """
    yield "content-type", CONTENT_TYPE
    yield "cache-control", "no-store"
    if status_of(err) in (401, 403):
        yield from challenges.headers(err, authorization)
    if err.retry_after is not None and math.isfinite(err.retry_after):
        yield "retry-after", str(max(0, math.ceil(err.retry_after)))


def close_code(err: AISecureError) -> int:
    """Return the code with which a WebSocket is closed for an error."""
    if status_of(err) == 503:
        return _LATER
    return _TOO_BIG if err.code == "input.too_large" else _POLICY


def find(err: BaseException) -> AISecureError | None:
    """Return the error of ours that an exception is or was raised for, or None.

    A task group wraps it in a group, and Starlette in a RuntimeError once the response has started. A group that
    holds anything else beside is not ours to answer.
    """
    if isinstance(err, AISecureError):
        return err
    if isinstance(err, BaseExceptionGroup):
        found = [find(part) for part in err.exceptions]
        return found[0] if all(found) else None
    if isinstance(err, RuntimeError) and err.__cause__ is not None:
        return find(err.__cause__)
    return None


def frame(err: AISecureError, request_id: str, media_type: str, tail: bytes) -> bytes | None:
    """Return what ends a stream that has begun, or None where a reader could not tell it from content.

    Args:
        err: Why the stream ends here.
        request_id: Becomes the problem's ``instance``.
        media_type: Lower-case media type of the response, without parameters.
        tail: The last bytes that went out, so that a half line or event is ended first.
    """
    if media_type == "text/event-stream":
        gap = b"" if not tail or tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
        return gap + b"event: error\ndata: " + body_of(err, request_id) + b"\n\n"
    if media_type in JSON_LINES:
        gap = b"" if not tail or tail.endswith(b"\n") else b"\n"
        return gap + b'{"error":' + body_of(err, request_id) + b"}\n"
    if media_type.startswith("text/"):
        return f"\n[aisecure: {err.code}]\n".encode()
    return None
