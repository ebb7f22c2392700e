"""Change notices over a real Redis server: down, frozen, forgetful and taken for something else."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aisecure.authn import ApiKeys, MemoryKeyStore
from aisecure.errors import AuthenticationError, Misconfigured, Unavailable
from aisecure.notices import Mark, Notices, PolledNotices
from aisecure.notices_redis import RedisNotices
from aisecure.testing import FrozenClock

KEY = "aisecure:n1:policy"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def notices(redis_server, redis_client):
    made = []

    def make(**options):
        made.append(RedisNotices(redis_server.url, **{"poll_seconds": 0.0, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


class TestVersions:
    def test_each_change_is_a_new_version_of_its_own_topic(self, notices):
        one: Notices = notices()
        assert one.version("policy") == 0
        assert [one.publish("policy"), one.publish("policy"), one.publish("keys")] == [1, 2, 1]
        assert (one.version("policy"), one.version("keys")) == (2, 1)

    def test_another_object_sees_a_change_after_the_poll_interval_and_tells_its_subscribers(
        self, notices, clock
    ):
        writer, reader = notices(), notices(poll_seconds=1.0, monotonic=clock.monotonic)
        told = []
        reader.subscribe("policy", told.append)
        assert reader.version("policy") == 0
        writer.publish("policy")
        writer.publish("policy")
        clock.advance(0.99)
        assert (reader.version("policy"), reader.recent("policy")) == (0, 0)
        clock.advance(0.01)
        assert reader.recent("policy") is None
        assert reader.version("policy") == 2
        assert told == [2]

    def test_the_server_is_asked_once_in_the_poll_interval_however_many_threads_ask(
        self,
        notices,
        clock,
        redis_client,
    ):
        one = notices(poll_seconds=1.0, monotonic=clock.monotonic)
        redis_client.config_resetstat()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: one.version("policy"), range(100))) == {0}
        assert redis_client.info("commandstats")["cmdstat_hmget"]["calls"] == 1

    def test_no_change_of_many_threads_is_lost(self, notices, redis_client):
        one = notices()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: one.publish("policy"), range(200)))
        assert redis_client.hget(KEY, "version") == b"200"
        assert one.version("policy") >= 200

    @pytest.mark.parametrize(
        "topic", ["", "a\0b", "\ud800", "Ünï", "x" * 10_000, "a\r\nFLUSHALL\r\n"], ids=ascii
    )
    def test_any_topic_is_a_name_and_nothing_else(self, notices, topic):
        one = notices()
        assert one.version("policy") == 0
        one.publish("policy")
        one.publish(topic)
        assert (one.version(topic), one.version("policy")) == (1, 1)

    def test_a_prefix_of_its_own_keeps_applications_apart(self, notices):
        mine, theirs = notices(), notices(prefix="theirs")
        mine.publish("policy")
        assert theirs.version("policy") == 0


class TestForgetfulServer:
    """A version that anybody remembers is never given to another state of affairs."""

    def test_a_server_that_forgot_everything_counts_as_a_change(self, notices, redis_client):
        one = notices()
        for _ in range(3):
            one.publish("policy")
        redis_client.flushall()
        assert one.version("policy") == 4
        assert one.version("policy") == 4

    def test_a_count_that_began_anew_and_came_back_to_the_same_number_is_a_change(
        self, notices, redis_client
    ):
        one, two = notices(), notices()
        two.publish("policy")
        before = one.version("policy")
        redis_client.flushall()
        two.publish("policy")
        assert redis_client.hget(KEY, "version") == b"1"
        assert one.version("policy") > before

    def test_a_copy_that_missed_the_last_change_is_a_change(self, notices, redis_client):
        one = notices()
        one.publish("policy")
        copy = redis_client.hgetall(KEY)
        one.publish("policy")
        redis_client.hset(KEY, mapping=copy)
        assert one.version("policy") == 3

    @pytest.mark.parametrize(
        "damage",
        [("set", KEY, "x"), ("hset", KEY, "version", "many"), ("hset", KEY, "stamp", b"\xff"), ("hset", KEY, "version", "1" * 5000)],
        ids=lambda damage: f"{damage[0]}-{damage[-1][:5]!r}",
    )  # fmt: skip
    def test_something_else_under_the_key_is_unavailable(self, notices, redis_client, damage):
        one = notices()
        one.publish("policy")
        redis_client.delete(KEY)
        redis_client.hset(KEY, mapping={"version": 1, "stamp": "s"}) if damage[0] == "hset" else None
        redis_client.execute_command(*damage)
        with pytest.raises(Unavailable) as caught:
            one.version("policy")
        assert caught.value.code == "unavailable.notices"


_VERIFY = """
import sys
from aisecure.authn import ApiKeys
from aisecure.notices_redis import RedisNotices
from aisecure.storage import Storage
keys = ApiKeys(Storage(sys.argv[1]), pepper=bytes(32), notices=RedisNotices(sys.argv[2], poll_seconds=0.02))
for line in sys.stdin:
    answer = keys.check(line.strip())
    print(getattr(answer, "id", None) or "refused", flush=True)
