"""Immutable values that cost as little to make as mutable ones, for what every call makes several of."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, TypeVar, dataclass_transform

__all__ = ["value"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Do as ``dataclass(frozen=True, slots=True)`` does, for instances at less than half the price.

    A frozen dataclass stores every field through ``object.__setattr__``. Here a twin of the class, with the same slots
    but without the lock, is filled as any object is, and becomes an instance of the class when it is complete.

    Fields are all positional, and such a class has no subclasses.

    >>> @value
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1)
    Point(x=1, y=0)
    >>> Point(1).x = 2
    Traceback (most recent call last):
        ...
    dataclasses.FrozenInstanceError: cannot assign to field 'x'
    """
    made: Any = dataclass(frozen=True, slots=True, init=False)(cls)
    names = tuple(each.name for each in fields(made))
    twin: Any = make_dataclass(
        cls.__name__,
        [
            (each.name, each.type, field(default=each.default, default_factory=each.default_factory))
            for each in fields(made)
        ],
        namespace={name: vars(cls)[name] for name in ("__post_init__",) if name in vars(cls)},
        slots=True,
        eq=False,
        repr=False,
    )

    def __new__(_: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        instance = twin(*args, **kwargs)
        instance.__class__ = made
        return instance

    def __init_subclass__(**_: Any) -> None:  # noqa: N807
        raise TypeError(f"{made.__name__} has no subclasses")

    def __reduce__(self: Any) -> tuple[Any, ...]:  # noqa: N807
        return made, tuple(getattr(self, name) for name in names)

    made.__new__ = __new__
    made.__init_subclass__ = __init_subclass__
    made.__reduce__ = __reduce__
    made.__signature__ = inspect.signature(twin).replace(return_annotation=inspect.Signature.empty)
    return made  # type: ignore[no-any-return]
