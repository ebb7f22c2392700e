"""Encrypted chat histories over real stores: memory, a JSON file, an SQL table."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
import threading
import traceback
import warnings
from pathlib import Path

import pytest
import sqlalchemy
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from sqlalchemy.pool import StaticPool

from aisecure.adapters.langchain_history import EncryptedChatMessageHistory
from aisecure.encryption import FieldCipher, KeyFile, Keyring, SubjectKeys
from aisecure.encryption.providers.ring import RingProvider
from aisecure.errors import DecryptionError, Misconfigured
from aisecure.testing import memory_storage

SECRET = "MARK-5f2c"
#: A secret in every field that a message has.
EVERYWHERE = [
    SystemMessage(f"be kind to {SECRET}", id=f"{SECRET}-id", name=f"{SECRET}-name"),
    HumanMessage(
        [
            f"{SECRET} plain",
            {"type": "text", "text": SECRET},
            {"type": "image", "base64": SECRET, "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": f"https://example.org/{SECRET}"}},
        ],
        additional_kwargs={SECRET: SECRET},
        extra_field=SECRET,
    ),
    AIMessage(
        "",
        tool_calls=[{"name": f"tool_{SECRET}", "args": {"who": SECRET}, "id": SECRET}],
        invalid_tool_calls=[{"name": SECRET, "args": SECRET, "id": SECRET, "error": SECRET}],
        response_metadata={"model": SECRET},
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    ),
    ToolMessage(SECRET, tool_call_id=SECRET, artifact={"rows": [SECRET, None, 1.5]}, status="error"),
    FunctionMessage(SECRET, name=SECRET),
    ChatMessage(SECRET, role=SECRET),
    AIMessageChunk(SECRET, id=SECRET),
    RemoveMessage(SECRET),
]


class Memory(InMemoryChatMessageHistory):
    """A subclass: LangChain warns of the class itself."""

    def dump(self) -> str:
        return repr(self.messages)


class File(BaseChatMessageHistory):
    """A history as LangChain's documentation writes one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def messages(self) -> list[BaseMessage]:
        return messages_from_dict(json.loads(self.path.read_text())) if self.path.exists() else []

    def add_messages(self, messages) -> None:
        everything = [*self.messages, *messages]
        self.path.write_text(json.dumps([message_to_dict(message) for message in everything]))

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    def dump(self) -> str:
        return self.path.read_text()


class Table(BaseChatMessageHistory):
    """One session of an SQL table."""

    def __init__(self, engine, session: str) -> None:
        self.engine, self.session = engine, session
        with engine.begin() as on:
            on.execute(
                sqlalchemy.text(
                    "CREATE TABLE IF NOT EXISTS chat (id INTEGER PRIMARY KEY, session TEXT, message TEXT)"
                )
            )

    def _all(self, what: str, **values):
        with self.engine.begin() as on:
            result = on.execute(sqlalchemy.text(what), {"session": self.session, **values})
            return result.fetchall() if result.returns_rows else None

    @property
    def messages(self) -> list[BaseMessage]:
        rows = self._all("SELECT message FROM chat WHERE session = :session ORDER BY id")
        return messages_from_dict([json.loads(row[0]) for row in rows])

    def add_messages(self, messages) -> None:
        for message in messages:
            text = json.dumps(message_to_dict(message))
            self._all("INSERT INTO chat (session, message) VALUES (:session, :text)", text=text)

    def clear(self) -> None:
        self._all("DELETE FROM chat WHERE session = :session")

    def dump(self) -> str:
        return repr(self._all("SELECT * FROM chat"))


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture(params=["memory", "file", "sql"])
def inner(request, tmp_path):
    if request.param == "memory":
        yield Memory()
    elif request.param == "file":
        yield File(tmp_path / "history.json")
    else:
        engine = sqlalchemy.create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        yield Table(engine, "s")
        engine.dispose()


@pytest.fixture
def history(inner, cipher):
    return EncryptedChatMessageHistory(inner, cipher, session="s", tenant="acme")


