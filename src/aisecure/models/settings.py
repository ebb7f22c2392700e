"""Settings of the section ``[models]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings"]


class Settings(BaseModel):
    """Where the pins are.

    Attributes:
        lock: The lock file, relative to the configuration's folder. When None, ``models.lock`` there is used if it
            exists, and models are not checked if it does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lock: Path | None = None
