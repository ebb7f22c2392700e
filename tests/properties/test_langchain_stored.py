"""Whatever LangChain can store comes back the same through encryption, and opens nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aisecure.adapters.langchain_history import EncryptedChatMessageHistory
from aisecure.adapters.langchain_vectors import EncryptedVectorStore
from aisecure.adapters.langgraph import EncryptingSerializer
from aisecure.encryption import FieldCipher, Keyring
from aisecure.errors import DecryptionError

CIPHER = FieldCipher(Keyring.generate())


class Memory(InMemoryChatMessageHistory):
    pass


#: Lone surrogates and NUL among them.
texts = st.text(st.characters(exclude_categories=()), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=3)
blocks = st.lists(texts | objects, max_size=3)
common = {
    "content": texts | blocks,
    "additional_kwargs": objects,
    "response_metadata": objects,
    "name": st.none() | texts,
    "id": st.none() | texts,
}
calls = st.fixed_dictionaries(
    {"name": texts, "args": objects, "id": st.none() | texts, "type": st.just("tool_call")}
)
counts = st.integers(0, 2**31)
usage = st.fixed_dictionaries({"input_tokens": counts, "output_tokens": counts, "total_tokens": counts})
messages = st.one_of(
    st.builds(HumanMessage, **common),
    st.builds(SystemMessage, **common),
    st.builds(AIMessage, **common, tool_calls=st.lists(calls, max_size=2), usage_metadata=st.none() | usage),
    st.builds(
        ToolMessage,
        **common,
        tool_call_id=texts,
        artifact=values,
        status=st.sampled_from(["success", "error"]),
    ),
    st.builds(ChatMessage, **common, role=texts),
    st.builds(FunctionMessage, **{**common, "name": texts}),
    texts.map(RemoveMessage),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(messages, max_size=4), texts.filter(str.isprintable), texts.filter(str.isprintable))
def test_messages_come_back_and_open_in_their_own_session_only(said, session, other):
    inner = Memory()
    history = EncryptedChatMessageHistory(inner, CIPHER, session=session)
    history.add_messages(said)
    assert history.messages == said
    assert all(type(message) is ChatMessage for message in inner.messages)
    if said and other != session:
        with pytest.raises(DecryptionError):
            _ = EncryptedChatMessageHistory(inner, CIPHER, session=other).messages


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Document, page_content=texts, metadata=objects), min_size=1, max_size=3))
def test_documents_come_back_with_their_metadata(documents):
    class Lengths(DeterministicFakeEmbedding):
        def embed_documents(self, texts):
            return [[float(len(text)), 1.0] for text in texts]

    store = EncryptedVectorStore(InMemoryVectorStore, Lengths(size=2), CIPHER, collection="c")
    ids = store.add_documents(documents)
    found = store.get_by_ids(ids)
    assert [(one.page_content, one.metadata) for one in found] == [
        (one.page_content, one.metadata) for one in documents
    ]
    assert all(one["metadata"] == {} for one in store.inner.store.values())


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=40)
    | st.dictionaries(st.text(max_size=5), st.binary(max_size=20) | st.text(max_size=20))
)
def test_a_serializer_gives_what_the_one_inside_gives(value):
    plain = JsonPlusSerializer()
    sealed = EncryptingSerializer(CIPHER, serde=plain)
    assert sealed.loads_typed(sealed.dumps_typed(value)) == plain.loads_typed(plain.dumps_typed(value))


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.text(max_size=10), st.binary(max_size=200)))
def test_no_row_that_somebody_made_up_is_read(row):
    with pytest.raises(DecryptionError):
        EncryptingSerializer(CIPHER).loads_typed(row)
