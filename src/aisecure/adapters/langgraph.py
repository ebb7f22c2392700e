"""LangGraph checkpoints whose store holds tokens only.

::

    saver = EncryptedSaver(PostgresSaver(connection), cipher, tenant="acme")
    graph = builder.compile(checkpointer=saver)

`EncryptedSaver` goes round any saver and knows threads, channels and checkpoints, so it binds each value to its place
and covers what a saver stores without asking its serializer. `EncryptingSerializer` goes into a saver, and covers only
what that saver serializes: PostgresSaver writes texts and numbers of the state, and all metadata, as plain JSON, and
SqliteSaver all metadata. Where both can be had, take the saver.
"""

from __future__ import annotations

import base64
import builtins
import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from aisecure.adapters._encrypting_serializer import EncryptingSerializer
from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["EncryptedSaver", "EncryptingSerializer"]

#: The type that stands beside a token that `EncryptedSaver` sealed before, and opens itself, for it alone knows the place.
_PLACED = "aisecure-placed-1"
#: Stands before those tokens, so that during a migration they are told from bytes in clear.
_MARK = b"\0aisecure\0"

#: Metadata that savers search by, and that say nothing: where a checkpoint came from, its number, the run.
CLEAR_METADATA = ("source", "step", "run_id")
#: The key of a stored checkpoint's metadata under which all else is.
_TOKEN = "aisecure"  # noqa: S105  (a name)


