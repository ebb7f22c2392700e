"""A Flask view within a passage, which ends with the last chunk of its response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self
from weakref import finalize

from flask import Response, current_app
from werkzeug.exceptions import HTTPException

from aisecure._flow import Passage, drive

__all__ = ["answered"]


def answered(passage: Passage, view: Callable[[], Any]) -> Response | None:
    """Return the response of a view, after the guards let the request in.

    Args:
        passage: Ends with the response.
        view: Returns what a view may, or None where it stands before one.

    Raises:
        Denied, Unavailable: A guard refused, or could not run.
        TypeError: There is no response whose end could be awaited, and a guard that needs it.
    """
    try:
        drive(passage.enter())
        response = _response(passage, view())
    except BaseException as err:
        if isinstance(err, HTTPException) and _status(err) < 500:
            passage.succeed()
        else:
            passage.fail(err)
        passage.close()
        raise
    if (
        response is not None
        and response.is_streamed
        and (passage.plan.settle or not response.direct_passthrough)
    ):
        _hold(passage, response)
    else:
        passage.succeed()
        passage.close()
    return response


def _response(passage: Passage, answer: Any) -> Response | None:
    if answer is not None:
        return current_app.make_response(answer)
    if passage.plan.settle:
        raise TypeError(
            "limit: a guard that holds a slot or looks at the outcome stands round a view that answers, "
            "not in before_request"
        )
    return None


def _status(err: HTTPException) -> int:
    return err.code or (500 if err.response is None else err.response.status_code)


def _hold(passage: Passage, response: Response) -> None:
    # A file that the server sends by itself would end unseen.
    response.direct_passthrough = False
    response.response = _Watched(response.response, passage)
    response.call_on_close(passage.close)
    # For a response that is never sent, because a hook of the app's answers with another.
    finalize(response, passage.close).atexit = False


class _Watched:
    """The chunks of a streamed response, which tell a passage how they ended."""

    def __init__(self, source: Any, passage: Passage) -> None:
        self._source = source
        self._chunks = iter(source)
        self._passage = passage

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._chunks)
        except StopIteration:
            self._passage.succeed()
            raise
        except BaseException as err:
            self._passage.fail(err)
            raise

    def close(self) -> None:
        """Close the view's own stream."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
