"""Encrypted vector stores over LangChain's own and over one that keeps rows in SQLite and embeds on another thread."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
import sqlite3
import threading
import traceback

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from aisecure.adapters.langchain_vectors import EncryptedVectorStore
from aisecure.encryption import BlindIndex, FieldCipher, Keyring, SubjectKeys
from aisecure.encryption.providers.ring import RingProvider
from aisecure.errors import DecryptionError, Misconfigured
from aisecure.testing import memory_storage

SECRET = "MARK-77ab"
EMBEDDINGS = DeterministicFakeEmbedding(size=16)


class Rows(VectorStore):
    """Written for the older half of the interface: texts and metadata, one method each, vectors made on a thread."""

    def __init__(self, embedding) -> None:
        self.embedding = embedding
        self.on = sqlite3.connect(":memory:", check_same_thread=False)
        self.on.execute("CREATE TABLE docs (id TEXT PRIMARY KEY, text TEXT, metadata TEXT, vector TEXT)")

    def add_texts(self, texts, metadatas=None, *, ids=None, **kwargs):
        vectors: list = []
        worker = threading.Thread(target=lambda: vectors.extend(self.embedding.embed_documents(list(texts))))
        worker.start()
        worker.join()
        rows = zip(ids, texts, map(json.dumps, metadatas), map(json.dumps, vectors), strict=True)
        self.on.executemany("INSERT OR REPLACE INTO docs VALUES (?, ?, ?, ?)", list(rows))
        return ids

    def _document(self, row) -> Document:
        return Document(id=row[0], page_content=row[1], metadata=json.loads(row[2]))

    def similarity_search_with_score(self, query, k=4, filter=None, **kwargs):
        asked = self.embedding.embed_query(query)
        found = []
        for row in self.on.execute("SELECT * FROM docs"):
            document = self._document(row)
            if all(document.metadata.get(name) == value for name, value in (filter or {}).items()):
                distance = sum((a - b) ** 2 for a, b in zip(asked, json.loads(row[3]), strict=True)) ** 0.5
                found.append((document, distance))
        return sorted(found, key=lambda pair: pair[1])[:k]

    def similarity_search(self, query, k=4, **kwargs):
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def get_by_ids(self, ids, /):
        rows = [self.on.execute("SELECT * FROM docs WHERE id = ?", (number,)).fetchone() for number in ids]
        return [self._document(row) for row in rows if row]

    def delete(self, ids=None, **kwargs):
        self.on.executemany("DELETE FROM docs WHERE id = ?", [(number,) for number in ids])
        return True

    def _select_relevance_score_fn(self):
        return self._euclidean_relevance_score_fn

    @classmethod
    def from_texts(cls, *args, **kwargs):
        raise NotImplementedError


def dump(store: EncryptedVectorStore) -> str:
    inner = store.inner
    return repr(inner.store if isinstance(inner, InMemoryVectorStore) else list(inner.on.iterdump()))


def rewrite(store: EncryptedVectorStore, number: str, **changes) -> None:
    """Do as somebody who writes to the store."""
    inner = store.inner
    if isinstance(inner, InMemoryVectorStore):
        inner.store[number] = {**inner.store[number], **changes}
        return
    for name, value in changes.items():
        text = json.dumps(value) if name == "metadata" else value
        inner.on.execute(f"UPDATE docs SET {name} = ? WHERE id = ?", (text, number))


@pytest.fixture(params=[InMemoryVectorStore, Rows], ids=["memory", "rows"])
def make(request):
    made = []

    def new(embedding):
        made.append(request.param(embedding))
        return made[-1]

    yield new
    for store in made:
        if isinstance(store, Rows):
            store.on.close()


@pytest.fixture(scope="module")
def ring():
    return Keyring.generate()


@pytest.fixture(scope="module")
def cipher(ring):
    return FieldCipher(ring)


@pytest.fixture(scope="module")
def index(ring):
    return BlindIndex(ring, field=("docs", "patient"))


@pytest.fixture
def store(make, cipher, index):
    return EncryptedVectorStore(
        make, EMBEDDINGS, cipher, collection="docs", tenant="acme", clear=("ward",), blind={"patient": index}
    )


DOCUMENTS = [
    Document(
        id=f"d-{number}",
        page_content=f"{SECRET} text {number}",
        metadata={
            "ward": number % 2,
            "patient": f"{SECRET} {number % 3}",
            "deep": {SECRET: [SECRET, None, 1.5]},
        },
    )
    for number in range(6)
]


class TestDocuments:
    def test_every_way_of_reading_gives_the_plain_document_and_the_store_holds_no_word_of_it(self, store):
        assert store.add_documents(DOCUMENTS) == [document.id for document in DOCUMENTS]
        wanted = DOCUMENTS[4]
        text = wanted.page_content
        assert store.get_by_ids(["d-4", "absent"]) == [wanted]
        # The nearest is the one of the same text, because vectors are made of texts and not of tokens.
        assert store.similarity_search(text, k=1) == [wanted]
        assert [document for document, _ in store.similarity_search_with_score(text, k=1)] == [wanted]
        assert store.as_retriever(search_kwargs={"k": 1}).invoke(text) == [wanted]
        assert store.search(text, "similarity", k=1) == [wanted]
        assert SECRET not in dump(store)

    def test_the_asynchronous_forms_do_the_same(self, store):
        wanted = DOCUMENTS[4]

        async def main():
            await store.aadd_documents(DOCUMENTS)
            text = wanted.page_content
            found = [
                await store.aget_by_ids(["d-4"]),
                await store.asimilarity_search(text, k=1),
                [document for document, _ in await store.asimilarity_search_with_score(text, k=1)],
                await store.as_retriever(search_kwargs={"k": 1}).ainvoke(text),
            ]
            await store.adelete(["d-4"])
            return found, await store.aget_by_ids(["d-4"])

        found, rest = asyncio.run(main())
        assert found == [[wanted]] * 4
        assert rest == []
        assert SECRET not in dump(store)

    def test_by_vector_and_by_diversity(self, cipher):
        store = EncryptedVectorStore(InMemoryVectorStore, EMBEDDINGS, cipher, collection="docs")
        store.add_documents(DOCUMENTS)
        wanted, text = DOCUMENTS[2], DOCUMENTS[2].page_content
        vector = store.embeddings.embed_query(text)

        async def main():
            return [
                await store.asimilarity_search_by_vector(vector, k=1),
                await store.amax_marginal_relevance_search(text, k=1),
                await store.amax_marginal_relevance_search_by_vector(vector, k=1),
            ]

        found = [
            store.similarity_search_by_vector(vector, k=1),
            store.max_marginal_relevance_search(text, k=1),
            store.max_marginal_relevance_search_by_vector(vector, k=1),
            *asyncio.run(main()),
        ]
        assert found == [[wanted]] * 6
        diverse = store.as_retriever(search_type="mmr", search_kwargs={"k": 3}).invoke(text)
        assert len(diverse) == 3
        assert wanted in diverse

    def test_scores_between_0_and_1_and_a_warning_about_others_that_quotes_no_document(self, cipher):
        with_rows = EncryptedVectorStore(Rows, EMBEDDINGS, cipher, collection="docs")
        with_rows.add_documents(DOCUMENTS)
        try:
            text = DOCUMENTS[0].page_content
            with pytest.warns(UserWarning, match="between 0 and 1") as told:
                found = with_rows.similarity_search_with_relevance_scores(text, k=6)
            assert found[0] == (DOCUMENTS[0], 1.0)
            assert SECRET not in str(told[0].message)
            same = asyncio.run(with_rows.asimilarity_search_with_relevance_scores(text, k=1))
            assert same == found[:1]
            near = with_rows.as_retriever(
                search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99, "k": 1}
            )
            assert near.invoke(text) == DOCUMENTS[:1]
        finally:
            with_rows.inner.on.close()

    def test_texts_without_ids_and_metadata_get_ids(self, store):
        ids = store.add_texts(iter([SECRET, f"{SECRET} 2"]))
        assert len(set(ids)) == 2
        assert [document.page_content for document in store.get_by_ids(ids)] == [SECRET, f"{SECRET} 2"]
        ids = asyncio.run(store.aadd_texts([SECRET], [{"ward": 1}], ids=["x"]))
        assert ids == ["x"]
        assert store.get_by_ids(ids)[0].metadata == {"ward": 1}
        assert store.add_documents([]) == []

    def test_writing_again_replaces(self, store):
        store.add_texts(["old"], ids=["a"])
        store.add_texts(["new"], ids=["a"])
        assert [document.page_content for document in store.get_by_ids(["a"])] == ["new"]

    @pytest.mark.parametrize(
        "text",
        ["", "\0", "\ud800", "é\U0001f511", "x" * 1_000_000],
        ids=["empty", "NUL", "surrogate", "wide", "1 MB"],
    )
    def test_any_text_comes_back(self, cipher, text):
        class Lengths(DeterministicFakeEmbedding):
            def embed_documents(self, texts):
                return [[float(len(text)), 1.0] for text in texts]

        store = EncryptedVectorStore(InMemoryVectorStore, Lengths(size=2), cipher, collection="docs")
        ids = store.add_texts([text], [{"same": text}])
        assert [(d.page_content, d.metadata["same"]) for d in store.get_by_ids(ids)] == [(text, text)]

    def test_filters_see_what_is_clear_and_blind(self, store):
        store.add_documents(DOCUMENTS)
        wanted = {"ward": 1, "patient": store.blinded("patient", f"{SECRET} 1")}
        how = wanted
        if isinstance(store.inner, InMemoryVectorStore):

            def how(document):
                return wanted.items() <= document.metadata.items()

        assert store.similarity_search("x", filter=how) == [DOCUMENTS[1]]
        with pytest.raises(KeyError):
            store.blinded("name", SECRET)

    def test_documents_of_a_rotated_index_are_still_read(self, make, ring, cipher, index):
        def over(keys):
            return EncryptedVectorStore(
                lambda _: inner,
                EMBEDDINGS,
                cipher,
                collection="d",
                blind={"p": BlindIndex(keys, field=("d", "p"))},
            )

        made = EncryptedVectorStore(
            make, EMBEDDINGS, cipher, collection="d", blind={"p": BlindIndex(ring, field=("d", "p"))}
        )
        made.add_texts(["a"], [{"p": SECRET}], ids=["a"])
        inner = made.inner
        assert over(ring.rotate()).get_by_ids(["a"])[0].metadata == {"p": SECRET}
        with pytest.raises(DecryptionError):
            over(Keyring.generate()).get_by_ids(["a"])

    def test_threads_add_and_search_at_once(self, cipher):
        store = EncryptedVectorStore(InMemoryVectorStore, EMBEDDINGS, cipher, collection="docs")
        wrong = []

        def work(thread: int) -> None:
            for turn in range(20):
                text = f"{thread}:{turn}"
                store.add_texts([text], ids=[text])
                if store.get_by_ids([text])[0].page_content != text:
                    wrong.append(text)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert store.similarity_search("3:7", k=1)[0].page_content == "3:7"
        assert store._embeddings._texts == {}
        assert store._embeddings._embedded == set()


class TestWhatIsRefused:
    def test_documents_moved_or_damaged(self, store):
        store.add_documents(DOCUMENTS)
        token = store.inner.get_by_ids(["d-1"])[0].page_content
        for bad in (
            token,
            token[:-4],
            token[:30] + ("A" if token[30] != "A" else "B") + token[31:],
            "",
            "plain",
        ):
            rewrite(store, "d-3", text=bad)
            with pytest.raises(DecryptionError) as raised:
                store.get_by_ids(["d-3"])
            assert raised.value.__context__ is None
        with pytest.raises(DecryptionError):
            store.similarity_search(DOCUMENTS[3].page_content, k=6)

    def test_of_another_collection_or_tenant(self, make, cipher):
        place = {"collection": "docs", "tenant": "acme"}
        first = EncryptedVectorStore(make, EMBEDDINGS, cipher, **place)
        first.add_documents(DOCUMENTS[:1])
        for name in place:
            other = EncryptedVectorStore(
                lambda _: first.inner, EMBEDDINGS, cipher, **{**place, name: "other"}
            )
            with pytest.raises(DecryptionError):
                other.get_by_ids(["d-0"])

    @pytest.mark.parametrize("name", ["ward", "patient"])
    def test_filterable_metadata_that_somebody_changed(self, store, name):
        store.add_documents(DOCUMENTS)
        mine, other = (store.inner.get_by_ids([number])[0].metadata for number in ("d-0", "d-1"))
        rewrite(store, "d-1", metadata={**other, name: mine[name]})
        with pytest.raises(DecryptionError):
            store.get_by_ids(["d-1"])
        rewrite(store, "d-1", metadata={})
        with pytest.raises(DecryptionError):
            store.get_by_ids(["d-1"])

    def test_metadata_without_a_json_form(self, store):
        for bad in (object(), b"bytes", {1, 2}):
            with pytest.raises(TypeError) as raised:
                store.add_texts(["fine", SECRET], [{}, {SECRET: bad}])
            assert SECRET not in "".join(traceback.format_exception(raised.value))
        cyclic: dict = {}
        cyclic["self"] = cyclic
        with pytest.raises(ValueError, match="itself"):
            store.add_documents([Document(page_content="x", metadata={"a": [cyclic]})])
        assert store.similarity_search("x") == []

    def test_too_few_ids(self, store):
        with pytest.raises(ValueError, match="1 ids for 2"):
            store.add_documents(DOCUMENTS[:2], ids=["a"])
        with pytest.raises(ValueError, match="1 metadatas for 2"):
            store.add_texts(["a", "b"], [{}])

    def test_a_store_that_embeds_by_other_means(self, cipher):
        store = EncryptedVectorStore(
            lambda _: InMemoryVectorStore(EMBEDDINGS), EMBEDDINGS, cipher, collection="d"
        )
        with pytest.raises(Misconfigured, match="embed"):
            store.add_texts([SECRET])
        with pytest.raises(Misconfigured, match="embed"):
            asyncio.run(store.aadd_texts([SECRET]))

    def test_a_text_that_goes_round_the_wrapper(self, store):
        with pytest.raises(Misconfigured, match="EncryptedVectorStore"):
            store._embeddings.embed_documents([SECRET])

    def test_a_store_that_gives_no_ids(self, cipher):
        class Nameless(InMemoryVectorStore):
            def get_by_ids(self, ids, /):
                return [document.model_copy(update={"id": None}) for document in super().get_by_ids(ids)]

        store = EncryptedVectorStore(Nameless, EMBEDDINGS, cipher, collection="d")
        store.add_texts(["a"], ids=["a"])
        with pytest.raises(Misconfigured, match="ids"):
            store.get_by_ids(["a"])

    def test_wrong_parts(self, cipher, index):
        def made(*, make=InMemoryVectorStore, cipher=cipher, **options):
            return EncryptedVectorStore(make, EMBEDDINGS, cipher, **{"collection": "d", **options})

        subjects = SubjectKeys(memory_storage(), RingProvider(cipher))
        with pytest.raises(TypeError, match="VectorStore"):
            made(make=lambda _: [])
        with pytest.raises(TypeError, match="names"):
            made(clear="ward")
        with pytest.raises(TypeError, match="texts"):
            made(collection=7)
        with pytest.raises(TypeError, match="subject"):
            made(subject=lambda _: "ada")
        with pytest.raises(TypeError, match="subject"):
            made(cipher=subjects)
        with pytest.raises(ValueError, match="on_erased"):
            made(on_erased="hide")
        with pytest.raises(ValueError, match="SubjectKeys"):
            made(on_erased="skip")
        with pytest.raises(ValueError, match="clear and blind"):
            made(clear=("p",), blind={"p": index})
        with pytest.raises(NotImplementedError, match="add_texts"):
            EncryptedVectorStore.from_texts(["a"], EMBEDDINGS)


class TestErasure:
    @pytest.mark.parametrize("tenant", ["default", "acme"])
    def test_documents_of_an_erased_person_are_skipped_and_those_of_others_stay(self, make, tenant):
        subjects = SubjectKeys(memory_storage(), RingProvider(FieldCipher(Keyring.generate())))

        def over(inner, on_erased):
            return EncryptedVectorStore(
                inner, EMBEDDINGS, subjects, collection="d", tenant=tenant,
                subject=lambda document: document.metadata["patient"], on_erased=on_erased,
            )  # fmt: skip

        store = over(make, "skip")
        store.add_texts(
            ["of ada", "of gus", "ada too"],
            [{"patient": p} for p in ("ada", "gus", "ada")],
            ids=["1", "2", "3"],
        )
        assert len(store.similarity_search("x")) == 3
        subjects.erase("ada", tenant=tenant)
        assert [document.page_content for document in store.similarity_search("x")] == ["of gus"]
        assert [document.id for document in store.get_by_ids(["1", "2", "3"])] == ["2"]
        with pytest.raises(DecryptionError):
            over(lambda _: store.inner, "raise").similarity_search("x")

    def test_damage_is_no_erasure(self, make):
        subjects = SubjectKeys(memory_storage(), RingProvider(FieldCipher(Keyring.generate())))
        store = EncryptedVectorStore(
            make, EMBEDDINGS, subjects, collection="d", subject=lambda _: "ada", on_erased="skip"
        )
        store.add_texts(["x"], ids=["1"])
        rewrite(store, "1", text="damaged")
        with pytest.raises(DecryptionError):
            store.get_by_ids(["1"])


def test_nothing_printed_logged_or_pickled_tells_a_document(store, caplog):
    caplog.set_level(logging.DEBUG)
    store.add_documents(DOCUMENTS)
    store.similarity_search(DOCUMENTS[0].page_content)
    out = io.StringIO()
    print(store, [store], store.as_retriever(), store._embeddings, store.inner, file=out)
    assert SECRET not in out.getvalue() + caplog.text
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="keys"):
            way(store)
