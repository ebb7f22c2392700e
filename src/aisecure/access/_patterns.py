"""The matching functions of Casbin as patterns: a literal beginning to look up, and a test for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from aisecure.access._names import MAX_NAME
from aisecure.access._regex import NotLinear, Sequence, alternatives, matcher

__all__ = ["ALWAYS_LINEAR", "PATTERNS", "NotLinear", "Pattern", "as_function"]

# What would mean something to ``re``; a text without any of it stands for itself.
_SPECIAL = re.compile(r"[.\[\](){}+?|^$\\*]")
# What Casbin replaces by "one part of a path".
_PARAMETER2 = re.compile(r":[^/]+")
_PARAMETER3 = re.compile(r"\{[^/]+?\}")


class Pattern:
    """A pattern of one rule field.

    Args:
        prefix: What every matching name begins with.
        exact: The only name that matches.
        source: A regular expression known to be linear, taken apart when it is first needed.
        sequences: A regular expression, taken apart.

    Attributes:
        exact: The only name that matches, or None when there are others.
        prefix: What every matching name begins with.
        open: Whether everything that begins so matches.
        test: Says whether a name that begins so matches; None until it is `ready`.
    """

    __slots__ = ("_sequences", "_source", "exact", "open", "prefix", "test")

    def __init__(
        self,
        prefix: str,
        *,
        exact: str | None = None,
        source: str | None = None,
        sequences: tuple[Sequence, ...] = (),
    ) -> None:
        self.exact = exact
        self.prefix = prefix
        self.open = exact is None and source is None and not sequences
        self.test: Callable[[str], object] | None = None if exact is None else exact.__eq__
        self._source = source
        self._sequences = sequences

    @classmethod
    def of_regex(cls, source: str) -> Pattern:
        """Return the pattern of a regular expression.

        Raises:
            NotLinear: It cannot be matched in linear time.
        """
        if len(source) > MAX_NAME:
            raise NotLinear("it is too long")
        sequences = alternatives(source)
        prefix, exact = _literal(sequences[0]) if len(sequences) == 1 else ("", False)
        return cls(prefix, exact=prefix) if exact else cls(prefix, sequences=sequences)

    def matches(self, name: str) -> bool:
        """Whether a name matches."""
        return name.startswith(self.prefix) and (self.open or bool((self.test or self.ready())(name)))

    def ready(self) -> Callable[[str], object]:
        """Return `test`, made now."""
        sequences = self._sequences if self._source is None else alternatives(self._source)
        self.test = test = matcher(sequences)
        return test


def _literal(sequence: Sequence) -> tuple[str, bool]:
    text = ""
    for atom in sequence:
        if not atom.char or atom.times:
            return text, False
        text += atom.char
    return text, True


def _key_match(text: str) -> Pattern:
    """Casbin's ``keyMatch``: up to the first ``*`` literally, then anything."""
    prefix, star, _ = text.partition("*")
    return Pattern(prefix) if star else Pattern(text, exact=text)


def _key_match2(text: str) -> Pattern:
    """Casbin's ``keyMatch2``: ``/*`` is anything, ``:name`` a part of a path, ``*`` alone anything."""
    if text == "*":
        return Pattern("")
    return _path(text, _PARAMETER2, ":")


def _key_match3(text: str) -> Pattern:
    """Casbin's ``keyMatch3``: as ``keyMatch2``, with ``{name}``."""
    return _path(text, _PARAMETER3, "{")


def _path(text: str, parameter: re.Pattern[str], mark: str) -> Pattern:
    if len(text) > MAX_NAME:
        raise NotLinear("it is too long")
    body, end = (text[:-1], True) if text.endswith("/*") else (text, False)
    if mark == ":" and not _SPECIAL.search(body):
        prefix, named, _ = body.partition(mark)
        if not named:
            return Pattern(body) if end else Pattern(text, exact=text)
        # Parameters run up to the next slash and a trailing "*" is last: one free quantifier at most.
        return Pattern(prefix, source=_expression(text, parameter))
    return Pattern.of_regex(_expression(text, parameter))


def _expression(text: str, parameter: re.Pattern[str]) -> str:
    return "^" + parameter.sub("[^/]+", text.replace("/*", "/.*")) + "$"


#: By the name that matchers use. The name asked about comes first, the rule's field second.
PATTERNS: Final[Mapping[str, Callable[[str], Pattern]]] = MappingProxyType({
    "keyMatch": _key_match,
    "keyMatch2": _key_match2,
    "keyMatch3": _key_match3,
    "regexMatch": Pattern.of_regex,
})  # fmt: skip

#: Functions whose patterns are never refused.
ALWAYS_LINEAR: Final = frozenset({"keyMatch"})


def as_function(read: Callable[[str], Pattern]) -> Callable[[str, str], bool]:
    """Return the pattern as a function of name and pattern, for Casbin's own evaluator."""
    kept = lru_cache(maxsize=4096)(read)

    def matches(name: str, text: str) -> bool:
        return kept(text).matches(name)

    return matches