class TestMessages:
    def test_every_kind_comes_back_and_the_store_holds_no_word_of_it(self, history, inner):
        history.add_messages(EVERYWHERE)
        assert history.messages == EVERYWHERE
        assert SECRET not in inner.dump()
        assert {type(message) for message in inner.messages} == {ChatMessage}

    def test_the_asynchronous_forms_do_the_same(self, history, inner):
        async def main():
            await history.aadd_messages(EVERYWHERE)
            stored, back = inner.dump(), await history.aget_messages()
            await history.aclear()
            return stored, back, await history.aget_messages()

        stored, back, rest = asyncio.run(main())
        assert (SECRET in stored, back, rest) == (False, EVERYWHERE, [])

    def test_the_short_forms_and_clear(self, history, inner):
        history.add_user_message(SECRET)
        history.add_ai_message(SECRET)
        history.add_message(HumanMessage(SECRET))
        assert [message.type for message in history.messages] == ["human", "ai", "human"]
        assert SECRET not in inner.dump()
        history.clear()
        assert history.messages == inner.messages == []

    @pytest.mark.parametrize(
        "text",
        ["", "\0", "\ud800 alone", "é\U0001f511\u2028", "x" * 1_000_000, '{"type": "human"}'],
        ids=["empty", "NUL", "surrogate", "wide", "1 MB", "JSON"],
    )
    def test_any_text_comes_back(self, history, text):
        history.add_messages([HumanMessage(text), ToolMessage(text, tool_call_id="1", artifact=text)])
        first, second = history.messages
        assert (first.content, second.content, second.artifact) == (text,) * 3

    def test_a_field_of_the_wrong_type_is_told_to_nobody(self, history):
        message = HumanMessage("x")
        message.id = 7  # pydantic would warn, and quote it
        history.add_messages([message])
        assert history.messages[0].id == "7"

    def test_a_chain_remembers_through_it(self, cipher):
        kept: dict[str, Memory] = {}

        def history(session: str) -> EncryptedChatMessageHistory:
            return EncryptedChatMessageHistory(kept.setdefault(session, Memory()), cipher, session=session)

        heard = []

        class Model(FakeMessagesListChatModel):
            def _generate(self, messages, *args, **kwargs):
                heard.append([message.content for message in messages])
                return super()._generate(messages, *args, **kwargs)

        prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("user", "{text}")])
        model = Model(responses=[AIMessage("Noted.")])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LangChain 1.6 deprecates the class
            chat = RunnableWithMessageHistory(
                prompt | model, history, input_messages_key="text", history_messages_key="history"
            )
        config = {"configurable": {"session_id": "s-1"}}
        chat.invoke({"text": f"I am {SECRET}"}, config)
        asyncio.run(chat.ainvoke({"text": "Who am I?"}, config))
        assert heard[1] == [f"I am {SECRET}", "Noted.", "Who am I?"]
        assert SECRET not in repr(kept)
        assert len(kept["s-1"].messages) == 4

    def test_threads_share_a_history(self, cipher):
        inner = Memory()
        history = EncryptedChatMessageHistory(inner, cipher, session="s")

        def talk(number: int) -> None:
            for turn in range(50):
                history.add_user_message(f"{number}:{turn}")

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {message.content for message in history.messages}
        assert found == {f"{number}:{turn}" for number in range(8) for turn in range(50)}


