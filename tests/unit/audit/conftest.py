"""Small logs, and the clock they are written by."""

from __future__ import annotations

import pytest

from aisecure.audit import AuditLog
from aisecure.events import SecurityEvent


class HandClock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "audit"


@pytest.fixture
def small_log(folder, clock):
    """A folder with one segment of four lines: the genesis event and three more."""
    with AuditLog.open(folder, clock=clock, origin="test/log") as log:
        for number in range(3):
            log.record(
                SecurityEvent("policy.loaded", time=clock.now, id=f"e{number}", detail={"rules": number})
            )
    return folder


@pytest.fixture
def segment(small_log):
    (path,) = small_log.glob("audit-*.jsonl")
    return path
