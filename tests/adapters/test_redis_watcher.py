"""A Casbin watcher over a real Redis server: between pycasbin's enforcers and authorizers, in several processes."""

from __future__ import annotations

import subprocess
import sys
import threading

import casbin
import pytest
import redis
from casbin.persist.adapters.string_adapter import StringAdapter
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure.access import Authorizer
from aisecure.adapters.redis_watcher import RedisWatcher
from aisecure.errors import Misconfigured, Unavailable
from aisecure.notices_redis import RedisNotices
from aisecure.testing import FrozenClock

__all__ = ["redis_client", "redis_server"]

MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""
RULES = "p, ann, ledger, read"


class Keeping(StringAdapter):
    """An adapter that stores."""

    def add_policy(self, sec, ptype, rule):
        self.line += "\n" + ", ".join([ptype, *rule])


class Calls:
    """A callback that counts, and can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
            if self.count <= self.fails:
                raise OSError("postgresql://user:hunter2@db")

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, 10)


@pytest.fixture
def watcher(redis_server, redis_client):
    made = []

    def make(**options):
        # Long, so that a test waits for it in vain when no message comes.
        made.append(RedisWatcher(redis_server.url, **{"poll_seconds": 60.0, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


class TestMessages:
    def test_reach_the_others_and_not_the_one_who_sent(self, watcher):
        one, two, at_one, at_two = watcher(), watcher(), Calls(), Calls()
        one.set_update_callback(at_one)
        two.set_update_callback(at_two)
        at_one.wait_for(1)
        at_two.wait_for(1)
        for number in range(3):
            one.update()
            at_two.wait_for(2 + number)
        two.update()
        at_one.wait_for(2)
        assert (at_one.count, at_two.count) == (2, 4)

    def test_of_another_topic_or_prefix_are_not_heard(self, watcher, redis_client):
        calls = Calls()
        hearing = watcher()
        hearing.set_update_callback(calls)
        calls.wait_for(1)
        watcher(topic="another").update()
        watcher(prefix="another").update()
        watcher().update()
        calls.wait_for(2)
        assert calls.count == 2

    def test_that_are_lost_are_made_up_for_by_the_count(self, watcher, redis_server):
        """Notices count without a message."""
        calls = Calls()
        watcher(poll_seconds=0.05).set_update_callback(calls)
        calls.wait_for(1)
        notices = RedisNotices(redis_server.url)
        notices.publish("access.policy")
        notices.close()
        calls.wait_for(2)

    def test_of_nobody_who_listens_are_counted_for_notices(self, watcher, redis_server):
        notices = RedisNotices(redis_server.url, poll_seconds=0)
        before = notices.version("access.policy")
        watcher().update()
        assert notices.version("access.policy") > before
        notices.close()

    def test_of_two_at_once_are_not_taken_for_ones_own(self, watcher):
        """Both tell between two looks of the first."""
        one, two, calls = watcher(), watcher(), Calls()
        one.set_update_callback(calls)
        calls.wait_for(1)
        with one._lock:  # it cannot look now
            two._line.count("access.policy")  # without a message
        one.update()
        calls.wait_for(2)

    def test_are_called_back_again_until_the_callback_succeeds(self, watcher):
        calls = Calls()
        calls.fails = 2
        listening = watcher()
        listening.set_update_callback(calls)
        calls.wait_for(3)
        assert "hunter2" not in repr(listening.health())

    def test_end_with_close(self, watcher):
        calls = Calls()
        listening = watcher()
        listening.set_update_callback(calls)
        calls.wait_for(1)
        listening.close()
        assert not any(thread.name == "aisecure-redis-watcher" for thread in threading.enumerate())
        watcher().update()
        assert calls.count == 1


class TestAServerThatIsDown:
    def test_refuses_the_update_and_shows_in_health_and_is_caught_up_with(self, watcher, redis_server):
        one, two, calls = watcher(), watcher(), Calls()
        one.set_update_callback(calls)
        calls.wait_for(1)
        redis_server.kill()
        try:
            with pytest.raises(Unavailable) as caught:
                two.update()
            assert str(redis_server.socket) not in str(caught.value)
            while one.health()["ok"]:  # until the thread has seen it
                one._closed.wait(0.01)
            assert one.health()["unseen_seconds"] >= 0
        finally:
            redis_server.start()
        two.update()
        calls.wait_for(2)

    def test_at_the_start_is_waited_for(self, redis_server, watcher):
        redis_server.kill()
        calls = Calls()
        try:
            late = watcher()
            late.set_update_callback(calls)
            assert calls.count == 0
        finally:
            redis_server.start()
        calls.wait_for(1)

    def test_that_lost_everything_counts_as_a_change(self, watcher, redis_client):
        one, two, calls = watcher(), watcher(), Calls()
        two.update()
        one.set_update_callback(calls)
        calls.wait_for(1)
        redis_client.flushall()
        two.update()  # counted as the first again
        calls.wait_for(2)


class TestAuthorizers:
    def test_hear_an_enforcer(self, watcher):
        adapter = Keeping(RULES)
        told = threading.Event()
        authorizer = Authorizer.from_adapter(MODEL, adapter, reload_seconds=None)

        class Heard(RedisWatcher):
            def set_update_callback(self, callback):
                super().set_update_callback(lambda: (callback(), told.set()))

        mine = watcher()
        mine.__class__ = Heard
        authorizer.watch(mine)
        assert told.wait(10)
        told.clear()
        assert not authorizer.enforce("bob", "ledger", "read")
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), adapter)
        enforcer.set_watcher(watcher())
        enforcer.add_policy("bob", "ledger", "read")
        assert told.wait(10)
        assert authorizer.enforce("bob", "ledger", "read")

    def test_with_notices_hear_an_enforcer_without_a_thread(self, watcher, redis_server):
        adapter, clock = Keeping(RULES), FrozenClock()
        notices = RedisNotices(redis_server.url, poll_seconds=0)
        authorizer = Authorizer.from_adapter(MODEL, adapter, notices=notices, reload_seconds=1, clock=clock)
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), adapter)
        enforcer.set_watcher(watcher())
        enforcer.add_policy("bob", "ledger", "read")
        clock.advance(1)
        assert authorizer.enforce("bob", "ledger", "read")
        notices.close()


_ENFORCER = """
import sys, threading
import casbin
from casbin.persist.adapters import FileAdapter
from aisecure.adapters.redis_watcher import RedisWatcher
url, model, policy = sys.argv[1:]
enforcer = casbin.SyncedEnforcer(model, policy)
watcher = RedisWatcher(url, poll_seconds=60.0)
enforcer.set_watcher(watcher)
def loaded():
    enforcer.load_policy()
    print(enforcer.enforce("bob", "ledger", "read"), flush=True)
