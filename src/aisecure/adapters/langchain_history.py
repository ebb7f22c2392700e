"""LangChain chat histories whose store holds tokens only.

::

    def history(session_id: str) -> BaseChatMessageHistory:
        return EncryptedChatMessageHistory(SQLHistory(session_id), cipher, session=session_id, tenant="acme")

    chat = RunnableWithMessageHistory(chain, history)

LangChain itself now recommends LangGraph checkpoints for new applications: `aisecure.adapters.langgraph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, ChatMessage

from aisecure.adapters._message_json import from_json, to_json
from aisecure.adapters._sealed_json import open_json, seal_json
from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["EncryptedChatMessageHistory"]

#: Role of what is stored. No provider knows it: tokens that reach a model round this wrapper are refused there.
ROLE = "aisecure-encrypted"


class EncryptedChatMessageHistory(BaseChatMessageHistory):
    """A chat history over any other one, which is given a token for each message and nothing else.

    The token holds the whole message: content, kind, name, id, tool calls, artifact, metadata, usage. In clear stay
    the number, order and length of the messages, and what the inner history was made with, such as the session's id.

    Against whoever reads the store, changes a message, repeats one, or puts one into another session or tenant. Not
    against whoever removes messages, changes their order, or puts an old copy of the store back; and not against
    LangChain's own tracing, which is given messages in plaintext where it is switched on.

    A message comes back as LangChain's JSON stores give it: tuples as lists, models in an artifact as dicts. Safe to
    share between threads if the inner history is.

    Args:
        inner: The history that stores; one session of it.
        cipher: Encrypts. That of the session's data subject lets erasing the subject erase the session.
        session: Id of the session, to which tokens are bound.
        tenant: Whose session it is.
        label: Which history of the application this is, where it has several.
        plaintext: What to do with messages that were stored before encryption: ``refuse`` or, until they are
            migrated by `encrypt_existing`, ``accept``; whoever can write to the store can then put words in.

    >>> from langchain_core.chat_history import InMemoryChatMessageHistory
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> class Store(InMemoryChatMessageHistory): ...
    >>> store = Store()
    >>> cipher = FieldCipher(Keyring.generate())
    >>> history = EncryptedChatMessageHistory(store, cipher, session="s-7")
    >>> history.add_user_message("I am allergic to penicillin.")
    >>> history.messages[0].content
    'I am allergic to penicillin.'
    >>> "penicillin" in str(store)
    False
    """

    def __init__(
        self,
        inner: BaseChatMessageHistory,
        cipher: Cipher,
        *,
        session: str,
        tenant: str = "default",
        label: str = "chat",
        plaintext: Literal["refuse", "accept"] = "refuse",
    ) -> None:
        if not isinstance(inner, BaseChatMessageHistory):
            raise TypeError(f"inner is a BaseChatMessageHistory, not {type(inner).__name__}")
        if not all(isinstance(part, str) for part in (session, tenant, label)):
            raise TypeError("session, tenant and label are texts")
        if plaintext not in {"refuse", "accept"}:
            raise ValueError("plaintext is 'refuse' or 'accept'")
        super().__init__()
        self._inner = inner
        self._cipher = cipher
        self._accept = plaintext == "accept"
        self._place = ("langchain-history-1", label, tenant, session)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # declared as a variable, meant as either
        """The messages, decrypted.

        Raises:
            DecryptionError: One is damaged, repeated, of another session, or in clear where that is refused.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        return self._opened(self._inner.messages)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages, decrypted; errors as for `messages`."""
        return self._opened(await self._inner.aget_messages())

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Encrypt messages and store them.

        Raises:
            TypeError, ValueError: One has content that JSON has no form for, or is of a class that cannot be read
                again; nothing was stored.
            Unavailable, Misconfigured: The keys cannot be had; nothing was stored.
        """
        self._inner.add_messages([self._sealed(message) for message in messages])

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Encrypt messages and store them; errors as for `add_messages`."""
        await self._inner.aadd_messages([self._sealed(message) for message in messages])

    def clear(self) -> None:
        """Remove all messages from the store."""
        self._inner.clear()

    async def aclear(self) -> None:
        """Remove all messages from the store."""
        await self._inner.aclear()

    def encrypt_existing(self, old: BaseChatMessageHistory) -> int:
        """Copy a history in clear into this one, which is empty; return how many messages that were.

        The old one stays as it is, so that nothing is lost when this is interrupted: clear this history and start
        again. Afterwards destroy the old store as a whole; rows that are only deleted stay in free pages and logs.

        Raises:
            ValueError: This history holds messages already.
        """
        if self._inner.messages:
            raise ValueError("encrypt_existing: this history is not empty; clear it, or copy into a new one")
        messages = list(old.messages)
        self.add_messages(messages)
        return len(messages)

    def _sealed(self, message: BaseMessage) -> ChatMessage:
        token = seal_json(self._cipher, "message", to_json(message), self._place)
        return ChatMessage(role=ROLE, content=token)

    def _opened(self, stored: Sequence[BaseMessage]) -> list[BaseMessage]:
        opened: list[BaseMessage] = []
        seen: set[object] = set()
        for message in stored:
            if isinstance(message, ChatMessage) and message.role == ROLE:
                opened.append(from_json(open_json(self._cipher, message.content, self._place)))
                if message.content in seen:  # no two messages have one token: somebody says the first again
                    raise DecryptionError
                seen.add(message.content)
            elif self._accept:
                opened.append(message)
            else:
                raise DecryptionError(
                    "A message of this history is stored in clear. Migrate with encrypt_existing, or say plaintext='accept'."
                )
        return opened

    def __str__(self) -> str:
        # LangChain's writes out the conversation, which is then in the next log line.
        return repr(self)

    def __repr__(self) -> str:
        return f"EncryptedChatMessageHistory({type(self._inner).__name__})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an EncryptedChatMessageHistory is not pickled: it holds keys")
