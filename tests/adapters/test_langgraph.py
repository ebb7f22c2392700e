"""Encrypted checkpoints: real graphs over savers whose storage is searched, and stores that somebody wrote into."""

from __future__ import annotations

import asyncio
import copy
import json
import operator
import os
import pickle
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from aisecure.adapters.langgraph import EncryptedSaver, EncryptingSerializer
from aisecure.encryption import FieldCipher, Keyring, SubjectKeys
from aisecure.encryption.providers.ring import RingProvider
from aisecure.errors import DecryptionError
from aisecure.testing import memory_storage

SECRET = "MARK-9d41"


@dataclass
class Card:
    """A type of the application in the state."""

    number: str


TYPES = JsonPlusSerializer(allowed_msgpack_modules=[Card])


class Plain(BaseCheckpointSaver):
    """A saver that writes, as the one for PostgreSQL, simple values and all metadata as JSON, past its serializer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[str, str, str], list[Any]] = {}
        self.pending: dict[tuple[str, str, str], list[Any]] = {}

    @staticmethod
    def _key(config) -> tuple[str, str, str]:
        names = config["configurable"]
        return names["thread_id"], names.get("checkpoint_ns", ""), names.get("checkpoint_id", "")

    def put(self, config, checkpoint, metadata, new_versions):
        thread, namespace, parent = self._key(config)
        simple, other = {}, {}
        for channel, value in checkpoint["channel_values"].items():
            if value is None or isinstance(value, str | int | float | bool):
                simple[channel] = value
            else:
                other[channel] = self.serde.dumps_typed(value)
        text = json.dumps(
            [{**checkpoint, "channel_values": simple}, {**config.get("metadata", {}), **metadata}]
        )
        self.rows[thread, namespace, checkpoint["id"]] = [text, other, parent]
        return {
            "configurable": {
                "thread_id": thread,
                "checkpoint_ns": namespace,
                "checkpoint_id": checkpoint["id"],
            }
        }

    def put_writes(self, config, writes, task_id, task_path=""):
        rows = self.pending.setdefault(self._key(config), [])
        rows.extend((task_id, channel, self.serde.dumps_typed(value)) for channel, value in writes)

    def _tuple(self, key):
        text, other, parent = self.rows[key]
        checkpoint, metadata = json.loads(text)
        values = {channel: self.serde.loads_typed(tuple(value)) for channel, value in other.items()}
        place = {"thread_id": key[0], "checkpoint_ns": key[1]}
        return CheckpointTuple(
            {"configurable": {**place, "checkpoint_id": key[2]}},
            dict(checkpoint, channel_values={**checkpoint["channel_values"], **values}),
            metadata,
            {"configurable": {**place, "checkpoint_id": parent}} if parent else None,
            [(task, name, self.serde.loads_typed(value)) for task, name, value in self.pending.get(key, [])],
        )

    def get_tuple(self, config):
        thread, namespace, number = self._key(config)
        found = [key for key in self.rows if key[:2] == (thread, namespace) and number in {"", key[2]}]
        return self._tuple(max(found)) if found else None

    def list(self, config, *, filter=None, before=None, limit=None):
        keys = sorted(
            (key for key in self.rows if not config or key[0] == self._key(config)[0]), reverse=True
        )
        for key in keys:
            item = self._tuple(key)
            if all(item.metadata.get(name) == value for name, value in (filter or {}).items()):
                yield item

    def get_next_version(self, current, channel):
        return InMemorySaver.get_next_version(self, current, channel)

    async def aput(self, *args):
        return self.put(*args)

    async def aput_writes(self, *args):
        return self.put_writes(*args)

    async def aget_tuple(self, config):
        return self.get_tuple(config)

    async def alist(self, *args, **kwargs):
        for item in self.list(*args, **kwargs):
            yield item


def dump(saver) -> str:
    """Everything that a saver holds, with bytes as text."""
    return repr([value for name, value in vars(saver).items() if name != "serde"])


class State(TypedDict, total=False):
    text: str
    number: int
    messages: Annotated[list, operator.add]
    card: Any
    blob: bytes
    secret_flag: bool


def adding(values: list, writes: list) -> list:
    return [*values, *(item for write in writes for item in write)]


class Log(TypedDict):
    lines: Annotated[list, DeltaChannel(adding, snapshot_frequency=3)]


def first(state: State) -> dict[str, Any]:
    return {
        "messages": [AIMessage(SECRET, tool_calls=[{"name": SECRET, "args": {"x": SECRET}, "id": SECRET}])],
        "text": SECRET,
        "card": {"nested": [Card(SECRET), {SECRET: SECRET}]},
        "blob": SECRET.encode(),
    }


def second(state: State) -> dict[str, Any]:
    said = interrupt({"question": SECRET})
    return {"messages": [ToolMessage(said, tool_call_id=SECRET, artifact=Card(SECRET))], "number": 2}


def build(saver) -> Any:
    graph = StateGraph(State)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph.compile(checkpointer=saver)


CONFIG = {"configurable": {"thread_id": "t-1", "user": SECRET}, "metadata": {"who": SECRET}}
INPUT = {"text": SECRET, "number": 1, "messages": [HumanMessage(SECRET)], "secret_flag": True}


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture(params=[InMemorySaver, Plain], ids=["memory", "plain"])
def inner(request):
    return request.param()


@pytest.fixture
def saver(inner, cipher):
    return EncryptedSaver(inner, cipher, tenant="acme", serde=TYPES)


def at(item: Any) -> dict[str, Any]:
    return {"configurable": {**item.config["configurable"]}}


class TestGraph:
    def test_interrupt_resume_and_time_travel_and_no_word_in_the_store(self, saver, inner):
        graph = build(saver)
        out = graph.invoke(INPUT, CONFIG)
        assert out["__interrupt__"][0].value == {"question": SECRET}
        out = graph.invoke(Command(resume=f"{SECRET} yes"), CONFIG)
        assert [message.type for message in out["messages"]] == ["human", "ai", "tool"]
        assert out["messages"][-1].artifact == Card(SECRET)
        assert (out["card"]["nested"][0], out["blob"]) == (Card(SECRET), SECRET.encode())
        history = list(graph.get_state_history(CONFIG))
        assert [state.metadata["step"] for state in history] == [2, 1, 0, -1]
        assert history[0].metadata["who"] == history[0].metadata["user"] == SECRET
        # Back to before the first step, and on another way.
        again = graph.invoke(None, at(history[2]))
        assert again["__interrupt__"]
        changed = graph.update_state(at(history[1]), {"text": f"{SECRET} other", "messages": []})
        assert graph.get_state(changed).values["text"] == f"{SECRET} other"
        assert SECRET not in dump(inner)
        assert "secret_flag" in dump(inner)  # names of channels stay in clear, as the docs say

    def test_the_same_asynchronously(self, saver, inner):
        graph = build(saver)

        async def main():
            await graph.ainvoke(INPUT, CONFIG)
            out = await graph.ainvoke(Command(resume="yes"), CONFIG)
            history = [state async for state in graph.aget_state_history(CONFIG)]
            few = [state async for state in graph.aget_state_history(CONFIG, limit=2)]
            mine = [item async for item in saver.alist(CONFIG, filter={"who": SECRET}, limit=3)]
            none = [item async for item in saver.alist(CONFIG, filter={"who": "nobody"})]
            return out, history, few, mine, none

        out, history, few, mine, none = asyncio.run(main())
        assert out["messages"][-1].content == "yes"
        assert [len(history), len(few), len(mine), len(none)] == [4, 2, 3, 0]
        assert SECRET not in dump(inner)

    def test_subgraphs_sends_and_errors_leave_no_word_either(self, saver, inner):
        def work(state):
            if state["text"] == "fail":
                raise ValueError(SECRET)
            return {"messages": [AIMessage(SECRET)]}

        sub = StateGraph(State)
        sub.add_node("work", work)
        sub.add_edge(START, "work")
        graph = StateGraph(State)
        graph.add_node("sub", sub.compile(checkpointer=True))
        graph.add_node("work", work)
        graph.add_conditional_edges(
            START, lambda state: [Send("work", {"text": word}) for word in (SECRET, "fail", "c")] + ["sub"]
        )
        compiled: Any = graph.compile(checkpointer=saver)
        with pytest.raises(ValueError, match=SECRET):
            compiled.invoke({"text": "ok", "messages": [HumanMessage(SECRET)]}, CONFIG)
        assert compiled.get_state(CONFIG, subgraphs=True).tasks
        assert SECRET not in dump(inner)

    def test_a_channel_that_keeps_differences_is_rebuilt(self, saver, inner):
        graph = StateGraph(Log)
        graph.add_node("add", lambda state: {"lines": [f"{SECRET} {len(state['lines'])}"]})
        graph.add_edge(START, "add")
        compiled: Any = graph.compile(checkpointer=saver)
        for turn in range(5):
            out = compiled.invoke({"lines": [f"{SECRET} in {turn}"]}, CONFIG)
        assert len(out["lines"]) == 10
        assert compiled.get_state(CONFIG).values["lines"] == out["lines"]
        assert SECRET not in dump(inner)

    def test_searching_by_metadata(self, saver):
        graph = build(saver)
        graph.invoke(INPUT, CONFIG)
        graph.invoke(INPUT, {"configurable": {"thread_id": "t-2"}, "metadata": {"who": "gus"}})
        steps = [item.metadata["step"] for item in saver.list(CONFIG, filter={"source": "loop"})]
        assert steps == [1, 0]
        assert len(list(saver.list(None, filter={"who": "gus", "source": "loop"}))) == 2
        for who in (SECRET, "gus"):
            assert len(list(saver.list(None, filter={"who": who}, limit=1))) == 1
        assert list(saver.list(None, filter={"who": "gus"}, limit=0)) == []
        assert len(list(saver.list(None))) == 6

    def test_a_thread_is_deleted(self, cipher):
        inner = InMemorySaver()
        saver = EncryptedSaver(inner, cipher, serde=TYPES)
        build(saver).invoke(INPUT, CONFIG)
        saver.delete_thread("t-1")
        assert not inner.storage.get("t-1")
        assert saver.get_tuple(CONFIG) is None
        build(saver).invoke(INPUT, CONFIG)
        asyncio.run(saver.adelete_thread("t-1"))
        assert saver.get_tuple(CONFIG) is None

    def test_eight_threads_share_a_saver(self, saver):
        graph = build(saver)
        found = {}

        def run(number: int) -> None:
            config = {"configurable": {"thread_id": f"t-{number}"}}
            graph.invoke({**INPUT, "number": number}, config)
            found[number] = graph.get_state(config).values["number"]

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: number for number in range(8)}

    def test_the_key_of_each_thread_can_be_its_owners(self):
        subjects = SubjectKeys(memory_storage(), RingProvider(FieldCipher(Keyring.generate())))
        owner = {"t-1": "ada", "t-2": "gus"}
        saver = EncryptedSaver(
            InMemorySaver(),
            FieldCipher(Keyring.generate()),
            cipher_of=lambda thread: subjects.cipher(owner[thread]),
            serde=TYPES,
        )
        graph = build(saver)
        other = {"configurable": {"thread_id": "t-2"}}
        graph.invoke(INPUT, CONFIG)
        graph.invoke(INPUT, other)
        subjects.erase("ada")
        with pytest.raises(DecryptionError):
            graph.get_state(CONFIG)
        assert graph.get_state(other).values["text"] == SECRET

    def test_threads_from_before_encryption_go_on_where_that_was_asked_for(self, inner, cipher):
        inner.serde = TYPES
        build(inner).invoke(INPUT, CONFIG)
        assert SECRET in dump(inner)
        with pytest.raises(DecryptionError):
            build(EncryptedSaver(inner, cipher, serde=TYPES)).get_state(CONFIG)
        saver = EncryptedSaver(inner, cipher, serde=TYPES, accept_plaintext=True)
        out = build(saver).invoke(Command(resume="yes"), CONFIG)
        assert out["messages"][-1].content == "yes"
        graph = build(saver)
        assert graph.get_state(CONFIG).values["messages"][-1].content == "yes"
        assert graph.get_state(CONFIG).values["card"] == out["card"]  # unchanged, so still in clear
        assert [state.metadata["step"] for state in graph.get_state_history(CONFIG)] == [2, 1, 0, -1]

    def test_all_threads_are_copied_into_an_encrypted_store(self, inner, cipher):
        old = InMemorySaver(serde=TYPES)
        graph = build(old)
        graph.invoke(INPUT, CONFIG)
        graph.invoke(INPUT, {"configurable": {"thread_id": "t-2"}})
        graph.invoke(Command(resume="yes"), {"configurable": {"thread_id": "t-2"}})
        saver = EncryptedSaver(inner, cipher, serde=TYPES)
        assert [saver.encrypt_existing(old), saver.encrypt_existing(old)] == [7, 7]
        assert SECRET not in dump(inner)
        for name in ("t-1", "t-2"):
            config = {"configurable": {"thread_id": name}}
            before = list(graph.get_state_history(config))
            after = list(build(saver).get_state_history(config))
            assert [state.values for state in after] == [state.values for state in before]
            assert [state.config for state in after] == [state.config for state in before]
            assert [state.next for state in after] == [state.next for state in before]
        out = build(saver).invoke(Command(resume="late"), CONFIG)
        assert out["messages"][-1].content == "late"


class TestAttacker:
    """Somebody writes to the storage of a saver."""

    @pytest.fixture
    def inner(self):
        return InMemorySaver()

    @pytest.fixture
    def graph(self, saver):
        graph = build(saver)
        graph.invoke(INPUT, CONFIG)
        graph.invoke({**INPUT, "text": "of another"}, {"configurable": {"thread_id": "t-2"}})
        return graph

    def refused(self, graph, config=CONFIG):
        with pytest.raises(DecryptionError) as raised:
            graph.get_state(config)
        assert raised.value.__context__ is None

    def test_a_thread_moved_into_another(self, graph, inner):
        for place in (inner.storage,):
            place["t-1"] = place["t-2"]
        for place in (inner.writes, inner.blobs):
            for key in [key for key in place if key[0] == "t-2"]:
                place["t-1", *key[1:]] = place[key]
        self.refused(graph)

    def test_a_value_moved_to_another_channel_version_or_thread(self, graph, inner):
        kept = dict(inner.blobs)
        by_name = {(key[0], key[2]): key for key in kept if kept[key][0] != "empty"}
        versions = sorted(
            key for key in kept if key[0] == "t-1" and key[2] == "text" and kept[key][0] != "empty"
        )
        assert len(versions) == 2
        for source, target in [
            (by_name["t-1", "card"], versions[-1]),
            (by_name["t-2", "text"], versions[-1]),
            (versions[0], versions[-1]),
        ]:
            inner.blobs.update(kept)
            inner.blobs[target] = kept[source]
            self.refused(graph)

    def test_a_value_taken_away(self, graph, inner):
        for key in [key for key in inner.blobs if key[2] == "text"]:
            del inner.blobs[key]
        self.refused(graph)

    def test_an_older_checkpoint_in_the_place_of_a_newer(self, graph, inner):
        rows = inner.storage["t-1"][""]
        rows[max(rows)] = rows[min(rows)]
        self.refused(graph)

    def test_a_write_moved_to_another_channel(self, graph, inner):
        key = max(key for key in inner.writes if key[0] == "t-1")
        rows = inner.writes[key]
        where, (task, _, value, path) = next(iter(rows.items()))
        rows[where] = (task, "messages", value, path)
        self.refused(graph)

    @pytest.mark.parametrize(
        "kind", ["msgpack", "json", "pickle", "bytes", "null", "aisecure-1", "aisecure-placed-1"]
    )
    def test_forged_rows_reach_no_deserializer(self, cipher, kind, tmp_path):
        proof = tmp_path / "proof"

        class Exploit:
            def __reduce__(self):
                return os.mkdir, (str(proof),)

        with suppress(FileNotFoundError):
            pickle.loads(pickle.dumps(Exploit()))
        assert proof.exists()
        proof.rmdir()
        payload = {
            "pickle": pickle.dumps(Exploit()),
            "msgpack": JsonPlusSerializer().dumps_typed(Card("forged"))[1],
            "json": b'{"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": ["%s"]}' % bytes(proof),
        }.get(kind, b"\x01" * 200)
        inner = InMemorySaver()
        open_minded = JsonPlusSerializer(pickle_fallback=True, allowed_json_modules=True)
        saver = EncryptedSaver(inner, cipher, serde=open_minded)
        graph = build(saver)
        graph.invoke(INPUT, CONFIG)
        blobs, writes = dict(inner.blobs), {key: dict(rows) for key, rows in inner.writes.items()}
        for key in blobs:
            inner.blobs[key] = (kind, payload)
        self.refused(graph)
        inner.blobs.update(blobs)
        for rows in inner.writes.values():
            for where, (task, channel, _, path) in rows.items():
                rows[where] = (task, channel, (kind, payload), path)
        self.refused(graph)
        inner.writes.update(writes)
        rows = inner.storage["t-1"][""]
        for name, (_, metadata, parent) in rows.items():
            rows[name] = ((kind, payload), metadata, parent)
        if kind != "aisecure-placed-1":
            self.refused(graph)
        assert not proof.exists()

    def test_what_runs_next_is_not_taken_from_the_clear_copy(self, cipher):
        inner = Plain()
        graph = build(EncryptedSaver(inner, cipher, serde=TYPES))
        graph.invoke(INPUT, CONFIG)
        key = max(inner.rows)
        checkpoint, metadata = json.loads(inner.rows[key][0])
        saver = graph.checkpointer
        before = saver.get_tuple(CONFIG)
        assert before.parent_config
        lies = {
            "versions_seen": {},
            "channel_versions": {},
            "updated_channels": ["x"],
            "ts": "never",
            "id": "x",
        }
        inner.rows[key] = [
            json.dumps([{**checkpoint, **lies}, {**metadata, "step": 99}]),
            inner.rows[key][1],
            "x",
        ]
        assert saver.get_tuple(CONFIG) == before
        # A simple value planted where the store keeps such in clear:
        inner.rows[key][0] = json.dumps([{**checkpoint, "channel_values": {"text": "forged"}}, metadata])
        inner.rows[key][1].pop("text")
        self.refused(graph)
        inner.rows[key][0] = json.dumps([checkpoint, {**metadata, "aisecure": "no base64!"}])
        self.refused(graph)
        inner.rows[key][0] = json.dumps([checkpoint, {"step": 1}])
        self.refused(graph)


class TestSerializer:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b"\0",
            "\0",
            "",
            1.5,
            [1, {"a": (2,)}],
            "x" * 1_000_000,
            HumanMessage("hi"),
            Card("1"),
            bytearray(b"x"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_any_object_comes_back(self, cipher, value):
        serializer = EncryptingSerializer(cipher, serde=TYPES)
        kind, token = serializer.dumps_typed(value)
        assert kind == "aisecure-1"
        back = serializer.loads_typed((kind, token))
        assert back == (list(value) if isinstance(value, tuple) else json_like(value))

    def test_of_another_tenant_or_label(self, cipher):
        stored = EncryptingSerializer(cipher, tenant="acme").dumps_typed(SECRET)
        for other in ({"tenant": "other"}, {"tenant": "acme", "label": "other"}):
            with pytest.raises(DecryptionError):
                EncryptingSerializer(cipher, **other).loads_typed(stored)

    def test_a_value_in_clear_is_refused_unless_accepted(self, cipher):
        plain = JsonPlusSerializer().dumps_typed({"a": SECRET})
        with pytest.raises(DecryptionError, match="accept_plaintext"):
            EncryptingSerializer(cipher).loads_typed(plain)
        assert EncryptingSerializer(cipher, accept_plaintext=True).loads_typed(plain) == {"a": SECRET}

    def test_every_flipped_bit_is_found(self, cipher):
        serializer = EncryptingSerializer(cipher)
        kind, token = serializer.dumps_typed("x")
        for index in range(len(token)):
            bad = bytearray(token)
            bad[index] ^= 1 << index % 8
            with pytest.raises(DecryptionError):
                serializer.loads_typed((kind, bytes(bad)))
        for junk in (b"", token[:-1], token + b"x", b"\xff" * 1_000_000, "text", None):
            with pytest.raises(DecryptionError):
                serializer.loads_typed((kind, junk))

    def test_the_format_cannot_be_exchanged_as_in_langgraphs_own(self, cipher):
        """Bytes that a user sent become a pickle when the format stands outside the ciphertext."""

        class Theirs:
            def encrypt(self, plaintext):
                return "gcm", cipher.encrypt_bytes(plaintext)

            def decrypt(self, name, ciphertext):
                return cipher.decrypt_bytes(ciphertext)

        sent = pickle.dumps(complex(1, 2))
        inside = JsonPlusSerializer(pickle_fallback=True)
        theirs = EncryptedSerializer(Theirs(), inside)
        kind, stored = theirs.dumps_typed(sent)
        assert theirs.loads_typed((kind.replace("bytes", "pickle"), stored)) == complex(1, 2)
        ours = EncryptingSerializer(cipher, serde=inside)
        kind, stored = ours.dumps_typed(sent)
        assert ours.loads_typed((kind, stored)) == sent
        with pytest.raises(DecryptionError):
            ours.loads_typed(("pickle", stored))

    def test_in_a_saver_it_seals_what_the_saver_serializes(self, cipher):
        inner = InMemorySaver(serde=EncryptingSerializer(cipher, serde=TYPES))
        graph = build(inner)
        graph.invoke(INPUT, CONFIG)
        assert graph.get_state(CONFIG).values["text"] == SECRET
        assert SECRET not in dump(inner)

    def test_in_a_saver_that_writes_past_its_serializer_it_is_not_enough(self, cipher):
        """The reason for `EncryptedSaver`; when this fails, the docs can be shorter."""
        inner = Plain()
        inner.serde = EncryptingSerializer(cipher, serde=TYPES)
        build(inner).invoke(INPUT, CONFIG)
        assert SECRET in dump(inner)


def json_like(value):
    """What the serializer inside makes of a value: tuples come back as lists."""
    return JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(TYPES.dumps_typed(value))


def test_further_types_are_allowed_as_langgraph_asks(cipher):
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    saver = EncryptedSaver(InMemorySaver(serde=strict), cipher)
    config = saver.put(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        {**empty_checkpoint(), "channel_values": {"card": Card("1")}, "channel_versions": {"card": "1"}},
        {},
        {"card": "1"},
    )
    allowing = saver.with_allowlist([(Card.__module__, "Card")])
    assert saver.get_tuple(config).checkpoint["channel_values"]["card"] == {"number": "1"}
    assert allowing.get_tuple(config).checkpoint["channel_values"]["card"] == Card("1")


def test_nothing_printed_or_pickled_tells_keys_or_values(cipher):
    serializer = EncryptingSerializer(cipher)
    saver = EncryptedSaver(InMemorySaver(), cipher)
    assert repr(serializer) == "EncryptingSerializer(JsonPlusSerializer)"
    assert repr(saver) == "EncryptedSaver(InMemorySaver)"
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="keys"):
            way(serializer)


def test_an_object_that_no_serializer_takes_is_not_quoted(cipher):
    class Odd:
        def __repr__(self) -> str:
            return SECRET

    with pytest.raises(TypeError) as raised:
        EncryptingSerializer(cipher).dumps_typed({"a": Odd()})
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_wrong_parts(cipher):
    with pytest.raises(TypeError, match="saver"):
        EncryptedSaver({}, cipher)
    with pytest.raises(TypeError, match="names"):
        EncryptedSaver(InMemorySaver(), cipher, clear_metadata="step")
    with pytest.raises(TypeError, match="texts"):
        EncryptingSerializer(cipher, tenant=7)
