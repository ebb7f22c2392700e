"""Untrusted text made harmless: HTML, Markdown, Unicode, and encoders by sink.

`sanitize_html` and `sanitize_markdown` keep harmless markup; `encode` turns text into data for one place (element,
attribute, URL, script, shell, log ...); `clean_text` removes what readers cannot see,
`confusables` tells words that look like others. `HtmlGuard`, `MarkdownGuard` and
`TextGuard` do it for every call. `Untrusted` and `SafeHtml` are texts whose type says where they may go.
`validated` and `SchemaGuard` let inputs and answers through only when they follow a schema;
`check_upload` looks at files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.sanitize import encode
from aisecure.sanitize.text import Removal, clean_text, hidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.guard import Guard
    from aisecure.ports import Ports
    from aisecure.sanitize.bleach_engine import UnmaintainedEngineWarning as UnmaintainedEngineWarning
    from aisecure.sanitize.guards import HtmlGuard as HtmlGuard
    from aisecure.sanitize.guards import MarkdownGuard as MarkdownGuard
    from aisecure.sanitize.guards import TextGuard as TextGuard
    from aisecure.sanitize.lookalikes import Confusable as Confusable
    from aisecure.sanitize.lookalikes import confusables as confusables
    from aisecure.sanitize.lookalikes import skeleton as skeleton
    from aisecure.sanitize.markdown import MarkdownFilter as MarkdownFilter
    from aisecure.sanitize.markdown import sanitize_markdown as sanitize_markdown
    from aisecure.sanitize.markup import HtmlSanitizer as HtmlSanitizer
    from aisecure.sanitize.markup import sanitize_html as sanitize_html
    from aisecure.sanitize.policy import ARTICLE as ARTICLE
    from aisecure.sanitize.policy import CHAT as CHAT
    from aisecure.sanitize.policy import COMMENT as COMMENT
    from aisecure.sanitize.policy import PLAIN as PLAIN
    from aisecure.sanitize.policy import HtmlPolicy as HtmlPolicy
    from aisecure.sanitize.schemas import JsonLimits as JsonLimits
    from aisecure.sanitize.schemas import SchemaGuard as SchemaGuard
    from aisecure.sanitize.schemas import parse_output as parse_output
    from aisecure.sanitize.settings import Settings as Settings
    from aisecure.sanitize.streams import HtmlEscapeFilter as HtmlEscapeFilter
    from aisecure.sanitize.streams import TagEscapeFilter as TagEscapeFilter
    from aisecure.sanitize.streams import escape_tags as escape_tags
    from aisecure.sanitize.typed import SafeHtml as SafeHtml
    from aisecure.sanitize.typed import Untrusted as Untrusted
    from aisecure.sanitize.uploads import Upload as Upload
    from aisecure.sanitize.uploads import UploadPolicy as UploadPolicy
    from aisecure.sanitize.uploads import check_upload as check_upload
    from aisecure.sanitize.validate import validated as validated

# Loaded on first use: nh3, and pydantic for the settings, cost more than the rest together.
_HOME = {
    "ARTICLE": "policy",
    "CHAT": "policy",
    "COMMENT": "policy",
    "PLAIN": "policy",
    "Confusable": "lookalikes",
    "HtmlEscapeFilter": "streams",
    "HtmlGuard": "guards",
    "HtmlPolicy": "policy",
    "HtmlSanitizer": "markup",
    "JsonLimits": "schemas",
    "MarkdownFilter": "markdown",
    "MarkdownGuard": "guards",
    "SafeHtml": "typed",
    "SchemaGuard": "schemas",
    "Settings": "settings",
    "TagEscapeFilter": "streams",
    "TextGuard": "guards",
    "UnmaintainedEngineWarning": "bleach_engine",
    "Untrusted": "typed",
    "Upload": "uploads",
    "UploadPolicy": "uploads",
    "check_upload": "uploads",
    "confusables": "lookalikes",
    "escape_tags": "streams",
    "parse_output": "schemas",
    "sanitize_html": "markup",
    "sanitize_markdown": "markdown",
    "skeleton": "lookalikes",
    "validated": "validate",
}

__all__ = [
    "ARTICLE",
    "CHAT",
    "COMMENT",
    "PLAIN",
    "Confusable",
    "HtmlEscapeFilter",
    "HtmlGuard",
    "HtmlPolicy",
    "HtmlSanitizer",
    "JsonLimits",
    "MarkdownFilter",
    "MarkdownGuard",
    "Removal",
    "SafeHtml",
    "SchemaGuard",
    "Settings",
    "TagEscapeFilter",
    "TextGuard",
    "UnmaintainedEngineWarning",
    "Untrusted",
    "Upload",
    "UploadPolicy",
    "build",
    "check_upload",
    "clean_text",
    "confusables",
    "encode",
    "escape_tags",
    "hidden",
    "parse_output",
    "sanitize_html",
    "sanitize_markdown",
    "self_tests",
    "skeleton",
    "validated",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.sanitize' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.sanitize.{home}"), name)
    return value


def build(settings: Settings, ports: Ports) -> tuple[Guard, ...]:
    """Return the guards that the settings ask for.

    Raises:
        Misconfigured: A host in the settings is no host, or the engine is not installed.
    """
    from dataclasses import replace

    from aisecure.errors import Misconfigured
    from aisecure.sanitize.guards import HtmlGuard, MarkdownGuard, TextGuard
    from aisecure.sanitize.markup import HtmlSanitizer
    from aisecure.sanitize.policy import named

    guards: list[Guard] = []
    if settings.text:
        guards.append(
            TextGuard(form=settings.form, max_chars=settings.max_chars, confusables=settings.confusables)
        )
    if settings.markdown or settings.html == "sanitize":
        try:
            policy = replace(
                named(settings.policy), link_hosts=settings.link_hosts, image_hosts=settings.image_hosts
            )
        except ValueError as err:
            raise Misconfigured(f"[sanitize] {err}") from err
    if settings.markdown:
        guards.append(MarkdownGuard(policy=policy, diagrams=settings.diagrams))
    elif settings.html == "sanitize":
        guards.append(HtmlGuard(mode="sanitize", sanitizer=HtmlSanitizer(policy, engine=settings.engine)))
    elif settings.html == "escape":
        guards.append(HtmlGuard(mode="escape"))
    return tuple(guards)


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.sanitize._self_tests import self_tests

    return self_tests()
