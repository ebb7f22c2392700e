"""The database and the private files of the data folder."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisecure.errors import Misconfigured, Unavailable
from aisecure.storage import MAX_PRIVATE_BYTES, Storage, private_folder, read_private, update_private

NOTES = ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);",)


@pytest.fixture
def storage(tmp_path):
    storage = Storage(tmp_path / "data" / "aisecure.db")
    storage.migrate("notes", NOTES)
    yield storage
    storage.close()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _run(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class TestMigrations:
    def test_each_step_runs_once_and_later_steps_are_added(self, storage):
        storage.execute("INSERT INTO notes VALUES (1, 'kept')")
        storage.close()
        again = Storage(storage.path)
        again.migrate(
            "notes", (*NOTES, "ALTER TABLE notes ADD COLUMN mark TEXT; UPDATE notes SET mark = 'x;y';")
        )
        assert again.query("SELECT * FROM notes") == [(1, "kept", "x;y")]
        again.close()

    def test_a_step_that_fails_leaves_nothing_behind(self, storage):
        with pytest.raises(Unavailable):
            storage.migrate("bad", ("CREATE TABLE bad_one (a); INSERT INTO no_such_table VALUES (1);",))
        assert storage.query("SELECT name FROM sqlite_master WHERE name LIKE 'bad%'") == []
        storage.migrate("bad", ("CREATE TABLE bad_one (a);",))

    def test_a_step_may_hold_texts_and_triggers_with_semicolons_and_ends_with_or_without_one(self, storage):
        storage.migrate(
            "odd",
            (
                "CREATE TABLE odd (a TEXT DEFAULT 'x;y'); CREATE TRIGGER odd_t AFTER INSERT ON odd BEGIN UPDATE odd SET a = 'p;q'; END; INSERT INTO odd VALUES ('z');\n",
                "CREATE TABLE odd_two (a) -- no semicolon",
            ),
        )
        assert storage.query("SELECT * FROM odd_two") == []
        assert storage.query("SELECT a FROM odd") == [("p;q",)]

    def test_a_step_that_is_cut_short_is_an_error(self, storage):
        with pytest.raises(Unavailable):
            storage.migrate("cut", ("CREATE TABLE cut (a); INSERT INTO cut VALUES ('x",))

    def test_a_database_of_a_newer_version_is_refused_with_the_remedy(self, storage):
        storage.execute("UPDATE aisecure_schema SET version = 7 WHERE concern = 'notes'")
        again = Storage(storage.path)
        with pytest.raises(Misconfigured, match=r"aisecure\.db: notes is at version 7, .* knows 1; upgrade"):
            again.migrate("notes", NOTES)
        again.close()

    def test_two_processes_that_migrate_at_once_both_succeed(self, tmp_path):
        code = (
            "import sys; from aisecure.storage import Storage; s = Storage(sys.argv[1]);"
            "s.migrate('notes', ('CREATE TABLE notes (id INTEGER PRIMARY KEY);',)); s.execute('INSERT INTO notes DEFAULT VALUES')"
        )
        path = tmp_path / "aisecure.db"
        children = [
            subprocess.Popen([sys.executable, "-c", code, path], stderr=subprocess.PIPE) for _ in range(3)
        ]
        assert [(child.wait(60), child.communicate()[1]) for child in children] == [(0, b"")] * 3
        storage = Storage(path)
        assert storage.query("SELECT count(*) FROM notes") == [(3,)]
        storage.close()


class TestOpening:
    def test_file_and_folder_are_for_the_owner_alone(self, storage):
        old = os.umask(0)
        try:
            storage.execute("INSERT INTO notes VALUES (1, 'x')")
        finally:
            os.umask(old)
        folder = Path(storage.path).parent
        assert _mode(folder) == 0o700
        assert {_mode(path) for path in folder.iterdir()} == {0o600}

    @pytest.mark.parametrize("junk", [b"not a database" * 100, b"\x00" * 4096], ids=["text", "zeros"])
    def test_a_damaged_file_is_refused_by_name_with_a_remedy(self, tmp_path, junk):
        path = tmp_path / "aisecure.db"
        path.write_bytes(junk)
        with pytest.raises(Misconfigured, match=r"aisecure\.db: .*restore it from a backup"):
            Storage(path)
        assert path.read_bytes() == junk

    def test_a_file_damaged_in_the_middle_is_unavailable_and_never_read_as_empty(self, storage):
        storage.execute("INSERT INTO notes VALUES (1, ?)", ("x" * 50_000,))
        storage.truncate_wal()
        storage.close()
        data = bytearray(Path(storage.path).read_bytes())
        data[4096 * 2 :] = os.urandom(len(data) - 4096 * 2)
        Path(storage.path).write_bytes(data)
        again = Storage(storage.path)
        with pytest.raises(Unavailable):
            again.query("SELECT text FROM notes")
        again.close()

    @pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["NUL", "lone surrogate"])
    def test_a_path_that_cannot_be_is_misconfigured(self, tmp_path, name):
        for use in (Storage, read_private, private_folder):
            with pytest.raises(Misconfigured, match="no NUL and no lone surrogate"):
                use(tmp_path / name)

    def test_a_folder_in_the_place_of_the_file_is_misconfigured(self, tmp_path):
        with pytest.raises(Misconfigured, match=str(tmp_path)):
            Storage(tmp_path)

    def test_a_file_in_the_place_of_the_folder_is_misconfigured(self, tmp_path):
        (tmp_path / "data").write_text("")
        with pytest.raises(Misconfigured, match="data folder"):
            Storage(tmp_path / "data" / "aisecure.db")

    def test_after_close_it_opens_again(self, storage):
        storage.execute("INSERT INTO notes VALUES (1, 'kept')")
        storage.close()
        storage.close()
        assert storage.query("SELECT text FROM notes") == [("kept",)]

    def test_a_memory_database_ends_with_close(self):
        storage = Storage(":memory:")
        storage.migrate("notes", NOTES)
        storage.execute("INSERT INTO notes VALUES (1, 'x')")
        storage.close()
        storage.migrate("notes", NOTES)
        assert storage.query("SELECT * FROM notes") == []
        storage.close()


class TestTransactions:
    def test_an_error_of_the_block_undoes_all_of_it(self, storage):
        def failing_block():
            with storage.transaction() as connection:
                connection.execute("INSERT INTO notes VALUES (1, 'x')")
                raise KeyError

        with pytest.raises(KeyError):
            failing_block()
        assert storage.query("SELECT * FROM notes") == []

    def test_an_error_of_the_database_is_unavailable_and_quotes_no_value(self, storage):
        with pytest.raises(Unavailable) as caught:
            storage.execute("INSERT INTO notes VALUES (1, NULL)")
        assert caught.value.code == "unavailable.storage"
        assert "NULL" not in str(caught.value)

    def test_eight_threads_lose_no_write(self, storage):
        def write(number):
            for index in range(20):
                storage.execute("INSERT INTO notes VALUES (?, 'x')", (number * 100 + index,))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert storage.query("SELECT count(*) FROM notes") == [(160,)]

    def test_eight_threads_share_a_memory_database(self):
        storage = Storage(":memory:")
        storage.migrate("notes", NOTES)
        threads = [
            threading.Thread(target=storage.execute, args=("INSERT INTO notes VALUES (?, 'x')", (number,)))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert storage.query("SELECT count(*) FROM notes") == [(8,)]
        storage.close()

    def test_a_thread_that_ends_gives_its_file_descriptors_back(self, storage):
        def count():
            return len(list(Path("/proc/self/fd").iterdir()))

        storage.query("SELECT 1")
        before = count()
        for _ in range(20):
            thread = threading.Thread(target=storage.query, args=("SELECT * FROM notes",))
            thread.start()
            thread.join()
        assert count() <= before + 3

    def test_a_reader_does_not_wait_for_a_writer(self, storage):
        seen = []
        with storage.transaction() as connection:
            connection.execute("INSERT INTO notes VALUES (1, 'x')")
            thread = threading.Thread(target=lambda: seen.append(storage.query("SELECT * FROM notes")))
            thread.start()
            thread.join()
        assert seen == [[]]

    def test_a_lock_that_another_process_keeps_is_unavailable(self, storage, monkeypatch):
        monkeypatch.setattr("aisecure.storage.BUSY_TIMEOUT_SECONDS", 0.01)
        impatient = Storage(storage.path)
        other = sqlite3.connect(storage.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            impatient.execute("INSERT INTO notes VALUES (1, 'x')")
        other.close()
        impatient.close()


class TestProcesses:
    def test_a_forked_child_uses_and_leaves_the_database_without_harm_to_its_parent(self, tmp_path):
        code = """
