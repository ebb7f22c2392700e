"""Keeps keys out of botocore's debug log.

At level DEBUG, ``botocore.endpoint`` writes the parameters of each request and ``botocore.parsers`` the body of each
answer; of KMS these are a key in base64 (seen with botocore 1.44). A filter blanks what those two say while
a key is on its way, in the thread that sends it, and leaves everything else as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["withheld"]

#: Loggers that print bodies. A filter holds for one logger, not for those below it, so each is named.
_LOGGERS = tuple(
    map(
        logging.getLogger, ("botocore.endpoint", "botocore.parsers", "botocore.httpsession", "botocore.hooks")
    )
)
_under_way: ContextVar[bool] = ContextVar("aisecure_key_under_way", default=False)


class _Blank(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _under_way.get():
            record.msg, record.args = "withheld by aisecure: it may hold a key", ()
            record.exc_info = record.exc_text = None
        return True


_BLANK = _Blank()


@contextmanager
def withheld() -> Iterator[None]:
    """Blank the records of this thread, or task, that could hold a key."""
    for logger in _LOGGERS:
        logger.addFilter(_BLANK)  # does nothing when it is there; somebody may have cleared the filters
    token = _under_way.set(True)
    try:
        yield
    finally:
        _under_way.reset(token)
