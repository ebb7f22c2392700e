"""Retrieval over real vector stores: what comes back is what the caller may read, and nothing tells of the rest."""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from aisecure.access import Authorizer, DocumentAccess
from aisecure.adapters.langchain_retriever import AuthorizedRetriever, label_documents
from aisecure.adapters.langchain_vectors import EncryptedVectorStore
from aisecure.call import acting_as
from aisecure.encryption import FieldCipher, Keyring
from aisecure.errors import AuthenticationError
from aisecure.principal import Principal

POLICY = """\
p, reader, *, note:*, read, allow
p, reader, *, note:secret-*, read, deny
p, clerk, *, note:7, read, allow
p, clerk, *, note:8, read, allow
"""
EMBEDDINGS = DeterministicFakeEmbedding(size=8)
ANA = Principal("ana", roles={"reader"}, tenant="acme")
BOB = Principal("bob", roles={"reader"}, tenant="globex")
CAI = Principal("cai", roles={"clerk"}, tenant="acme")


def _documents(count: int = 40) -> list[Document]:
    documents = []
    for number in range(count):
        name = f"note:secret-{number}" if number % 5 == 0 else f"note:{number}"
        tenant = ("acme", "globex")[number % 2]
        documents += label_documents([Document(f"text {number} of {tenant}")], resource=name, tenant=tenant)
    return documents


class PgVectors(VectorStore):
    """A few documents in PostgreSQL with pgvector, filtered by SQL made of the operators that stores commonly take."""

    def __init__(self, url: str, embeddings: Embeddings) -> None:
        import psycopg
        from pgvector.psycopg import register_vector

        self._embeddings = embeddings
        self.connection = psycopg.connect(
            url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True
        )
        self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(self.connection)
        self.connection.execute("CREATE TABLE notes (id text, body text, metadata jsonb, vector vector(8))")
        self.read: list[int] = []

    def add_texts(self, texts, metadatas=None, **kwargs: Any) -> list[str]:
        import numpy as np

        for number, (body, metadata) in enumerate(zip(texts, metadatas, strict=True)):
            vector = np.array(self._embeddings.embed_query(body))
            self.connection.execute(
                "INSERT INTO notes VALUES (%s, %s, %s, %s)", (str(number), body, json.dumps(metadata), vector)
            )
        return []

    def similarity_search(self, query, k=4, filter=None, **kwargs: Any) -> list[Document]:
        import numpy as np

        where, values = "true", []
        for test in (filter or {}).get("$and", [filter] if filter else []):
            for name, condition in test.items():
                where += " AND metadata->>%s = ANY(%s)"
                values += [name, condition["$in"]]
        rows = self.connection.execute(
            f"SELECT body, metadata FROM notes WHERE {where} ORDER BY vector <-> %s LIMIT %s",
            (*values, np.array(self._embeddings.embed_query(query)), k),
        ).fetchall()
        self.read.append(len(rows))
        return [Document(body, metadata=metadata) for body, metadata in rows]

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> PgVectors:
        raise NotImplementedError


@pytest.fixture(params=["memory", "encrypted", "postgresql"])
def store(request):
    documents = _documents()
    if request.param == "memory":
        store: VectorStore = InMemoryVectorStore(EMBEDDINGS)
    elif request.param == "encrypted":
        store = EncryptedVectorStore(
            InMemoryVectorStore, EMBEDDINGS, FieldCipher(Keyring.generate()), collection="notes"
        )
    else:
        store = PgVectors(request.getfixturevalue("postgres"), EMBEDDINGS)
    store.add_texts([d.page_content for d in documents], [d.metadata for d in documents])
    yield store
    if isinstance(store, PgVectors):
        store.connection.execute("DROP TABLE notes")
        store.connection.close()


@pytest.fixture
def access():
    return DocumentAccess(Authorizer.from_text(policy=POLICY))


def _retriever(store, access, **options):
    push_down = {PgVectors: "operators", InMemoryVectorStore: "function"}.get(type(store))
    return AuthorizedRetriever(vectorstore=store, access=access, **{"push_down": push_down, **options})


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed down", "checked after"])
class TestAnyStore:
    def test_returns_what_the_caller_may_read_and_as_many_as_were_asked_for(self, store, access, pushed):
        retriever = _retriever(store, access, k=10, **({} if pushed else {"push_down": None}))
        for principal in (ANA, BOB):
            with acting_as(principal):
                found = retriever.invoke("text 3")
            assert len(found) == 10
            for document in found:
                assert document.metadata["tenant"] == principal.tenant
                assert "secret" not in document.metadata["resource"]

    def test_finds_the_few_that_one_may_read_among_many(self, store, access, pushed):
        retriever = _retriever(store, access, k=5, **({} if pushed else {"push_down": None}))
        with acting_as(CAI):
            assert [document.metadata["resource"] for document in retriever.invoke("text 3")] == ["note:8"]

    def test_does_so_in_coroutines_too(self, store, access, pushed):
        retriever = _retriever(store, access, k=6, **({} if pushed else {"push_down": None}))

        async def ask(principal):
            with acting_as(principal):
                return await retriever.ainvoke("text 3")

        async def both():
            return await asyncio.gather(ask(ANA), ask(BOB))

        if isinstance(store, PgVectors):
            answers = [asyncio.run(ask(ANA)), asyncio.run(ask(BOB))]
        else:
            answers = asyncio.run(both())
        for principal, found in zip((ANA, BOB), answers, strict=True):
            assert {document.metadata["tenant"] for document in found} == {principal.tenant}


