"""Settings of the section ``[encryption]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from aisecure.encryption.cipher import MAX_MESSAGES

__all__ = ["Settings"]


class Settings(BaseModel):
    """Where the keys of encrypted fields are.

    Attributes:
        key_file: The key ring; created when absent. ``keys/fields.json`` in the data folder when None.
        max_messages: Messages that one process encrypts under one key before it refuses; divide the default
            by the number of processes that share the ring for a long time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_file: Path | None = None
    max_messages: int = Field(default=MAX_MESSAGES, ge=1, le=MAX_MESSAGES)
