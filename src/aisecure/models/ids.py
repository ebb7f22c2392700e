"""Whether the id of a hosted model names one fixed version: pinned, an alias that moves, or unknown.

The shapes below are those of the providers' ids up to the autumn of 2026, compared with the model-eol records of
2026-08-18 (none of their aliases counts as pinned). Some newer ids carry no date and name one version all the same; no
shape can tell, so they are unknown, and unknown is never called pinned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

__all__ = ["PROVIDERS", "Pinning", "classify", "resolves_to"]


class Pinning(StrEnum):
    """What an id promises."""

    PINNED = "pinned"
    ALIAS = "alias"
    UNKNOWN = "unknown"


class _Shapes(NamedTuple):
    pinned: re.Pattern[str]
    alias: re.Pattern[str]


def _shapes(pinned: str, alias: str) -> _Shapes:
    return _Shapes(re.compile(pinned, re.ASCII), re.compile(alias, re.ASCII))


_YEAR, _MONTH, _DAY = "20[2-9][0-9]", "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_ISO_DATE = f"{_YEAR}-{_MONTH}-{_DAY}"
_COMPACT_DATE = f"{_YEAR}{_MONTH}{_DAY}"
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_DIGEST = "sha256:[0-9a-f]{64}"
_COMMIT = "[0-9a-f]{40}"

_OPENAI = _shapes(
    # Dated snapshots; the MMDD of 2023 and 2024; fine-tunes, which are fixed by the job that made them.
    rf"{_NAME}-{_ISO_DATE}|gpt-(?:3\.5|4)[a-z0-9.-]*-{_MONTH}{_DAY}(?:-preview|-vision-preview)?"
    rf"|ft:{_NAME}-(?:{_ISO_DATE}|{_MONTH}{_DAY}):[^\s]*:[A-Za-z0-9]+",
    # Undated names of families that also have dated ones point at the newest of them.
    r"(?:.*-)?latest|(?:gpt-(?:3\.5|4|4o|4\.1|4\.5|5|5\.[1-5])|o1|o3|o4|chatgpt)(?:-(?:mini|nano|pro|turbo|preview|16k|32k"
    r"|vision|audio|realtime|search|deep|research|transcribe|tts|api|4o))*|computer-use-preview",
)

#: By provider, as the lock file names it.
PROVIDERS: Mapping[str, _Shapes] = {
    "openai": _OPENAI,
    # A deployment's name says nothing of the model behind it; only the responses do.
    "azure": _shapes(r"(?!)", r"(?!)"),
    "anthropic": _shapes(
        rf"claude-[a-z0-9.-]+-{_COMPACT_DATE}",
        r".*-latest|claude-(?:3-[57]|3)-(?:opus|sonnet|haiku)|claude-(?:opus|sonnet|haiku)-(?:3|4|4-1|4-5)",
    ),
    "google": _shapes(
        rf"(?:models/)?{_NAME}-(?:00[1-9]|0[1-9][0-9]|(?:preview|exp)-(?:{_MONTH}-{_DAY}|{_MONTH}-{_YEAR}|{_MONTH}{_DAY}))",
        r"(?:models/)?(?:.*-latest|gemini-(?:pro|flash)|gemini-(?:1\.0|1\.5|2\.0)-(?:pro|flash|flash-lite|flash-8b|ultra))",
    ),
    "mistral": _shapes(rf"{_NAME}-2[3-9]{_MONTH}", r".*-latest|(?:open-)?(?:mistral|mixtral|codestral|ministral|pixtral).*"),
    "bedrock": _shapes(
        # A region group in front (us., eu., global.) is an inference profile of the same version.
        rf"(?:[a-z]{{2,6}}(?:-[a-z]+)?\.)?[a-z0-9]+\.{_NAME}-v[0-9]+:[0-9]+(?::[0-9a-z]+)?",
        r"(?!)",
    ),
    "ollama": _shapes(rf"(?:[\w./-]+@)?{_DIGEST}", r"[\w./-]+(?::[\w.-]+)?"),
    "huggingface": _shapes(
        rf"(?:{_NAME}/)?{_NAME}@{_COMMIT}", rf"(?:{_NAME}/)?{_NAME}(?:@(?!{_COMMIT}\Z)[\w./-]+)?"
    ),
    "mlflow": _shapes(r"models:/[^/@\s]+/[0-9]+", r"models:/[^/@\s]+(?:@[^/\s]+|/[A-Za-z][^/\s]*)"),
    "alibaba": _shapes(rf"{_NAME}-{_ISO_DATE}", r".*-latest|qwen[a-z0-9.-]*"),
    "cohere": _shapes(rf"{_NAME}-{_MONTH}-{_YEAR}", r".*-latest|command(?:-r|-r-plus|-light)?"),
    "xai": _shapes(rf"{_NAME}-(?:{_ISO_DATE}|{_MONTH}{_DAY})", r".*-(?:latest|beta)|grok-[0-9.]+(?:-mini|-fast)*"),
}  # fmt: skip

# What a provider appends to the name of a family to name one version of it.
_VERSION = re.compile(rf"-(?:{_ISO_DATE}|{_COMPACT_DATE}|00[1-9]|2[3-9]{_MONTH}|{_MONTH}{_DAY})", re.ASCII)


def classify(provider: str, id: str) -> Pinning:
    """Return what the id promises, by the shapes that its provider uses.

    Ids of providers that this table does not know are unknown, except those that end in ``latest``.

    >>> classify("openai", "gpt-4.1-2025-04-14").value, classify("openai", "gpt-4.1").value
    ('pinned', 'alias')
    >>> classify("openai", "gpt-9").value
    'unknown'
    """
    shapes = PROVIDERS.get(provider)
    if shapes is not None and shapes.pinned.fullmatch(id):
        return Pinning.PINNED
    if id.endswith("latest") or (shapes is not None and shapes.alias.fullmatch(id)):
        return Pinning.ALIAS
    return Pinning.UNKNOWN


def resolves_to(alias: str, seen: str) -> bool:
    """Return whether ``seen`` is a version of the very family that the alias names.

    >>> resolves_to("gpt-4.1", "gpt-4.1-2025-04-14"), resolves_to("gpt-4.1", "gpt-4.1-mini-2025-04-14")
    (True, False)
    """
    family = alias.removesuffix("-latest")
    return seen.startswith(family) and _VERSION.fullmatch(seen, len(family)) is not None
