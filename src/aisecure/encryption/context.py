"""The place that a ciphertext belongs to, as bytes that no other place has."""

from __future__ import annotations

__all__ = ["Part", "encode_context"]

#: One word of a context: a table, a column, a tenant, a record's number.
Part = str | int


def encode_context(parts: tuple[Part, ...]) -> bytes:
    """Return the parts as bytes: different tuples have different bytes, and longer tuples extend shorter ones.

    A text is written as ``s``, its length in code points, a colon and itself; a number as ``i``, its decimal
    digits and a semicolon. So ``("a", "bc")`` and ``("ab", "c")`` differ, and ``("42",)`` and ``(42,)``.

    Raises:
        TypeError: A part is neither text nor whole number. (``True`` is refused: it would equal 1.)
        ValueError: A text has a lone surrogate, which has no UTF-8.

    >>> encode_context(("notes", 42))
    b's5:notesi42;'
    """
    text = ""
    for part in parts:
        kind = type(part)
        if kind is str:
            text = f"{text}s{len(part)}:{part}"  # type: ignore[arg-type]  # the line above says so
        elif kind is int:
            text = f"{text}i{part};"
        else:
            text += _unusual(part)
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    raise ValueError("context: a part has a lone surrogate, which has no UTF-8; clean the text first")


def _unusual(part: object) -> str:
    """Encode enumerations and other subclasses by their plain value."""
    if isinstance(part, str):
        plain = str.__str__(part)
        return f"s{len(plain)}:{plain}"
    if isinstance(part, int) and not isinstance(part, bool):
        return f"i{int.__repr__(part)};"
    raise TypeError(f"context: a part is a text or a whole number, not {type(part).__name__}")
