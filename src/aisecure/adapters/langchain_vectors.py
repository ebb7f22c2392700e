"""LangChain vector stores whose store holds tokens in place of texts and metadata.

::

    store = EncryptedVectorStore(
        lambda embeddings: Chroma("notes", embedding_function=embeddings), OpenAIEmbeddings(),
        cipher, collection="notes", tenant="acme", clear=("source",),
    )

**Vectors are not encrypted**, and cannot be if the store is to compare them. They tell much of the text they were made of:
short texts have been written out again nearly word by word from their vectors (Morris et al. 2023, "Text Embeddings
Reveal (Almost) As Much As Text", arXiv:2310.06816). So guard the store as you guard the texts; what is gained here is
that dumps, backups, logs and consoles of the store show no text, and that tampering is found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from aisecure.adapters._revealing_embeddings import RevealingEmbeddings
from aisecure.adapters._sealed_json import open_json, seal_json
from aisecure.encryption.blind_index import BlindIndex
from aisecure.encryption.subjects import SubjectKeys
from aisecure.errors import DecryptionError, Misconfigured
from aisecure.ports import Cipher

__all__ = ["EncryptedVectorStore"]


class EncryptedVectorStore(VectorStore):
    """A vector store over any other one, which is given a token in place of each document's text and metadata.

    Vectors are made of the plaintext and stay as they are; read what the module says about them. A token is bound to
    collection, tenant and document id, so documents that have no id get one. In clear stay ids, the metadata of
    ``clear`` and the indexes of ``blind``, because stores filter by them; when a document is read they have to agree
    with what is sealed. Searching, filtering and scores are the inner store's.

    Against whoever reads texts and metadata in the store, changes them, or moves them between documents, collections
    and tenants. Not against what vectors tell, nor against whoever removes documents, exchanges vectors, or puts an
    old copy back; and not against LangChain's own tracing, which is given documents in plaintext.

    Metadata is anything that JSON has a form for. Safe to share between threads if the inner store is.

    Args:
        make: Returns the inner store; it is given the embeddings to use, and must use them while it adds documents.
        embeddings: Makes vectors of texts; it sees plaintext.
        cipher: Encrypts. With a `aisecure.encryption.SubjectKeys` each document has the key of its data subject,
            and is gone for good when that is erased.
        subject: Names the data subject of a document that is added; with `SubjectKeys` only.
        collection: Names what this store holds.
        tenant: Whose documents these are.
        clear: Names of metadata that stay in clear, to filter by.
        blind: Indexes of further metadata to filter by: see `blinded`. After rotating an index, add the documents again.
        on_erased: What to do with documents whose subject was erased: ``raise`` a `DecryptionError`, or ``skip`` them;
            a search for 4 then gives fewer. With `SubjectKeys` only. Remove the documents too: their vectors remain.

    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> from langchain_core.vectorstores import InMemoryVectorStore
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> cipher, embeddings = FieldCipher(Keyring.generate()), DeterministicFakeEmbedding(size=8)
    >>> store = EncryptedVectorStore(InMemoryVectorStore, embeddings, cipher, collection="notes", clear=("ward",))
    >>> _ = store.add_texts(["allergic to penicillin"], [{"ward": 3, "name": "Ada"}], ids=["n-1"])
    >>> store.similarity_search("allergic to penicillin", k=1)
    [Document(id='n-1', metadata={'ward': 3, 'name': 'Ada'}, page_content='allergic to penicillin')]
    >>> stored = store.inner.store["n-1"]
    >>> stored["metadata"], "penicillin" in stored["text"]
    ({'ward': 3}, False)
    """

    def __init__(
        self,
        make: Callable[[Embeddings], VectorStore],
        embeddings: Embeddings,
        cipher: Cipher | SubjectKeys,
        *,
        collection: str,
        tenant: str = "default",
        subject: Callable[[Document], str] | None = None,
        clear: Collection[str] = (),
        blind: Mapping[str, BlindIndex] | None = None,
        on_erased: Literal["raise", "skip"] = "raise",
    ) -> None:
        if not isinstance(collection, str) or not isinstance(tenant, str):
            raise TypeError("collection and tenant are texts")
        if isinstance(clear, str):
            raise TypeError("clear is a collection of names")
        if on_erased not in {"raise", "skip"}:
            raise ValueError("on_erased is 'raise' or 'skip'")
        if isinstance(cipher, SubjectKeys) is (subject is None):
            raise TypeError(
                "subject names the data subject of a document: give it with SubjectKeys, and only then"
            )
        if on_erased == "skip" and subject is None:
            raise ValueError(
                "on_erased='skip' needs SubjectKeys: no other cipher can tell an erased document"
            )
        self._clear = frozenset(clear)
        self._blind = dict(blind or {})
        if both := self._clear & self._blind.keys():
            raise ValueError(f"metadata {sorted(both)} cannot be in clear and blind")
        self._place = ("langchain-vectors-1", collection, tenant)
        self._tenant = tenant
        self._cipher = cipher
        self._subject = subject
        self._skip = on_erased == "skip"
        self._embeddings = RevealingEmbeddings(embeddings)
        self._inner = make(self._embeddings)
        if not isinstance(self._inner, VectorStore):
            raise TypeError(f"make returns a VectorStore, not {type(self._inner).__name__}")

    @property
    def inner(self) -> Any:
        """The store with the tokens, for what only it can do."""
        return self._inner

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embeddings.plain

    def blinded(self, name: str, value: Any) -> str:
        """Return what to filter by for a blind metadata: ``filter={"patient": store.blinded("patient", "Ada")}``.

        An index that is truncated finds documents of other values too; look at the metadata of what was found.

        Raises:
            KeyError: There is no index of this name.
        """
        return self._blind[name].of(value, tenant=self._tenant)

    # -- writing

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Encrypt documents and store them; return their ids.

        Raises:
            TypeError, ValueError: Metadata has no JSON form, or there are not as many ids as documents.
            Misconfigured: The inner store did not make its vectors with the embeddings that it was given.
            Unavailable: The keys cannot be had.
        """
        sealed, texts, kwargs = self._sealed(documents, kwargs)
        with self._embeddings.revealing(texts):
            return self._inner.add_documents(sealed, **kwargs)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Encrypt documents and store them; as `add_documents`."""
        sealed, texts, kwargs = self._sealed(documents, kwargs)
        with self._embeddings.revealing(texts):
            return await self._inner.aadd_documents(sealed, **kwargs)

    # LangChain's own forms of these two lose all texts of an iterator (seen with langchain-core 1.7).
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Encrypt texts and store them; as `add_documents`."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Encrypt texts and store them; as `add_documents`."""
        return await self.aadd_documents(_documents(texts, metadatas), ids=ids, **kwargs)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents."""
        return self._inner.delete(ids, **kwargs)

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents."""
        return await self._inner.adelete(ids, **kwargs)

    @classmethod
    def from_texts(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Is not offered: a store is made from its parts, and filled by `add_texts`."""
        raise NotImplementedError("make the store with EncryptedVectorStore(...), then call add_texts")

    def _sealed(
        self, documents: Sequence[Document], kwargs: dict[str, Any]
    ) -> tuple[list[Document], dict[str, str], dict[str, Any]]:
        """Return what the inner store is given, and the text behind each token."""
        ids = kwargs.get("ids") or [document.id for document in documents]
        if len(ids) != len(documents):
            raise ValueError(f"{len(ids)} ids for {len(documents)} documents")
        ids = [number or str(uuid4()) for number in ids]
        sealed, texts = [], {}
        for number, document in zip(ids, documents, strict=True):
            value = [document.page_content, document.metadata]
            token = seal_json(self._sealer(document), "document", value, (*self._place, number))
            texts[token] = document.page_content
            sealed.append(
                Document(id=number, page_content=token, metadata=self._searchable(document.metadata))
            )
        return sealed, texts, {**kwargs, "ids": ids}

    def _sealer(self, document: Document) -> Cipher:
        if isinstance(self._cipher, SubjectKeys):
            assert self._subject is not None  # noqa: S101  (the constructor saw to it)
            return self._cipher.cipher(self._subject(document), tenant=self._tenant)
        return self._cipher

    def _searchable(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of the metadata the inner store may see."""
        found = {name: metadata[name] for name in self._clear if name in metadata}
        for name in self._blind.keys() & metadata.keys():
            found[name] = self.blinded(name, metadata[name])
        return found

    # -- reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents, decrypted.

        Raises:
            DecryptionError: One is damaged, of another place, erased, or in clear.
            Misconfigured: The inner store gives documents without ids.
            Unavailable: The keys cannot be had.
        """
        return self._opened(self._inner.get_by_ids(ids))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents, decrypted; as `get_by_ids`."""
        return self._opened(await self._inner.aget_by_ids(ids))

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the documents nearest to a query, decrypted; errors as for `get_by_ids`."""
        return self._opened(self._inner.similarity_search(query, k, **kwargs))

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the documents nearest to a query, decrypted."""
        return self._opened(await self._inner.asimilarity_search(query, k, **kwargs))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Return the documents nearest to a vector, decrypted."""
        return self._opened(self._inner.similarity_search_by_vector(embedding, k, **kwargs))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Return the documents nearest to a vector, decrypted."""
        return self._opened(await self._inner.asimilarity_search_by_vector(embedding, k, **kwargs))

    def similarity_search_with_score(self, *args: Any, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query, decrypted, with the inner store's scores."""
        return self._scored(self._inner.similarity_search_with_score(*args, **kwargs))

    async def asimilarity_search_with_score(self, *args: Any, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query, decrypted, with the inner store's scores."""
        return self._scored(await self._inner.asimilarity_search_with_score(*args, **kwargs))

    # Asked of the inner store, and not put together here: LangChain warns of odd scores by writing out the documents.
    def similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query, decrypted, with scores from 0 to 1."""
        return self._scored(self._inner.similarity_search_with_relevance_scores(query, k, **kwargs))

    async def asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query, decrypted, with scores from 0 to 1."""
        return self._scored(await self._inner.asimilarity_search_with_relevance_scores(query, k, **kwargs))

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return documents near to a query and unlike each other, decrypted."""
        found = self._inner.max_marginal_relevance_search(query, k, fetch_k, lambda_mult, **kwargs)
        return self._opened(found)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return documents near to a query and unlike each other, decrypted."""
        found = await self._inner.amax_marginal_relevance_search(query, k, fetch_k, lambda_mult, **kwargs)
        return self._opened(found)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return documents near to a vector and unlike each other, decrypted."""
        search = self._inner.max_marginal_relevance_search_by_vector
        return self._opened(search(embedding, k, fetch_k, lambda_mult, **kwargs))

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return documents near to a vector and unlike each other, decrypted."""
        search = self._inner.amax_marginal_relevance_search_by_vector
        return self._opened(await search(embedding, k, fetch_k, lambda_mult, **kwargs))

    def _opened(self, stored: Sequence[Document]) -> list[Document]:
        return [document for document, _ in self._scored([(document, 0.0) for document in stored])]

    def _scored(self, stored: Sequence[tuple[Document, float]]) -> list[tuple[Document, float]]:
        opened = []
        for document, score in stored:
            try:
                opened.append((self._open(document), score))
            except DecryptionError:
                if not self._skips(document):
                    raise
        return opened

    def _skips(self, document: Document) -> bool:
        return (
            self._skip
            and isinstance(self._cipher, SubjectKeys)
            and self._cipher.is_erased(document.page_content)
        )

    def _open(self, document: Document) -> Document:
        if document.id is None:
            raise Misconfigured(
                f"{type(self._inner).__name__} gives documents without their ids, to which tokens are bound; "
                "use a version or a store that does"
            )
        value = open_json(self._opener, document.page_content, (*self._place, document.id))
        text, metadata = value
        if not self._agrees(metadata, document.metadata):
            # What filters decide by was changed: the document might be another's.
            raise DecryptionError
        return Document(id=document.id, page_content=text, metadata=metadata)

    def _agrees(self, metadata: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
        """Whether what stands in clear is what was sealed."""
        return all(stored.get(name) == metadata[name] for name in self._clear & metadata.keys()) and all(
            stored.get(name) in self._blind[name].candidates(metadata[name], tenant=self._tenant)
            for name in self._blind.keys() & metadata.keys()
        )

    @property
    def _opener(self) -> Any:
        cipher = self._cipher
        return _OfTenant(cipher, self._tenant) if isinstance(cipher, SubjectKeys) else cipher

    def __repr__(self) -> str:
        return f"EncryptedVectorStore({type(self._inner).__name__})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EncryptedVectorStore is not pickled: it holds keys")


def _documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    texts = list(texts)
    if metadatas and len(metadatas) != len(texts):
        raise ValueError(f"{len(metadatas)} metadatas for {len(texts)} texts")
    return [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas or [{} for _ in texts], strict=True)
    ]


class _OfTenant:
    """Opens tokens of all subjects of one tenant."""

    __slots__ = ("_subjects", "_tenant")

    def __init__(self, subjects: SubjectKeys, tenant: str) -> None:
        self._subjects = subjects
        self._tenant = tenant

    def decrypt(self, token: str, *, context: tuple[str | int, ...] = ()) -> str:
        return self._subjects.decrypt(token, context=context, tenant=self._tenant)
