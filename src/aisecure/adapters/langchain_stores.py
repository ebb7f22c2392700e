"""LangChain byte stores and answer caches that hold tokens only.

::

    documents = EncryptedByteStore(LocalFileStore("documents"), cipher, label="documents")
    CacheBackedEmbeddings.from_bytes_store(embeddings, EncryptedByteStore(RedisStore(...), cipher, label="vectors"))
    set_llm_cache(EncryptedCache(RedisCache(...), cipher, BlindIndex(ring, field=("llm-cache",))))
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NoReturn

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.stores import BaseStore

from aisecure.adapters._message_json import from_json, to_json
from aisecure.adapters._sealed_json import open_json, seal_json
from aisecure.encryption.blind_index import BlindIndex
from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["EncryptedByteStore", "EncryptedCache"]


class EncryptedByteStore(BaseStore[str, bytes]):
    """A byte store over any other one, which is given a token for each value.

    A token is bound to label, tenant and key. Keys stay in clear: let them say nothing. (`CacheBackedEmbeddings` makes
    them of hashes of the texts, by which a guessed text can be confirmed; give it a keyed ``key_encoder``.)

    Args:
        inner: The store.
        cipher: Encrypts.
        label: What this store is in the application.
        tenant: Whose values these are.

    >>> from langchain_core.stores import InMemoryByteStore
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> inner = InMemoryByteStore()
    >>> store = EncryptedByteStore(inner, FieldCipher(Keyring.generate()), label="documents")
    >>> store.mset([("d-1", b"allergic to penicillin")])
    >>> store.mget(["d-1", "d-2"])
    [b'allergic to penicillin', None]
    >>> b"penicillin" in inner.mget(["d-1"])[0]
    False
    """

    def __init__(
        self, inner: BaseStore[str, bytes], cipher: Cipher, *, label: str, tenant: str = "default"
    ) -> None:
        if not isinstance(label, str) or not isinstance(tenant, str):
            raise TypeError("label and tenant are texts")
        self._inner = inner
        self._cipher = cipher
        self._place = ("langchain-bytes-1", label, tenant)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of keys, None for what is absent.

        Raises:
            DecryptionError: A value is damaged, of another key, or in clear.
            Unavailable, Misconfigured: The keys of the cipher cannot be had.
        """
        return self._opened(keys, self._inner.mget(keys))

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of keys; as `mget`."""
        return self._opened(keys, await self._inner.amget(keys))

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Encrypt and store values."""
        self._inner.mset(self._sealed(key_value_pairs))

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Encrypt and store values."""
        await self._inner.amset(self._sealed(key_value_pairs))

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete values."""
        self._inner.mdelete(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """Delete values."""
        await self._inner.amdelete(keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Give the keys that begin so."""
        return self._inner.yield_keys(prefix=prefix)

    def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """Give the keys that begin so."""
        return self._inner.ayield_keys(prefix=prefix)

    def _sealed(self, pairs: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [(key, self._cipher.encrypt_bytes(value, context=(*self._place, key))) for key, value in pairs]

    def _opened(self, keys: Sequence[str], values: Sequence[Any]) -> list[bytes | None]:
        return [
            None if value is None else self._open(key, value) for key, value in zip(keys, values, strict=True)
        ]

    def _open(self, key: str, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise DecryptionError
        return self._cipher.decrypt_bytes(value, context=(*self._place, key))

    def __repr__(self) -> str:
        return f"EncryptedByteStore({type(self._inner).__name__})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EncryptedByteStore is not pickled: it holds keys")


#: What stands for the model in the inner cache: its parameters may hold prompts too.
_MODEL = "aisecure"


class EncryptedCache(BaseCache):
    """A cache of model answers over any other one, which sees neither prompts nor answers.

    It is asked by a keyed digest of prompt and model, and given the answer as a token bound to that. An entry that
    does not open (damaged, of a retired key, of an erased subject) is a miss: the model is asked again.

    Args:
        inner: The cache. (One that looks for *similar* prompts finds none: digests are similar to nothing.)
        cipher: Encrypts.
        index: Makes the digest.
        tenant: Whose answers these are; tenants share none.

    >>> from langchain_core.caches import InMemoryCache
    >>> from aisecure.encryption import BlindIndex, FieldCipher, Keyring
    >>> ring = Keyring.generate()
    >>> cache = EncryptedCache(InMemoryCache(), FieldCipher(ring), BlindIndex(ring, field=("llm-cache",)))
    >>> cache.update("Am I allergic?", "some-model", [Generation(text="Yes.")])
    >>> cache.lookup("Am I allergic?", "some-model")[0].text, cache.lookup("Am I allergic?", "another")
    ('Yes.', None)
    """

    def __init__(
        self, inner: BaseCache, cipher: Cipher, index: BlindIndex, *, tenant: str = "default"
    ) -> None:
        self._inner = inner
        self._cipher = cipher
        self._index = index
        self._tenant = tenant

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return the answer to a prompt, or None."""
        key = self._key(prompt, llm_string)
        return self._opened(key, self._inner.lookup(key, _MODEL))

    async def alookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return the answer to a prompt, or None."""
        key = self._key(prompt, llm_string)
        return self._opened(key, await self._inner.alookup(key, _MODEL))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the answer to a prompt."""
        key = self._key(prompt, llm_string)
        self._inner.update(key, _MODEL, self._sealed(key, return_val))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the answer to a prompt."""
        key = self._key(prompt, llm_string)
        await self._inner.aupdate(key, _MODEL, self._sealed(key, return_val))

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        self._inner.clear(**kwargs)

    async def aclear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        await self._inner.aclear(**kwargs)

    def _key(self, prompt: str, llm_string: str) -> str:
        # An index takes names, not conversations; a digest of both texts is as good a name as any.
        digest = hashlib.sha256(
            f"{len(prompt)}:{prompt}{llm_string}".encode(errors="surrogatepass")
        ).hexdigest()
        return self._index.of(digest, tenant=self._tenant)

    def _sealed(self, key: str, answer: Sequence[Generation]) -> list[Generation]:
        token = seal_json(self._cipher, "answer", [_to_json(part) for part in answer], self._place(key))
        return [Generation(text=token)]

    def _opened(self, key: str, found: Sequence[Generation] | None) -> Sequence[Generation] | None:
        if not found:
            return None
        try:
            return [_from_json(part) for part in open_json(self._cipher, found[0].text, self._place(key))]
        except DecryptionError:
            return None

    def _place(self, key: str) -> tuple[str, ...]:
        return ("langchain-cache-1", self._tenant, key)

    def __repr__(self) -> str:
        return f"EncryptedCache({type(self._inner).__name__})"


def _to_json(part: Generation) -> dict[str, Any]:
    """Return a part of an answer as JSON; that of a chat model is known by its message."""
    if isinstance(part, ChatGeneration):
        return {"message": to_json(part.message), "info": part.generation_info}
    return {"text": part.text, "info": part.generation_info}


def _from_json(value: dict[str, Any]) -> Generation:
    if "message" in value:
        return ChatGeneration(message=from_json(value["message"]), generation_info=value["info"])
    return Generation(text=value["text"], generation_info=value["info"])