watcher.set_update_callback(loaded)
for line in sys.stdin:
    if line == "save\\n":
        enforcer.remove_policy("bob", "ledger", "read")
        enforcer.save_policy()
watcher.close()
"""


def test_an_enforcer_in_another_process_and_an_authorizer_hear_each_other(watcher, redis_server, tmp_path):
    model, policy = tmp_path / "model.conf", tmp_path / "policy.csv"
    model.write_text(MODEL)
    policy.write_text(RULES)
    arguments = [sys.executable, "-c", _ENFORCER, redis_server.url, str(model), str(policy)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as enforcer:
        assert enforcer.stdout.readline() == "False\n"
        calls, clock = Calls(), FrozenClock()
        notices = RedisNotices(redis_server.url, poll_seconds=0)
        authorizer = Authorizer.from_files(model, policy, reload_seconds=1, notices=notices, clock=clock)
        authorizer.watch(watcher())
        assert authorizer.add_policy("bob", "ledger", "read")
        assert enforcer.stdout.readline() == "True\n"
        listening = watcher()
        listening.set_update_callback(calls)
        calls.wait_for(1)
        enforcer.stdin.write("save\n")
        enforcer.stdin.flush()
        calls.wait_for(2)
        enforcer.stdin.close()
        enforcer.wait(10)
        clock.advance(1)
        assert not authorizer.enforce("bob", "ledger", "read")
        notices.close()
    assert enforcer.returncode == 0


class TestSetUp:
    @pytest.mark.parametrize("url", ["nonsense://:hunter2@host", "", "redis://:hunter2@host:port"])
    def test_of_no_url_is_refused_without_its_password(self, url):
        with pytest.raises(Misconfigured) as caught:
            RedisWatcher(url)
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
    def test_of_no_interval_is_refused(self, seconds):
        with pytest.raises(ValueError, match="poll_seconds"):
            RedisWatcher("redis://localhost", poll_seconds=seconds)

    def test_takes_a_function(self, watcher):
        with pytest.raises(TypeError):
            watcher().set_update_callback("load_policy")

    def test_never_shows_the_password(self):
        one = RedisWatcher("redis://:hunter2@localhost")
        assert "hunter2" not in f"{one!r} {vars(one)!r}"
        one.close()


def test_a_frozen_server_holds_an_update_up_for_the_timeout_only(redis_server, watcher):
    one = watcher(timeout_seconds=0.05)
    redis_server.freeze()
    try:
        with pytest.raises(Unavailable):
            one.update()
    finally:
        redis_server.thaw()
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.ping()
