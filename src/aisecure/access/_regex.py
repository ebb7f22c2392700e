"""Regular expressions of a policy, matched in time linear in the name: by construction, or refused.

A backtracking engine may need exponential time (CWE-1333), and the name comes from a stranger. So an expression is
taken apart into alternatives, each a plain sequence of character classes with quantifiers, and then

- runs on `re`, when at most one quantifier can ever give a character back, and only fixed-length parts follow it;
- otherwise runs on a bit-parallel automaton (Baeza-Yates and Gonnet 1992; Navarro and Raffinot 2002, chapter 4),
  which looks at each character once.

What has no such form (a repeated group, a back-reference, a look-around) is refused when the policy is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["NotLinear", "Sequence", "alternatives", "matcher"]

#: Most alternatives that groups may multiply to, and most positions of one alternative.
_ALTERNATIVES: Final = 64
_POSITIONS: Final = 10_000
#: Most different characters whose masks an automaton keeps.
_MASKS: Final = 512

_BRACKETS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_COUNT = re.compile(r"\{(\d*)(,?)(\d*)\}")


class NotLinear(ValueError):
    """The expression has no form that is known to run in linear time, or is no expression at all."""


class Atom(NamedTuple):
    """A character class as `re` writes it, how often it may stand there, and its character when there is one."""

    source: str
    times: str = ""  # "", "?", "*" or "+"
    char: str = ""

    def takes(self, char: str) -> bool:
        return self.char == char if self.char else _class(self.source)(char) is not None


Sequence = tuple[Atom, ...]

_ANY = Atom(".", "*")
_START, _END = Atom("^"), Atom("$")


def _class(source: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(source, re.DOTALL).fullmatch  # re keeps compiled expressions


def alternatives(source: str) -> tuple[Sequence, ...]:
    """Return the sequences any of which matches a whole name where ``re.match(source, name)`` matches.

    Line breaks are not considered: no name that is asked about holds one.

    Raises:
        NotLinear: With a reason for people.
    """
    try:
        re.compile(source)
    except (re.error, RecursionError, OverflowError, FutureWarning) as err:
        raise NotLinear("it is not a valid regular expression") from err
    return tuple(_anchored(sequence) for sequence in _Reader(source).whole())


def matcher(sequences: tuple[Sequence, ...]) -> Callable[[str], object]:
    """Return a function whose result is true, in time linear in a name's length, if it matches a sequence."""
    tests = [_matcher(sequence) for sequence in sequences]
    if len(tests) == 1:
        return tests[0]
    return lambda name: any(test(name) for test in tests)


def _anchored(sequence: Sequence) -> Sequence:
    first, last = 0, len(sequence)
    while first < last and sequence[first] is _START:
        first += 1
    while last > first and sequence[last - 1] is _END:
        last -= 1
    body = sequence[first:last]
    if _START in body or _END in body:
        raise NotLinear("it has an anchor in the middle")
    return body if last < len(sequence) else (*body, _ANY)


def _matcher(sequence: Sequence) -> Callable[[str], object]:
    source = _backtracking_free(sequence)
    return _Automaton(sequence).matches if source is None else re.compile(source, re.DOTALL).fullmatch


def _backtracking_free(sequence: Sequence) -> str | None:
    """Return an equal expression with at most one quantifier that can give back, or None if there is none.

    A quantifier whose class shares no character with what may follow it has no choice: it is made possessive.
    """
    free = None
    out = []
    for index, atom in enumerate(sequence):
        if atom.times and free is None and not _has_no_choice(sequence, index):
            free = index
            out.append(atom.source + atom.times)
        elif atom.times and free is not None:
            return None  # what follows the free one has to have a fixed length
        else:
            out.append(atom.source + atom.times + ("+" if atom.times else ""))
    return "".join(out)


def _has_no_choice(sequence: Sequence, index: int) -> bool:
    atom = sequence[index]
    for follower in sequence[index + 1 :]:
        # Two classes are taken to share a character unless one of them is a single character.
        if atom.takes(follower.char) if follower.char else not atom.char or follower.takes(atom.char):
            return False
        if follower.times in ("", "+"):
            return True
    return True


