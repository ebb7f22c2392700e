"""Log lines hold no personal data and no secrets, whatever was logged."""

from __future__ import annotations

import io
import json
import logging

import structlog

from aisecure.adapters.structlog import RedactLogs, RedactProcessor
from aisecure.detect import Redactor

TOKEN = "gh" + "p_" + "a1B2c3D4e5" * 3 + "f6G7h8"


def logged(*events: dict[str, object]) -> list[dict[str, object]]:
    out = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[RedactProcessor(), structlog.processors.JSONRenderer(default=str)],
    )
    for event in events:
        logger.info(**event)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_texts_are_redacted_however_deep_and_numbers_stay() -> None:
    (line,) = logged(
        {
            "event": "mail to ada@example.org",
            "count": 3,
            "ok": True,
            "none": None,
            "user": {"ssn": "536904399", "ada@example.org": [TOKEN, {"x": ("+44 20 7946 0958",)}]},
        }
    )
    assert line == {
        "event": "mail to [EMAIL]", "count": 3, "ok": True, "none": None, "user": {"ssn": "[US_SSN]", "[EMAIL]": ["[GITHUB_TOKEN]", {"x": ["[PHONE]"]}]},
    }  # fmt: skip


def test_times_and_addresses_of_machines_stay() -> None:
    event = {"event": "seen 2024-02-29 from 192.0.2.7 at https://example.org/a"}
    assert logged(event) == [event]


def test_objects_that_cannot_be_read_are_withheld_and_nothing_raises() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("ada@example.org")

    class Person:
        def __repr__(self) -> str:
            return "Person(ada@example.org)"

    cyclic: list[object] = []
    cyclic.append(cyclic)
    lines = logged(
        {
            "event": "x",
            "a": Broken(),
            "b": Person(),
            "c": cyclic,
            "d": b"ada@example.org \xff",
            "e": "\ud800 ada@example.org",
        }
    )
    assert "ada@" not in json.dumps(lines)
    assert lines[0]["a"] == "[WITHHELD]"
    assert lines[0]["b"] == "Person([EMAIL])"


def standard(redactor: Redactor | None = None) -> tuple[logging.Logger, io.StringIO]:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(RedactLogs(redactor))
    logger = logging.getLogger("aisecure.tests.redacted")
    logger.propagate = False
    logger.handlers[:] = [handler]
    return logger, out


def test_the_standard_library_s_messages_arguments_and_tracebacks_are_redacted() -> None:
    logger, out = standard()
    logger.warning("mail to %s and %d", "ada@example.org", 5)
    try:
        int("ada@example.org")
    except ValueError:
        logger.exception("failed for %s", TOKEN)
    logger.warning("stack", stack_info=True)
    text = out.getvalue()
    assert "mail to [EMAIL] and 5" in text
    assert "failed for [GITHUB_TOKEN]" in text
    assert "ValueError: invalid literal for int() with base 10: '[EMAIL]'" in text
    assert "ada@" not in text
    assert TOKEN not in text


def test_a_message_that_cannot_be_put_together_is_withheld() -> None:
    logger, out = standard()
    logger.warning("%d of it", "ada@example.org")
    assert out.getvalue() == "[WITHHELD]\n"


def test_a_redactor_of_one_s_own_is_used() -> None:
    logger, out = standard(Redactor(style="drop"))
    logger.warning("mail ada@example.org.")
    assert out.getvalue() == "mail .\n"
