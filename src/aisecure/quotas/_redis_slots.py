"""Which node of a Redis Cluster has a key: learned from the nodes, corrected by what they answer, forgotten on trouble."""

from __future__ import annotations

from typing import Any

from aisecure._flow import Effect, Flow
from aisecure.quotas._redis_wire import packed

__all__ = ["Node", "Slots"]

#: Host and port.
Node = tuple[str, int]

#: How often one command follows a slot that moved; a node that sends it elsewhere has not run it.
_REDIRECTIONS = 5

_CLUSTER_SLOTS = packed(b"CLUSTER", b"SLOTS")


class Slots:
    """Sends commands to the node that has their key.

    Args:
        seeds: Nodes to ask first.
        send: How to exchange a command with a node: ``(node, command, other command)``, plain and in a coroutine; with
            ``asking=True`` for a slot on its way to that node.
        redis: The library, for its errors.
    """

    def __init__(self, seeds: list[Node], send: Effect, redis: Any) -> None:
        from redis.crc import key_slot

        self._seeds = seeds
        self._send = send
        self._errors = redis.exceptions
        self._key_slot = key_slot
        self._nodes: dict[int, Node] = {}

    def route(self, key: bytes, first: bytes, second: bytes) -> Flow[Any]:
        """Send a command to the node that has the key; return its answer.

        Raises:
            RedisError, OSError: No node took it, or the one that did sent no answer.
        """
        slot = self._key_slot(key)
        errors = self._errors
        for _ in range(_REDIRECTIONS):
            node = self._nodes.get(slot)
            if node is None:
                yield from self.learn()
                node = self._nodes.get(slot)
                if node is None:
                    raise errors.ClusterDownError("no node has the slot")
            try:
                return (yield self._exchange(node, first, second))
            except errors.MovedError as err:
                self._nodes[slot] = (err.host or node[0], err.port)
            except errors.AskError as err:
                return (yield self._exchange((err.host or node[0], err.port), first, second, asking=True))
            except (errors.RedisError, OSError) as err:
                if not isinstance(err, errors.ResponseError) or isinstance(err, errors.ClusterDownError):
                    self._nodes = {}  # somebody else may have its slots by the next call
                raise
        raise errors.ClusterError("the slot moves about")

    def learn(self) -> Flow[None]:
        """Ask the nodes, one after the other, until one says who has which slots.

        Raises:
            RedisError, OSError: None did.
        """
        # Dict, to ask each once and the seeds last.
        known = [*dict.fromkeys([*self._nodes.values(), *self._seeds])]
        for node in known:
            try:
                ranges = yield self._exchange(node, _CLUSTER_SLOTS)
                nodes: dict[int, Node] = {}
                for first, last, (host, port, *_), *_ in ranges:
                    place = (host.decode() if host else node[0], int(port))
                    nodes.update(dict.fromkeys(range(first, last + 1), place))
            except (self._errors.RedisError, OSError, ValueError, TypeError):
                if node == known[-1]:
                    raise
            else:
                self._nodes = nodes
                return

    def _exchange(self, node: Node, *commands: bytes, asking: bool = False) -> Effect:
        if not asking:
            return self._send._replace(args=(node, *commands))
        send, asend = self._send.call, self._send.acall
        assert asend is not None  # noqa: S101  (both forms were given)
        return Effect(
            lambda *args: send(*args, asking=True), lambda *args: asend(*args, asking=True), (node, *commands)
        )