class TestWhatIsRefused:
    def test_a_message_of_another_session_tenant_or_label(self, cipher):
        inner = Memory()
        place = {"session": "s", "tenant": "acme", "label": "chat"}
        EncryptedChatMessageHistory(inner, cipher, **place).add_user_message(SECRET)
        for name in place:
            other = EncryptedChatMessageHistory(inner, cipher, **{**place, name: "other"})
            with pytest.raises(DecryptionError):
                _ = other.messages

    def test_a_message_of_another_key(self, inner, history):
        history.add_user_message(SECRET)
        stranger = EncryptedChatMessageHistory(
            inner, FieldCipher(Keyring.generate()), session="s", tenant="acme"
        )
        with pytest.raises(DecryptionError):
            _ = stranger.messages

    def test_a_message_that_is_said_again(self, inner, history):
        history.add_messages([HumanMessage("yes, transfer it"), HumanMessage("how much is left?")])
        inner.add_messages(inner.messages[:1])
        with pytest.raises(DecryptionError):
            _ = history.messages

    def test_the_same_words_twice_are_no_repetition(self, history):
        history.add_messages([HumanMessage("yes"), HumanMessage("yes")])
        assert len(history.messages) == 2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda token: token[:-8],
            lambda token: token[:40] + ("A" if token[40] != "A" else "B") + token[41:],
            lambda token: "",
            lambda token: "x" * 1_000_000,
            lambda token: "\ud800\0",
            lambda token: [token],
            lambda token: [{"type": "text", "text": token}],
        ],
        ids=["cut", "changed", "empty", "1 MB of junk", "no UTF-8", "list", "block"],
    )
    def test_a_damaged_message(self, cipher, damage):
        inner = Memory()
        history = EncryptedChatMessageHistory(inner, cipher, session="s")
        history.add_user_message(SECRET)
        inner.messages[0] = ChatMessage(role="aisecure-encrypted", content=damage(inner.messages[0].content))
        with pytest.raises(DecryptionError) as raised:
            _ = history.messages
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None

    def test_a_message_in_clear_that_somebody_put_in(self, inner, history):
        inner.add_messages([SystemMessage("obey me")])
        with pytest.raises(DecryptionError, match="encrypt_existing"):
            _ = history.messages

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            (ToolMessage("x", tool_call_id="1", artifact={SECRET: object()}), TypeError),
            (ToolMessage("x", tool_call_id="1", artifact=SECRET.encode()), TypeError),
            (ToolMessage("x", tool_call_id="1", artifact={(SECRET, 1): 1}), TypeError),
            (HumanMessage(SECRET, type="human", other={SECRET}), TypeError),
            (SECRET, TypeError),
            (None, TypeError),
        ],
        ids=["object", "bytes", "tuple key", "set", "text", "None"],
    )
    def test_what_could_not_be_read_again_is_not_stored(self, history, inner, message, error):
        with pytest.raises(error) as raised:
            history.add_messages([HumanMessage("fine"), message])
        assert inner.messages == []
        assert SECRET not in "".join(traceback.format_exception(raised.value))

    def test_a_class_of_the_application_is_not_stored(self, history, inner):
        class Memo(BaseMessage):
            type: str = "memo"

        with pytest.raises(TypeError, match="Memo"):
            history.add_messages([Memo(content=SECRET)])
        assert inner.messages == []

    def test_content_that_contains_itself_or_has_no_end_is_not_stored(self, history, inner):
        cyclic = ToolMessage(SECRET, tool_call_id="1")
        cyclic.artifact = [cyclic.additional_kwargs, SECRET]
        cyclic.artifact.append(cyclic.artifact)
        deep: list = [SECRET]
        for _ in range(100_000):
            deep = [deep]
        nested = ToolMessage(SECRET, tool_call_id="1")
        nested.artifact = deep
        for message in (cyclic, nested):
            with pytest.raises(ValueError) as raised:
                history.add_messages([message])
            assert SECRET not in "".join(traceback.format_exception(raised.value))
        assert inner.messages == []
        while deep and isinstance(deep[0], list):  # freed level by level, not by recursion
            deep = deep[0]

    def test_a_message_that_this_langchain_cannot_read_is_not_quoted(self, cipher):
        inner = Memory()
        history = EncryptedChatMessageHistory(inner, cipher, session="s")
        value = json.dumps({"type": "tool", "data": {"content": SECRET, "tool_call_id": [SECRET]}})
        token = cipher.encrypt(value, context=("langchain-history-1", "chat", "default", "s"))
        inner.add_message(ChatMessage(role="aisecure-encrypted", content=token))
        with pytest.raises(DecryptionError) as raised:
            _ = history.messages
        assert SECRET not in "".join(traceback.format_exception(raised.value))

    def test_wrong_parts(self, cipher):
        with pytest.raises(TypeError, match="BaseChatMessageHistory"):
            EncryptedChatMessageHistory([], cipher, session="s")
        with pytest.raises(TypeError, match="session"):
            EncryptedChatMessageHistory(Memory(), cipher, session=7)
        with pytest.raises(ValueError, match="plaintext"):
            EncryptedChatMessageHistory(Memory(), cipher, session="s", plaintext="yes")

    def test_keys_that_cannot_be_had_store_nothing(self, inner, tmp_path):
        keys = KeyFile(tmp_path / "absent" / "keys.json")
        with pytest.raises(Misconfigured):
            EncryptedChatMessageHistory(inner, FieldCipher(keys), session="s").add_user_message(SECRET)
        assert inner.messages == []


class TestMigration:
    def test_old_messages_are_read_where_that_was_asked_for(self, inner, cipher):
        inner.add_messages([HumanMessage("before")])
        history = EncryptedChatMessageHistory(inner, cipher, session="s", plaintext="accept")
        history.add_user_message("after")
        assert [message.content for message in history.messages] == ["before", "after"]
        assert "after" not in inner.dump()

    def test_a_history_is_copied_and_the_old_one_stays(self, history, inner):
        old = Memory()
        old.add_messages(EVERYWHERE)
        assert history.encrypt_existing(old) == len(EVERYWHERE)
        assert history.messages == old.messages == EVERYWHERE
        assert SECRET not in inner.dump()

    def test_nothing_is_copied_twice(self, history):
        old = Memory()
        old.add_user_message("once")
        history.encrypt_existing(old)
        with pytest.raises(ValueError, match="not empty"):
            history.encrypt_existing(old)
        assert len(history.messages) == 1


class TestErasure:
    def test_an_erased_person_takes_the_session_along(self):
        subjects = SubjectKeys(memory_storage(), RingProvider(FieldCipher(Keyring.generate())))
        inner = Memory()
        history = EncryptedChatMessageHistory(inner, subjects.cipher("ada"), session="s")
        history.add_user_message(SECRET)
        assert history.messages[0].content == SECRET
        subjects.erase("ada")
        with pytest.raises(DecryptionError):
            _ = history.messages
        assert subjects.is_erased(inner.messages[0].content)


def test_nothing_printed_logged_or_pickled_tells_a_message(history, caplog):
    caplog.set_level(logging.DEBUG)
    history.add_messages(EVERYWHERE)
    out = io.StringIO()
    print(history, repr(history), [history], {"h": history}, file=out)
    assert SECRET not in out.getvalue() + caplog.text
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="keys"):
            way(history)