import gc, os, sys, threading
from aisecure.storage import Storage
storage = Storage(sys.argv[1])
storage.migrate("notes", ("CREATE TABLE notes (id INTEGER PRIMARY KEY);",))
storage.execute("INSERT INTO notes VALUES (1)")
inherited = storage._connection()
inside, leave = threading.Event(), threading.Event()
def other():  # a thread whose connection the child inherits without the thread
    storage.query("SELECT 1"); inside.set(); leave.wait()
thread = threading.Thread(target=other); thread.start(); inside.wait()
for number in (2, 3):
    child = os.fork()
    if not child:
        assert storage._connection() is not inherited
        storage.execute("INSERT INTO notes VALUES (?)", (number,))
        storage.close(); gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    storage.execute("INSERT INTO notes VALUES (?)", (number + 10,))
leave.set(); thread.join()
assert storage.query("SELECT id FROM notes ORDER BY 1") == [(1,), (2,), (3,), (12,), (13,)]
assert storage.query("PRAGMA integrity_check") == [("ok",)]
storage.close()
"""
        assert _run(code, tmp_path / "aisecure.db").stderr == ""

    def test_a_process_killed_inside_a_transaction_leaves_nothing_half(self, storage):
        code = """
import os, signal, sys
from aisecure.storage import Storage
with Storage(sys.argv[1]).transaction() as connection:
    connection.execute("INSERT INTO notes VALUES (1, 'half')")
    os.kill(os.getpid(), signal.SIGKILL)
