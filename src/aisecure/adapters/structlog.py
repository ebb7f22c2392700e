"""Personal data and secrets taken out of log lines, of structlog and of the standard library.

::

    structlog.configure(processors=[..., RedactProcessor(), structlog.processors.JSONRenderer()])
    logging.getLogger().handlers[0].addFilter(RedactLogs())
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from aisecure.detect import PiiDetector, Redactor, SecretDetector

__all__ = ["RedactLogs", "RedactProcessor"]

_DEEPEST = 12
_WITHHELD = "[WITHHELD]"
#: Dates, links and addresses of machines are what logs are made of.
_OF_LOGS = frozenset({"pii.date_time", "pii.url", "pii.ip_address", "pii.mac_address"})


def _default() -> Redactor:
    return Redactor([PiiDetector(exclude=_OF_LOGS), SecretDetector()])


class RedactProcessor:
    """A processor of structlog that redacts every text of an event, however deep; keys are read as labels and stay.

    It never raises: what cannot be read is withheld, since a log line must not be lost, and must not leak either.

    Args:
        redactor: What finds and replaces; by default personal data but for dates, links, IP and MAC addresses, and secrets.

    >>> RedactProcessor()(None, "info", {"event": "mail to ada@example.org", "user": {"ssn": "536904399"}})
    {'event': 'mail to [EMAIL]', 'user': {'ssn': '[US_SSN]'}}
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor or _default()

    def __call__(
        self, logger: Any, name: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return the event without personal data and secrets."""
        for key in list(event_dict):
            event_dict[key] = self._clean(event_dict[key], str(key), 0)
        return event_dict

    def _clean(self, value: Any, key: str, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth > _DEEPEST:
            return _WITHHELD
        try:
            if isinstance(value, str):
                return self._redactor.redact(value, context=key).text
            if isinstance(value, Mapping):
                return {
                    self._name(name): self._clean(one, str(name), depth + 1) for name, one in value.items()
                }
            if isinstance(value, list | tuple | set | frozenset):
                cleaned = [self._clean(one, key, depth + 1) for one in value]
                return tuple(cleaned) if isinstance(value, tuple) else cleaned
            if isinstance(value, bytes | bytearray):
                return self._redactor.redact(
                    bytes(value).decode("utf-8", "backslashreplace"), context=key
                ).text
            return self._redactor.redact(repr(value), context=key).text
        except Exception:  # noqa: BLE001  (a repr of somebody else's; its text may hold what must not be told)
            return _WITHHELD

    def _name(self, name: Any) -> Any:
        return self._redactor.redact(name).text if isinstance(name, str) else name


class RedactLogs(logging.Filter):
    """A filter of the standard library's logging: the message is put together, redacted, and has no arguments any more.

    Tracebacks and stacks are redacted too. Add it to handlers, so that it sees the records of all loggers.

    Args:
        redactor: As for `RedactProcessor`.
    """

    def __init__(self, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._redactor = redactor or _default()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record, and let it pass."""
        try:
            record.msg = self._redactor.redact(record.getMessage()).text
            if record.exc_info:
                text = record.exc_text or logging.Formatter().formatException(record.exc_info)
                record.exc_text = self._redactor.redact(text).text
                record.exc_info = None
            if record.stack_info:
                record.stack_info = self._redactor.redact(record.stack_info).text
        except Exception:  # noqa: BLE001  (as above: a message that cannot be formatted)
            record.msg = _WITHHELD
            record.exc_info = record.exc_text = record.stack_info = None
        record.args = ()
        return True
