"""Change notices: the counter is the truth, a message only a hint."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisecure.errors import Unavailable
from aisecure.notices import LocalNotices, Notices, StoredNotices
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, memory_storage


@pytest.fixture(params=["local", "stored"])
def notices(request: pytest.FixtureRequest) -> Notices:
    return LocalNotices() if request.param == "local" else StoredNotices(memory_storage(), poll_seconds=0.0)


def test_a_topic_without_changes_is_at_version_zero(notices: Notices) -> None:
    assert notices.version("policy") == 0


def test_each_change_is_a_new_version_of_its_own_topic(notices: Notices) -> None:
    assert [notices.publish("policy"), notices.publish("policy"), notices.publish("keys")] == [1, 2, 1]
    assert (notices.version("policy"), notices.version("keys")) == (2, 1)


def test_a_subscriber_is_told_the_version_until_it_leaves(notices: Notices) -> None:
    told: list[int] = []
    leave = notices.subscribe("policy", told.append)
    notices.publish("policy")
    notices.publish("keys")
    leave()
    leave()  # twice does no harm
    notices.publish("policy")
    assert told == [1]


def test_a_subscriber_may_leave_and_publish_from_inside_its_callback(notices: Notices) -> None:
    told: list[int] = []

    def once(version: int) -> None:
        leave()
        told.append(version)
        notices.publish("keys")

    leave = notices.subscribe("policy", once)
    notices.publish("policy")
    notices.publish("policy")
    assert told == [1]
    assert notices.version("keys") == 1


def test_no_change_of_many_threads_is_lost(notices: Notices) -> None:
    def publish() -> None:
        for _ in range(50):
            notices.publish("policy")

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notices.version("policy") == 400


def test_another_object_on_the_same_database_sees_the_change_after_the_poll_interval(tmp_path: Path) -> None:
    clock = FrozenClock()
    writer = StoredNotices(Storage(tmp_path / "a.db"))
    reader = StoredNotices(Storage(tmp_path / "a.db"), poll_seconds=1.0, monotonic=clock.monotonic)
    told: list[int] = []
    reader.subscribe("policy", told.append)
    assert reader.version("policy") == 0
    writer.publish("policy")
    clock.advance(0.99)
    assert reader.version("policy") == 0
    clock.advance(0.01)
    assert reader.version("policy") == 1
    assert told == [1]


def test_several_unseen_changes_are_told_once_with_the_last_version(tmp_path: Path) -> None:
    writer = StoredNotices(Storage(tmp_path / "a.db"))
    reader = StoredNotices(Storage(tmp_path / "a.db"), poll_seconds=0.0)
    told: list[int] = []
    reader.subscribe("policy", told.append)
    for _ in range(3):
        writer.publish("policy")
    reader.version("policy")
    reader.version("policy")
    assert told == [3]


_PUBLISH_40_TIMES = """
import sys
from aisecure.notices import StoredNotices
from aisecure.storage import Storage
notices = StoredNotices(Storage(sys.argv[1]))
for _ in range(40):
    notices.publish("policy")
"""


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    workers = [subprocess.Popen([sys.executable, "-c", _PUBLISH_40_TIMES, path]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert StoredNotices(Storage(path)).version("policy") == 120


def test_versions_outlive_the_process(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a.db")
    StoredNotices(storage).publish("policy")
    storage.close()
    assert StoredNotices(Storage(tmp_path / "a.db")).publish("policy") == 2


def test_a_database_that_cannot_be_read_is_told_and_not_taken_for_no_change(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a.db")
    notices = StoredNotices(storage, poll_seconds=0.0)
    storage.execute("DROP TABLE notices")
    with pytest.raises(Unavailable):
        notices.version("policy")
    with pytest.raises(Unavailable):
        notices.publish("policy")


def test_a_failed_question_is_asked_again_and_not_remembered(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a.db")
    notices = StoredNotices(storage, poll_seconds=3600.0)
    storage.execute("ALTER TABLE notices RENAME TO away")
    with pytest.raises(Unavailable):
        notices.version("policy")
    storage.execute("ALTER TABLE away RENAME TO notices")
    StoredNotices(storage).publish("policy")
    assert notices.version("policy") == 1


@pytest.mark.parametrize(
    "topic", ["", "a\0b", "Ünïcode", "x" * 10_000, "a'; DROP TABLE notices; --"], ids=repr
)
def test_any_topic_is_a_name_and_nothing_else(notices: Notices, topic: str) -> None:
    notices.publish(topic)
    assert notices.version(topic) == 1
    assert notices.version("other") == 0
