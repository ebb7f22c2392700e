"""What was used once is known for as long as it could be used again, also in other threads, processes and machines."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.quotas.conftest import RedisServer

from aisecure.authn import MemoryReplays, RedisReplays, Replays, StoredReplays
from aisecure.errors import Misconfigured, Unavailable
from aisecure.storage import Storage
from aisecure.testing import memory_storage


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.kill()


@pytest.fixture(params=["memory", "sqlite-memory", "sqlite-file", "redis"])
def replays(request, tmp_path):
    if request.param == "memory":
        yield MemoryReplays()
    elif request.param == "redis":
        store = RedisReplays(request.getfixturevalue("redis_url"), prefix=f"{tmp_path}:")
        yield store
        store.close()
    else:
        storage = memory_storage() if request.param == "sqlite-memory" else Storage(tmp_path / "a.db")
        yield StoredReplays(storage)
        storage.close()


class TestEveryStore:
    def test_a_proof_is_first_once(self, replays):
        assert isinstance(replays, Replays)
        assert replays.is_first(b"a", now=0.0, until=60.0)
        assert not replays.is_first(b"a", now=1.0, until=60.0)
        assert replays.is_first(b"b", now=1.0, until=60.0)

    def test_of_threads_that_ask_at_once_one_is_first(self, replays):
        barrier = threading.Barrier(8)

        def ask(_):
            barrier.wait()
            return replays.is_first(b"race", now=0.0, until=60.0)

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(ask, range(8))) == 1

    def test_any_bytes_are_a_name(self, replays):
        for name in (b"", b"\0", b"\0\0", bytes(range(256)), b"\r\n"):
            assert replays.is_first(name, now=0.0, until=60.0)
            assert not replays.is_first(name, now=0.0, until=60.0)


@pytest.fixture(params=["memory", "sqlite"])
def local(request):
    return MemoryReplays() if request.param == "memory" else StoredReplays(memory_storage())


def test_what_is_too_old_is_forgotten(local):
    assert local.is_first(b"a", now=0.0, until=60.0)
    assert not local.is_first(b"a", now=59.9, until=60.0)
    assert local.is_first(b"a", now=60.0, until=120.0)
    assert not local.is_first(b"a", now=61.0, until=120.0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(1, 30)), max_size=40))
def test_both_local_stores_answer_as_a_plain_dictionary_does(steps):
    memory, stored, plain, now = MemoryReplays(), StoredReplays(memory_storage()), {}, 0
    for name, wait, life in steps:
        now += wait
        expected = plain.get(name, -1) <= now
        if expected:
            plain[name] = now + life
        asked = {"now": float(now), "until": float(now + life)}
        assert memory.is_first(bytes([name]), **asked) == expected
        assert stored.is_first(bytes([name]), **asked) == expected


def test_memory_is_bounded_and_what_is_over_is_refused_not_forgotten():
    replays = MemoryReplays(max_entries=100)
    for number in range(100):
        assert replays.is_first(b"%d" % number, now=0.0, until=60.0)
    with pytest.raises(Unavailable):
        replays.is_first(b"one more", now=0.0, until=60.0)
    assert not replays.is_first(b"0", now=0.0, until=60.0)
    assert len(replays) == 100
    assert replays.is_first(b"one more", now=60.0, until=120.0)
    assert len(replays) == 1


def _ask(path, barrier, answers):
    replays = StoredReplays(Storage(path))
    barrier.wait()
    answers.put([replays.is_first(b"%d" % number, now=0.0, until=60.0) for number in range(20)])


def test_of_processes_that_ask_at_once_one_is_first(tmp_path):
    context = multiprocessing.get_context("fork")
    StoredReplays(Storage(tmp_path / "a.db"))
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_ask, args=(tmp_path / "a.db", barrier, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    told = [answers.get(timeout=20) for _ in workers]
    for worker in workers:
        worker.join(10)
    assert [sum(one) for one in zip(*told, strict=True)] == [1] * 20


def test_a_redis_that_is_gone_or_silent_is_unavailable():
    with pytest.raises(Unavailable) as caught:
        RedisReplays("unix:///nowhere/redis.sock").is_first(b"a", now=0.0, until=60.0)
    assert caught.value.code == "unavailable.storage"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://:password-marker@127.0.0.1:{silent.getsockname()[1]}/0"
        replays = RedisReplays(url, timeout_seconds=0.05)
        with pytest.raises(Unavailable) as caught:
            replays.is_first(b"a", now=0.0, until=60.0)
    assert "password-marker" not in repr(replays) + str(caught.value)


@pytest.mark.parametrize("url", ["", "http://h", "host:6379"])
def test_what_is_no_address_of_a_redis_is_refused_at_once(url):
    with pytest.raises(Misconfigured):
        RedisReplays(url)


def test_a_memory_for_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        MemoryReplays(0)


def test_a_database_that_is_gone_is_unavailable(tmp_path):
    storage = Storage(tmp_path / "a.db")
    replays = StoredReplays(storage)
    with storage.transaction() as connection:
        connection.execute("DROP TABLE authn_replays")
    with pytest.raises(Unavailable):
        replays.is_first(b"a", now=0.0, until=60.0)
    storage.close()
