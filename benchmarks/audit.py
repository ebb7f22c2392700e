"""Writing one event to the log, and verifying a log."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks._harness import Goal, Table, compare

#: Lines of the log that is verified.
LINES = 5_000


def run() -> bool:
    from aisecure.audit import AuditLog, verify
    from aisecure.events import SecurityEvent, Usage

    def event() -> SecurityEvent:
        return SecurityEvent(
            "call.allowed", principal="u-17", tenant="acme", action="invoke", resource="model:support-bot",
            source="192.0.2.1", request_id="6f1c" * 8, model="m-1", usage=Usage(120, 48), latency_ms=812.5,
        )  # fmt: skip

    with tempfile.TemporaryDirectory(prefix="aisecure-bench-") as folder:
        log = AuditLog.open(Path(folder, "audit"))
        table = Table("Write one event as a line")
        table.peer("msgspec + write, no chain (the limit)", partial(_msgspec, folder, event))
        table.peer("logging + json", partial(_logging, folder, event))
        table.peer("structlog JSONRenderer", partial(_structlog, folder, event))
        table.add(
            "aisecure AuditLog.record, chained", lambda: log.record(event()), Goal(25_000, "instructions")
        )
        good = compare(table)
        log.close()

        checked = Path(folder, "verified")
        log = AuditLog.open(checked)
        for _ in range(LINES):
            log.record(event())
        log.close()
        files = [path for path in checked.rglob("*") if path.is_file()]
        assert verify(checked).ok
        table = Table(f"Verify a log of {LINES:,} lines")
        table.add(
            "SHA-256 of its files (the limit)", lambda: [hashlib.sha256(path.read_bytes()) for path in files]
        )
        # 0.3 of the speed of the hash is 3.3 times its time.
        table.add("aisecure verify", partial(verify, checked), Goal(3.33))
        return good & compare(table)


def _msgspec(folder: str, event: Callable[[], object]) -> Callable[[], object]:
    import msgspec

    encode = msgspec.json.Encoder(order="sorted").encode
    file = os.open(f"{folder}/msgspec.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return lambda: os.write(file, encode(event().to_dict()) + b"\n")  # type: ignore[attr-defined]


def _logging(folder: str, event: Callable[[], object]) -> Callable[[], object]:
    logger = logging.getLogger("aisecure.bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(f"{folder}/logging.jsonl"))
    return lambda: logger.info(json.dumps(event().to_dict(), sort_keys=True))  # type: ignore[attr-defined]


def _structlog(folder: str, event: Callable[[], object]) -> Callable[[], object]:
    import structlog

    file = Path(folder, "structlog.jsonl").open("w")  # noqa: SIM115  (closed with the process)
    logger = structlog.wrap_logger(
        structlog.PrintLogger(file),
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return lambda: logger.info("event", **{k.replace(".", "_"): v for k, v in event().to_dict().items()})  # type: ignore[attr-defined]
