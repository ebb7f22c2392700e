"""Settings of the section ``[detect]``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """What is looked for in inputs and outputs, and what is written instead.

    Attributes:
        types: Kinds to look for, such as ``pii.email`` or ``secret.jwt``; when None all known ones but dates and links.
        exclude: Kinds that are left out of these.
        countries: ISO 3166-1 alpha-2 codes: of the identifiers that single countries issue only those of these; all when None.
        spelled_out: Find addresses such as ``name (at) domain (dot) com`` too.
        threshold: Findings with a lower score are ignored.
        style: As for `Redactor`; with ``restore`` only ``label``.
        styles: Style by kind, where it is another one.
        allow: Values that stay.
        input: Redact the input.
        output: Redact the output.
        restore: The model sees placeholders, and the caller gets the originals back.
        injection: Look for instructions to the model: ``refuse`` such inputs, ``watch`` for them, or ``off``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: frozenset[str] | None = None
    exclude: frozenset[str] = frozenset()
    countries: frozenset[str] | None = None
    spelled_out: bool = False
    threshold: float = Field(default=0.5, ge=0, le=1)
    style: Literal["label", "mask", "drop"] = "label"
    styles: dict[str, Literal["label", "mask", "drop"]] = Field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    input: bool = True
    output: bool = True
    restore: bool = False
    injection: Literal["off", "watch", "refuse"] = "off"
