"""LangChain retrieval that returns only what the caller may read.

::

    access = DocumentAccess(authorizer)
    retriever = AuthorizedRetriever(vectorstore=store, access=access, k=4, push_down="operators")
    chain = {"context": retriever, "question": RunnablePassthrough()} | prompt | model

The caller is the principal of the surrounding `acting_as`, asked for at each call, so one retriever serves everybody. What
the store can filter by itself is pushed down to it, and every document that comes back is judged again by the policy:
the store's filter saves work, and is never what protects.

Put this innermost: rerankers, compressors and caches come after it, since they read whole texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, model_validator

from aisecure.access import DocumentAccess
from aisecure.call import known_principal
from aisecure.principal import Principal

__all__ = ["AuthorizedRetriever", "PushDown", "label_documents"]

#: From who is asking to the arguments of a search that let the store leave out what cannot be allowed.
PushDown = Callable[[Principal, DocumentAccess], dict[str, Any]]

#: Most names in one filter; a store takes longer over more than it saves.
_NAMES: Final = 500
#: Most documents that one search asks the store for.
_MOST: Final = 1_000
#: How much more is asked for when too few of what came back may be seen.
_GROWTH: Final = 4


def _operators(principal: Principal, access: DocumentAccess) -> dict[str, Any]:
    """For stores that take ``{"field": {"$in": [...]}}`` and ``{"$and": [...]}``: Chroma, PGVector, Pinecone and others."""
    tests: list[dict[str, Any]] = []
    if isinstance(access.tenant, str):
        tests.append({access.tenant: {"$in": sorted(access.tenants(principal))}})
    granted = access.granted(principal)
    if (
        isinstance(access.resource, str)
        and granted.complete
        and not granted.prefixes
        and len(granted.exact) <= _NAMES
    ):
        tests.append({access.resource: {"$in": sorted(granted.exact)}})
    if not tests:
        return {}
    return {"filter": tests[0] if len(tests) == 1 else {"$and": tests}}


def _function(principal: Principal, access: DocumentAccess) -> dict[str, Any]:
    """For stores that take a function of the document: LangChain's InMemoryVectorStore."""
    granted, tenants = access.granted(principal), access.tenants(principal)
    resource, tenant = access.resource, access.tenant

    def may_be_allowed(document: Document) -> bool:
        named = document.metadata.get(resource) if isinstance(resource, str) else resource(document)
        owner = (
            None
            if tenant is None
            else document.metadata.get(tenant)
            if isinstance(tenant, str)
            else tenant(document)
        )
        return isinstance(named, str) and granted.may_cover(named) and (tenant is None or owner in tenants)

    return {"filter": may_be_allowed}


_DIALECTS: Final[Mapping[str, PushDown]] = MappingProxyType({"operators": _operators, "function": _function})


class AuthorizedRetriever(BaseRetriever):
    """A retriever that returns what the caller may read, of a vector store or of another retriever.

    When some of what was found may not be seen, more is asked for, so that `k` documents come back where there are so
    many; the caller cannot tell how many were left out. Callbacks and tracers see only what is returned.

    Attributes:
        vectorstore: Where to search; or
        retriever: What to ask instead. It is asked once, so fewer than it finds may come back.
        access: Which documents the caller may see.
        k: Most documents that are returned.
        search_kwargs: Further arguments of the store's ``similarity_search``.
        push_down: What the store filters by: ``operators`` (``{"field": {"$in": [...]}}``), ``function`` (of the
            document), a function of your own, or None.

    Raises:
        AuthenticationError: Nobody is asking: the call is outside of `acting_as`.
        Unavailable: The policy could not be evaluated.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    vectorstore: VectorStore | None = None
    retriever: BaseRetriever | None = None
    access: DocumentAccess
    k: int = Field(default=4, ge=1, le=_MOST)
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    push_down: Literal["operators", "function"] | PushDown | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AuthorizedRetriever:
        if (self.vectorstore is None) == (self.retriever is None):
            raise ValueError("give a vectorstore or a retriever")
        if self.retriever is not None and (self.push_down or self.search_kwargs):
            raise ValueError("push_down and search_kwargs go with a vectorstore")
        if not {"k", "filter"}.isdisjoint(self.search_kwargs) and self.push_down:
            raise ValueError(
                "search_kwargs: k and filter are set by the retriever; push_down takes a function for more"
            )
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        principal = known_principal()
        if self.retriever is not None:
            # Its own method, so that no tracer is told of what is left out here.
            silent = CallbackManagerForRetrieverRun.get_noop_manager()
            found = self.retriever._get_relevant_documents(query, run_manager=silent)  # noqa: SLF001  (what subclasses implement)
            return self.access.filter(principal, found)[: self.k]
        store, arguments = self._search(principal)
        asked = self.k
        while True:
            found = store.similarity_search(query, k=asked, **arguments)
            kept = self.access.filter(principal, found)
            if self._is_enough(kept, found, asked):
                return kept[: self.k]
            asked = min(asked * _GROWTH, _MOST)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        principal = known_principal()
        if self.retriever is not None:
            silent = AsyncCallbackManagerForRetrieverRun.get_noop_manager()
            found = await self.retriever._aget_relevant_documents(query, run_manager=silent)  # noqa: SLF001  (as above)
            return self.access.filter(principal, found)[: self.k]
        store, arguments = self._search(principal)
        asked = self.k
        while True:
            found = await store.asimilarity_search(query, k=asked, **arguments)
            kept = self.access.filter(principal, found)
            if self._is_enough(kept, found, asked):
                return kept[: self.k]
            asked = min(asked * _GROWTH, _MOST)

    def _search(self, principal: Principal) -> tuple[VectorStore, dict[str, Any]]:
        if self.vectorstore is None:
            raise ValueError("give a vectorstore or a retriever")
        push_down = _DIALECTS[self.push_down] if isinstance(self.push_down, str) else self.push_down
        pushed = {} if push_down is None else push_down(principal, self.access)
        return self.vectorstore, {**self.search_kwargs, **pushed}

    def _is_enough(self, kept: list[Document], found: list[Document], asked: int) -> bool:
        return len(kept) >= self.k or len(found) < asked or asked >= _MOST


def label_documents(
    documents: Iterable[Document],
    *,
    resource: str | Callable[[Document], str],
    tenant: str,
    resource_name: str = "resource",
    tenant_name: str = "tenant",
) -> list[Document]:
    """Return copies of documents that say what they are; call it where documents come in.

    Args:
        documents: As a loader or splitter returns them.
        resource: The resource of all of them, or a function of each.
        tenant: Whose they are.
        resource_name: Name in the metadata.
        tenant_name: Name in the metadata.

    Raises:
        ValueError: A document says already that it is something else: whoever wrote it may have wanted it read by others.

    >>> label_documents([Document("text")], resource="note:7", tenant="acme")
    [Document(metadata={'resource': 'note:7', 'tenant': 'acme'}, page_content='text')]
    """
    labelled = []
    for number, document in enumerate(documents, 1):
        wanted = {
            resource_name: resource if isinstance(resource, str) else resource(document),
            tenant_name: tenant,
        }
        if any(not isinstance(value, str) or not value for value in wanted.values()):
            raise TypeError(f"label_documents: document {number}: resource and tenant are texts")
        for name, value in wanted.items():
            if document.metadata.get(name, value) != value:
                raise ValueError(
                    f"label_documents: document {number} brings a {name} of its own; remove it, or find out who wrote it"
                )
        labelled.append(document.model_copy(update={"metadata": {**document.metadata, **wanted}}))
    return labelled
