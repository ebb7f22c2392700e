"""Where a reader of JSON text is, kept while the text arrives in pieces and however wrong the text is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["LONGEST_KEY", "JsonPlace"]

#: Deeper levels are counted and not told apart, so that a text of nothing but brackets costs no memory.
_DEEPEST = 1000
#: Of longer keys only the beginning is told.
LONGEST_KEY = 200


class _Level:
    __slots__ = ("has_keys", "name", "step")

    def __init__(self, *, has_keys: bool, name: str) -> None:
        self.has_keys = has_keys
        self.name = name  # of what it is in
        self.step: str | int | None = None if has_keys else 0


class JsonPlace:
    """The place in a JSON text: names of objects and numbers of lists, from the outside in."""

    __slots__ = ("_deeper", "_levels")

    def __init__(self) -> None:
        self._levels: list[_Level] = []
        self._deeper = 0

    def pass_by(self, character: str) -> None:
        """Take note of a ``{``, ``}``, ``[``, ``]`` or ``,`` outside of strings; others mean nothing."""
        levels = self._levels
        if character in "{[":
            if len(levels) == _DEEPEST:
                self._deeper += 1
            else:
                levels.append(_Level(has_keys=character == "{", name=self.name))
        elif character in "}]":
            if self._deeper:
                self._deeper -= 1
            elif levels:
                levels.pop()
        elif character == "," and levels and not self._deeper:
            level = levels[-1]
            level.step = level.step + 1 if isinstance(level.step, int) else None

    @property
    def awaits_key(self) -> bool:
        """Whether the next string is the name of a value."""
        return bool(self._levels) and not self._deeper and self._levels[-1].step is None

    def take_key(self, key: str) -> None:
        """Take the name of the next value."""
        self._levels[-1].step = key[:LONGEST_KEY]

    @property
    def name(self) -> str:
        """The nearest name: the key of a value, or of the list that it is in; empty when there is none."""
        if not self._levels:
            return ""
        level = self._levels[-1]
        return level.step if isinstance(level.step, str) else level.name

    @property
    def field(self) -> str:
        """The outermost name; empty when there is none."""
        return self._levels[0].step if self._levels and isinstance(self._levels[0].step, str) else ""

    def pointer(self, spell: Callable[[str, str], str] = lambda key, _: key) -> str:
        """Return a JSON Pointer (RFC 6901) to here; to the object, where a key is awaited.

        Args:
            spell: Given a key and the name of what it is in, returns what is written; keys may be personal data.
        """
        out = []
        for level in self._levels:
            if level.step is not None:
                step = spell(level.step, level.name) if isinstance(level.step, str) else str(level.step)
                out.append("/" + step.replace("~", "~0").replace("/", "~1"))
        return "".join(out)
