"""The matching functions of Casbin as patterns: a literal beginning to look up, and a test for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import MappingProxyType
from typing import Final

from aisecure.access._glob import glob
from aisecure.access._names import MAX_NAME
from aisecure.access._regex import NotLinear, Sequence, alternatives, matcher
from aisecure.errors import Unavailable

__all__ = ["ALWAYS_LINEAR", "PATTERNS", "NotLinear", "Pattern", "as_function"]

# What would mean something to ``re``; a text without any of it stands for itself.
_SPECIAL = re.compile(r"[.\[\](){}+?|^$\\*]")
# What Casbin replaces by "one part of a path".
_PARAMETER2 = re.compile(r":[^/]+")
_PARAMETER3 = re.compile(r"\{[^/]+?\}")
_PARAMETER4 = re.compile(r"\{([^/]+)\}")


class Pattern:
    """A pattern of one rule field.

    Args:
        prefix: What every matching name begins with.
        exact: The only name that matches.
        source: A regular expression known to be linear, taken apart when it is first needed.
        sequences: A regular expression, taken apart.
        test: Says whether a name that begins so matches; everything does without test, expression or `exact`.

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
        test: Callable[[str], object] | None = None,
    ) -> None:
        self.exact = exact
        self.prefix = prefix
        self.open = exact is None and source is None and test is None and not sequences
        self.test: Callable[[str], object] | None = test if exact is None else exact.__eq__
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
        """Whether a name matches.

        Raises:
            TypeError: It is no string.
        """
        return str.startswith(name, self.prefix) and (self.open or bool((self.test or self.ready())(name)))

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


def _expression(text: str, parameter: re.Pattern[str], value: str = "[^/]+") -> str:
    return "^" + parameter.sub(value, text.replace("/*", "/.*")) + "$"


def _key_match4(text: str) -> Pattern:
    """Casbin's ``keyMatch4``: as ``keyMatch3``, and parts of one name are equal: ``/{id}/copy-of/{id}``."""
    names = _PARAMETER4.findall(text)
    if "(" in text:
        raise NotLinear("it has a parenthesis")
    if len(set(names)) == len(names):
        return Pattern.of_regex(_expression(text, _PARAMETER4, "([^/]+)"))
    if len(text) > MAX_NAME:
        raise NotLinear("it is too long")
    body, end = (text[:-1], ".*") if text.endswith("/*") else (text, "")
    parts = []
    for part in body.split("/"):
        before, *after = _PARAMETER4.split(part)
        # No more than one parameter a part, and nothing but letters around it: then there is one way to match.
        if _SPECIAL.search((before + "".join(after[1:])) if after else part.replace(".", "")):
            raise NotLinear("it repeats a parameter beside other signs of an expression")
        parts.append(f"{re.escape(before)}([^/]+){re.escape(after[1])}" if after else _dotted(part))
    compiled = re.compile("/".join(parts) + end, re.DOTALL).fullmatch
    same = [[place for place, name in enumerate(names) if name == one] for one in dict.fromkeys(names)]

    def test(name: str) -> bool:
        found = compiled(name)
        if found is None:
            return False
        values = found.groups()
        return all(len({values[place] for place in places}) == 1 for places in same)

    return Pattern(text.partition("{")[0].partition(".")[0], test=test)


def _dotted(part: str) -> str:
    return re.escape(part).replace(r"\.", ".")  # to Casbin a dot is any character


def _key_match5(text: str) -> Pattern:
    """Casbin's ``keyMatch5``: as ``keyMatch3``, and what follows a ``?`` of the name does not count."""
    pattern = Pattern.of_regex(_expression(text, _PARAMETER4))
    return Pattern(pattern.prefix, test=lambda name: pattern.matches(name.partition("?")[0]))


def _ip_match(text: str) -> Pattern:
    """Casbin's ``ipMatch``: an address, or a network that the address lies in.

    A name that is no address raises `Unavailable`, as every decision about one fails in Casbin.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError as err:
        raise NotLinear("it is no IP address or network") from err
    return Pattern("", test=lambda name: _address(name) in network)


@lru_cache(maxsize=64)
def _address(name: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(name)
    except ValueError:
        raise Unavailable(
            "The access policy could not be evaluated, so the request was refused.", code="unavailable.policy"
        ) from None  # the original holds the name


def _glob(text: str) -> Pattern:
    """Casbin's ``globMatch``."""
    if len(text) > MAX_NAME:
        raise NotLinear("it is too long")
    prefix, test = glob(text)
    return Pattern(prefix, test=test)


#: By the name that matchers use. The name asked about comes first, the rule's field second.
PATTERNS: Final[Mapping[str, Callable[[str], Pattern]]] = MappingProxyType({
    "keyMatch": _key_match,
    "keyMatch2": _key_match2,
    "keyMatch3": _key_match3,
    "keyMatch4": _key_match4,
    "keyMatch5": _key_match5,
    "regexMatch": Pattern.of_regex,
    "globMatch": _glob,
    "ipMatch": _ip_match,
})  # fmt: skip

#: Functions whose patterns are never refused.
ALWAYS_LINEAR: Final = frozenset({"keyMatch"})


def as_function(read: Callable[[str], Pattern]) -> Callable[[str, str], bool]:
    """Return the pattern as a function of name and pattern, for Casbin's own evaluator."""
    kept = lru_cache(maxsize=4096)(read)

    def matches(name: str, text: str) -> bool:
        return kept(text).matches(name)

    return matches
