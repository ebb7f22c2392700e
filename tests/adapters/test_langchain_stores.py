"""Encrypted byte stores and answer caches, below LangChain's own classes."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.stores import InMemoryByteStore

from aisecure.adapters.langchain_stores import EncryptedByteStore, EncryptedCache
from aisecure.encryption import BlindIndex, FieldCipher, Keyring
from aisecure.errors import DecryptionError, Unavailable

SECRET = "MARK-3c8e"


@pytest.fixture(scope="module")
def ring():
    return Keyring.generate()


@pytest.fixture(scope="module")
def cipher(ring):
    return FieldCipher(ring)


class TestByteStore:
    @pytest.fixture
    def inner(self):
        return InMemoryByteStore()

    @pytest.fixture
    def store(self, inner, cipher):
        return EncryptedByteStore(inner, cipher, label="docs", tenant="acme")

    @pytest.mark.parametrize(
        "value", [b"", b"\0", b"\xff\xfe", b"x" * 1_000_000], ids=["empty", "NUL", "no UTF-8", "1 MB"]
    )
    def test_any_value_comes_back(self, store, inner, value):
        store.mset([("a", value + SECRET.encode())])
        store.mset([("b", value)])
        assert store.mget(["a", "none", "b"]) == [value + SECRET.encode(), None, value]
        assert SECRET not in repr(inner.store)

    def test_keys_stay_and_values_go(self, store):
        store.mset([("a/1", b"1"), ("a/2", b"2"), ("b/1", b"3")])
        assert sorted(store.yield_keys(prefix="a/")) == ["a/1", "a/2"]
        store.mdelete(["a/1"])
        assert list(store.yield_keys()) == ["a/2", "b/1"]

    def test_the_asynchronous_forms_do_the_same(self, store, inner):
        async def main():
            await store.amset([("a", SECRET.encode()), ("b", b"")])
            found = await store.amget(["a", "b", "c"])
            await store.amdelete(["a"])
            return found, [key async for key in store.ayield_keys()]

        assert asyncio.run(main()) == ([SECRET.encode(), b"", None], ["b"])
        assert SECRET not in repr(inner.store)

    def test_a_value_of_another_key_label_tenant_or_none_is_refused(self, store, inner, cipher):
        store.mset([("a", b"1"), ("b", b"2")])
        kept = inner.store["a"]
        for other in (("other", "acme"), ("docs", "other")):
            with pytest.raises(DecryptionError):
                EncryptedByteStore(inner, cipher, label=other[0], tenant=other[1]).mget(["a"])
        for bad in (inner.store["b"], kept[:-1], b"", b"plain", b"x" * 1_000_000, "text", 7):
            inner.store["a"] = bad
            with pytest.raises(DecryptionError):
                store.mget(["a"])

    def test_wrong_parts(self, store, cipher):
        with pytest.raises(TypeError, match="texts"):
            EncryptedByteStore(InMemoryByteStore(), cipher, label=7)
        with pytest.raises(TypeError, match="bytes"):
            store.mset([("a", "text")])
        with pytest.raises(TypeError, match="keys"):
            pickle.dumps(store)
        assert repr(store) == "EncryptedByteStore(InMemoryByteStore)"


class Counting(FakeMessagesListChatModel):
    """Counts how often it was asked."""

    asked: int = 0

    def _generate(self, *args, **kwargs):
        self.asked += 1
        return super()._generate(*args, **kwargs)


class TestCache:
    @pytest.fixture
    def inner(self):
        return InMemoryCache()

    @pytest.fixture
    def cache(self, inner, ring, cipher):
        return EncryptedCache(inner, cipher, BlindIndex(ring, field=("cache",)), tenant="acme")

    def test_a_chat_model_is_asked_once_and_the_cache_holds_no_word(self, cache, inner):
        call = {"name": SECRET, "args": {"x": SECRET}, "id": SECRET}
        answer = AIMessage(SECRET, tool_calls=[call], response_metadata={"m": SECRET})
        model = Counting(responses=[answer], cache=cache)
        first = model.invoke(f"I am {SECRET}")
        again = asyncio.run(model.ainvoke(f"I am {SECRET}"))
        assert (model.asked, first.content, again.content) == (1, SECRET, SECRET)
        assert again.tool_calls == first.tool_calls
        model.invoke("something else")
        assert model.asked == 2
        assert len(inner._cache) == 2
        assert SECRET not in repr(inner._cache)

    def test_a_text_model_is_asked_once(self, cache, inner):
        model = FakeListLLM(responses=[SECRET, "other"], cache=cache)
        assert [model.invoke(SECRET), model.invoke(SECRET)] == [SECRET, SECRET]
        assert SECRET not in repr(inner._cache)

    def test_answers_come_back_as_they_were(self, cache):
        parts = [
            Generation(text="\ud800\0", generation_info={"logprobs": [1.5, None]}),
            ChatGeneration(message=AIMessage("x" * 1_000_000), generation_info={"finish_reason": "stop"}),
        ]
        cache.update("p", "m", parts)
        assert cache.lookup("p", "m") == parts
        cache.update("\ud800" * 5_000, "m", parts[:1])
        assert cache.lookup("\ud800" * 5_000, "m") == parts[:1]
        cache.clear()
        assert cache.lookup("p", "m") is None

    def test_prompt_and_model_do_not_run_together(self, cache):
        cache.update("ab", "c", [Generation(text="1")])
        assert cache.lookup("a", "bc") is None
        assert cache.lookup("2:ab", "c") is None

    def test_of_another_tenant_it_knows_nothing(self, cache, inner, ring, cipher):
        cache.update("p", "m", [Generation(text="1")])
        other = EncryptedCache(inner, cipher, BlindIndex(ring, field=("cache",)), tenant="other")
        assert other.lookup("p", "m") is None

    def test_what_does_not_open_is_a_miss(self, cache, inner):
        cache.update("p", "m", [Generation(text="yes")])
        cache.update("q", "m", [Generation(text="no")])
        (one, first), (two, second) = inner._cache.items()
        inner._cache[one], inner._cache[two] = second, [Generation(text="forged")]
        assert cache.lookup("p", "m") is None
        assert cache.lookup("q", "m") is None
        assert first

    def test_keys_that_cannot_be_had_are_no_miss(self, inner, ring):
        cache = EncryptedCache(inner, FieldCipher(ring), BlindIndex(ring, field=("cache",)))
        cache.update("p", "m", [Generation(text="yes")])

        class Down:
            def decrypt(self, token, *, context=()):
                raise Unavailable

        cache._cipher = Down()
        with pytest.raises(Unavailable):
            cache.lookup("p", "m")