"""


class TestKeys:
    def test_a_revocation_reaches_another_process(self, tmp_path, notices, redis_server):
        from aisecure.storage import Storage

        storage = Storage(tmp_path / "aisecure.db")
        keys = ApiKeys(storage, pepper=bytes(32), notices=notices())
        issued = keys.create("u-17")
        with subprocess.Popen(
            [sys.executable, "-c", _VERIFY, storage.path, redis_server.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as other:  # fmt: skip

            def ask():
                other.stdin.write(issued.secret + "\n")
                other.stdin.flush()
                return other.stdout.readline().strip()

            assert ask() == "u-17"
            keys.revoke(issued.key_id)
            assert any(ask() == "refused" for _ in range(100_000))
            other.stdin.close()
        storage.close()

    def test_a_server_that_dies_lets_nobody_in_whose_key_was_remembered_until_it_is_back(
        self,
        notices,
        clock,
        redis_server,
    ):
        keys = ApiKeys(
            MemoryKeyStore(),
            pepper=bytes(32),
            clock=clock,
            notices=notices(poll_seconds=1.0, monotonic=clock.monotonic),
        )
        issued, revoked = keys.create("u-17"), keys.create("u-18")
        keys.verify(issued.secret)
        keys.verify(revoked.secret)
        redis_server.kill()
        try:
            assert keys.verify(issued.secret).id == "u-17"  # within the poll interval
            clock.advance(1.0)
            for key in (issued, revoked):
                with pytest.raises(Unavailable) as caught:
                    keys.verify(key.secret)
                assert caught.value.code == "unavailable.notices"
            with pytest.raises(Unavailable):
                keys.revoke(revoked.key_id)
        finally:
            redis_server.start()
        clock.advance(PolledNotices.PAUSE_SECONDS)
        # The key was revoked before the notice failed, and the restarted server knows nothing of it.
        with pytest.raises(AuthenticationError):
            keys.verify(revoked.secret)
        assert keys.verify(issued.secret).id == "u-17"

    def test_a_frozen_server_holds_up_one_caller_and_the_others_are_turned_away_with_it(
        self,
        notices,
        clock,
        redis_server,
        redis_client,
    ):
        one = notices(poll_seconds=1.0, timeout_seconds=0.2, monotonic=clock.monotonic)
        one.version("policy")
        clock.advance(1.0)
        asked, real = [], one.ask
        one.ask = lambda topic: asked.append(topic) or real(topic)
        redis_server.freeze()
        try:
            with ThreadPoolExecutor(8) as pool:
                waiting = [pool.submit(one.version, "policy") for _ in range(16)]
                failed = [answer.exception() for answer in waiting]
        finally:
            redis_server.thaw()
        assert {type(err) for err in failed} == {Unavailable}
        assert len(asked) == 1
        clock.advance(PolledNotices.PAUSE_SECONDS)
        assert one.version("policy") == 1  # somebody may have found no way to say that something changed


class TestSetUp:
    @pytest.mark.parametrize("url", ["", "http://x", "redis://:MARKER@h:port/0", "host:6379"])
    def test_a_url_that_is_none_is_misconfigured_and_not_shown(self, url):
        with pytest.raises(Misconfigured, match="write redis://") as caught:
            RedisNotices(url)
        assert caught.value.code == "config.redis"
        assert "MARKER" not in f"{caught.value!r}{caught.value.__cause__!r}"

    def test_numbers_that_make_no_sense_are_value_errors(self):
        for options in ({"poll_seconds": -1}, {"poll_seconds": float("nan")}, {"timeout_seconds": 0}):
            with pytest.raises(ValueError, match=next(iter(options))):
                RedisNotices("redis://localhost", **options)

    def test_a_missing_package_says_what_to_type(self, monkeypatch):
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.split(".")[0] == "redis":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(Misconfigured, match=r"pip install 'aisecure\[redis\]'"):
            RedisNotices("redis://localhost")

    def test_it_prints_no_url(self):
        assert repr(RedisNotices("redis://:MARKER@h/0")) == "RedisNotices(poll_seconds=1.0)"


class TestOwnServer:
    """What `PolledNotices` does for any server."""

    def test_an_answer_is_as_old_as_its_question(self, clock):
        class Slow(PolledNotices):
            def ask(self, topic):
                clock.advance(0.6)
                return Mark(1, "s")

            def count(self, topic):
                return None

        slow = Slow(poll_seconds=1.0, monotonic=clock.monotonic)
        slow.version("policy")
        clock.advance(0.4)
        assert slow.recent("policy") is None

    def test_a_subscriber_may_ask_and_publish_from_inside_its_callback(self, clock):
        class Counting(PolledNotices):
            marks = 0

            def ask(self, topic):
                return Mark(self.marks, str(self.marks)) if self.marks else Mark()

            def count(self, topic):
                self.marks += 1

        counting = Counting(poll_seconds=0.0, monotonic=clock.monotonic)
        told = []

        def once(version):
            told.append((version, counting.version("policy")))
            if version < 3:
                counting.publish("policy")

        counting.subscribe("policy", once)
        done = threading.Thread(target=counting.publish, args=("policy",))
        done.start()
        done.join(10)
        assert told == [(1, 1), (2, 2), (3, 3)]
