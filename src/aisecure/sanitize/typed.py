"""Texts whose type says where they may go: `Untrusted` nowhere unencoded, `SafeHtml` into HTML as it is.

Both speak the protocol of MarkupSafe (``__html__``), so Jinja2, Flask and Django take them without an adapter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, SupportsIndex

from aisecure.sanitize import encode
from aisecure.sanitize.surrogates import checked

__all__ = ["SafeHtml", "Untrusted"]

#: Marks the core schema of such fields, for those who read schemas.
UNTRUSTED = "aisecure.untrusted"
_FIELD = re.compile(r"%(?:%|s)")


class SafeHtml(str):
    """HTML that is safe as the content of an element, and stays so: whatever is put into it is escaped first.

    Make it from a literal of your own, or by `escape` and `sanitize`. Joining, formatting and ``%`` escape their
    operands unless those are HTML themselves. What cuts or changes the text (slices, ``replace``, ``upper`` ...)
    returns a plain ``str``, since a piece of HTML is no HTML.

    >>> SafeHtml("<b>{}</b>").format("<script>")
    SafeHtml('<b>&lt;script&gt;</b>')
    >>> SafeHtml("<p>") + "a & b" + SafeHtml("</p>")
    SafeHtml('<p>a &amp; b</p>')
    """

    __slots__ = ()

    @classmethod
    def escape(cls, value: object) -> SafeHtml:
        """Return a value as HTML: what has ``__html__`` as it says, everything else encoded as text."""
        if isinstance(value, SafeHtml):
            return value
        as_html = getattr(value, "__html__", None)
        return cls(
            as_html() if callable(as_html) else encode.html(value if isinstance(value, str) else str(value))
        )

    @classmethod
    def sanitize(cls, text: str | Untrusted, **options: Any) -> SafeHtml:
        """Return what `aisecure.sanitize.sanitize_html` keeps of the text.

        Raises:
            TypeError: It is neither a str nor an `Untrusted`.
            ValueError: No policy has that name.
        """
        from aisecure.sanitize.markup import sanitize_html

        return cls(sanitize_html(text.unwrap() if isinstance(text, Untrusted) else text, **options))

    def __html__(self) -> SafeHtml:
        """Return the HTML, still typed: some callers escape what they get once more."""
        return self

    def __repr__(self) -> str:
        return f"SafeHtml({str.__repr__(self)})"

    def __str__(self) -> str:
        # Stays typed: templates call str() on what they print.
        return self

    def __add__(self, other: object) -> SafeHtml:
        if isinstance(other, str) or hasattr(other, "__html__"):
            return SafeHtml(str.__add__(self, SafeHtml.escape(other)))
        return NotImplemented

    def __radd__(self, other: object) -> SafeHtml:
        if isinstance(other, str) or hasattr(other, "__html__"):
            return SafeHtml(str.__add__(SafeHtml.escape(other), self))
        return NotImplemented

    def __mul__(self, times: SupportsIndex) -> SafeHtml:
        return SafeHtml(str.__mul__(self, times))

    __rmul__ = __mul__

    def __mod__(self, values: object) -> SafeHtml:
        """Fill ``%s``, and no other directive; a tuple fills several.

        Raises:
            TypeError: There are more or fewer values than places.
            ValueError: There is another directive.
        """
        given = list(values) if isinstance(values, tuple) else [values]
        if "%" in _FIELD.sub("", str.__str__(self)):
            raise ValueError("SafeHtml fills %s and %%; use format() for more")

        def fill(match: re.Match[str]) -> str:
            if match[0] == "%%":
                return "%"
            if not given:
                raise TypeError("not enough values for the places of %s")
            return SafeHtml.escape(given.pop(0)).__html__()

        filled = _FIELD.sub(fill, str.__str__(self))
        if given:
            raise TypeError("more values than places of %s")
        return SafeHtml(filled)

    def format(self, *values: object, **named: object) -> SafeHtml:
        """Fill the places of a format string with escaped values.

        A value is escaped whole before a format such as ``{:>10}`` applies; attributes and items of values
        (``{0.name}``) are refused, since a format string could reach far with them.

        Raises:
            ValueError: A place names an attribute or an item.
        """
        import string

        for _, field, spec, _ in string.Formatter().parse(str.__str__(self)):
            if field is not None and (set(field) & set(".[") or "{" in (spec or "")):
                raise ValueError("SafeHtml.format takes plain places alone: {}, {0}, {name}")
        escaped = {name: SafeHtml.escape(value).__html__() for name, value in named.items()}
        return SafeHtml(str.format(self, *(SafeHtml.escape(value).__html__() for value in values), **escaped))

    def format_map(self, mapping: Any) -> SafeHtml:
        """Fill the places from a mapping, as `format` does."""
        return self.format(**mapping)

    def join(self, parts: Iterable[object]) -> SafeHtml:
        """Join the parts, each escaped, with this HTML between them."""
        return SafeHtml(str.join(self, [SafeHtml.escape(part).__html__() for part in parts]))


class Untrusted:
    """A text from outside that reaches no sink by accident.

    It is no ``str``: printing, joining and formatting it raise TypeError, and so does every API that wants text. Say
    where it goes, with an encoder of `aisecure.sanitize.encode`; templates that escape by themselves show it as text.

    >>> from aisecure.sanitize import encode
    >>> answer = Untrusted("<b>; rm -rf ~")
    >>> answer.to(encode.shell), answer.to(encode.html)
    ("'<b>; rm -rf ~'", '&lt;b&gt;; rm -rf ~')
    >>> f"echo {answer}"
    Traceback (most recent call last):
    TypeError: this text is untrusted: encode it for the place where it goes, as in text.to(encode.html)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Take a text.

        Raises:
            TypeError: It is no str.
        """
        self._text = checked(text)

    @classmethod
    def wrap(cls, value: Any) -> Any:
        """Return the value with every text in its dictionaries (keys apart), lists and tuples wrapped.

        Raises:
            ValueError: It is nested too deeply, or contains itself.
        """
        try:
            return cls._wrap(value)
        except RecursionError:
            raise ValueError("the value is nested too deeply, or contains itself") from None

    @classmethod
    def _wrap(cls, value: Any) -> Any:
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, dict):
            return {key: cls._wrap(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [cls._wrap(inner) for inner in value]
        if isinstance(value, tuple) and type(value) is tuple:
            return tuple(cls._wrap(inner) for inner in value)
        return value

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let fields of pydantic models be untrusted texts; JSON of such a model has the text itself."""
        from pydantic_core import core_schema

        return core_schema.no_info_wrap_validator_function(
            lambda value, text: value if isinstance(value, cls) else cls(text(value)),
            core_schema.str_schema(strict=True),
            metadata={UNTRUSTED: True},
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: value.unwrap() if info.mode == "json" else value, info_arg=True
            ),
        )

    def to(self, encoder: Callable[[str], str]) -> str:
        """Return the text as an encoder writes it."""
        return encoder(self._text)

    def unwrap(self) -> str:
        """Return the text itself, for what takes it as data: a bound parameter, a JSON serialiser, a model."""
        return self._text

    def __html__(self) -> SafeHtml:
        """Return the text as HTML shows it, escaped."""
        return SafeHtml(encode.html(self._text))

    def __repr__(self) -> str:
        return f"Untrusted({len(self._text)} characters)"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Untrusted) else NotImplemented

    def __hash__(self) -> int:
        return hash((Untrusted, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(
            "this text is untrusted: encode it for the place where it goes, as in text.to(encode.html)"
        )

    def __str__(self) -> str:  # noqa: PLE0307 (it never returns)
        self._refuse()

    def __format__(self, spec: str) -> str:
        self._refuse()

    __add__ = __radd__ = __mod__ = __rmod__ = __iter__ = __getitem__ = __contains__ = __bytes__ = _refuse
