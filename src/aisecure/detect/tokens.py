"""Credentials that their issuers made recognisable: prefixed tokens, JWTs, passwords in addresses.

Every pattern ends in one class of characters, and a token that fills its window goes on as an open run of
that class, so a token of any length is found whole. Sources: the issuers' documentation.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import NamedTuple

from aisecure.detect.recognizer import Candidate, Recognizer, Shape
from aisecure.detect.window import Window

__all__ = ["CONTEXT_TOKENS", "PREFIXED", "URL_PASSWORD"]

_ALNUM = re.compile(r"[A-Za-z0-9]*+")
_WORD = re.compile(r"[A-Za-z0-9_]*+")
_URLSAFE = re.compile(r"[A-Za-z0-9_-]*+")
_PATH = re.compile(r"[A-Za-z0-9/_-]*+")
_BASE64 = re.compile(r"[A-Za-z0-9+/=_-]*+")
_DOTTED = re.compile(r"(?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_.-]))*+")


class _Token(NamedTuple):
    kind: str
    pattern: str
    run: re.Pattern[str] | None
    random: bool = False  # the prefix alone is too common: the rest must look random


_TOKENS = (
    _Token("aws_access_key_id", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", None),
    _Token("github_token", r"gh[pousr]_[A-Za-z0-9]{30,}", _ALNUM),
    _Token("github_token", r"github_pat_[A-Za-z0-9_]{22,}", _WORD),
    _Token("anthropic_key", r"sk-ant-[A-Za-z0-9_-]{16,}", _URLSAFE),
    _Token("openai_key", r"sk-[A-Za-z0-9_-]{20,}", _URLSAFE, random=True),
    _Token("slack_token", r"(?:xox[abeoprs]-|xoxe\.xox[bp]-|xapp-)[A-Za-z0-9-]{10,}", _URLSAFE, random=True),
    _Token("slack_webhook", r"https?://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}", _PATH),
    _Token("stripe_key", r"(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,}", _ALNUM),
    _Token("stripe_key", r"whsec_[A-Za-z0-9+/=]{20,}", _BASE64),
    _Token("google_api_key", r"AIza[A-Za-z0-9_-]{35,}", _URLSAFE),
    _Token("google_oauth_token", r"ya29\.[A-Za-z0-9_-]{20,}", _URLSAFE),
    _Token("google_client_secret", r"GOCSPX-[A-Za-z0-9_-]{20,}", _URLSAFE),
    _Token("aisecure_key", r"ais_[A-Za-z0-9_-]{20,}", _URLSAFE),
    _Token("jwt", r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*+", _DOTTED),
)  # fmt: skip

#: A generated token has at least so many different characters after its prefix.
_FEWEST_CHARACTERS = 4
_LONGEST_PREFIX = len("github_pat_")

_PREFIXED = re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(f"({token.pattern})" for token in _TOKENS) + ")")


def _find_prefixed(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _PREFIXED.finditer(window, at):
        token = _TOKENS[(found.lastindex or 1) - 1]
        start, end = found.span()
        if token.kind == "jwt":
            end = _jwt_end(window, start, end)
        text = window[start:end]
        # ghp_xxxxxxxxxxxx stands for a token and is none.
        if len(set(text[_LONGEST_PREFIX:])) >= _FEWEST_CHARACTERS and (
            not token.random or looks_random(text)
        ):
            yield Candidate(start, end, f"secret.{token.kind}", 0.95, token.run)


_LONG_HEADER = 200


def _jwt_end(window: str, start: int, end: int) -> int:
    """Return the end of the compact JWS or JWE (RFC 7515, 7516) here, or 0; its header must be a JOSE header."""
    header, dot, _ = window[start:end].partition(".")
    # A header alone is a token only when it is so long that the rest lies after the window.
    if not dot and len(header) < _LONG_HEADER:
        return 0
    sample = header[: min(len(header), 200) & ~3]
    try:
        decoded = urlsafe_b64decode(sample)
    except ValueError:
        return 0
    if not re.search(rb'"(?:alg|typ|enc|kid|cty|jwk|jku|x5[ctu]|zip|crit)"', decoded):
        return 0
    # The full stop of a sentence is not part of the token, unless the token goes on after the window.
    while window[end - 1] == ".":
        end -= 1
    return end


def looks_random(text: str) -> bool:
    """Whether a token is made by a generator rather than written by a person: digits in it, and many letters.

    >>> looks_random("sk-proj-8fK2mQz71LrT0vNwXyAb"), looks_random("sk-spinner-dot-container-item")
    (True, False)
    """
    return sum(map(str.isdigit, text)) >= 2 and len(set(text)) >= 10


# What stands before a credential that has no prefix of its own.
_BEARER = re.compile(
    r"\b(?:bearer|authorization:? ?basic|authorization:? ?token)\s{1,3}[\"']?\Z", re.IGNORECASE
)
_OPAQUE = re.compile(r"(?<![A-Za-z0-9._~+/=-])[A-Za-z0-9._~+/-]{16,}=*")
_OPAQUE_RUN = re.compile(r"[A-Za-z0-9_~+/=.-]*+")
_AWS_LABEL = re.compile(r"aws|secret_?access_?key", re.IGNORECASE)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")


def _find_in_context(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    opaque = _OPAQUE.search(window, at)
    if opaque is not None and _BEARER.search(window[max(0, opaque.start() - 32) : opaque.start()]):
        end = opaque.end()
        while end > opaque.start() and window[end - 1] == ".":
            end -= 1
        if looks_random(opaque.group()):
            yield Candidate(opaque.start(), end, "secret.bearer_token", 0.8, _OPAQUE_RUN)
    for found in _AWS_SECRET.finditer(window, at):
        if _AWS_LABEL.search(window[: found.start()]) and len(set(found.group())) >= 16:
            yield Candidate(*found.span(), "secret.aws_secret_key", 0.8)


_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@:?#]{0,80}:[^\s/@]{1,110}(?=@[^\s/@])")
# ${PASSWORD}, <password>, ***: what people write instead of one.
_PLACEHOLDER = re.compile(r":(?:\$.*|%\(.*|\*+|x+|password|pass|secret)\Z", re.IGNORECASE)


def _find_url_passwords(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _URL_PASSWORD.finditer(window, at):
        if not _PLACEHOLDER.search(found.group()):
            yield Candidate(*found.span(), "secret.url_password", 0.9)


PREFIXED = Recognizer(
    tuple(dict.fromkeys(f"secret.{token.kind}" for token in _TOKENS)), Shape.LONG, _find_prefixed
)
CONTEXT_TOKENS = Recognizer(("secret.bearer_token", "secret.aws_secret_key"), Shape.LONG, _find_in_context)
URL_PASSWORD = Recognizer(("secret.url_password",), Shape.AT, _find_url_passwords)
