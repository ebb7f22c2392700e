"""Embeddings that make vectors of texts for a vector store that is given tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from langchain_core.embeddings import Embeddings

from aisecure.errors import Misconfigured

__all__ = ["RevealingEmbeddings"]


class RevealingEmbeddings(Embeddings):
    """Embeddings for a store that has tokens only: while documents are added, each token stands for its text.

    A token is never embedded as if it were a text, and a store that embeds by other means is found out.
    """

    def __init__(self, plain: Embeddings) -> None:
        self.plain = plain
        self._texts: dict[str, str] = {}
        self._embedded: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def revealing(self, texts: Mapping[str, str]) -> Iterator[None]:
        """Know these tokens inside the block; each has to be embedded there."""
        # A dict for all threads, and not a contextvar: some stores embed on threads of their own. No two tokens are equal.
        with self._lock:
            self._texts.update(texts)
        try:
            yield
            if not self._embedded.issuperset(texts):
                raise Misconfigured(
                    "the vector store did not embed with what `make` was given, so its vectors were made of tokens, "
                    "or nothing: pass the embeddings on, and delete what was added"
                )
        finally:
            with self._lock:
                for token in texts:
                    del self._texts[token]
                self._embedded.difference_update(texts)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.plain.embed_documents(self._revealed(texts))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await self.plain.aembed_documents(self._revealed(texts))

    def embed_query(self, text: str) -> list[float]:
        return self.plain.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        return await self.plain.aembed_query(text)

    def _revealed(self, tokens: list[str]) -> list[str]:
        with self._lock:
            unknown = any(token not in self._texts for token in tokens)
            texts = [] if unknown else [self._texts[token] for token in tokens]
            self._embedded.update(texts and tokens)
        if unknown:
            raise Misconfigured(
                "the vector store embeds what is not being added: add through EncryptedVectorStore"
            )
        return texts

    def __repr__(self) -> str:
        return f"RevealingEmbeddings({type(self.plain).__name__})"
