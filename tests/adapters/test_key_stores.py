"""What every store of API keys has to do, asked of all of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aisecure.adapters.sqlalchemy_keys import SqlKeyStore, SqlNotices
from aisecure.authn import ApiKeys, ApiKeyStore, MemoryKeyStore, SqliteKeyStore, StoredKey
from aisecure.call import Credential
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError, Misconfigured, Unavailable
from aisecure.notices import LocalNotices
from aisecure.principal import Principal
from aisecure.storage import Storage
from aisecure.testing import FrozenClock

PEPPER = bytes(range(32))


def _key(key_id="A" * 12, **values):
    plain = StoredKey(
        "acme", key_id, "u-17", '["a"]', "[]", 1, b"\0\xff\x80p", b"\0mac\xff" * 6 + b"\0\0", 100.5
    )
    return plain._replace(**values)


@pytest.fixture
def sql(request, tmp_path):
    """Engines on an empty PostgreSQL database."""
    url = request.getfixturevalue("postgres")
    engine = create_engine(url)
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


#: The stores outside of the process.
STORED = ["storage", "sql-sqlite", "sql-postgresql"]


@pytest.fixture(params=["memory", *STORED])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryKeyStore()
    elif request.param == "storage":
        storage = Storage(tmp_path / "aisecure.db")
        yield SqliteKeyStore(storage)
        storage.close()
    elif request.param == "sql-sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        yield SqlKeyStore(engine)
        engine.dispose()
    else:
        yield SqlKeyStore(request.getfixturevalue("sql"))


class TestContract:
    def test_it_is_a_store_that_prints_no_key_and_no_person(self, store):
        store.add(_key())
        assert isinstance(store, ApiKeyStore)
        assert "u-17" not in repr(store) + repr(_key())
        assert "mac" not in repr(_key())

    def test_what_was_added_comes_back_as_it_was(self, store):
        full = _key(
            "B" * 12,
            expires_at=1e11 + 0.25,
            revoked_at=7.5,
            name="Ünï \U0001d54f '\"",
            last_used_at=1.0,
            replaced_by="C" * 12,
        )
        for key in (_key(), full):
            store.add(key)
            assert store.find(key.key_id) == key
            assert type(store.find(key.key_id)) is StoredKey

    @pytest.mark.parametrize(
        "key_id", ["", "B" * 12, "a" * 12, "A" * 11, "A" * 1_000_000, "' OR 1=1 --", "%", "\uff21" * 12]
    )
    def test_another_id_finds_nothing(self, store, key_id):
        store.add(_key())
        assert store.find(key_id) is None

    def test_a_selection_is_by_tenant_and_principal_oldest_first(self, store):
        store.add(_key("B" * 12, created_at=3.0))
        store.add(_key("D" * 12, created_at=1.0, principal="u-18"))
        store.add(_key("A" * 12, created_at=1.0))
        store.add(_key("C" * 12, created_at=2.0, tenant="Acme"))

        def ids(tenant=None, principal=None):
            return "".join(key.key_id[0] for key in store.select(tenant=tenant, principal=principal))

        assert ids() == "ADCB"
        assert ids(tenant="acme") == "ADB"
        assert ids(principal="u-17") == "ACB"
        assert ids("acme", "u-17") == "AB"
        assert ids("", "") == ids("acme%") == ids(principal="U-17") == ""

    def test_a_key_is_revoked_once(self, store):
        store.add(_key())
        assert store.revoke("A" * 12, 200.0)
        assert not store.revoke("A" * 12, 300.0)
        assert not store.revoke("B" * 12, 300.0)
        assert store.find("A" * 12) == _key(revoked_at=200.0)

    def test_a_successor_and_the_end_of_the_old_key_are_stored_together(self, store):
        store.add(_key())
        assert store.replace("A" * 12, _key("B" * 12), 150.0)
        assert store.find("A" * 12) == _key(expires_at=150.0, replaced_by="B" * 12)
        assert store.find("B" * 12) == _key("B" * 12)

    def test_a_key_that_is_replaced_revoked_or_gone_gets_no_successor(self, store):
        for key in (_key(replaced_by="Z" * 12), _key("B" * 12, revoked_at=1.0)):
            store.add(key)
            assert not store.replace(key.key_id, _key("C" * 12), 150.0)
            assert store.find(key.key_id) == key
        assert not store.replace("Y" * 12, _key("C" * 12), 150.0)
        assert store.find("C" * 12) is None

    @pytest.mark.parametrize("store", STORED, indirect=True)
    def test_a_successor_that_cannot_be_stored_leaves_the_old_key_as_it_was(self, store):
        store.add(_key())
        store.add(_key("B" * 12))
        with pytest.raises(Unavailable):
            store.replace("A" * 12, _key("B" * 12, name="other"), 150.0)
        assert [store.find(id_ * 12) for id_ in "AB"] == [_key(), _key("B" * 12)]

    def test_a_use_is_noted_when_the_last_note_is_old_enough(self, store):
        store.add(_key())
        seen = []
        for at, unless_since in ((1000.0, 900.0), (1050.0, 950.0), (1099.0, 999.0), (1100.0, 1000.0)):
            store.note_use("A" * 12, at, unless_since=unless_since)
            seen.append(store.find("A" * 12).last_used_at)
        assert seen == [1000.0, 1000.0, 1000.0, 1100.0]
        store.note_use("B" * 12, 1.0, unless_since=0.0)

    def test_erasure_deletes_the_keys_of_one_principal_in_one_tenant(self, store):
        kept = [
            _key("B" * 12, tenant="other"),
            _key("C" * 12, principal="u-18"),
            _key("E" * 12, principal="U-17"),
        ]
        for key in (_key(), _key("D" * 12, revoked_at=1.0), *kept):
            store.add(key)
        assert store.erase("acme", "u-17") == 2
        assert store.erase("acme", "u-17") == 0
        assert store.select(tenant=None, principal=None) == kept

    def test_the_peppers_of_all_keys_that_are_still_accepted_are_told(self, store):
        assert store.peppers(200.0) == set()
        for key_id, pepper in (("A", b"1234"), ("B", b"1234"), ("C", b"\0\0\0\0")):
            store.add(_key(key_id * 12, pepper=pepper))
        store.add(_key("D" * 12, pepper=b"gone", revoked_at=150.0))
        store.add(_key("E" * 12, pepper=b"till", expires_at=200.0))
        assert store.peppers(199.0) == {b"1234", b"\0\0\0\0", b"till"}
        assert store.peppers(200.0) == {b"1234", b"\0\0\0\0"}

    def test_of_many_rotations_at_once_one_succeeds(self, store):
        store.add(_key())
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n: store.replace("A" * 12, _key(str(n) * 12), 150.0), range(8)))
        assert won.count(True) == 1
        assert len(store.select(tenant=None, principal=None)) == 2
        assert store.find(store.find("A" * 12).replaced_by) is not None

    def test_threads_that_add_revoke_and_read_lose_nothing(self, store):
        def work(number):
            for index in range(5):
                key = _key(f"{number:06}{index:06}")
                store.add(key)
                assert store.revoke(key.key_id, 5.0)
                assert store.find(key.key_id) == key._replace(revoked_at=5.0)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(store.select(tenant=None, principal=None)) == 40


class TestKeys:
    """The whole life of a key, over every store."""

    @pytest.fixture
    def clock(self):
        return FrozenClock()

    @pytest.fixture
    def keys(self, store, clock):
        return ApiKeys(store, pepper=PEPPER, clock=clock)

    def test_issue_verify_rotate_revoke_export_erase(self, keys, store, clock):
        old = keys.create("u-17", tenant="acme", roles=["member"], scopes=["chat"], name="CI")
        clock.advance(1)
        new = keys.rotate(old.key_id, overlap_seconds=60)
        assert keys.verify(old.secret).roles == keys.verify(new.secret).roles == {"member"}
        clock.advance(60)
        with pytest.raises(AuthenticationError):
            keys.verify(old.secret)
        assert keys.verify(new.secret).scopes == {"chat"}
        assert keys.revoke(new.key_id)
        with pytest.raises(AuthenticationError):
            keys.verify(new.secret)
        exported = json.loads(json.dumps(keys.export("u-17", tenant="acme")))
        assert [(row["key_id"], row["name"], row["replaced_by"]) for row in exported] == [
            (old.key_id, "CI", new.key_id),
            (new.key_id, "CI", None),
        ]
        assert keys.erase("u-17", tenant="acme") == 2
        assert keys.list() == ()

    def test_another_pepper_is_found_at_start(self, keys, store):
        keys.create("u-17")
        with pytest.raises(Misconfigured, match="made with another pepper"):
            ApiKeys(store, pepper=bytes(32))

    def test_a_key_is_the_same_for_a_coroutine(self, keys):
        issued = keys.create("u-17")
        revoked = keys.create("u-18")
        keys.revoke(revoked.key_id)

        async def ask():
            method = keys.aauthenticate or keys.check
            answers = []
            for value in (issued.secret, issued.secret, revoked.secret, "junk", ""):
                answer = method(Credential("api_key", value) if keys.aauthenticate else value)
                answers.append(await answer if keys.aauthenticate else answer)
            return answers

        first, second, *refusals = asyncio.run(ask())
        assert first.id == "u-17"
        assert first is second
        assert all(isinstance(refusal, Decision) for refusal in refusals)

    @pytest.mark.parametrize("store", STORED, indirect=True)
    def test_a_revocation_by_another_object_holds_after_the_poll_interval(self, store, clock):
        mine, other = (
            ApiKeys(store, pepper=PEPPER, clock=clock, notices=_notices(store, clock)) for _ in range(2)
        )
        issued = mine.create("u-17")
        assert other.verify(issued.secret).id == "u-17"
        mine.revoke(issued.key_id)
        clock.advance(1.0)
        with pytest.raises(AuthenticationError):
            other.verify(issued.secret)


def _notices(store, clock):
    notices = store.notices()
    if isinstance(notices, SqlNotices):
        return SqlNotices(store._database.engine, monotonic=clock.monotonic)
    return type(notices)(store._storage, monotonic=clock.monotonic)


_VERIFY = """
import sys
from sqlalchemy import create_engine
from aisecure.adapters.sqlalchemy_keys import SqlKeyStore, SqlNotices
from aisecure.authn import ApiKeys
engine = create_engine(sys.argv[1])
keys = ApiKeys(SqlKeyStore(engine), pepper=bytes(range(32)), notices=SqlNotices(engine, poll_seconds=0.05))
for line in sys.stdin:
    answer = keys.check(line.strip())
    print(getattr(answer, "id", None) or answer.reasons[1], flush=True)
