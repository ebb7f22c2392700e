"""Finds credentials by what their issuers put at the beginning, JWTs, and passwords in addresses.

A word's first three characters choose the rows of `issuers` that are tried, so that time does not depend on their number. Every row
ends in one class of characters, and a token that fills its window goes on as an open run of that class, so a token of any
length is found whole.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from aisecure.detect.expressions import lazy
from aisecure.detect.issuers import ROWS
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["CONTEXT_TOKENS", "PREFIXED", "URL_PASSWORD", "looks_random"]

_CLASSES = {
    "w": "A-Za-z0-9", "_": "A-Za-z0-9_", "-": "A-Za-z0-9_-", "x": "a-f0-9", "X": "A-Fa-f0-9", "U": "A-Z0-9", "l": "a-z0-9",
    "=": "A-Za-z0-9+/=_-", ".": "A-Za-z0-9_.-",
}  # fmt: skip
_COUNT = lazy(r"([w_xXUl=.-]+?)(\d+)(\+?)")
#: Beginnings that words of programs have too: what follows must look random.
_COMMON = frozenset(
    "sk- sk_ sc_ ext_ pat pat. sat. s. re_ pa- api- API- mob- sdk- key- live_ secret_ uv_ b_ A3T AC SK t1. y0_ 00 cio EAA mm_ bot etsy_ YC AP2 AP3 AP5 AP6 APA APB AKC tk-us- oy2 md- 4b1d GOOG hf_ ico- key- pubkey- bedrock-api-key-".split()
)


class _Row(NamedTuple):
    kind: str
    prefix: str
    follows: str
    endless: str
    common: bool


def _row(line: str) -> _Row:
    kind, prefix, follows = line.split()
    odd = _ODD.get(follows)
    if odd is not None:
        body, endless = odd, ""
    else:
        found = _COUNT.fullmatch(follows)
        if found is None:
            raise ValueError(f"issuers: nobody knows what {follows!r} means")
        characters = max((_CLASSES[name] for name in found[1]), key=len)
        body = f"[{characters}]{{{found[2]}{',' if found[3] else ''}}}"
        endless = f"[{characters}]*+" if found[3] else ""
        if not found[3]:
            body += "(?![A-Za-z0-9])"
        elif "." in found[1]:
            body += r"(?<!\.)"
    return _Row(f"secret.{kind}", prefix, body, endless, prefix in _COMMON)


#: Compiled when a text first has the beginning: most texts have none.
_compiled = cache(lazy)


#: What follows some beginnings and is no run of one class.
_ODD = {
    "U6-": r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?![A-Za-z0-9])",
    "w14.64": r"[A-Za-z0-9]{14}\.[a-f0-9]{64}(?![A-Za-z0-9])",
    "x8-": r"[a-f0-9]{8}-[a-f0-9-]{27}/apiKeys/[a-f0-9-]{36}",
    "l32-X": r"[a-z0-9]{32}-X(?![A-Za-z0-9])",
    ":telegram": r"\d{8,10}:AA[A-Za-z0-9_-]{32,33}(?![A-Za-z0-9_-])",
}

_BY_START: dict[str, list[_Row]] = {}
for _made in (_row(line) for line in ROWS.split("\n") if line.strip()):
    _BY_START.setdefault(_made.prefix[:2], []).append(_made)
for _rows in _BY_START.values():
    _rows.sort(key=lambda row: len(row.prefix), reverse=True)

_SHORTEST = 12
_START = lazy(r"(?<![A-Za-z0-9])[A-Za-z0-9_$]")
#: A generated token has at least so many different characters after its beginning.
_FEWEST_CHARACTERS = 4

# JSON web tokens, which may go on for any length.
_JWT = lazy(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*+")
_DOTTED = lazy(r"(?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_.-]))*+")
# Addresses that are credentials themselves.
_WEBHOOKS = (
    r"https?://(?:(?P<slack_webhook>hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)"
    r"|(?P<discord_webhook>(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks/\d)"
    r"|(?P<teams_webhook>[a-z0-9-]+\.(?:webhook\.office|logic\.azure)\.com[:/])"
    r"|(?P<zapier_webhook>hooks\.zapier\.com/hooks/catch/))[A-Za-z0-9@/_.:?=&%-]{20,}"
)
_WEBHOOK = lazy(_WEBHOOKS)
_PATH = lazy(r"[A-Za-z0-9@/_.:?=&%-]*+")
# Forms without a beginning that is one's own.
_FORM = (
    r"(?<![A-Za-z0-9_.-])(?:(?P<telegram_token>\d{8,10}:AA[A-Za-z0-9_-]{32,33})(?![A-Za-z0-9_-])"
    r"|(?P<discord_token>[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})(?![A-Za-z0-9_.-])"
    r"|(?P<mailchimp_key>[a-f0-9]{32}-us\d{1,2})(?![A-Za-z0-9-])"
    r"|(?P<mailgun_key>[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8})(?![A-Za-z0-9-])"
    r"|(?P<azure_client_secret>[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?![A-Za-z0-9_~-])"
    r"|(?P<facebook_token>\d{15,16}\|[A-Za-z0-9_-]{27,40})(?![A-Za-z0-9_-]))"
)
_FORMS = lazy(_FORM)
_SHORTEST_FORM = 36


def _find_prefixed(block: Window) -> Iterator[Candidate]:  # noqa: PLR0912  (one look at the window)
    window, at = block.text, block.at
    if "://" in window:
        for found in _WEBHOOK.finditer(window, at):
            yield Candidate(*found.span(), f"secret.{found.lastgroup}", 0.95, _PATH)
    if len(window) - at >= _SHORTEST_FORM:
        for found in _FORMS.finditer(window, at):
            if looks_random(found.group()):
                yield Candidate(*found.span(), f"secret.{found.lastgroup}", 0.9)
    last = len(window) - _SHORTEST
    end = at
    for begin in _START.finditer(window, at):
        start = begin.start()
        if start > last:
            return
        if start < end:
            continue
        if window.startswith("eyJ", start):
            token = _JWT.match(window, start)
            stop = _jwt_end(window, start, token.end()) if token else 0
            if stop:
                end = stop
                yield Candidate(start, stop, "secret.jwt", 0.95, _DOTTED)
                continue
        for row in _BY_START.get(window[start : start + 2], ()):
            if not window.startswith(row.prefix, start):
                continue
            matched = _compiled(row.follows).match(window, start + len(row.prefix))
            if matched is not None and _is_generated(row, matched.group()):
                end = matched.end()
                yield Candidate(start, end, row.kind, 0.95, _compiled(row.endless) if row.endless else None)
                break


def _is_generated(row: _Row, body: str) -> bool:
    """Whether a token is no stand-in such as ``ghp_xxxxxxxxxxxx``.

    The checksums of GitHub and npm are not asked for: a token with a typing error is still worth hiding.
    """
    if len(set(body)) < _FEWEST_CHARACTERS or body.endswith("EXAMPLE"):
        return False
    return not row.common or looks_random(body)


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
    if len(set(text)) < 10:
        return False
    if sum(map(str.isdigit, text)) >= 2:
        return True
    # Names in mixed case have few capitals.
    capitals = sum(map(str.isupper, text))
    return len(text) / 4 < capitals < len(text) * 3 / 4 and any(map(str.islower, text))


# What stands before a credential that has no prefix of its own.
_BEARER = lazy(
    r"\b(?:bearer|authorization:? ?basic|authorization:? ?token|authorization[\"']?:? ?[\"']?(?:basic|token|bearer))\s{1,3}[\"']?\Z",
    re.IGNORECASE,
)
_OPAQUE = lazy(r"(?<![A-Za-z0-9._~+/=-])[A-Za-z0-9._~+/-]{16,}=*")
_OPAQUE_RUN = lazy(r"[A-Za-z0-9_~+/=.-]*+")
_AWS_LABEL = lazy(r"aws|secret_?access_?key", re.IGNORECASE)
_AWS_SECRET = lazy(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")


def _find_in_context(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    opaque = _OPAQUE.search(window, at)
    if opaque is not None and _BEARER.search(window[max(0, opaque.start() - 40) : opaque.start()]):
        end = opaque.end()
        while end > opaque.start() and window[end - 1] == ".":
            end -= 1
        if looks_random(opaque.group()):
            yield Candidate(opaque.start(), end, "secret.bearer_token", 0.8, _OPAQUE_RUN)
    for found in _AWS_SECRET.finditer(window, at):
        if _AWS_LABEL.search(window[: found.start()]) and len(set(found.group())) >= 16:
            yield Candidate(*found.span(), "secret.aws_secret_key", 0.8)


_URL_PASSWORD = lazy(r"(?<=://)[^\s/@:?#]{0,80}:[^\s/@]{1,110}(?=@[^\s/@])")
# ${PASSWORD}, <password>, ***: what people write instead of one, and the users of every tutorial.
_PLACEHOLDER = lazy(
    r":(?:[$%{<\[].*|\*+|x+|\.+|pass(?:word|wd)?|passwd|pwd|secret|tiger|user|pw|foo|bar|anoncvs|guest|admin|root|test|example|changeme)\Z",
    re.IGNORECASE,
)


def _find_url_passwords(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _URL_PASSWORD.finditer(window, at) if "://" in window else ():
        if not _PLACEHOLDER.search(found.group()):
            yield Candidate(*found.span(), "secret.url_password", 0.9)


_KINDS = {row.kind for rows in _BY_START.values() for row in rows} | {
    f"secret.{name}" for source in (_WEBHOOKS, _FORM) for name in re.findall(r"\(\?P<(\w+)>", source)
}
_LONG = lazy(rf".{{{_SHORTEST}}}", re.DOTALL)
PREFIXED = Recognizer((*sorted(_KINDS), "secret.jwt"), _LONG, _find_prefixed)
CONTEXT_TOKENS = Recognizer(
    ("secret.bearer_token", "secret.aws_secret_key"), lazy(r"[Aa9._~+/-]{16}"), _find_in_context
)
URL_PASSWORD = Recognizer(("secret.url_password",), lazy("@"), _find_url_passwords)
