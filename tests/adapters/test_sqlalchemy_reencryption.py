"""Columns of real databases, re-encrypted: every kind of key, context and token, beside writers, and by the command."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import date
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import (
    Column,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    create_engine,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tests.adapters import reencrypting

from aisecure.adapters.sqlalchemy import EncryptedAttribute, EncryptedType, TableTokens, current_tenant
from aisecure.cli import main
from aisecure.cli.reencrypt import _bar
from aisecure.encryption import (
    BlindIndex,
    FieldCipher,
    KeyFile,
    Keyring,
    ReencryptionProgress,
    reencrypt,
    using_cipher,
)
from aisecure.errors import Misconfigured, Unavailable

RING = Keyring.generate()
NEWER = RING.rotate()
OLD, NEW = FieldCipher(RING), FieldCipher(NEWER)
PLACE = ("patients", "notes")


@pytest.fixture
def engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    yield engine
    engine.dispose()


def patients(*keys, of=str, **options):
    keys = keys or (Column("id", Integer, primary_key=True),)
    return Table(
        "patients", MetaData(), *keys, Column("notes", EncryptedType(None, context=PLACE, of=of, **options))
    )


def fill(engine, table, rows):
    table.metadata.create_all(engine)
    with using_cipher(OLD), engine.begin() as connection:
        connection.execute(insert(table), rows)


def notes(engine, table):
    with using_cipher(NEW), engine.connect() as connection:
        return connection.scalars(select(table.c.notes).order_by(*table.primary_key.columns)).all()


KEYS = {
    "number": ([Column("id", Integer, primary_key=True)], lambda n: {"id": n * 7 - 20}),
    "text": ([Column("id", String(40), primary_key=True)], lambda n: {"id": f"Ä{n % 3} \x01'\"%{n}"}),
    "uuid": ([Column("id", Uuid, primary_key=True)], lambda n: {"id": uuid4()}),
    "date": ([Column("id", Date, primary_key=True)], lambda n: {"id": date(2026, 1, 1 + n)}),
    "composite": (
        [Column("tenant", String(9), primary_key=True), Column("day", Date, primary_key=True), Column("n", Integer, primary_key=True)],
        lambda n: {"tenant": "ab"[n % 2], "day": date(2026, 1, 1 + n % 3), "n": n},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
def test_every_row_is_met_whatever_its_key_is_made_of(engine, kind):
    columns, make = KEYS[kind]
    table = patients(*(column._copy() for column in columns))
    fill(engine, table, [make(n) | {"notes": None if n == 5 else f"value {n}"} for n in range(20)])
    before = notes(engine, table)
    for batch in (3, 500):
        report = reencrypt(TableTokens(engine, table.c.notes), NEW, batch=batch)
        assert (report.ok, report.seen) == (True, 19)
    assert notes(engine, table) == before
    assert report.retirable == (RING.primary,)
    assert TableTokens(engine, table.c.notes).count() == 19


@pytest.mark.parametrize("options", [{"of": bytes}, {"of": dict, "binary": True}, {"of": dict}])
def test_every_kind_of_token_is_renewed(engine, options):
    table = patients(**options)
    values = [b"\x00\xff" if options["of"] is bytes else {"n": n} for n in range(3)]
    fill(engine, table, [{"notes": value} for value in values])
    report = reencrypt(TableTokens(engine, table.c.notes), NEW)
    assert (report.changed, report.ok) == (3, True)
    assert notes(engine, table) == values


class Base(DeclarativeBase):
    pass


class Visit(Base):
    __tablename__ = "visits"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    phone = EncryptedAttribute(
        context=("visits", "phone"),
        tenant="tenant",
        row=("id",),
        index=BlindIndex(RING, field=("visits", "phone")),
    )
    scan = EncryptedAttribute(context=("visits", "scan"), of=bytes)
    of_tenant = EncryptedAttribute(context=("visits", "t"), tenant=current_tenant)


def test_an_attribute_says_itself_what_its_tokens_are_bound_to(engine):
    Base.metadata.create_all(engine)
    with using_cipher(OLD), Session(engine) as session:
        session.add_all([Visit(tenant=tenant, phone="555", scan=b"\x01", of_tenant="x") for tenant in "ab"])
        session.commit()
    for attribute in (Visit.phone, Visit.scan):
        report = reencrypt(TableTokens(engine, attribute), NEW)
        assert (report.changed, report.ok) == (2, True)
    with using_cipher(NEW), Session(engine) as session:
        visits = session.scalars(select(Visit).where(Visit.phone.equals("555", tenant="a"))).all()
        assert [(visit.tenant, visit.phone, visit.scan) for visit in visits] == [("a", "555", b"\x01")]
    with pytest.raises(Misconfigured, match="only the row can tell"):
        TableTokens(engine, Visit.of_tenant)
    columns = Visit.__table__.c
    given = TableTokens(
        engine, Visit.of_tenant, context=("visits", "t", columns.tenant, columns.tenant, columns.id)
    )
    with using_cipher(OLD):
        assert (
            reencrypt(given, NEW).failed == 2
        )  # bound to the principal's tenant, "default", when they were made
    given = TableTokens(engine, Visit.of_tenant, context=("visits", "t", "default", Visit.tenant, Visit.id))
    assert reencrypt(given, NEW).ok


def test_a_null_in_the_place_is_a_row_that_fails_and_no_crash(sqlite):
    table = Table(
        "patients", MetaData(), Column("id", Integer, primary_key=True), Column("tenant", String), Column("notes", Text)
    )  # fmt: skip
    table.metadata.create_all(sqlite)
    with sqlite.begin() as connection:
        for tenant in ("a", None):
            token = OLD.encrypt("x", context=("n", tenant or "lost"))
            connection.execute(insert(table).values(tenant=tenant, notes=token))
    report = reencrypt(TableTokens(sqlite, table.c.notes, context=("n", table.c.tenant)), NEW, failed_keys=9)
    assert (report.changed, report.failed, report.failed_keys) == (1, 1, ((2,),))


def test_a_named_schema_and_names_that_need_quotes_are_taken_as_they_are(postgres):
    engine = create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(text('CREATE SCHEMA "My Schema"'))
    table = Table(
        'pat"ients', MetaData(schema="My Schema"),
        Column("select", Integer, primary_key=True), Column("aisecure_old", EncryptedType(None, context=PLACE)),
    )  # fmt: skip
    try:
        fill(engine, table, [{"aisecure_old": "x"}])
        assert reencrypt(TableTokens(engine, table.c.aisecure_old), NEW).ok
    finally:
        with engine.begin() as connection:
            connection.execute(text('DROP SCHEMA "My Schema" CASCADE'))
        engine.dispose()


def test_a_writer_between_reading_and_writing_wins(engine):
    table = patients()
    fill(engine, table, [{"notes": f"value {n}"} for n in range(4)])
    tokens = TableTokens(engine, table.c.notes)
    swap = tokens.swap

    def overtaken(changes):
        with using_cipher(NEW), engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == 2).values(notes="theirs"))
            connection.execute(table.delete().where(table.c.id == 3))
        return swap(changes)

    tokens.swap = overtaken
    report = reencrypt(tokens, NEW)
    assert (report.changed, report.lost, report.ok) == (2, 2, True)
    assert notes(engine, table) == ["value 0", "theirs", "value 3"]


def test_writers_at_the_same_time_lose_nothing(engine):
    """Threads with the old and the new ring write while the walk goes on; each owns some rows."""
    table = patients()
    fill(engine, table, [{"notes": "0"} for _ in range(60)])
    last: dict[int, str] = {}
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
    stop = threading.Event()
    started = threading.Barrier(3)

    def write(cipher, rows):
        own = patients()
        own.c.notes.type.cipher = cipher
        started.wait()
        count = 0
        while not stop.wait(0.001):  # SQLite has no queue: one who never pauses starves the others
            row = rows[count % len(rows)]
            count += 1
            with engine.begin() as connection:
                connection.execute(update(own).where(own.c.id == row).values(notes=f"{count}"))
            last[row] = f"{count}"

    threads = [
        threading.Thread(target=write, args=(OLD, range(1, 20, 2))),
        threading.Thread(target=write, args=(NEW, range(2, 60, 4))),
    ]
    for thread in threads:
        thread.start()
    started.wait()
    try:
        reencrypt(TableTokens(engine, table.c.notes), NEW, batch=7)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    report = reencrypt(TableTokens(engine, table.c.notes), NEW)
    assert report.ok
    found = dict(enumerate(notes(engine, table), 1))
    assert found == {n: last.get(n, "0") for n in range(1, 61)}


def test_a_database_that_goes_away_is_unavailable_and_quotes_nothing(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'none' / 'MARKER.db'}")
    table = patients()
    for ask in (lambda store: store.count(), lambda store: store.read(None, 1), lambda store: store.swap([])):
        with pytest.raises(Unavailable, match="start again") as caught:
            ask(TableTokens(engine, table.c.notes))
        assert "MARKER" not in str(caught.value)


def test_a_locked_database_is_unavailable_and_loses_nothing(tmp_path):
    import sqlite3

    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}", connect_args={"timeout": 0})
    table = patients()
    fill(engine, table, [{"notes": "x"}])
    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="OperationalError"):
        reencrypt(TableTokens(engine, table.c.notes), NEW)
    other.execute("ROLLBACK")
    other.close()
    assert reencrypt(TableTokens(engine, table.c.notes), NEW).ok
    engine.dispose()


class TestMistakes:
    def test_a_table_without_key_needs_one_named(self, sqlite):
        table = Table("t", MetaData(), Column("id", Integer), Column("notes", Text))
        with pytest.raises(Misconfigured, match="unique key"):
            TableTokens(sqlite, table.c.notes, context=PLACE)
        assert TableTokens(sqlite, table.c.notes, key=[table.c.id], context=PLACE).name == "t.notes"

    def test_a_plain_column_needs_its_context_named(self, sqlite):
        table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("notes", LargeBinary))
        with pytest.raises(Misconfigured, match="context"):
            TableTokens(sqlite, table.c.notes)

    def test_a_type_that_is_bound_to_a_tenant_needs_the_column_of_it(self, sqlite):
        with pytest.raises(Misconfigured, match="tenant"):
            TableTokens(sqlite, patients(tenant=current_tenant).c.notes)

    @pytest.mark.parametrize("column", [None, "notes", 5, text("notes")])
    def test_a_column_is_a_column(self, sqlite, column):
        with pytest.raises(TypeError):
            TableTokens(sqlite, column)

    def test_an_engine_is_an_engine(self):
        with pytest.raises(TypeError, match="create_engine"):
            TableTokens("sqlite://", patients().c.notes)


class TestCommand:
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        """A folder with configuration, key file and database, and what runs the command in it."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "aisecure.toml").write_text("[encryption]\nkey_file = 'fields.json'\n")
        file = KeyFile(tmp_path / "fields.json")
        file.open()
        engine = create_engine("sqlite:///app.db")
        table = patients()
        cipher = FieldCipher(file)
        table.metadata.create_all(engine)
        with using_cipher(cipher), engine.begin() as connection:
            connection.execute(insert(table), [{"notes": f"{n}"} for n in range(5)])
        engine.dispose()

        def run(*words, url="sqlite:///app.db"):
            result = CliRunner().invoke(main, ["keys", "ring", "reencrypt", "--url", url, *words])
            if result.exception and not isinstance(result.exception, SystemExit):
                raise result.exception
            return result

        run.file, run.engine, run.table = file, engine, table
        return run

    PLAIN = ("--table", "patients", "--column", "notes", "--context", "patients", "--context", "notes")

    def test_it_brings_a_column_under_the_new_key_and_names_the_key_to_retire(self, world):
        old = world.file.ring().primary
        world.file.rotate()
        result = world(*self.PLAIN)
        assert result.exit_code == 0
        assert "5 re-encrypted" in result.output
        assert f"aisecure keys ring retire {old}" in result.output
        with using_cipher(FieldCipher(world.file)):
            assert (
                reencrypt(TableTokens(world.engine, world.table.c.notes), FieldCipher(world.file)).skipped
                == 5
            )

    def test_a_long_run_says_where_it_is(self, world, monkeypatch):
        monkeypatch.setattr("aisecure.cli.reencrypt._LINE_SECONDS", 0)
        world.file.rotate()
        told = world(*self.PLAIN, "--batch", "2").stderr
        assert "patients.notes: pass 1, 4 rows, 4 changed, 0 failed" in told
        assert "pass 2, 5 rows, 5 changed" in told

    def test_a_terminal_shows_a_bar(self, world, capsys):
        with _bar(TableTokens(world.engine, world.table.c.notes)) as progress:
            progress(ReencryptionProgress(1, 2, 2, 0))
            progress(ReencryptionProgress(2, 5, 5, 0))
        told = capsys.readouterr().err
        assert "patients.notes, pass 2" in told
        assert "5/5" in told

    def test_json_is_one_object(self, world):
        world.file.rotate()
        told = json.loads(world(*self.PLAIN, "--json").stdout)
        assert (told["ok"], told["changed"], told["store"]) == (True, 5, "patients.notes")

    def test_check_counts_by_key_and_changes_nothing(self, world):
        old = world.file.ring().primary
        world.file.rotate()
        for _ in range(2):
            told = json.loads(world(*self.PLAIN, "--check", "--json").stdout)
            assert told["tokens"] == {old: 5}
        assert f"{old}  5" in world(*self.PLAIN, "--check").output

    def test_tokens_that_do_not_open_make_it_fail_and_are_named_on_request(self, world):
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE patients SET notes = 'junk' WHERE id = 4"))
        result = world(*self.PLAIN)
        assert result.exit_code == 1
        assert "1 do not open" in result.output
        assert "does not open" not in result.output
        assert "does not open: 4" in world(*self.PLAIN, "--show-failed", "3").output
        assert json.loads(world(*self.PLAIN, "--json", "--show-failed", "1").stdout)["failed_keys"] == [["4"]]

    def test_an_attribute_of_an_application_says_all_by_itself(self, world, tmp_path):
        (tmp_path / "clinic_models.py").write_text(
            "from sqlalchemy.orm import DeclarativeBase, mapped_column\n"
            "from sqlalchemy import Integer\n"
            "from aisecure.adapters.sqlalchemy import EncryptedType\n"
            "class Base(DeclarativeBase): pass\n"
            "class Patient(Base):\n"
            "    __tablename__ = 'patients'\n"
            "    id = mapped_column(Integer, primary_key=True)\n"
            "    notes = mapped_column(EncryptedType(context=('patients', 'notes')))\n"
        )
        world.file.rotate()
        assert "5 re-encrypted" in world("clinic_models:Patient.notes").output

    def test_a_row_bound_column_is_named_by_options_too(self, world):
        with world.engine.begin() as connection:
            connection.execute(text("CREATE TABLE bound (id TEXT PRIMARY KEY, tenant TEXT, v TEXT)"))
            for row in ("a", "b"):
                token = FieldCipher(world.file).encrypt("x", context=("bound", "one", row))
                connection.execute(text("INSERT INTO bound VALUES (:id, 'one', :v)"), {"id": row, "v": token})
        world.file.rotate()
        words = [
            "--table",
            "bound",
            "--column",
            "v",
            "--context",
            "bound",
            "--context-column",
            "tenant",
            "--bind-row",
        ]
        assert "2 re-encrypted" in world(*words).output

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ([], "--table"),
            (["--table", "patients"], "--context"),
            (["--table", "nothing", "--column", "a", "--context", "b"], "no such table"),
            (["--table", "patients", "--column", "nothing", "--context", "b"], "no column nothing"),
            (["nothing:At.all"], "No module named"),
            (["json:JSONDecoder.nothing"], "nothing"),
            (["json:JSONDecoder", "--table", "x"], "ATTRIBUTE"),
            ([*PLAIN, "--batch", "0"], "--batch"),
        ],
    )
    def test_a_command_that_was_typed_wrongly_says_what_is_missing(self, world, words, told):
        result = world(*words)
        assert result.exit_code == 2
        assert told in result.output

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "MARKER",
            "nothing://u:MARKER@h/d",
            "postgresql+nothing://u:MARKER@h/d",
            "sqlite:MARKER",
            "@ABSENT",
        ],
    )
    def test_a_url_that_is_none_is_refused_unquoted(self, world, url):
        result = world(*self.PLAIN, url=url)
        assert result.exit_code == 2
        assert "MARKER" not in result.output

    def test_a_database_that_is_away_is_unavailable_and_its_password_untold(self, world):
        result = world(*self.PLAIN, url="postgresql+psycopg://u:MARKER@127.0.0.1:1/none")
        assert result.exit_code == 4
        assert "MARKER" not in result.output

    def test_the_url_can_come_from_a_variable(self, world, monkeypatch):
        monkeypatch.setenv("CLINIC_DATABASE", "sqlite:///app.db")
        assert world(*self.PLAIN, url="@CLINIC_DATABASE").exit_code == 0

    def test_the_run_is_an_event_in_the_log(self, world, tmp_path):
        world.file.rotate()
        world(*self.PLAIN)
        log = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
        assert '"encryption.reencrypted"' in log


def test_a_run_that_is_killed_again_and_again_is_taken_up_and_loses_nothing(tmp_path):
    """The same with 100,000 rows and kills at random moments: tests/proof/test_reencryption.py."""
    url, keys = f"sqlite:///{tmp_path / 'app.db'}", KeyFile(tmp_path / "fields.json")
    keys.open()
    engine = reencrypting.connect(url)
    table = reencrypting.patients(FieldCipher(keys))
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"notes": f"value {n}"} for n in range(1, 401)])
    keys.rotate()
    words = [sys.executable, reencrypting.__file__, url, str(keys.path), "walk", "20"]
    for batches in (1, 4):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(1 + batches):
                process.stdout.readline()
            process.kill()
    cipher = FieldCipher(keys)
    store = TableTokens(engine, table.c.notes)
    current = [cipher.is_current(row.token) for row in store.read(None, 1000)]
    assert 80 <= sum(current) < 400
    assert current == sorted(current, reverse=True)
    report = reencrypt(store, cipher)
    assert report.ok
    assert report.skipped == sum(current)
    with engine.connect() as connection:
        assert connection.scalars(select(table.c.notes).order_by(table.c.id)).all() == [
            f"value {n}" for n in range(1, 401)
        ]
    engine.dispose()
