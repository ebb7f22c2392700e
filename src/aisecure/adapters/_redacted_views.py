"""Redaction of bodies in Flask: the request before a view sees it, the response after the app's hooks."""

from __future__ import annotations

import io
from typing import Any, Self

from flask import Request, Response

from aisecure.adapters._redaction import OF_BYTES, UNWANTED, Redacting, Redaction

__all__ = ["redact_request", "redact_response"]


def redact_request(request: Request, redaction: Redaction) -> None:
    """Put a redacted body in the place of a request's.

    Raises:
        RequestEntityTooLarge: The body is too large.
        Denied: It cannot be read.
        Unavailable: It could not be redacted.
    """
    environ = request.environ
    if redaction.rule.responses:
        for name in UNWANTED:
            environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
    headers = request.headers
    redacting = redaction.request(headers.get("Content-Type", ""), headers.get("Content-Encoding", ""))
    if redacting is None or "wsgi.input" not in environ:
        return
    body = request.get_data(cache=False)
    if not body:
        return
    new = redacting.whole(body)
    environ["wsgi.input"] = io.BytesIO(new)
    environ["CONTENT_LENGTH"] = str(len(new))
    for name in ("HTTP_TRANSFER_ENCODING", "wsgi.input_terminated"):
        environ.pop(name, None)
    # What werkzeug worked out from the body that was sent.
    for name in ("stream", "content_length"):
        request.__dict__.pop(name, None)
    if request.max_content_length is not None:
        # A label may be longer than what it stands for; what was sent was within the limit.
        request.max_content_length = max(request.max_content_length, len(new))


def redact_response(response: Response, redaction: Redaction, method: str) -> None:
    """Redact the body of a response: at once, or piece by piece where it is a stream.

    Raises:
        Denied: The body cannot be read.
        Unavailable: It could not be redacted.
    """
    headers = response.headers
    redacting = redaction.response(
        method,
        response.status_code,
        headers.get("Content-Type", ""),
        headers.get("Content-Encoding", ""),
    )
    if redacting is None:
        return
    for name in OF_BYTES:
        headers.pop(name, None)
    # A file that the server sends by itself would go out unseen.
    response.direct_passthrough = False
    if response.is_streamed:
        response.response = _Redacted(response.response, redacting)
    else:
        response.set_data(redacting.whole(response.get_data()))


class _Redacted:
    """The chunks of a streamed response; empty ones are left out."""

    def __init__(self, source: Any, redacting: Redacting) -> None:
        self._source = source
        self._chunks = iter(source)
        self._redacting = redacting
        self._over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while not self._over:
            self._over = True  # unless there is more, and nothing is raised
            chunk = next(self._chunks, None)
            if chunk is None:
                data = self._redacting.finish()
            else:
                data = self._redacting.feed(chunk.encode() if isinstance(chunk, str) else chunk)
                self._over = False
            if data:
                return data
        raise StopIteration

    def close(self) -> None:
        """Close the view's own stream, and record what was found where it did not come to its end."""
        try:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()
        finally:
            self._redacting.close()