class _Envelope(EncryptingSerializer):
    """The serializer of a wrapped saver: tokens pass, everything else is sealed without a place."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        # All bytes that a wrapped saver is given are tokens.
        return (_PLACED, obj) if isinstance(obj, bytes) else super().dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        if data[0] != _PLACED:
            return super().loads_typed(data)
        if not isinstance(data[1], bytes) or not data[1].startswith(_MARK):
            raise DecryptionError
        return data[1]


class EncryptedSaver(BaseCheckpointSaver[Any]):
    """A saver over any other one, which is given tokens for all values, writes and metadata.

    A token is bound to label, tenant, thread, namespace and checkpoint (a channel's value: to its version). Of the
    checkpoint itself the stored copy is not believed: versions, which decide what runs next, and the parent come out
    of a token.

    In clear stay, because savers search by them: ids of thread, checkpoint, task and run, names of channels and nodes,
    channel versions, times, and the metadata of ``clear_metadata``. So put no personal data into thread ids and names.

    Against whoever reads or changes the store. Not against whoever removes whole checkpoints or pending writes, or
    puts back an old copy. Safe to share between threads if the inner saver is.

    Args:
        inner: The saver that stores. It is copied (its connection is shared), and the copy given a serializer.
        cipher: Encrypts.
        label: Which store of the application this is, where it has several.
        tenant: Whose threads these are.
        cipher_of: Returns the cipher of a thread id, such as that of its data subject: ``lambda thread:
            subjects.cipher(owner[thread])``. By default all threads have ``cipher``. Delete the threads of an erased
            subject: reading them is a `DecryptionError`, also in a list of all threads.
        clear_metadata: Names of metadata that stay searchable in clear.
        serde: Makes bytes of objects; by default the inner saver's own.
        accept_plaintext: Also read threads that were stored before encryption; for the time of a migration, for whoever
            writes to the store can then have anything deserialized.

    >>> from langgraph.checkpoint.memory import InMemorySaver
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> EncryptedSaver(InMemorySaver(), FieldCipher(Keyring.generate()), tenant="acme")
    EncryptedSaver(InMemorySaver)
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        cipher: Cipher,
        *,
        label: str = "checkpoints",
        tenant: str = "default",
        cipher_of: Callable[[str], Cipher] | None = None,
        clear_metadata: Collection[str] = CLEAR_METADATA,
        serde: SerializerProtocol | None = None,
        accept_plaintext: bool = False,
    ) -> None:
        if not isinstance(inner, BaseCheckpointSaver):
            raise TypeError(f"inner is a saver of LangGraph, not {type(inner).__name__}")
        if isinstance(clear_metadata, str):
            raise TypeError("clear_metadata is a collection of names")
        envelope = _Envelope(
            cipher,
            label=label,
            tenant=tenant,
            serde=serde or inner.serde,
            accept_plaintext=accept_plaintext,
        )
        super().__init__(serde=envelope)
        self._cipher_of = cipher_of or (lambda _: cipher)
        self._clear = frozenset(clear_metadata)
        self._accept = accept_plaintext
        self._use(inner, envelope)

    def _use(self, inner: BaseCheckpointSaver[Any], envelope: EncryptingSerializer) -> None:
        # A copy with another serializer is what LangGraph itself makes of a saver (`with_allowlist`).
        self._inner = copy.copy(inner)
        self._inner.serde = self.serde = self._envelope = envelope

    # -- writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        return self._inner.put(*self._sealed(config, checkpoint, metadata), new_versions)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        return await self._inner.aput(*self._sealed(config, checkpoint, metadata), new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote before its step was complete."""
        self._inner.put_writes(
            _bare(config), self._sealed_writes(config, writes, task_id), task_id, task_path
        )

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote before its step was complete."""
        sealed = self._sealed_writes(config, writes, task_id)
        await self._inner.aput_writes(_bare(config), sealed, task_id, task_path)

    def _sealed(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[RunnableConfig, Checkpoint, CheckpointMetadata]:
        seal = self._at(config).seal
        versions = checkpoint["channel_versions"]
        values = {
            channel: _MARK + seal(value, "value", channel, str(versions.get(channel)))
            for channel, value in checkpoint["channel_values"].items()
        }
        # What savers would take from the configuration goes in here, and not into the one they are given.
        everything: dict[str, Any] = dict(get_checkpoint_metadata(config, metadata))
        shell = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        parent = config["configurable"].get("checkpoint_id")
        token = seal((everything, shell, sorted(values), parent), "checkpoint", checkpoint["id"])
        stored = {name: value for name, value in everything.items() if name in self._clear}
        stored[_TOKEN] = base64.b64encode(token).decode()
        return _bare(config), {**checkpoint, "channel_values": values}, stored  # type: ignore[return-value]  # closed dicts, to which savers add keys too

    def _sealed_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str
    ) -> Sequence[tuple[str, Any]]:
        seal, number = self._at(config).seal, config["configurable"]["checkpoint_id"]
        return [
            (channel, _MARK + seal(value, "write", number, task_id, channel)) for channel, value in writes
        ]

    # -- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, decrypted.

        Raises:
            DecryptionError: A part is damaged, of another place, missing, or in clear where that is not accepted.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        item = self._inner.get_tuple(config)
        return None if item is None else self._opened(item)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, decrypted; errors as for `get_tuple`."""
        item = await self._inner.aget_tuple(config)
        return None if item is None else self._opened(item)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Give checkpoints, decrypted, the newest first; errors as for `get_tuple`.

        A filter by metadata that are not in clear is applied after decryption, to every checkpoint of the thread.
        """
        exact = not filter or self._clear.issuperset(filter)
        clear = {name: value for name, value in (filter or {}).items() if name in self._clear}
        left = limit if exact else None
        found = self._inner.list(config, filter=clear or None, before=before, limit=left)
        opened = (self._opened(item) for item in found)
        yield from islice((item for item in opened if _matches(item, filter)), limit)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Give checkpoints, decrypted, the newest first; as `list`."""
        exact = not filter or self._clear.issuperset(filter)
        clear = {name: value for name, value in (filter or {}).items() if name in self._clear}
        left = limit if exact else None
        number = 0
        async for stored in self._inner.alist(config, filter=clear or None, before=before, limit=left):
            item = self._opened(stored)
            if not _matches(item, filter):
                continue
            if limit is not None and number >= limit:
                return
            number += 1
            yield item

    def _opened(self, item: CheckpointTuple) -> CheckpointTuple:
        place = self._at(item.config)
        number = item.config["configurable"]["checkpoint_id"]

        def opened(value: Any, *where: str) -> Any:
            if isinstance(value, bytes) and value.startswith(_MARK):
                return place.open(value[len(_MARK) :], *where)
            if self._accept:  # also beside tokens: what did not change since encryption began is stored once
                return value
            raise DecryptionError

        writes = [
            (task, channel, opened(value, "write", number, task, channel))
            for task, channel, value in item.pending_writes or ()
        ]
        token = item.metadata.get(_TOKEN)
        if token is None and self._accept:
            return item._replace(pending_writes=writes)
        metadata, shell, channels, parent = place.open(_bytes(token), "checkpoint", number)
        stored, versions = item.checkpoint["channel_values"], shell["channel_versions"]
        if not stored.keys() >= set(channels):
            raise DecryptionError
        values = {
            channel: opened(value, "value", channel, str(versions.get(channel)))
            for channel, value in stored.items()
        }
        return CheckpointTuple(
            config=item.config,
            checkpoint=dict(shell, channel_values=values),  # type: ignore[arg-type]  # what came in as a Checkpoint
            metadata=metadata,
            parent_config=_moved(item.config, parent) if parent else None,
            pending_writes=writes,
        )

    def _at(self, config: RunnableConfig) -> _Place:
        names = config["configurable"]
        thread = str(names["thread_id"])
        return _Place(self._envelope, self._cipher_of(thread), thread, str(names.get("checkpoint_ns", "")))

    # -- migrating

    def encrypt_existing(self, old: BaseCheckpointSaver[Any]) -> int:
        """Copy all threads of a saver in clear into this one; return how many checkpoints that were.

        Copying again changes nothing, so an interrupted run is simply repeated. Let nobody write meanwhile. The old
        store stays as it is: destroy it as a whole; rows that are only deleted stay in free pages and logs.
        """
        copied = 0
        for item in old.list(None):
            parent = item.parent_config
            before = _bare(parent) if parent else _bare(item.config)
            if not parent:
                del before["configurable"]["checkpoint_id"]
            self.put(before, item.checkpoint, item.metadata, item.checkpoint["channel_versions"])
            writes: dict[str, builtins.list[tuple[str, Any]]] = {}
            for task, channel, value in item.pending_writes or ():
                writes.setdefault(task, []).append((channel, value))
            for task, written in writes.items():
                self.put_writes(item.config, written, task)
            copied += 1
        return copied

    # -- what needs no key

    @property
    def config_specs(self) -> Any:
        """What of a configuration the inner saver reads."""
        return self._inner.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return the version after this one, as the inner saver counts."""
        return self._inner.get_next_version(current, channel)

    def delete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        self._inner.delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread."""
        await self._inner.adelete_thread(thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs stored."""
        self._inner.delete_for_runs(run_ids)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs stored."""
        await self._inner.adelete_for_runs(run_ids)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads."""
        self._inner.prune(thread_ids, strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads."""
        await self._inner.aprune(thread_ids, strategy=strategy)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> EncryptedSaver:
        """Return the same saver, whose serializer allows further types."""
        clone = copy.copy(self)
        clone._use(self._inner, self._envelope.with_allowlist(extra_allowlist))  # noqa: SLF001  (its own)
        return clone

    def __repr__(self) -> str:
        return f"EncryptedSaver({type(self._inner).__name__})"


@dataclass(frozen=True, slots=True)
class _Place:
    """A namespace of a thread: what is sealed here opens nowhere else."""

    envelope: EncryptingSerializer
    cipher: Cipher
    thread: str
    namespace: str

    def seal(self, value: Any, *where: str) -> bytes:
        return self.envelope.seal(value, self.thread, self.namespace, *where, cipher=self.cipher)

    def open(self, token: bytes, *where: str) -> Any:
        return self.envelope.open(token, self.thread, self.namespace, *where, cipher=self.cipher)


def _moved(config: RunnableConfig, checkpoint: str) -> RunnableConfig:
    """Return the configuration of another checkpoint of the same thread."""
    names = config["configurable"]
    place = {"thread_id": names["thread_id"], "checkpoint_ns": names.get("checkpoint_ns", "")}
    return {"configurable": {**place, "checkpoint_id": checkpoint}}


def _bare(config: RunnableConfig) -> RunnableConfig:
    """Return the place alone: savers copy everything else of a configuration into metadata, in clear."""
    names = config["configurable"]
    return {
        "configurable": {
            name: names[name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id") if name in names
        }
    }


def _bytes(token: object) -> bytes:
    """Return the bytes of a token that stood as text among metadata."""
    try:
        return base64.b64decode(token, validate=True)  # type: ignore[arg-type]  # a wrong type is a damaged token
    except (ValueError, TypeError):
        pass
    raise DecryptionError


def _matches(item: CheckpointTuple, filter: dict[str, Any] | None) -> bool:
    return all(item.metadata.get(name) == value for name, value in (filter or {}).items())
