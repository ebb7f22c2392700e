"""What every store of pseudonyms has to do, asked of all of them, alone and under a vault."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aisecure import Principal
from aisecure._sql_database import Database
from aisecure.adapters.sqlalchemy_vault import SqlPseudonyms
from aisecure.call import acting_as
from aisecure.detect import (
    PseudonymStore,
    PseudonymVault,
    RedactGuard,
    Redactor,
    RestoreFilter,
    ValueDigest,
    restore,
)
from aisecure.detect._vault_sqlite import SqlitePseudonyms
from aisecure.encryption import FieldCipher, Keyring, RingProvider, SubjectKeys
from aisecure.errors import Misconfigured, Unavailable
from aisecure.storage import Storage
from aisecure.testing import FrozenClock

KEY = bytes(range(32))
REDACTOR = Redactor(reversible=True)


class Embedded:
    """A `Storage` and its table, as a test sees them."""

    table = "detect_pseudonyms"

    def __init__(self, path):
        self.storage = Storage(path)
        self.storage.query("PRAGMA busy_timeout=0")
        self.path = path

    def store(self):
        return SqlitePseudonyms(self.storage)

    def given(self):
        return self.storage

    def do(self, statement):
        with self.storage.transaction() as connection:
            return connection.execute(statement).fetchall()

    @contextmanager
    def limited(self):
        pages = self.storage.query("PRAGMA page_count")[0][0]
        self.storage.query(f"PRAGMA max_page_count={pages}")
        yield
        self.storage.query("PRAGMA max_page_count=1000000")

    @contextmanager
    def locked(self):
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
        other.close()

    def close(self):
        self.storage.close()


class Sql:
    """A database of SQLAlchemy and its table, as a test sees them."""

    table = "aisecure_pseudonyms"

    def __init__(self, url, **options):
        self.engine = create_engine(url, connect_args=options)

    def store(self):
        return SqlPseudonyms(self.engine)

    given = store

    def do(self, statement):
        with self.engine.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    @contextmanager
    def limited(self):
        if self.engine.dialect.name == "sqlite":
            pages = self.do("PRAGMA page_count")[0][0]
            self.do(f"PRAGMA max_page_count={pages}")
            yield
            self.do("PRAGMA max_page_count=1000000")
        else:
            self.do(
                "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"
            )
            self.do(f"CREATE TRIGGER fill BEFORE INSERT ON {self.table} EXECUTE FUNCTION fill()")
            yield
            self.do(f"DROP TRIGGER fill ON {self.table}")

    @contextmanager
    def locked(self):
        with self.engine.connect() as writer:
            if self.engine.dialect.name == "sqlite":
                writer.exec_driver_sql("BEGIN EXCLUSIVE")
            else:
                writer.exec_driver_sql(f"LOCK TABLE {self.table}")
            yield
            writer.rollback()

    def close(self):
        self.engine.dispose()


@pytest.fixture
def postgresql(postgres):
    """The URL of an empty PostgreSQL database."""
    yield postgres
    engine = create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


#: The places outside of the process.
STORED = ["storage", "sql-sqlite", "sql-postgresql"]


@pytest.fixture(params=["memory", *STORED])
def place(request, tmp_path):
    if request.param == "memory":
        place = Embedded(":memory:")
    elif request.param == "storage":
        place = Embedded(tmp_path / "aisecure.db")
    elif request.param == "sql-sqlite":
        place = Sql(f"sqlite:///{tmp_path / 'app.db'}", timeout=0)
    else:
        place = Sql(request.getfixturevalue("postgresql"), options="-c lock_timeout=50")
    yield place
    place.close()


@pytest.fixture(params=["memory", *STORED])
def patient(request, tmp_path):
    """A place whose users wait for each other."""
    if request.param in {"memory", "storage"}:
        place = Embedded(":memory:" if request.param == "memory" else tmp_path / "aisecure.db")
        place.storage.query("PRAGMA busy_timeout=5000")
    elif request.param == "sql-sqlite":
        place = Sql(f"sqlite:///{tmp_path / 'app.db'}", timeout=60)
    else:
        place = Sql(request.getfixturevalue("postgresql"))
    yield place
    place.close()


@pytest.fixture
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture
def vault(place, cipher):
    return PseudonymVault(place.given(), cipher, key=KEY)


def named(vault, words, *whose):
    return REDACTOR.redact(words, placeholders=vault.conversation(*whose)).text


def _digest(word, *, scope=b"s" * 32, tenant=b"t" * 32, label="EMAIL"):
    return ValueDigest(tenant, scope, label, word.encode().rjust(32, b"\0"))


def _number(store, word, *, now=100, expires=200, reserved=(), **where):
    return store.number_of(
        _digest(word, **where), now=now, expires=expires, is_reserved=lambda number: number in reserved
    )


class TestContract:
    def test_it_is_a_store_that_prints_no_digest(self, place):
        assert isinstance(place.store(), PseudonymStore)
        assert "\\x" not in repr(place.store()) + repr(_digest("\x80MARKER"))
        assert "MARKER" not in repr(_digest("MARKER"))

    def test_numbers_count_up_by_scope_and_label_and_stay(self, place):
        store = place.store()
        assert [_number(store, word) for word in "abab"] == [(n, False) for n in (1, 2, 1, 2)]
        assert _number(store, "a", label="PHONE") == _number(store, "a", scope=b"\0" * 32) == (1, False)
        assert _number(place.store(), "c") == (3, False)

    def test_a_token_is_kept_once_and_said_to_be_there(self, place):
        store = place.store()
        assert _number(store, "a") == (1, False)
        store.keep(_digest("a"), 1, "token")
        store.keep(_digest("a"), 1, "another")
        assert _number(store, "a") == (1, True)
        assert store.rows(b"s" * 32, 100) == [("EMAIL", 1, "token")]

    def test_a_token_is_not_stored_for_a_number_that_is_another_value_s_by_now(self, place):
        store = place.store()
        _number(store, "a")
        store.erase(b"s" * 32)
        assert _number(store, "b") == (1, False)
        store.keep(_digest("a"), 1, "of a")
        assert store.rows(b"s" * 32, 100) == []
        store.keep(_digest("b"), 1, "of b")
        assert store.rows(b"s" * 32, 100) == [("EMAIL", 1, "of b")]

    def test_reserved_numbers_are_given_to_nobody_new(self, place):
        store = place.store()
        assert _number(store, "a", reserved={1, 2, 4}) == (3, False)
        assert _number(store, "b", reserved={4}) == (5, False)
        assert _number(store, "a", reserved={3}) == (3, False)

    def test_what_was_named_again_is_kept_longer_and_what_was_not_is_gone(self, place):
        store = place.store()
        for word in "ab":
            number, _ = _number(store, word)
            store.keep(_digest(word), number, word)
        assert _number(store, "a", now=199, expires=300) == (1, True)
        assert store.rows(b"s" * 32, 200) == [("EMAIL", 1, "a")]
        assert _number(store, "b", now=200, expires=300) == (2, False)
        assert store.purge(299) == 0
        assert store.purge(300) == 2
        assert place.do(f"SELECT * FROM {place.table}") == []

    def test_times_after_2038_are_kept(self, place):
        store = place.store()
        _number(store, "a", now=1 << 33, expires=1 << 40)
        assert _number(store, "a", now=(1 << 40) - 1, expires=1 << 40) == (1, False)

    def test_adding_deletes_some_of_what_is_past_its_time(self, place):
        store = place.store()
        for number in range(20):
            _number(store, f"{number}", scope=b"o" * 32)
        assert _number(store, "a", now=200, expires=300) == (1, False)
        assert place.do(f"SELECT count(*) FROM {place.table}") == [(20 - 16 + 1,)]
        assert _number(store, "b", now=200, expires=300) == (2, False)
        assert place.do(f"SELECT count(*) FROM {place.table}") == [(2,)]

    def test_erasure_deletes_one_scope_or_one_tenant(self, place):
        store = place.store()
        for word in "abc":
            _number(store, word)
        _number(store, "a", scope=b"o" * 32)
        _number(store, "a", scope=b"x" * 32, tenant=b"x" * 32)
        assert store.erase(b"s" * 32) == 3
        assert store.erase(b"s" * 32) == 0
        assert store.erase_tenant(b"t" * 32) == 1
        assert store.erase_tenant(b"s" * 32) == 0
        assert _number(store, "a", scope=b"x" * 32) == (1, False)

    def test_threads_that_name_the_same_values_at_once_agree(self, patient):
        self._agree([patient.store()], 8)

    def test_connections_that_name_the_same_values_at_once_agree(self, patient):
        others = [patient]
        if isinstance(patient, Sql):
            others += [Sql(patient.engine.url, **_patience(patient)) for _ in range(3)]
        self._agree([other.store() for other in others], 2)
        for other in others[1:]:
            other.close()

    def _agree(self, stores, threads):
        start = threading.Barrier(len(stores) * threads)

        def work(which):
            start.wait()
            found = {}
            for index in range(10):
                word = f"{(index * 3 + which) % 10}"
                found[word], _ = _number(stores[which % len(stores)], word)
            return found

        with ThreadPoolExecutor(start.parties) as pool:
            first, *others = pool.map(work, range(start.parties))
        assert all(other == first for other in others)
        assert sorted(first.values()) == list(range(1, 11))


def _patience(place):
    return {"timeout": 60} if place.engine.dialect.name == "sqlite" else {}


class TestVault:
    def test_a_value_has_one_name_in_all_turns_and_an_answer_may_use_those_of_earlier_ones(self, vault):
        assert named(vault, "mail ada@example.org", "acme", "c-1") == "mail [EMAIL_1]"
        assert named(vault, "bob@example.org, ada@example.org", "acme", "c-1") == "[EMAIL_2], [EMAIL_1]"
        mapping = vault.conversation("acme", "c-1").mapping
        assert (
            restore("To [EMAIL_2] and (email 1), not [EMAIL_3]", mapping)
            == "To bob@example.org and ada@example.org, not [EMAIL_3]"
        )
        stream = RestoreFilter(mapping)
        assert "".join(map(stream.feed, "To [EMAIL_2].")) + stream.finish() == "To bob@example.org."

    @pytest.mark.parametrize(
        "other",
        [
            ("other", "c-1", "u-1"),
            ("acme", "c-2", "u-1"),
            ("acme", "c-1", "u-2"),
            ("acme", "c-1", ""),
            ("acmec", "-1", "u-1"),
        ],
    )
    def test_a_name_means_nothing_to_another_tenant_conversation_or_principal(self, vault, other):
        assert named(vault, "ada@example.org", "acme", "c-1", "u-1") == "[EMAIL_1]"
        assert dict(vault.conversation(*other).mapping) == {}
        assert named(vault, "bob@example.org", *other) == "[EMAIL_1]"
        assert restore("[EMAIL_1]", vault.conversation("acme", "c-1", "u-1").mapping) == "ada@example.org"

    def test_any_text_is_a_value(self, vault):
        values = ["a", "A", "", "\0", "' OR 1=1 --", "%", "ünï \U0001d54f", "x" * 100_000]
        placeholders = vault.conversation("t", "c")
        names = [placeholders.placeholder("X", value) for value in values]
        assert len(set(names)) == len(values)
        assert [placeholders.mapping[name] for name in names] == values

    def test_nothing_is_stored_in_clear(self, vault, place):
        named(vault, "ada@example.org", "acme-tenant", "c-secret", "principal-9")
        (row,) = place.do(f"SELECT * FROM {place.table}")
        stored = b"".join(bytes(one) if isinstance(one, bytes) else str(one).encode() for one in row)
        for word in (b"ada", b"acme-tenant", b"c-secret", b"principal-9"):
            assert word not in stored
        conversation = vault.conversation("acme-tenant", "c-secret", "principal-9")
        assert "ada" not in repr(conversation.mapping) + repr(conversation) + repr(vault)

    def test_a_row_that_was_changed_or_is_under_another_key_gives_nobody_s_value(self, place, vault, cipher):
        named(vault, "ada@example.org bob@example.org", "t", "c")
        other = PseudonymVault(place.given(), FieldCipher(Keyring.generate()), key=KEY)
        with pytest.raises(Unavailable) as error:
            restore("[EMAIL_1]", other.conversation("t", "c").mapping)
        assert error.value.code == "unavailable.vault"
        of_bob = f"(SELECT token FROM {place.table} WHERE number = 2)"
        place.do(f"UPDATE {place.table} SET token = {of_bob} WHERE number = 1")
        with pytest.raises(Unavailable):
            restore("[EMAIL_1]", vault.conversation("t", "c").mapping)
        assert restore("[EMAIL_2]", vault.conversation("t", "c").mapping) == "bob@example.org"

    def test_pseudonyms_are_forgotten_after_their_time_and_when_asked(self, place, cipher):
        clock = FrozenClock()
        vault = PseudonymVault(place.given(), cipher, key=KEY, retention_seconds=100, clock=clock)
        named(vault, "ada@example.org", "t", "old")
        clock.advance(60)
        named(vault, "ada@example.org", "t", "old")  # named again: kept for longer
        named(vault, "bob@example.org", "t", "new")
        clock.advance(60)
        assert len(vault.conversation("t", "old").mapping) == 1
        clock.advance(41)
        assert len(vault.conversation("t", "old").mapping) == 0
        assert named(vault, "ada@example.org", "t", "old") == "[EMAIL_1]"
        assert vault.purge() == 0  # the other was swept when this was added
        assert vault.erase("t", "old") == 1
        named(vault, "ada@example.org", "t", "a")
        named(vault, "ada@example.org", "u", "a")
        assert vault.erase_tenant("t") == 1
        assert len(vault.conversation("u", "a").mapping) == 1

    def test_with_the_key_of_a_person_their_pseudonyms_are_gone(self, place, tmp_path):
        storage = Storage(tmp_path / "keys.db")
        subjects = SubjectKeys(storage, RingProvider(FieldCipher(Keyring.generate())))
        vault = PseudonymVault(
            place.given(),
            lambda tenant, principal: subjects.cipher(principal, tenant=tenant),
            key=KEY,
            is_erased=subjects.is_erased,
        )
        named(vault, "ada@example.org", "t", "c", "u-1")
        named(vault, "bob@example.org", "t", "c", "u-2")
        subjects.erase("u-1", tenant="t")
        assert restore("[EMAIL_1]", vault.conversation("t", "c", "u-1").mapping) == "[EMAIL_1]"
        assert restore("[EMAIL_1]", vault.conversation("t", "c", "u-2").mapping) == "bob@example.org"
        storage.close()

    def test_a_process_that_died_before_it_stored_a_value_does_no_harm(self, place, vault):
        class Dying:
            def encrypt(self, plaintext, *, context=()):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            named(PseudonymVault(place.given(), Dying(), key=KEY), "ada@example.org", "t", "c")
        assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "[EMAIL_1]"
        assert named(vault, "ada@example.org", "t", "c") == "[EMAIL_1]"
        assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "ada@example.org"

    def test_a_guard_remembers_between_calls_of_one_conversation(self, vault):
        seen = []

        @RedactGuard(restore=True, vault=vault)
        def ask(prompt):
            seen.append(prompt)
            return "I wrote to [EMAIL_1]."

        with acting_as(Principal("u-1", tenant="acme"), conversation="c-1"):
            assert ask("mail ada@example.org") == "I wrote to ada@example.org."
            assert ask("did you?") == "I wrote to ada@example.org."
        with acting_as(Principal("u-2", tenant="acme"), conversation="c-1"):
            assert ask("did you?") == "I wrote to [EMAIL_1]."
        assert seen[:2] == ["mail [EMAIL_1]", "did you?"]

    def test_a_name_that_a_caller_writes_comes_to_mean_nobody_s_value(self, vault):
        seen = []

        @RedactGuard(restore=True, vault=vault)
        def ask(prompt):
            seen.append(prompt)
            return prompt

        with acting_as(Principal("u-1"), conversation="c-9"):
            assert ask("[EMAIL_1] is not ada@example.org") == "[EMAIL_1] is not ada@example.org"
        assert seen == ["[EMAIL_1] is not [EMAIL_2]"]

    def test_a_coroutine_is_answered_as_a_function_is_also_in_a_stream(self, vault):
        guard = RedactGuard(restore=True, vault=vault)

        @guard
        async def ask(prompt):
            return f"{prompt} (email 1)"

        @guard
        async def stream(prompt):
            for piece in (prompt, " (ema", "il 1)"):
                yield piece

        async def work():
            with acting_as(Principal("u-1"), conversation="c"):
                answer = await ask("ada@example.org")
                pieces = [piece async for piece in stream("again")]
            return answer, "".join(pieces), await ask("bob@example.org")

        assert asyncio.run(work()) == (
            "ada@example.org ada@example.org",
            "again ada@example.org",
            "bob@example.org bob@example.org",
        )
        assert not guard._held


class TestFailures:
    @pytest.fixture
    def ask(self, vault):
        @RedactGuard(restore=True, vault=vault)
        def ask(prompt):
            raise AssertionError("never reached")

        return ask

    def test_a_table_that_is_gone_refuses_the_call(self, place, vault, ask):
        place.do(f"DROP TABLE {place.table}")
        with acting_as(Principal("u-1"), conversation="c"), pytest.raises(Unavailable):
            ask("mail ada@example.org")
        for work in (
            lambda: len(vault.conversation("t", "c").mapping),
            lambda: vault.erase("t", "c"),
            lambda: vault.erase_tenant("t"),
            vault.purge,
        ):
            with pytest.raises(Unavailable) as caught:
                work()
            assert caught.value.code == "unavailable.storage"

    @pytest.mark.parametrize("place", STORED, indirect=True)
    def test_a_locked_database_refuses_the_call_and_nothing_is_lost(self, place, vault, ask):
        named(vault, "ada@example.org", "t", "c")
        with place.locked():
            with acting_as(Principal("u-1"), conversation="c"), pytest.raises(Unavailable):
                ask("mail ada@example.org")
            for work in (
                lambda: named(vault, "ada@example.org bob@example.org", "t", "c"),
                lambda: vault.erase("t", "c"),
                vault.purge,
            ):
                with pytest.raises(Unavailable):
                    work()
        assert named(vault, "ada@example.org bob@example.org", "t", "c") == "[EMAIL_1] [EMAIL_2]"
        mapping = vault.conversation("t", "c").mapping
        assert restore("[EMAIL_1] [EMAIL_2]", mapping) == "ada@example.org bob@example.org"

    def test_a_full_database_refuses_the_call_and_nothing_is_lost(self, place, vault):
        values = [f"u{number}@example.org" for number in range(500)]
        placeholders = vault.conversation("t", "c")
        names = [placeholders.placeholder("EMAIL", value) for value in values[:3]]
        with place.limited(), pytest.raises(Unavailable):
            names.extend(placeholders.placeholder("EMAIL", value) for value in values[3:])
        mapping = vault.conversation("t", "c").mapping
        assert [mapping[name] for name in names] == values[: len(names)]
        again = vault.conversation("t", "c")
        assert [again.placeholder("EMAIL", value) for value in values[: len(names) + 2]] == [
            f"[EMAIL_{number + 1}]" for number in range(len(names) + 2)
        ]
        assert again.mapping[f"[EMAIL_{len(names) + 1}]"] == values[len(names)]

    def test_an_error_names_no_digest_no_value_and_no_parameter(self, place, vault):
        named(vault, "MARKER@example.org", "t", "c")
        (digest,) = place.do(f"SELECT digest FROM {place.table}")[0]
        with place.limited(), pytest.raises(Unavailable) as caught:
            for number in range(500):
                named(vault, f"MARKER{number}@example.org", "t", "c")
        shown, seen = [], caught.value
        while seen is not None:
            shown.append(f"{seen!r} {seen}")
            seen = seen.__cause__ or seen.__context__
        assert "MARKER" not in "".join(shown)
        assert repr(bytes(digest))[2:12] not in "".join(shown)


_NAME = """
import json, sys
from sqlalchemy import create_engine
from aisecure.adapters.sqlalchemy_vault import SqlPseudonyms
from aisecure.detect import PseudonymVault
from aisecure.encryption import FieldCipher, Keyring
engine = create_engine(sys.argv[1], connect_args={"timeout": 60} if sys.argv[1].startswith("sqlite") else {})
vault = PseudonymVault(SqlPseudonyms(engine), FieldCipher(Keyring.generate()), key=bytes(32))
print("ready", flush=True)
first = int(input())
placeholders = vault.conversation("t", "c")
print(json.dumps({n: placeholders.placeholder("X", str(n)) for n in [(first + n) % 20 for n in range(20)]}))
engine.dispose()
"""


class TestSql:
    def test_processes_that_begin_at_once_make_the_table_once_and_agree_on_every_name(self, url):
        command = [sys.executable, "-c", _NAME, url]
        others = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        assert [other.stdout.readline() for other in others] == ["ready\n"] * 3
        for number, other in enumerate(others):
            other.stdin.write(f"{number}\n")
            other.stdin.flush()
        first, *more = [json.loads(other.communicate(timeout=60)[0]) for other in others]
        assert more == [first, first]
        assert sorted(first.values()) == sorted(f"[X_{number}]" for number in range(1, 21))
        engine = create_engine(url)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT concern, version FROM aisecure_schema")).all()
        assert [tuple(row) for row in rows] == [("pseudonyms", 1)]
        engine.dispose()

    @pytest.mark.parametrize("words", ["aa", "ab"])
    def test_two_that_come_to_the_same_number_do_not_both_get_it(self, postgresql, words):
        engines = [create_engine(postgresql) for _ in words]
        meeting = threading.Barrier(2)
        tried = []

        def meet(number):
            tried.append(number)
            if len(tried) <= 2:
                meeting.wait(30)
            return False

        def work(engine, word):
            store = SqlPseudonyms(engine)
            store._takes_turns = False
            return store.number_of(_digest(word), now=1, expires=2, is_reserved=meet)[0]

        with ThreadPoolExecutor(2) as pool:
            numbers = list(pool.map(work, engines, words))
        assert sorted(numbers) == ([1, 1] if words == "aa" else [1, 2])
        assert tried[:2] == [1, 1]
        for engine in engines:
            engine.dispose()

    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"])
    def test_they_agree_at_every_isolation_level_and_add_one_after_the_other(self, postgresql, level):
        engine = create_engine(postgresql, isolation_level=level, pool_size=8)
        store = SqlPseudonyms(engine)
        inside = []

        def watch(number):
            inside.append(number)
            return False

        def work(first):
            return {
                n: store.number_of(_digest(f"{n}"), now=1, expires=2, is_reserved=watch)[0]
                for n in [(first * 5 + n) % 20 for n in range(20)]
            }

        with ThreadPoolExecutor(8) as pool:
            first, *others = pool.map(work, range(8))
        assert others == [first] * 7
        # In turn, so that nobody tried a number in vain.
        assert inside == sorted(first.values()) == list(range(1, 21))
        engine.dispose()

    def test_who_names_something_waits_for_nobody_of_another_conversation(self, postgresql):
        engine = create_engine(postgresql)
        store = SqlPseudonyms(engine)
        _number(store, "past", scope=b"p" * 32, expires=150)

        def meanwhile(number):
            assert _number(store, "a", now=150, scope=b"o" * 32) == (1, False)
            assert _number(store, "past", now=150, scope=b"p" * 32) == (1, False)
            return False

        assert store.number_of(_digest("a"), now=150, expires=200, is_reserved=meanwhile) == (1, False)
        engine.dispose()

    def test_a_sweep_leaves_what_another_has_locked(self, postgresql):
        engine = create_engine(postgresql, connect_args={"options": "-c lock_timeout=50"})
        store = SqlPseudonyms(engine)
        _number(store, "past", scope=b"p" * 32, expires=150)
        with engine.connect() as other:
            other.execute(text("SELECT * FROM aisecure_pseudonyms FOR UPDATE"))
            assert _number(store, "a", now=150) == (1, False)
            other.rollback()
        assert store.purge(150) == 1
        engine.dispose()

    @pytest.mark.parametrize("state", ["deadlock_detected", "serialization_failure", "unique_violation"])
    def test_what_another_transaction_undid_is_begun_anew_and_not_for_ever(self, postgresql, state):
        engine = create_engine(postgresql)
        database = Database(engine)
        begun = []

        def work(connection):
            begun.append(connection)
            if len(begun) < 3:
                connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
            return "done"

        with pytest.raises(Unavailable):
            database.run(work, tries=2)
        assert len(begun) == 2
        assert database.run(work, tries=2) == "done"
        begun.clear()
        with pytest.raises(Unavailable):
            database.run(work)
        assert len(begun) == 1
        engine.dispose()

    def test_what_failed_for_itself_is_not_begun_anew(self, postgresql):
        engine = create_engine(postgresql)
        begun = []

        def work(connection):
            begun.append(connection)
            connection.exec_driver_sql("SELECT * FROM absent")

        with pytest.raises(Unavailable):
            Database(engine).run(work, tries=8)
        assert len(begun) == 1
        engine.dispose()

    def test_a_role_that_may_make_no_table_can_use_the_one_that_is_there(self, postgresql, cipher):
        engine = create_engine(postgresql)
        SqlPseudonyms(engine)
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE plain LOGIN"))
            connection.execute(text("GRANT USAGE ON SCHEMA public TO plain"))
            connection.execute(
                text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
            )
        theirs = create_engine(engine.url.set(username="plain"), poolclass=NullPool)
        try:
            with theirs.connect() as connection, pytest.raises(DBAPIError):
                connection.execute(text("CREATE TABLE more (id integer)"))
            clock = FrozenClock()
            vault = PseudonymVault(SqlPseudonyms(theirs), cipher, key=KEY, retention_seconds=10, clock=clock)
            named(vault, "ada@example.org", "t", "c")
            clock.advance(11)
            assert named(vault, "bob@example.org", "t", "c") == "[EMAIL_2]"
            assert vault.purge() == 0
            assert restore("[EMAIL_2]", vault.conversation("t", "c").mapping) == "bob@example.org"
            assert vault.erase("t", "c") == 1
        finally:
            with engine.begin() as connection:
                connection.execute(text("DROP OWNED BY plain"))
                connection.execute(text("DROP ROLE plain"))
            engine.dispose()

    def test_a_schema_of_its_own_holds_the_tables(self, postgresql, cipher):
        engine = create_engine(postgresql)
        with engine.begin() as connection:
            connection.execute(text('CREATE SCHEMA "My vault"'))
        vault = PseudonymVault(SqlPseudonyms(engine, schema="My vault"), cipher, key=KEY)
        assert named(vault, "ada@example.org", "t", "c") == "[EMAIL_1]"
        with engine.begin() as connection:
            found = connection.execute(
                text(
                    "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'aisecure%'"
                )
            ).all()
            connection.execute(text('DROP SCHEMA "My vault" CASCADE'))
        assert [tuple(row) for row in found] == [("My vault",)]
        engine.dispose()

    def test_a_table_of_a_newer_library_is_refused(self, url):
        engine = create_engine(url)
        SqlPseudonyms(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE aisecure_schema SET version = 2"))
        with pytest.raises(Misconfigured, match="at version 2, this library knows 1; upgrade"):
            SqlPseudonyms(engine)
        engine.dispose()

    def test_a_vault_in_the_same_file_as_a_storage_has_a_table_of_its_own(self, tmp_path, cipher):
        storage = Storage(tmp_path / "aisecure.db")
        embedded = PseudonymVault(storage, cipher, key=KEY)
        engine = create_engine(f"sqlite:///{tmp_path / 'aisecure.db'}")
        vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY)
        named(embedded, "ada@example.org", "t", "c")
        assert named(vault, "bob@example.org", "t", "c") == "[EMAIL_1]"
        assert restore("[EMAIL_1]", embedded.conversation("t", "c").mapping) == "ada@example.org"
        storage.close()
        engine.dispose()

    def test_a_database_that_ends_every_connection_refuses_until_it_is_back(self, postgresql, cipher):
        engine = create_engine(postgresql)
        vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY)
        named(vault, "ada@example.org", "t", "c")
        killer = create_engine(postgresql, poolclass=NullPool)
        with killer.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            )
        with pytest.raises(Unavailable) as caught:
            named(vault, "ada@example.org bob@example.org", "t", "c")
        assert caught.value.code == "unavailable.storage"
        assert named(vault, "ada@example.org bob@example.org", "t", "c") == "[EMAIL_1] [EMAIL_2]"
        engine.dispose()

    def test_a_database_that_is_read_only_restores_and_names_nothing(self, postgresql, cipher):
        engine = create_engine(postgresql)
        named(PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY), "ada@example.org", "t", "c")
        engine.dispose()
        options = {"options": "-c default_transaction_read_only=on"}
        engine = create_engine(postgresql, connect_args=options)
        vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY)
        assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "ada@example.org"
        for work in (
            lambda: named(vault, "ada@example.org", "t", "c"),
            lambda: vault.erase("t", "c"),
            vault.purge,
        ):
            with pytest.raises(Unavailable):
                work()
        assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "ada@example.org"
        engine.dispose()

    def test_a_server_that_is_not_there_is_unavailable_and_its_password_is_not_told(self, tmp_path):
        engine = create_engine(f"postgresql+psycopg://ana:MARKER@/postgres?host={tmp_path}")
        with pytest.raises(Unavailable) as caught:
            SqlPseudonyms(engine)
        shown, seen = [], caught.value
        while seen is not None:
            shown.append(f"{seen!r} {seen}")
            seen = seen.__cause__ or seen.__context__
        assert "MARKER" not in "".join(shown)
        assert str(tmp_path) not in "".join(shown)

    def test_a_coroutine_does_not_wait_in_the_event_loop(self, postgresql, cipher):
        engine = create_engine(postgresql)
        vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY)
        threads = []
        event.listen(engine, "before_cursor_execute", lambda *_: threads.append(threading.get_ident()))

        @RedactGuard(restore=True, vault=vault)
        async def ask(prompt):
            yield prompt
            yield " and (email 1)"

        async def work():
            with acting_as(Principal("u-1"), conversation="c"):
                return "".join([piece async for piece in ask("ada@example.org")])

        assert asyncio.run(work()) == "ada@example.org and ada@example.org"
        assert threads
        assert threading.get_ident() not in threads
        engine.dispose()

    def test_a_call_that_is_cancelled_while_the_database_is_asked_leaves_nothing_behind(
        self, postgresql, cipher
    ):
        engine = create_engine(postgresql)
        vault = PseudonymVault(SqlPseudonyms(engine), cipher, key=KEY)
        guard = RedactGuard(restore=True, vault=vault)
        asked, go_on = threading.Event(), threading.Event()

        @guard
        async def ask(prompt):
            raise AssertionError("never reached")

        def hang(*_):
            asked.set()
            go_on.wait(30)

        event.listen(engine, "before_cursor_execute", hang)

        async def work():
            with acting_as(Principal("u-1"), conversation="c"):
                task = asyncio.create_task(ask("ada@example.org"))
                await asyncio.to_thread(asked.wait, 30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            go_on.set()

        asyncio.run(work())
        assert not guard._held
        engine.dispose()

    def test_a_database_that_takes_two_values_for_one_is_refused(self):
        pytest.importorskip("sqlalchemy.dialects.mysql")

        class Stub:
            paramstyle = "format"
            version_info = (2, 0, 0)

        engine = create_engine("mysql://", module=Stub)
        with pytest.raises(Misconfigured, match="a database of mysql may take two ids for one"):
            SqlPseudonyms(engine)

    def test_an_engine_for_coroutines_or_no_engine_is_a_type_error(self, postgres):
        for wrong in (create_async_engine(postgres), postgres, None):
            with pytest.raises(TypeError, match="give what create_engine returns"):
                SqlPseudonyms(wrong)

    def test_without_the_package_it_is_told_what_to_install(self):
        code = (
            "import sys; sys.modules['sqlalchemy'] = None\n"
            "from aisecure.errors import Misconfigured\n"
            "try:\n    import aisecure.adapters.sqlalchemy_vault\n"
            "except Misconfigured as err:\n    print(err.code, err)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "config.extra" in done.stdout
        assert "pip install 'aisecure[sql]'" in done.stdout

    def test_something_that_keeps_nothing_is_no_store(self, cipher):
        with pytest.raises(TypeError, match="in a Storage or a PseudonymStore, not in a dict"):
            PseudonymVault({}, cipher, key=KEY)
