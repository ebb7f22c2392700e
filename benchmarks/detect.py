"""Finding and replacing personal data and secrets, beside LangChain's five detectors, and Presidio where it is installed.

LangChain's look for e-mail addresses, card numbers, IP and MAC addresses and links; ours for every kind there is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks._harness import Goal, Table, compare

PROSE = (
    "Please summarise the attached meeting notes for the leadership team and list every decision with an owner. "
    "We agreed on Tuesday that the migration starts in 3 weeks; Maria will write to the vendor, and finance needs an estimate "
    "of about 12,500 euros before the 14th. "
) * 4
DENSE = (
    PROSE[:600]
    + " Contact ada.byron@example.org or +44 20 7946 0958, card 4111 1111 1111 1111, SSN 536-90-4399, see "
    "https://example.org/a?b=1 and 192.0.2.7. " + PROSE[:250]
)
LOG = "".join(
    f"2026-11-23 10:{number:02d}:{number * 7 % 60:02d},{number * 37:03d} INFO [worker-{number % 8}] request id={number * 7919:x} "
    f"took {number}.{number % 10} ms status=200 bytes={number * 31}\n"
    for number in range(12)
)
#: What took some detector long, as units that are repeated.
HOSTILE = {
    "digits": "7",
    "dots": "1.",
    "at signs": "a@",
    "spaced digits": "1 ",
    "headers": "-----BEGIN ",
    "colons": ":",
    "letters": "0f",
}


def run() -> bool:
    from aisecure.detect import Redactor

    redactor = Redactor()
    good = True
    texts = {
        "1 KB of prose": PROSE[:1024],
        "1 KB with seven identifiers": DENSE[:1024],
        "1 KB of a log": LOG[:1024],
    }
    for label, text in texts.items():
        table = Table(f"Redact {label}")
        table.peer("LangChain's five detectors (the measure)", partial(_langchain, text))
        table.peer("Presidio's recognisers without a model", partial(_presidio, text))
        goal = None if "log" in label else Goal(2.5)
        table.add("aisecure Redactor, all kinds", partial(redactor.redact, text), goal)
        good &= compare(table)
    for label, text in {"prose": PROSE, "prose with identifiers": DENSE}.items():
        table = Table(f"Redact 100 KB of {label}")
        large = text * (100_000 // len(text))
        table.peer("LangChain's five detectors (the measure)", partial(_langchain, large))
        table.add("aisecure Redactor, all kinds", partial(redactor.redact, large), Goal(2.5))
        good &= compare(table)
    for label, unit in HOSTILE.items():
        table = Table(f"100,000 characters of {label}, at once and in ten texts")
        small, large = unit * (10_000 // len(unit)), unit * (100_000 // len(unit))
        table.add("10,000 characters, ten times (the limit)", partial(_ten_times, redactor.redact, small))
        table.add("100,000 characters", partial(redactor.redact, large), Goal(2.0))
        good &= compare(table)
    return good


def _ten_times(redact: Callable[[str], object], text: str) -> None:
    for _ in range(10):
        redact(text)


def _langchain(text: str) -> Callable[[], object]:
    from langchain.agents.middleware import _redaction as langchain

    detectors = (
        langchain.detect_email,
        langchain.detect_credit_card,
        langchain.detect_ip,
        langchain.detect_mac_address,
        langchain.detect_url,
    )

    def find() -> None:
        for detect in detectors:
            detect(text)

    return find


def _presidio(text: str) -> Callable[[], object]:
    """Return what asks every recogniser of Presidio that needs no model, of all countries as ours."""
    import inspect

    from presidio_analyzer import PatternRecognizer, predefined_recognizers

    recognizers = [
        each()
        for name, each in vars(predefined_recognizers).items()
        if inspect.isclass(each) and (issubclass(each, PatternRecognizer) or name == "PhoneRecognizer")
    ]

    def find() -> None:
        for each in recognizers:
            each.analyze(text, each.supported_entities, None)

    return find