"""
        assert _run(code, storage.path).returncode == -signal.SIGKILL
        assert storage.query("SELECT * FROM notes") == []
        storage.execute("INSERT INTO notes VALUES (1, 'whole')")

    def test_a_full_disk_is_unavailable_and_what_was_stored_stays(self, storage):
        storage.execute("INSERT INTO notes VALUES (1, 'kept')")
        code = """
import resource, sys
from aisecure.errors import Unavailable
from aisecure.storage import Storage
storage = Storage(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    storage.execute("INSERT INTO notes VALUES (2, ?)", ("x" * 1_000_000,))
except Unavailable as err:
    print(err.code)
print(storage.query("SELECT * FROM notes"))
"""
        assert _run(code, storage.path).stdout == "unavailable.storage\n[(1, 'kept')]\n"


class TestWriteAheadLog:
    def test_truncating_it_removes_deleted_text_from_the_disk(self, storage):
        marker = "deleted-for-good-" + "x" * 40
        storage.execute("INSERT INTO notes VALUES (1, ?)", (marker,))
        storage.execute("DELETE FROM notes")
        folder = Path(storage.path).parent
        assert any(marker.encode() in path.read_bytes() for path in folder.iterdir())
        storage.truncate_wal()
        assert not any(marker.encode() in path.read_bytes() for path in folder.iterdir())

    def test_a_reader_that_holds_it_open_makes_that_unavailable(self, storage, monkeypatch):
        monkeypatch.setattr("aisecure.storage.BUSY_TIMEOUT_SECONDS", 0.01)
        impatient = Storage(storage.path)
        reader = sqlite3.connect(storage.path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        impatient.execute("INSERT INTO notes VALUES (1, 'x')")
        with pytest.raises(Unavailable, match="not truncated"):
            impatient.truncate_wal()
        reader.close()
        impatient.truncate_wal()
        impatient.close()

    def test_its_patience_is_its_own(self, storage):
        before = storage.query("PRAGMA busy_timeout")
        reader = sqlite3.connect(storage.path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        storage.execute("INSERT INTO notes VALUES (1, 'x')")
        with pytest.raises(Unavailable, match="not truncated"):
            storage.truncate_wal(wait_seconds=0)
        assert storage.query("PRAGMA busy_timeout") == before
        reader.close()


class TestPrivateFiles:
    def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(self, tmp_path):
        old = os.umask(0)
        try:
            path = tmp_path / "keys" / "key"
            assert update_private(path, lambda before: b"secret") == b"secret"
        finally:
            os.umask(old)
        assert (_mode(path.parent), _mode(path), read_private(path)) == (0o700, 0o600, b"secret")
        assert [entry.name for entry in path.parent.iterdir()] == ["key"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610], ids=oct)
    def test_access_of_group_or_others_is_refused_with_the_command_that_ends_it(self, tmp_path, mode):
        path = tmp_path / "key"
        path.write_bytes(b"secret")
        path.chmod(mode)
        for use in (read_private, lambda path: update_private(path, lambda before: b"new")):
            with pytest.raises(Misconfigured, match=f"chmod 600 {path}") as caught:
                use(path)
            assert caught.value.code == "config.mode"
        assert path.read_bytes() == b"secret"

    def test_a_missing_file_says_so(self, tmp_path):
        with pytest.raises(Misconfigured, match="no such file") as caught:
            read_private(tmp_path / "key")
        assert caught.value.code == "config.missing"

    def test_a_folder_in_the_files_place_is_refused_and_leaves_nothing_open(self, tmp_path):
        before = [*Path("/proc/self/fd").iterdir()]
        for _ in range(3):
            with pytest.raises(Misconfigured, match="directory"):
                read_private(tmp_path)
        assert len([*Path("/proc/self/fd").iterdir()]) == len(before)

    def test_what_is_no_ordinary_file_is_refused_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "fifo", 0o600)
        for path in (tmp_path / "fifo", tmp_path, Path("/dev/full")):
            with pytest.raises(Misconfigured, match=str(path)):
                read_private(path)

    def test_a_file_too_large_for_a_key_is_refused(self, tmp_path):
        path = tmp_path / "key"
        path.touch(0o600)
        os.truncate(path, MAX_PRIVATE_BYTES + 1)
        with pytest.raises(Misconfigured, match="larger than"):
            read_private(path)

    def test_a_link_is_followed_and_stays(self, tmp_path):
        update_private(tmp_path / "there" / "key", lambda before: b"old")
        (tmp_path / "here").symlink_to(tmp_path / "there" / "key")
        update_private(tmp_path / "here", lambda before: before + b" and new")
        assert (tmp_path / "here").is_symlink()
        assert read_private(tmp_path / "there" / "key") == b"old and new"

    def test_an_unchanged_file_is_not_written(self, tmp_path):
        path = tmp_path / "key"
        update_private(path, lambda before: b"old")
        inode = path.stat().st_ino
        assert update_private(path, lambda before: before) == b"old"
        assert path.stat().st_ino == inode

    def test_an_error_of_the_change_leaves_the_file_and_the_lock(self, tmp_path):
        path = tmp_path / "key"
        update_private(path, lambda before: b"old")
        with pytest.raises(ZeroDivisionError):
            update_private(path, lambda before: bytes(1 // 0))
        assert update_private(path, lambda before: before + b"!") == b"old!"

    def test_what_a_killed_process_left_is_cleared_away(self, tmp_path):
        path = tmp_path / "key"
        update_private(path, lambda before: b"old")
        (tmp_path / ".key.new").write_bytes(b"half")
        assert update_private(path, lambda before: b"new") == read_private(path) == b"new"
        assert [entry.name for entry in tmp_path.iterdir()] == ["key"]

    def test_a_full_disk_is_unavailable_and_the_old_bytes_stay(self, tmp_path):
        path = tmp_path / "key"
        update_private(path, lambda before: b"old")
        code = """
import resource, sys
from pathlib import Path
from aisecure.errors import Unavailable
from aisecure.storage import update_private
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    update_private(Path(sys.argv[1]), lambda before: bytes(100))
except Unavailable as err:
    print(err.code)
"""
        assert _run(code, path).stdout == "unavailable.storage\n"
        assert read_private(path) == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["key"]

    def test_processes_take_turns_so_no_change_is_lost(self, tmp_path):
        code = """
import sys
from pathlib import Path
from aisecure.storage import update_private
for _ in range(10):
    update_private(Path(sys.argv[1]), lambda before: (before or b"") + sys.argv[2].encode())
"""
        path = tmp_path / "key"
        children = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in "abc"]
        assert [child.wait(60) for child in children] == [0, 0, 0]
        assert sorted(read_private(path)) == sorted(b"abc" * 10)
