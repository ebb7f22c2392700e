"""Names of accounts, where it is said that they are some: after ``username:``, ``login is``, ``skype:``, or with an ``@`` after a network.

A name of letters alone is a word like others and is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["KIND", "USERNAMES"]

KIND = "pii.username"

_NAME = lazy(
    r"(?<![\w@.])(?P<sign>@)?[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_])){2,38}(?![\w@(\[=/:]|\.\w|-\w)"
)
_SAID = lazy(
    r"(?:\buser ?name|\buser ?id|\bscreen ?name|\blog[- ]?in(?: ?(?:name|id))?|\bhandle|\bnick(?:name)?|\bskype(?: id)?|\bbenutzername|\bnombre de usuario|\bnom d'utilisateur)"
    r"(?: for [^ ]{1,20})?(?: ?[:=]| is| was)?[ \xa0\"'`(]{0,3}\Z",
    re.IGNORECASE,
)
_NETWORK = lazy(
    r"\b(?:twitter|tweeter?|tweets?|instagram|insta|tiktok|mastodon|threads|telegram|snapchat|github|handle|username|follow)\b[^@\n]{0,20}(?=@|\Z)",
    re.IGNORECASE,
)
_REACH = 48
_STAND_IN = lazy(
    r"(?:self|this|request|os|env|config|settings|args|data|form|user|session|context|ctx|event|params|body|obj|me|example|test)[._].*|\d+(?:\.\d+)*|v\d.*|.*\.(?:com|org|net|io|py|js|ts|html?|json|ya?ml|txt|md)",
    re.IGNORECASE,
)


def _find(window: Window) -> Iterator[Candidate]:
    text = window.text
    lower = window.lower
    # One of these is in every label; to look for them takes a tenth of the time.
    if not (
        "user" in lower
        or "log" in lower
        or "name" in lower
        or "hand" in lower
        or "nick" in lower
        or "skype" in lower
        or ("@" in lower and _NETWORK.search(text))
    ):
        return
    for found in _NAME.finditer(text, window.at):
        start, end = found.span()
        said = _NETWORK if found["sign"] else _SAID
        label = said.search(text, max(0, start - _REACH), start)
        if label is None or _STAND_IN.fullmatch(found.group()):
            continue
        # In programs what follows the word is another word.
        if found["sign"] or any(map(str.isdigit, found.group())) or label.group().lower().startswith("skype"):
            yield Candidate(start, end, KIND, 0.7)


USERNAMES = Recognizer((KIND,), lazy(r"@[Aa_]|[Aa_]-?9|9[Aa_]|[Aa]\.[Aa]"), _find)
