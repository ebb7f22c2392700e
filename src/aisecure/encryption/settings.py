"""Settings of the section ``[encryption]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from aisecure.encryption.keyfile import CACHE_SECONDS

__all__ = ["Settings"]


class Settings(BaseModel):
    """Where the keys of encrypted fields are.

    Attributes:
        key_file: The key ring; created when absent. ``keys/fields.json`` in the data folder when None.
        cache_seconds: How long an unwrapped ring is used before its provider is asked again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_file: Path | None = None
    cache_seconds: float = Field(default=CACHE_SECONDS, gt=0, le=86_400)