class _Automaton:
    """One bit a position of the sequence; a step shifts the bits whose class takes the character."""

    __slots__ = ("_final", "_masks", "_optional", "_sequence")

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self._final = 1 << len(sequence)
        self._optional = sum(1 << i for i, atom in enumerate(sequence) if atom.times in ("?", "*"))
        self._masks: dict[str, tuple[int, int]] = {}

    def matches(self, name: str) -> bool:
        state = self._skip(1)
        for char in name:
            step, stay = self._masks.get(char) or self._mask(char)
            state = self._skip((state & step) << 1 | state & stay)
            if not state:
                return False
        return bool(state & self._final)

    def _skip(self, state: int) -> int:
        while (wider := state | (state & self._optional) << 1) != state:
            state = wider
        return state

    def _mask(self, char: str) -> tuple[int, int]:
        step = stay = 0
        for index, atom in enumerate(self._sequence):
            if atom.takes(char):
                if atom.times != "*":
                    step |= 1 << index
                if atom.times in ("*", "+"):
                    stay |= 2 << index
        if len(self._masks) < _MASKS:
            self._masks[char] = step, stay
        return step, stay


class _Reader:
    """Reads the part of Python's expression language that has a linear form."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def whole(self) -> list[Sequence]:
        found = self._either()
        if self.at < len(self.source):
            raise NotLinear("it has an unbalanced parenthesis")
        return found

    def _peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def _either(self) -> list[Sequence]:
        found = self._sequence()
        while self._peek() == "|":
            self.at += 1
            found += self._sequence()
        return _bounded(found)

    def _sequence(self) -> list[Sequence]:
        found: list[Sequence] = [()]
        while self._peek() not in ("", "|", ")"):
            items = self._item()
            found = _bounded([head + tail for head in found for tail in items])
        return found

    def _item(self) -> list[Sequence]:
        if self._peek() == "(":
            return self._group()
        atom = self._atom()
        if atom in (_START, _END):
            if self._peek() in ("*", "+", "?", "{"):
                raise NotLinear("it repeats an anchor")
            return [(atom,)]
        return [self._repeated(atom)]

    def _group(self) -> list[Sequence]:
        self.at += 3 if self.source.startswith("(?:", self.at) else 1
        if self._peek() == "?":
            raise NotLinear("it has a look-around, a flag or a named group")
        found = self._either()
        self.at += 1  # the closing parenthesis, which re.compile has seen
        if self._peek() == "?":
            self.at += 1
            found.append(())
        if self._peek() in ("*", "+", "?") or (self._peek() == "{" and _COUNT.match(self.source, self.at)):
            raise NotLinear("it repeats a group")
        return found

    def _atom(self) -> Atom:
        char = self._peek()
        self.at += 1
        if char == ".":
            return Atom(".")
        if char == "^":
            return _START
        if char == "$":
            return _END
        if char == "[":
            return self._brackets()
        if char == "\\":
            char = self._peek()
            self.at += 1
            if char in "dDwWsS":
                return Atom(f"\\{char}")
            if char.isascii() and char.isalnum():
                raise NotLinear("it has a back-reference or a special escape")
        return Atom(re.escape(char), "", char)

    def _brackets(self) -> Atom:
        found = _BRACKETS.match(self.source, self.at - 1)
        if found is None or "[" in found[0][1:]:
            raise NotLinear("it has a character class of a kind that is not read")
        self.at = found.end()
        return Atom(found[0])

    def _repeated(self, atom: Atom) -> Sequence:
        times = self._peek()
        if times in ("*", "+", "?") and times:
            self.at += 1
            found: Sequence = (atom._replace(times=times),)
        elif times == "{" and (count := _COUNT.match(self.source, self.at)) and count[0] != "{}":
            self.at = count.end()
            low = int(count[1] or 0)
            high = int(count[3]) if count[3] else (None if count[2] else low)
            if max(low, high or 0) > _POSITIONS:
                raise NotLinear("it repeats a class too often")
            rest = "*" if high is None else "?"
            found = (atom,) * low + (atom._replace(times=rest),) * (1 if high is None else high - low)
        else:
            return (atom,)
        if self._peek() == "?":
            self.at += 1  # lazy: another order of trying, the same names
        elif self._peek() == "+":
            raise NotLinear("it has a possessive quantifier")
        return found


def _bounded(found: list[Sequence]) -> list[Sequence]:
    if len(found) > _ALTERNATIVES or any(len(sequence) > _POSITIONS for sequence in found):
        raise NotLinear("it has too many alternatives or is too long")
    return found
