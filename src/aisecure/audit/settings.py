"""Settings of the section ``[audit]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """Where and how the audit log is written; see `AuditLog.open`.

    Attributes:
        folder: Folder of the log, relative to the configuration file; ``audit`` in the data folder by default.
        origin: Name of the log.
        segment_bytes: Size at which the next file is begun.
        durability: ``os`` survives a killed process, ``sync`` also a power cut.
        on_unavailable: ``deny`` refuses calls that cannot be recorded, ``allow`` lets them pass.
        context: Names of structlog context variables that are stored with each event.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    origin: str | None = Field(default=None, pattern=r"^[!-*,-~]{1,255}$")
    segment_bytes: int = Field(default=64 * 2**20, ge=4096)
    durability: Literal["os", "sync"] = "os"
    on_unavailable: Literal["deny", "allow"] = "deny"
    context: tuple[str, ...] = ("correlation_id", "request_id", "span_id", "trace_id")
