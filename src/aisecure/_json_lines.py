"""Text filters inside JSON lines that arrive in pieces: a JSON text a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure.decisions import Finding
from aisecure.ports import TextFilter

__all__ = ["JsonLines"]


class JsonLines:
    """A `TextFilter` over JSON lines; one that is wrong costs the others nothing.

    Args:
        make: As for `JsonText`.
    """

    __slots__ = ("_findings", "_line", "_make", "_offset", "_start")

    def __init__(self, make: Callable[[JsonPlace], TextFilter]) -> None:
        self._make = make
        self._line = JsonText(make)
        self._start = self._offset = 0  # of the line, and of what comes next
        self._findings: list[Finding] = []

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change.

        Raises:
            Denied: The filter ends the text.
        """
        first, *rest = chunk.split("\n")
        out = [self._more(first)]
        for part in rest:
            out += (self._line.finish(), "\n")
            self._findings += self._placed(self._line.take())
            self._line = JsonText(self._make)
            self._offset += 1
            self._start = self._offset
            out.append(self._more(part))
        return "".join(out)

    def finish(self) -> str:
        """Return what was held back."""
        return self._line.finish()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, with offsets into the whole text."""
        return (*self._findings, *self._placed(self._line.findings))

    def take(self) -> tuple[Finding, ...]:
        """Return what was found in texts that ended since the last time, and forget it."""
        taken, self._findings = (*self._findings, *self._placed(self._line.take())), []
        return taken

    def _more(self, part: str) -> str:
        self._offset += len(part)
        return self._line.feed(part)

    def _placed(self, findings: tuple[Finding, ...]) -> list[Finding]:
        return [
            replace(finding, start=self._start + finding.start, end=self._start + finding.end)
            for finding in findings
        ]