"""


class TestSql:
    def test_a_revocation_reaches_another_process_without_redis(self, sql):
        keys = ApiKeys(SqlKeyStore(sql), pepper=PEPPER)
        issued = keys.create("u-17")
        url = sql.url.render_as_string(hide_password=False)
        with subprocess.Popen(
            [sys.executable, "-c", _VERIFY, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:

            def ask():
                other.stdin.write(issued.secret + "\n")
                other.stdin.flush()
                return other.stdout.readline().strip()

            assert ask() == "u-17"
            keys.revoke(issued.key_id)
            for _ in range(100_000):
                answer = ask()
                if answer != "u-17":
                    break
            assert answer == f"API key {issued.key_id} is revoked."
            other.stdin.close()

    def test_processes_that_start_at_once_make_the_tables_once(self, sql):
        url = sql.url.render_as_string(hide_password=False)
        others = [
            subprocess.Popen([sys.executable, "-c", _VERIFY, url], stdin=subprocess.DEVNULL) for _ in range(2)
        ]
        assert [other.wait(60) for other in others] == [0] * 2
        with sql.connect() as connection:
            rows = connection.execute(text("SELECT concern, version FROM aisecure_schema ORDER BY 1")).all()
        assert [tuple(row) for row in rows] == [("authn", 1), ("notices", 1)]

    def test_tables_of_a_newer_library_are_refused(self, url):
        engine = create_engine(url)
        SqlKeyStore(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE aisecure_schema SET version = 2"))
        with pytest.raises(Misconfigured, match="at version 2, this library knows 1; upgrade"):
            SqlKeyStore(engine)
        engine.dispose()

    def test_a_role_that_may_make_no_table_can_use_those_that_are_there(self, sql):
        SqlKeyStore(sql).notices().version("x")
        with sql.begin() as connection:
            connection.execute(text("CREATE ROLE plain LOGIN"))
            connection.execute(text("GRANT USAGE ON SCHEMA public TO plain"))
            connection.execute(
                text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
            )
        engine = create_engine(sql.url.set(username="plain"), poolclass=NullPool)
        try:
            keys = ApiKeys(SqlKeyStore(engine), pepper=PEPPER)
            issued = keys.create("u-17")
            assert keys.verify(issued.secret).id == "u-17"
            assert keys.revoke(issued.key_id)
        finally:
            with sql.begin() as connection:
                connection.execute(text("DROP OWNED BY plain"))
                connection.execute(text("DROP ROLE plain"))

    def test_a_schema_of_its_own_holds_the_tables(self, sql):
        with sql.begin() as connection:
            connection.execute(text('CREATE SCHEMA "Key store"'))
        keys = ApiKeys(SqlKeyStore(sql, schema="Key store"), pepper=PEPPER)
        issued = keys.create("u-17")
        keys.revoke(issued.key_id)
        with sql.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'aisecure%'"
                )
            ).all()
        assert [tuple(row) for row in found] == [("Key store",)]
        with sql.begin() as connection:
            connection.execute(text('DROP SCHEMA "Key store" CASCADE'))

    def test_a_database_that_ends_every_connection_lets_nobody_in_until_it_is_back(self, sql):
        keys = ApiKeys(SqlKeyStore(sql), pepper=PEPPER, notices=SqlNotices(sql, poll_seconds=0))
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        killer = create_engine(sql.url, poolclass=NullPool)
        with killer.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
        with pytest.raises(Unavailable) as caught:
            keys.verify(issued.secret)
        assert caught.value.code == "unavailable.storage"
        assert keys.verify(issued.secret).id == "u-17"

    def test_a_database_that_is_read_only_issues_nothing_and_still_verifies(self, sql):
        issued = ApiKeys(SqlKeyStore(sql), pepper=PEPPER).create("u-17")
        options = {"options": "-c default_transaction_read_only=on"}
        engine = create_engine(sql.url, connect_args=options, poolclass=NullPool)
        SqlNotices(sql)  # makes its table
        keys = ApiKeys(SqlKeyStore(engine), pepper=PEPPER)
        assert keys.verify(issued.secret).id == "u-17"
        assert keys.list()[0].last_used_at is None
        for change in (
            lambda: keys.create("u-18"),
            lambda: keys.rotate(issued.key_id),
            lambda: keys.revoke(issued.key_id),
        ):
            with pytest.raises(Unavailable):
                change()
        assert [record.principal for record in keys.list()] == ["u-17"]
        assert keys.list()[0].revoked_at is None

    def test_a_caller_does_not_wait_for_somebody_who_has_the_row_locked(self, sql):
        keys = ApiKeys(SqlKeyStore(sql), pepper=PEPPER)
        issued = keys.create("u-17")
        with sql.begin() as connection:
            connection.execute(text("SELECT * FROM aisecure_api_keys FOR UPDATE"))
            assert keys.verify(issued.secret).id == "u-17"
        assert keys.list()[0].last_used_at is None

    def test_a_caller_does_not_wait_for_another_writer_of_the_same_sqlite_file(self, tmp_path):
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", connect_args={"timeout": 60})
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        keys = ApiKeys(SqlKeyStore(engine), pepper=PEPPER)
        issued = keys.create("u-17")
        with engine.connect() as writer:
            writer.exec_driver_sql("BEGIN IMMEDIATE")
            assert keys.verify(issued.secret).id == "u-17"
            writer.rollback()
        assert keys.list()[0].last_used_at is None
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000
        engine.dispose()

    def test_a_locked_sqlite_file_is_unavailable_and_nothing_is_lost(self, tmp_path):
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", connect_args={"timeout": 0})
        keys = ApiKeys(SqlKeyStore(engine), pepper=PEPPER, notices=SqlNotices(engine, poll_seconds=0))
        issued = keys.create("u-17")
        with engine.connect() as writer:
            writer.exec_driver_sql("BEGIN EXCLUSIVE")
            for ask in (
                lambda: keys.verify(issued.secret),
                keys.list,
                lambda: keys.revoke(issued.key_id),
                keys.health,
            ):
                with pytest.raises(Unavailable):
                    ask()
            writer.rollback()
        assert keys.verify(issued.secret).id == "u-17"
        engine.dispose()

    def test_an_error_names_no_parameter_of_the_statement(self, url):
        engine = create_engine(url)
        store = SqlKeyStore(engine)
        store.add(_key(principal="MARKER-person"))
        with pytest.raises(Unavailable) as caught:
            store.add(_key(principal="MARKER-person"))
        shown, seen = [], caught.value
        while seen is not None:
            shown.append(f"{seen!r} {seen}")
            seen = seen.__cause__ or seen.__context__
        assert "MARKER" not in "".join(shown)
        engine.dispose()

    def test_a_coroutine_does_not_wait_in_the_event_loop(self, sql):
        threads = set()
        event.listen(sql, "before_cursor_execute", lambda *_: threads.add(threading.get_ident()))
        keys = ApiKeys(SqlKeyStore(sql), pepper=PEPPER)
        issued = keys.create("u-17")

        async def ask():
            threads.clear()
            answer = await keys.aauthenticate(Credential("api_key", issued.secret))
            assert isinstance(answer, Principal)
            assert threads
            assert threading.get_ident() not in threads
            threads.clear()
            assert await keys.aauthenticate(Credential("api_key", issued.secret)) is answer
            assert not threads

        asyncio.run(ask())

    def test_a_database_that_takes_two_ids_for_one_is_refused(self):
        pytest.importorskip("sqlalchemy.dialects.mysql")

        class Stub:
            paramstyle = "format"
            version_info = (2, 0, 0)

        engine = create_engine("mysql://", module=Stub)
        with pytest.raises(Misconfigured, match="a database of mysql may take two ids for one"):
            SqlKeyStore(engine)

    def test_an_engine_for_coroutines_or_no_engine_is_a_type_error(self, postgres):
        for wrong in (create_async_engine(postgres), postgres, None):
            with pytest.raises(TypeError, match="give what create_engine returns"):
                SqlKeyStore(wrong)


class TestSqlNotices:
    @pytest.fixture
    def engine(self, url):
        engine = create_engine(url)
        yield engine
        engine.dispose()

    def test_each_change_is_a_new_version_of_its_own_topic(self, engine):
        one = SqlNotices(engine, poll_seconds=0)
        assert one.version("policy") == 0
        assert [one.publish("policy"), one.publish("policy"), one.publish("keys")] == [1, 2, 1]
        assert (one.version("policy"), SqlNotices(engine).version("policy")) == (2, 2)

    def test_changes_of_many_threads_are_all_counted_also_the_first(self, engine):
        notices = [SqlNotices(engine, poll_seconds=0) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: notices[n % 4].publish("policy"), range(20)))
        assert SqlNotices(engine).version("policy") == 20

    def test_a_row_that_is_gone_or_from_a_backup_is_a_change(self, engine):
        one = SqlNotices(engine, poll_seconds=0)
        one.publish("policy")
        with engine.begin() as connection:
            backup = connection.execute(text("SELECT * FROM aisecure_notices")).one()._asdict()
        one.publish("policy")
        with engine.begin() as connection:
            connection.execute(text("UPDATE aisecure_notices SET version = :version, stamp = :stamp"), backup)
        assert one.version("policy") == 3
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM aisecure_notices"))
        assert one.version("policy") == 4

    def test_a_table_that_is_gone_is_unavailable(self, engine):
        one = SqlNotices(engine, poll_seconds=0)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE aisecure_notices"))
        for ask in (one.version, one.publish):
            with pytest.raises(Unavailable):
                ask("policy")

    def test_other_notices_need_no_table_of_ours(self, engine):
        ApiKeys(SqlKeyStore(engine), pepper=PEPPER, notices=LocalNotices())
        with engine.connect() as connection, pytest.raises(DBAPIError):
            connection.execute(text("SELECT * FROM aisecure_notices"))


class TestStorage:
    def test_keys_of_the_first_version_of_the_table_are_read(self, tmp_path):
        from aisecure.authn import _store_sqlite

        storage = Storage(tmp_path / "aisecure.db")
        storage.migrate("authn", _store_sqlite._MIGRATIONS[:1])
        made = ApiKeys(MemoryKeyStore(), pepper=PEPPER)
        issued = made.create("u-17", roles=["member"])
        row = made._store.find(issued.key_id)
        assert row is not None
        storage.execute("INSERT INTO authn_api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row[:11])
        storage.close()
        again = Storage(tmp_path / "aisecure.db")
        keys = ApiKeys(again, pepper=PEPPER)
        assert keys.verify(issued.secret).roles == {"member"}
        assert (keys.list()[0].name, keys.list()[0].replaced_by) == ("", None)
        again.close()

    def test_a_caller_does_not_wait_for_another_writer(self, tmp_path):
        storage = Storage(tmp_path / "aisecure.db")
        keys = ApiKeys(storage, pepper=PEPPER)
        issued = keys.create("u-17")
        other = Storage(tmp_path / "aisecure.db")
        with other.transaction():
            assert keys.verify(issued.secret).id == "u-17"
        assert keys.list()[0].last_used_at is None
        assert storage.query("PRAGMA busy_timeout") == [(5000,)]
        other.close()
        storage.close()
