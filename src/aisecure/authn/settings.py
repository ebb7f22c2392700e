"""Settings of the section ``[authn]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """How callers prove who they are.

    Attributes:
        prefix: First word of every API key; choose one that scanners will know as yours.
        environment: Second word, so that a key for ``test`` is refused in ``live``.
        pepper_file: 32 random bytes that the stored hashes are keyed with; created when absent.
            ``keys/authn.pepper`` in the data folder when None. Without it no stored key can be verified: back it up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str = Field(default="ais", pattern=r"^[a-z][a-z0-9]{1,15}$")
    environment: str = Field(default="live", pattern=r"^[a-z][a-z0-9]{0,15}$")
    pepper_file: Path | None = None
