"""A serializer of LangGraph that seals what another one gives."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any, NoReturn

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["SEALED", "EncryptingSerializer"]

#: The type that stands beside a token where a saver keeps types.
SEALED = "aisecure-1"


class EncryptingSerializer(SerializerProtocol):
    """A serializer that seals what another one gives; for savers, stores and caches of LangGraph.

    What an attacker writes into the store reaches no deserializer: a token is authenticated first, and so is the name
    of the format inside it. (LangGraph's own EncryptedSerializer keeps that name outside, where ``bytes`` can be made
    ``pickle``, and reads what is not encrypted at all.) Tokens are bound to label and tenant only, because a serializer
    is told no more: whoever writes to the store can move values between threads of a tenant. `EncryptedSaver` can tell.

    Args:
        cipher: Encrypts.
        label: Which store of the application this is, where it has several.
        tenant: Whose data it is.
        serde: Makes bytes of objects; LangGraph's own by default. Where LANGGRAPH_STRICT_MSGPACK is set, give one
            that allows the types of the state.
        accept_plaintext: Also read what was stored before encryption; for the time of a migration, for whoever writes
            to the store can then have anything deserialized.

    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> serializer = EncryptingSerializer(FieldCipher(Keyring.generate()), tenant="acme")
    >>> stored = serializer.dumps_typed({"note": "allergic to penicillin"})
    >>> stored[0], b"penicillin" in stored[1]
    ('aisecure-1', False)
    >>> serializer.loads_typed(stored)
    {'note': 'allergic to penicillin'}
    """

    def __init__(
        self,
        cipher: Cipher,
        *,
        label: str = "checkpoints",
        tenant: str = "default",
        serde: SerializerProtocol | None = None,
        accept_plaintext: bool = False,
    ) -> None:
        if not isinstance(label, str) or not isinstance(tenant, str):
            raise TypeError("label and tenant are texts")
        self._cipher = cipher
        self._scope = ("langgraph-1", label, tenant)
        self._serde = JsonPlusSerializer() if serde is None else serde
        self._accept = accept_plaintext

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the type of a token, and the token.

        Raises:
            Unavailable, Misconfigured: The keys cannot be had.
        """
        return SEALED, self.seal(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the object of a token.

        Raises:
            DecryptionError: It is damaged, of another tenant, or in clear where that is not accepted.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        kind, stored = data
        if kind == SEALED:
            return self.open(stored)
        if self._accept:
            return self._serde.loads_typed(data)
        raise DecryptionError("A value of this store is in clear. Migrate it, or say accept_plaintext=True.")

    def seal(self, obj: Any, *place: str, cipher: Cipher | None = None) -> bytes:
        """Return the token of an object at a place inside the tenant; `dumps_typed` has none."""
        kind, data = self._serde.dumps_typed(obj)
        return (cipher or self._cipher).encrypt_bytes(
            kind.encode() + b"\0" + data, context=(*self._scope, *place)
        )

    def open(self, token: object, *place: str, cipher: Cipher | None = None) -> Any:
        """Return the object of a token of a place; errors as for `loads_typed`."""
        if not isinstance(token, bytes | bytearray | memoryview):
            raise DecryptionError
        plain = (cipher or self._cipher).decrypt_bytes(bytes(token), context=(*self._scope, *place))
        kind, _, data = plain.partition(b"\0")
        return self._serde.loads_typed((kind.decode(), data))

    def with_allowlist(self, extra: Collection[tuple[str, ...]]) -> EncryptingSerializer:
        """Return the same one, allowing further types, where the serializer inside keeps such a list."""
        if not isinstance(self._serde, JsonPlusSerializer):
            return self
        clone = copy.copy(self)
        clone._serde = self._serde.with_msgpack_allowlist(extra)  # noqa: SLF001  (its own)
        return clone

    def __repr__(self) -> str:
        return f"EncryptingSerializer({type(self._serde).__name__})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EncryptingSerializer is not pickled: it holds keys")

    def __copy__(self) -> EncryptingSerializer:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        return clone
