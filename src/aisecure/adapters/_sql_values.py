"""What an encrypted column holds, as text and back: strict both ways, so that nothing is changed by being stored."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from aisecure.errors import Misconfigured

__all__ = ["JsonValues"]


class JsonValues:
    """Values of a type as JSON: builtins, dates, decimals, dataclasses, pydantic models, and what is made of them.

    Args:
        of: The type.
        place: Named in errors, in place of the value.
    """

    def __init__(self, of: Any, place: str) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(of)
        self._of = getattr(of, "__name__", str(of))
        self._place = place

    def to_text(self, value: Any) -> str:
        """Return the JSON of a value.

        Raises:
            TypeError: It is of another type.
            ValueError: What would be read back is not what was given: NaN, tuples and keys that JSON has
                not got, lone surrogates, cycles.
        """
        try:
            checked = self._adapter.validate_python(value, strict=True)
        except (ValidationError, RecursionError):
            checked = None
            fits = False
        else:
            fits = True
        # Outside the handlers, here and below: these errors quote the value.
        if not fits:
            raise TypeError(f"{self._place}: a value of type {type(value).__name__} is no {self._of}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                text = self._adapter.dump_json(checked).decode()
            same = bool(self._adapter.validate_json(text) == checked)
        except (PydanticSerializationError, ValidationError, ValueError, RecursionError):
            same = False
        if not same:
            raise ValueError(f"{self._place}: the value would not come back from JSON as it is")
        return text

    def from_text(self, text: str) -> Any:
        """Return the value.

        Raises:
            Misconfigured: It was written as another type.
        """
        try:
            return self._adapter.validate_json(text)
        except ValidationError:
            pass
        raise Misconfigured(
            f"{self._place}: a stored value is no {self._of}; let the column have the type it was written with"
        )


def text_of(value: Any, place: str) -> str:
    """Return a text as it is."""
    if not isinstance(value, str):
        raise TypeError(f"{place}: a value of type {type(value).__name__} is no str")
    return value
