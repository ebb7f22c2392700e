"""A cipher bound to one place, whatever cipher it is, remembered no longer than that cipher lives."""

from __future__ import annotations

import weakref
from typing import Any, Literal, Protocol

from aisecure.encryption.context import Part
from aisecure.ports import Cipher

__all__ = ["SHORTEST_TOKEN", "Binding", "Bound", "Form", "bind"]

#: Fewer characters has no token of any version: version, key id, nonce and tag in base64.
SHORTEST_TOKEN = 44

#: What is sealed: bare text, the JSON of a value, the JSON of several fields.
Form = Literal["text", "json", "sealed"]


class Bound(Protocol):
    """The cipher of one place."""

    def encrypt(self, plaintext: str, *record: Part) -> str:
        """Return a token."""

    def decrypt(self, token: str, *record: Part) -> str:
        """Return the plaintext."""


class _ByContext:
    """What `FieldCipher.bind` returns, for ciphers that have no such method."""

    __slots__ = ("_cipher", "_parts")

    def __init__(self, cipher: Cipher, parts: tuple[Part, ...]) -> None:
        self._cipher = cipher
        self._parts = parts

    def encrypt(self, plaintext: str, *record: Part) -> str:
        return self._cipher.encrypt(plaintext, context=self._parts + record)

    def decrypt(self, token: str, *record: Part) -> str:
        return self._cipher.decrypt(token, context=self._parts + record)


def bind(cipher: Any, *parts: Part) -> Bound:
    """Return any cipher bound to a place."""
    method = getattr(cipher, "bind", None)
    bound: Bound = _ByContext(cipher, parts) if method is None else method(*parts)
    return bound


class Binding:
    """The cipher of one field, bound once and remembered as long as that cipher lives and is the one in use."""

    __slots__ = ("__weakref__", "_last", "_rest")

    def __init__(self, form: Form, *, record: bool) -> None:
        bare = form == "text" and not record
        self._rest: tuple[Part, ...] = () if bare else (form,)
        # One tuple, replaced whole: threads see the one or the other.
        self._last: tuple[Any, str, str, Bound] | None = None

    def to(self, cipher: Cipher, owner: str, field: str) -> Bound:
        """Return the cipher for this place; the parts that name the record go with each call."""
        last = self._last
        if last is not None and last[0]() is cipher and last[1] == owner and last[2] == field:
            return last[3]
        bound = bind(cipher, owner, field, *self._rest)
        try:
            # Weakly: a class must not keep the keys of a cipher that is gone, such as those of an erased person.
            reference = weakref.ref(cipher, _Forget(self))
        except TypeError:  # a user's own cipher may have slots without one for this
            return bound
        if not isinstance(bound, _ByContext):  # which holds the cipher itself
            self._last = (reference, owner, field, bound)
        return bound


class _Forget:
    """Drops what was bound to a cipher when the cipher is gone."""

    __slots__ = ("_binding",)

    def __init__(self, binding: Binding) -> None:
        self._binding = weakref.ref(binding)

    def __call__(self, cipher: object) -> None:
        binding = self._binding()
        if binding is not None:
            binding._last = None  # noqa: SLF001  (its own other half)
