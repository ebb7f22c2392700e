"""Settings of the section ``[detect]``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """What is looked for in inputs and outputs, and what is written instead.

    Attributes:
        types: Kinds to look for, such as ``pii.email`` or ``secret.jwt``; when None all known ones but dates and links.
        threshold: Findings with a lower score are ignored.
        style: As for `Redactor`; with ``restore`` only ``label``.
        styles: Style by kind, where it is another one.
        allow: Values that stay.
        input: Redact the input.
        output: Redact the output.
        restore: The model sees placeholders, and the caller gets the originals back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: frozenset[str] | None = None
    threshold: float = Field(default=0.5, ge=0, le=1)
    style: Literal["label", "mask", "drop"] = "label"
    styles: dict[str, Literal["label", "mask", "drop"]] = Field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    input: bool = True
    output: bool = True
    restore: bool = False
