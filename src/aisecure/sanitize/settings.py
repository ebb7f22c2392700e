"""Settings of the section ``[sanitize]``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """How texts are cleaned on the way in and made harmless on the way out.

    Attributes:
        text: Clean the input with `clean_text`.
        form: Unicode normal form of the input; None leaves it alone.
        max_chars: Longest text of an input that is cleaned; longer ones are rejected. The largest context windows
            of 2026 hold about a million tokens, of about four characters each.
        confusables: Words that look like others: ``watch`` for them, ``refuse`` their input, or ``off``.
        html: What happens to markup in the output. ``escape`` shows it as text, ``sanitize`` keeps harmless
            markup, ``off`` is for answers that no browser will ever show.
        markdown: Answers are Markdown that a page renders: `MarkdownGuard` with ``policy`` takes the place of
            ``html``, in streams too.
        diagrams: With ``markdown``, leave fences that renderers draw.
        policy: With ``sanitize`` and with ``markdown``, what stays: ``chat``, ``comment``, ``article``, or ``none``.
        engine: ``nh3``, or ``bleach`` for those who must match its output.
        link_hosts: Hosts that links may name; None allows all.
        image_hosts: Hosts that images may come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: bool = True
    form: Literal["NFC", "NFKC"] | None = "NFC"
    max_chars: int | None = Field(default=4_000_000, ge=1)
    confusables: Literal["off", "watch", "refuse"] = "off"
    html: Literal["escape", "sanitize", "off"] = "escape"
    markdown: bool = False
    diagrams: bool = False
    policy: Literal["article", "chat", "comment", "none"] = "chat"
    engine: Literal["nh3", "bleach"] = "nh3"
    link_hosts: frozenset[str] | None = None
    image_hosts: frozenset[str] = frozenset()
