"""Recognisers of your own: an expression, a check, and what the thing is called."""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]  # (the reader of expressions has no public name)
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Callable, Collection, Iterator
from typing import Any

from aisecure.detect.blocks import STRIDE
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["pattern"]

_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def pattern(
    kind: str,
    expression: str | re.Pattern[str],
    *,
    check: Callable[[str], bool] | None = None,
    labels: Collection[str] = (),
    score: float = 0.6,
    said: float = 0.85,
) -> Recognizer:
    r"""Return a recogniser for `PiiDetector`.

    The expression is asked within one block of text at a time: a run without white space, quotes, commas or brackets (but
    digits in groups hold together), in which there is a digit, an ``@``, or a dot, colon or slash between letters, or which
    has 20 characters or more. It sees digits of all scripts as ASCII. An entity has at most 200 characters.

    Args:
        kind: Dotted and lower-case, such as ``"acme.customer"``.
        expression: A regular expression; what is inside its first group counts, if it has one.
        check: Whether a match is one, such as a check digit.
        labels: What it is called, in lower case, shortly before it.
        score: Confidence without a label, 0 to 1; below the detector's threshold it counts with a label alone.
        said: Confidence after a label.

    Raises:
        ValueError: The kind is not dotted, a score is out of range, or the expression is none or could take time that grows
            exponentially with the text: a repeat inside a repeat.

    >>> from aisecure.detect import PiiDetector
    >>> customers = pattern("acme.customer", r"C-\d{6}")
    >>> [f.kind for f in PiiDetector(recognizers=[customers]).scan("as C-123456 said")]
    ['acme.customer']
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"a kind is dotted and lower-case, such as acme.customer, not {kind[:60]!r}")
    if not (0 <= score <= 1 and 0 <= said <= 1):
        raise ValueError("a score is a number from 0 to 1")
    try:
        compiled = re.compile(expression)
    except re.error as err:
        raise ValueError(f"{kind}: the expression is none: {err}") from err
    if _may_explode(parser.parse(compiled.pattern, compiled.flags)):
        raise ValueError(
            f"{kind}: a repeat inside a repeat can take for ever on some texts; make one of them possessive, as in (?:a+)*+"
        )
    group = 1 if compiled.groups else 0

    def find(window: Window) -> Iterator[Candidate]:
        for found in compiled.finditer(window.text, window.at):
            start, end = found.span(group)
            if not 0 < end - start <= STRIDE or (check is not None and not check(window.text[start:end])):
                continue
            yield Candidate(start, end, kind, said if labels and kind in window.said(start).near else score)

    return Recognizer((kind,), None, find, {kind: tuple(labels)} if labels else {})


def _may_explode(tree: Any, *, repeated: bool = False) -> bool:
    """Whether a repeat stands inside another, both of which can give characters back."""
    for what, argument in tree:
        inside = repeated
        if what in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, _ = argument
            if high != low and high > 1:
                if repeated:
                    return True
                inside = True
        elif what in (op.POSSESSIVE_REPEAT, op.ATOMIC_GROUP):
            inside = False
        elif what is op.BRANCH and repeated:
            return True  # two alternatives may match the same
        if any(_may_explode(part, repeated=inside) for part in _parts(what, argument)):
            return True
    return False


def _parts(what: Any, argument: Any) -> list[Any]:
    """Return the expressions inside one of the parser's nodes."""
    if what is op.BRANCH:
        return list(argument[1])
    if what is op.ATOMIC_GROUP:
        return [argument]
    if what is op.GROUPREF_EXISTS:
        return [each for each in argument[1:] if each is not None]
    if isinstance(argument, tuple) and argument and isinstance(argument[-1], parser.SubPattern):
        return [argument[-1]]
    return []
