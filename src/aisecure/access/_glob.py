"""Casbin's ``globMatch``: file-name patterns, matched part by part of a path and so without backtracking.

``*`` is anything but a slash, ``?`` one such character, ``[a-z]`` one of a class, ``**`` any number of parts, and
``{a,b}`` either. As in a shell, no wildcard stands for a dot at the beginning of a part; a slash at the end of the
name does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from os.path import commonprefix
from typing import Final

from aisecure.access._regex import Atom, NotLinear, matcher

__all__ = ["glob"]

#: Most alternatives that braces may multiply to.
_ALTERNATIVES: Final = 64

_WILD = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[[!^]?[\w.:@ -]+\]", re.ASCII)
_SOME, _ONE = Atom("[^/]", "*"), Atom("[^/]")

#: Whether one part of a path matches; None is ``**``.
_Part = Callable[[str], object] | None


def glob(text: str) -> tuple[str, Callable[[str], bool]]:
    """Return what every matching name begins with, and the test for a name.

    Raises:
        NotLinear: The pattern has an escape, a class of an unusual kind, or too many alternatives.
    """
    alternatives = list(_alternatives(text))
    tests = [_test(alternative) for alternative in alternatives]
    beginnings = [_WILD.split(alternative, maxsplit=1)[0] for alternative in alternatives]
    prefix = commonprefix(beginnings)  # noqa: RUF071  (by characters, as names are looked up)
    # "a/**" is also "a/", and "**/a" is also "a": no slash is certain beside "**".
    prefix = prefix.rstrip("/")
    return prefix, tests[0] if len(tests) == 1 else lambda name: any(test(name) for test in tests)


def _alternatives(text: str) -> Iterator[str]:
    """Yield the patterns without braces, after what Casbin does to a pattern before its library sees it."""
    while text.startswith("*/"):
        text = text[1:]
    if "\\" in text or "//" in text:
        raise NotLinear("it has an escape, or two slashes in a row")
    text = "/".join([part if part == "**" else re.sub(r"\*{2,}", "*", part) for part in text.split("/")])
    if text.endswith("/**"):
        text = "{" + text[:-3] + "," + text + "}"
    if "{" not in text:
        yield text
        return
    import bracex  # of the library that Casbin takes for these patterns, so that both expand alike

    try:
        yield from bracex.expand(text, keep_escapes=True, limit=_ALTERNATIVES)
    except bracex.ExpansionLimitException as err:
        raise NotLinear("it has too many alternatives") from err


def _test(text: str) -> Callable[[str], bool]:
    parts = [None if part == "**" else _part(part) for part in text.split("/")]
    closed = parts[-1] is None or text.endswith("/")

    def test(name: str) -> bool:
        if not name:
            return not any(parts)
        if name.endswith("/") and not closed:
            name = name.rstrip("/") or "/"
        return _match(parts, name.split("/"))

    return test


def _match(parts: list[_Part], names: list[str]) -> bool:
    """Match part by part; after a failure only the last ``**`` takes one part more, which is enough."""
    at = place = 0
    many, taken = -1, 0
    while place < len(names):
        if at < len(parts):
            part = parts[at]
            if part is None:
                many, taken = at, place
                at += 1
                continue
            if part(names[place]):
                at += 1
                place += 1
                continue
        if many < 0 or names[taken].startswith("."):
            return False
        taken += 1
        at, place = many + 1, taken
    return at == len(parts)


def _part(text: str) -> Callable[[str], object]:
    if not _WILD.search(text):
        return text.__eq__
    atoms = []
    place = 0
    while place < len(text):
        char = text[place]
        if char == "[":
            found = _CLASS.match(text, place)
            if found is None:
                raise NotLinear("it has a character class of a kind that is not read")
            atoms.append(Atom(_class(found[0])))
            place = found.end()
            continue
        atoms.append(_SOME if char == "*" else _ONE if char == "?" else Atom(re.escape(char), "", char))
        place += 1
    matches = matcher((tuple(atoms),))
    if not _WILD.match(text):
        return matches
    return lambda name: name != "" and name[0] != "." and matches(name)


def _class(text: str) -> str:
    source = "[^" + text[2:] if text[1] in "!^" else text
    try:
        re.compile(source)
    except (re.error, FutureWarning) as err:
        raise NotLinear("it has a character class of a kind that is not read") from err
    return source