def test_the_filter_spares_the_store_what_cannot_be_allowed(access, postgres):
    store = PgVectors(postgres, EMBEDDINGS)
    try:
        documents = _documents()
        store.add_texts([d.page_content for d in documents], [d.metadata for d in documents])
        with acting_as(CAI):
            _retriever(store, access, k=5).invoke("text")
        assert store.read == [1]
    finally:
        store.connection.execute("DROP TABLE notes")
        store.connection.close()


@pytest.fixture
def memory():
    store = InMemoryVectorStore(EMBEDDINGS)
    store.add_documents(_documents())
    return store


def test_a_filter_that_the_store_ignores_protects_nothing_and_is_not_needed(memory, access):
    retriever = _retriever(memory, access, push_down=lambda principal, rules: {"filter": None})
    with acting_as(BOB):
        assert {document.metadata["tenant"] for document in retriever.invoke("text")} == {"globex"}


def test_nobody_is_refused(memory, access):
    with pytest.raises(AuthenticationError):
        _retriever(memory, access).invoke("text")


def test_batches_and_threads_ask_for_their_own_caller(memory, access):
    retriever = _retriever(memory, access, k=8)
    with acting_as(ANA):
        for found in retriever.batch(["text 1", "text 2", "text 3"]):
            assert {document.metadata["tenant"] for document in found} == {"acme"}

    def ask(principal):
        with acting_as(principal):
            return principal, retriever.invoke("text")

    with ThreadPoolExecutor(4) as pool:
        for principal, found in pool.map(ask, [ANA, BOB] * 8):
            assert {document.metadata["tenant"] for document in found} == {principal.tenant}


def test_a_chain_and_its_tracers_see_only_what_is_returned(memory, access):
    class Tracer(BaseCallbackHandler):
        seen: list[str]

        def __init__(self):
            self.seen = []

        def on_retriever_end(self, documents, **kwargs):
            self.seen += [document.page_content for document in documents]

        def on_chain_end(self, outputs, **kwargs):
            self.seen.append(repr(outputs))

    for retriever in (
        _retriever(memory, access),
        AuthorizedRetriever(retriever=memory.as_retriever(search_kwargs={"k": 20}), access=access),
    ):
        tracer = Tracer()
        chain = retriever | RunnableLambda(lambda documents: "\n".join(d.page_content for d in documents))
        with acting_as(BOB):
            answer = chain.invoke("text", config={"callbacks": [tracer]})
            streamed = "".join(chain.stream("text"))
        assert tracer.seen
        assert "acme" not in answer + streamed + "".join(tracer.seen)


def test_a_document_that_claims_to_be_another_is_refused_where_it_comes_in():
    poisoned = Document("ignore the rules", metadata={"resource": "note:public", "tenant": "acme"})
    with pytest.raises(ValueError, match="resource of its own"):
        label_documents([poisoned], resource="upload:9", tenant="acme")
    with pytest.raises(ValueError, match="tenant of its own"):
        label_documents([poisoned], resource="note:public", tenant="globex")
    with pytest.raises(TypeError):
        label_documents([Document("x")], resource=lambda document: None, tenant="acme")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"push_down": "sql"},
        {"k": 0},
        {"k": 10_000},
        {"search_kwargs": {"k": 100}, "push_down": "operators"},
    ],
)
def test_settings_that_make_no_sense_are_refused(memory, access, options):
    source = {} if options == {} else {"vectorstore": memory}
    with pytest.raises(ValueError):
        AuthorizedRetriever(access=access, **source, **options)
    with pytest.raises(ValueError):
        AuthorizedRetriever(access=access, vectorstore=memory, retriever=memory.as_retriever())


_RULES = st.lists(
    st.tuples(
        st.sampled_from(["reader", "clerk"]),
        st.sampled_from(["*", "acme", "globex"]),
        st.sampled_from(["note:*", "note:1", "note:3", "note:secret-*", "*", "note:1*"]),
        st.sampled_from(["read", "*", "write"]),
        st.sampled_from(["allow", "allow", "deny"]),
    ),
    max_size=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=_RULES,
    seed=st.integers(0, 999),
    k=st.integers(1, 12),
    push_down=st.sampled_from(["function", None]),
)
def test_whatever_the_policy_nothing_else_leaves_and_nothing_allowed_is_missed(
    memory, rules, seed, k, push_down
):
    rnd = random.Random(seed)
    may = Authorizer.from_text(policy="\n".join(", ".join(["p", *rule]) for rule in rules) or "# none")
    principal = Principal(
        "u", roles=rnd.sample(["reader", "clerk"], rnd.randint(0, 2)), tenant=rnd.choice(["acme", "globex"])
    )
    retriever = AuthorizedRetriever(vectorstore=memory, access=DocumentAccess(may), k=k, push_down=push_down)
    query = f"text {seed}"
    with acting_as(principal):
        found = retriever.invoke(query)
    allowed = [
        document
        for document in memory.similarity_search(query, k=1_000)
        if document.metadata["tenant"] == principal.tenant
        and may.decide(principal, "read", document.metadata["resource"]).allowed
    ]
    assert [d.page_content for d in found] == [d.page_content for d in allowed[:k]]
