"""The setting of what is redacted in the bodies of requests and responses, the same for every framework."""

from __future__ import annotations

import codecs
from collections.abc import Collection

from aisecure.adapters._bodies import is_json, is_text, media_type
from aisecure.adapters._problems import JSON_LINES
from aisecure.adapters._redact_events import EventData
from aisecure.adapters._redact_texts import (
    BodyFilter,
    FormFields,
    Found,
    PlainText,
    json_body,
    json_lines_body,
)
from aisecure.detect.redact import Redactor
from aisecure.errors import Misconfigured

__all__ = ["RedactBodies", "is_readable", "is_utf8"]

_FORM = "application/x-www-form-urlencoded"


class RedactBodies:
    """Takes personal data and secrets out of the bodies of requests, and of responses.

    ::

        app = AISecureMiddleware(app, shield, redact=RedactBodies())

    A request is redacted before the application and the shield's guards see it, a response after them, before the caller
    does. What is read, and how:

    - JSON: each string, name and number; the name of a value is read as its label. What was JSON stays JSON.
    - JSON lines: each line as JSON, by itself.
    - Server-sent events: their data. Plain text, JSON strings and the pieces in chunks of models are read across events, so
      that the end of a piece may come with the next event; other JSON is read event by event.
    - Forms (``application/x-www-form-urlencoded``): each value, with the field's name as its label.
    - ``text/*``, XML, YAML, JavaScript, and bodies without a type: as one text.

    Everything else passes unlooked at: ``multipart/*`` and so uploaded files, images and other binary bodies; also paths,
    queries, headers and WebSocket messages. Texts are UTF-8; bytes that are none pass as they are. A body in which ASCII
    characters are other bytes (UTF-16), or that is compressed, is refused: 415, 422 or 502. So the application is not told
    which compressions the client knows, nor which part of an answer it wants: compress in an outer middleware or the proxy.

    A body of a request is held in memory, up to ``max_body_bytes``. A response stays a stream where it is one, and then has
    no ``Content-Length``. A response to HEAD and one without a body are left as they are.

    Each body in which something was found leaves the event ``content.redacted``, with kinds and places. When redaction fails,
    nothing goes on: 503, or the end of the stream.

    Args:
        redactor: What finds and replaces; the default `Redactor` when None. One that is reversible writes plain labels.
        requests: Redact requests.
        responses: Redact responses.
        paths: Which paths: exact, or everything below one as ``/api/*``.

    Raises:
        TypeError: The redactor is none.
        Misconfigured: ``paths`` is no list of paths, or nothing would be redacted.
    """

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        requests: bool = True,
        responses: bool = True,
        paths: Collection[str] = ("/*",),
    ) -> None:
        if redactor is not None and not isinstance(redactor, Redactor):
            raise TypeError("RedactBodies takes a Redactor")
        if isinstance(paths, str) or not paths or not all(path.startswith("/") for path in paths):
            raise Misconfigured(
                'RedactBodies: paths is a list of paths that begin with "/"', code="config.redact"
            )
        if not (requests or responses):
            raise Misconfigured(
                "RedactBodies: leave requests=True, responses=True, or both", code="config.redact"
            )
        # Nobody keeps what would turn placeholders back.
        self._redactor = (redactor or Redactor()).irreversible()
        self.requests = requests
        self.responses = responses
        self._exact = frozenset(path for path in paths if not path.endswith("/*"))
        self._below = tuple(path[:-1] for path in paths if path.endswith("/*"))

    def covers(self, path: str) -> bool:
        """Whether bodies on a path are redacted."""
        if path in self._exact or path.startswith(self._below):
            return True
        # A path that climbs may name something below to whoever resolves it.
        return bool(self._below) and ".." in path

    def filter_for(self, content_type: str, found: Found, *, streams: bool) -> BodyFilter | None:
        """Return what redacts a body, or None where nothing does.

        Args:
            content_type: Value of that header field.
            found: Gets what was found.
            streams: The body is a response, and may be a stream of events.
        """
        kind = media_type(content_type)
        if is_json(kind):
            return json_body(self._redactor, found)
        if kind in JSON_LINES:
            return json_lines_body(self._redactor, found)
        if kind == _FORM:
            return FormFields(self._redactor, found)
        if kind == "text/event-stream" and streams:
            return EventData(self._redactor, found)
        return PlainText(self._redactor.stream(), found) if is_text(kind) else None


def is_readable(content_type: str) -> bool:
    """Whether ASCII characters are themselves in the charset that a content type names."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                codec = codecs.lookup(value.strip().strip("\"'"))
                return codec.encode("@a1{")[0] == b"@a1{"
            except (LookupError, ValueError, TypeError):  # nobody here can read it as something else
                return True
    return True


def is_utf8(content_type: str, start: bytes) -> bool:
    """Whether a body that begins so is not UTF-16 or UTF-32, which readers of JSON recognise by themselves."""
    if not is_json(media_type(content_type)):
        return True
    return b"\0" not in start[:4] and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
