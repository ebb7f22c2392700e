"""A policy in SQL: PostgreSQL and SQLite, several authorizers, other programs, and databases that fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from aisecure.access import Authorizer
from aisecure.adapters.sqlalchemy_policy import SqlPolicy
from aisecure.errors import Misconfigured, Unavailable
from aisecure.principal import Principal
from aisecure.testing import FrozenClock

READ = ("editor", "*", "document:*", "read", "allow")
ANN = Principal("ann", tenant="acme")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
        yield engine
    else:
        engine = create_engine(request.getfixturevalue("postgres"))
        yield engine
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def often():
    """Let threads take turns a thousand times as often: more ways to meet, and no thread waits long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def may(authorizer: Authorizer, action: str = "read") -> bool:
    return authorizer.decide(ANN, action, "document:1").allowed


def make_table(engine, name: str) -> None:
    """Make a table as Casbin's adapters do."""
    kind = "SERIAL" if engine.dialect.name == "postgresql" else "INTEGER"
    fields = ", ".join(f"v{number} VARCHAR(255)" for number in range(6))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {name} (id {kind} PRIMARY KEY, ptype VARCHAR(255), {fields})"))


def test_a_policy_is_empty_at_first_and_denies(engine):
    assert not may(Authorizer(SqlPolicy(engine)))


def test_what_is_added_is_there_for_the_next_process(engine):
    first = Authorizer(SqlPolicy(engine))
    assert first.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    assert may(first)
    second = Authorizer(SqlPolicy(engine))
    assert may(second)
    assert second.version == first.version
    assert second.remove_grouping_policy("ann", "editor", "acme")
    assert not may(Authorizer(SqlPolicy(engine)))


def test_a_change_is_seen_by_others_at_their_next_look(engine, clock):
    one, two = (Authorizer(SqlPolicy(engine), reload_seconds=2, clock=clock) for _ in range(2))
    one.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    assert not may(two)
    clock.advance(2)
    assert may(two)


def test_what_other_programs_write_is_seen_too(engine, clock):
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0, clock=clock)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO casbin_rule (id, ptype, v0, v1, v2, v3, v4, v5) VALUES "
                "(7, 'p', 'editor', '*', 'document:*', 'read', 'allow', ''), (8, 'g', 'ann', 'editor', 'acme', NULL, NULL, NULL)"
            )
        )
    assert may(authorizer)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM casbin_rule WHERE id = 8"))
    assert not may(authorizer)


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE casbin_rule SET v4 = 'deny' WHERE ptype = 'p'"],
        ["UPDATE casbin_rule SET v1 = 'xxxxxx' WHERE ptype = 'g'"],
        [
            "DELETE FROM casbin_rule WHERE id = 8",
            "INSERT INTO casbin_rule (id, ptype, v0, v1, v2) VALUES (8, 'g', 'bob', 'editor', 'acme')",
        ],
    ],
    ids=["updates", "updates to as many letters", "puts another row under the same id"],
)
@pytest.mark.parametrize("made_by", ["us", "others"])
def test_what_another_program_changes_in_place_is_seen(engine, clock, statements, made_by):
    """Neither the number of rows nor the greatest id tells of it."""
    if made_by == "others":
        make_table(engine, "casbin_rule")
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0, clock=clock)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO casbin_rule (id, ptype, v0, v1, v2, v3, v4) VALUES "
                "(7, 'p', 'editor', '*', 'document:*', 'read', 'allow'), (8, 'g', 'ann', 'editor', 'acme', NULL, NULL)"
            )
        )
    assert may(authorizer)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    assert not may(authorizer)


def test_tables_of_odd_names_are_quoted(engine, clock):
    name = """a "b" 'c' %d :e; --"""
    authorizer = Authorizer(SqlPolicy(engine, table=name), reload_seconds=0, clock=clock)
    assert authorizer.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    assert may(Authorizer(SqlPolicy(engine, table=name)))


def test_policies_of_two_tables_do_not_meet(engine, clock):
    one, two = (Authorizer(SqlPolicy(engine, table=name), reload_seconds=0) for name in ("one", "two"))
    one.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    assert may(one)
    assert not may(two)


def test_a_policy_file_moves_into_the_table(engine, tmp_path):
    path = tmp_path / "policy.csv"
    path.write_text("p, editor, *, document:*, read, allow\ng, ann, editor, acme\n")
    authorizer = Authorizer(SqlPolicy(engine))
    authorizer.change(add=Authorizer.from_files(None, path).lines())
    assert may(Authorizer(SqlPolicy(engine)))


def test_rows_of_others_that_come_between_are_not_lost(engine):
    """Another program commits after this one has looked and before it writes."""

    class Late(SqlPolicy):
        others = ()

        def write(self, after, change, stamp):
            with engine.begin() as connection:
                for statement in self.others:
                    connection.execute(text(statement))
            self.others = ()
            return super().write(after, change, stamp)

    source = Late(engine)
    authorizer = Authorizer(source)
    authorizer.add_grouping_policy("ann", "editor", "acme")
    fields, values = "ptype, v0, v1, v2, v3, v4", "'p', 'editor', '*', 'document:*', 'read', 'allow'"
    source.others = [f"INSERT INTO casbin_rule ({fields}) VALUES ({values})"]
    authorizer.add_grouping_policy("bob", "editor", "acme")
    assert may(authorizer)


def test_a_table_that_was_there_already_is_taken_as_it_is(engine):
    make_table(engine, "rules")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO rules (ptype, v0, v1, v2) VALUES ('p', 'ann', 'ledger', 'read')")
        )
    model = (
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n"
        "[policy_effect]\ne = some(where (p.eft == allow))\n"
        "[matchers]\nm = r.sub == p.sub && r.obj == p.obj && r.act == p.act\n"
    )
    authorizer = Authorizer(SqlPolicy(engine, model=model, table="rules"))
    assert authorizer.enforce("ann", "ledger", "read")
    assert authorizer.add_policy("bob", "ledger", "read")
    assert authorizer.enforce("bob", "ledger", "read")


def test_fields_may_hold_what_a_policy_file_cannot(engine):
    authorizer = Authorizer(SqlPolicy(engine))
    authorizer.add_policy("editor, chief", "*", "document:Ünï \U0001d54f '; DROP TABLE x", "read", "allow")
    again = Authorizer(SqlPolicy(engine))
    chief = Principal("u", roles={"editor, chief"})
    assert again.decide(chief, "read", "document:Ünï \U0001d54f '; DROP TABLE x").allowed


@pytest.mark.parametrize(
    "row",
    [
        "(1, NULL, 'editor', '*', 'document:*', 'read', 'allow')",
        "(1, 'p', 'editor', NULL, 'document:*', 'read', 'allow')",
        "(1, 'p', 'editor', '*', 'document:*', 'read', 'maybe')",
        "(1, 'q', 'editor', '*', 'document:*', 'read', 'allow')",
        "(1, 'p', 'editor', '*', 'document:*', NULL, NULL)",
    ],
)
def test_a_row_that_is_no_rule_is_refused_and_the_last_good_policy_kept(engine, clock, row):
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0, clock=clock)
    authorizer.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM casbin_rule"))
        connection.execute(text(f"INSERT INTO casbin_rule (id, ptype, v0, v1, v2, v3, v4) VALUES {row}"))
    assert may(authorizer)
    assert "casbin_rule" in authorizer.refused
    with pytest.raises(Misconfigured):
        Authorizer(SqlPolicy(engine))


@pytest.mark.parametrize("value", [b"editor", 5, 1.5, "a\0b", "a\nb"])
def test_values_that_are_no_names_are_refused(value, clock):
    """SQLite keeps values of any type in any column."""
    engine = create_engine("sqlite://")
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0, clock=clock)
    authorizer.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE casbin_rule")
        connection.exec_driver_sql(
            "CREATE TABLE casbin_rule (id INTEGER PRIMARY KEY, ptype, v0, v1, v2, v3, v4, v5)"
        )
        connection.exec_driver_sql(
            "INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4) VALUES ('p', ?, '*', 'x:*', 'read', 'allow')",
            (value,),
        )
    assert may(authorizer)
    assert "casbin_rule" in authorizer.refused
    engine.dispose()


def test_a_table_of_another_layout_is_unavailable_and_the_last_policy_decides(clock):
    engine = create_engine("sqlite://")
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0, clock=clock)
    authorizer.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE casbin_rule RENAME COLUMN v3 TO w3")
        connection.exec_driver_sql("DELETE FROM casbin_rule")
    assert may(authorizer)
    assert authorizer.is_unseen
    engine.dispose()


def test_a_change_that_the_table_cannot_hold_changes_nothing(engine):
    authorizer = Authorizer(SqlPolicy(engine))
    with pytest.raises(Misconfigured, match="255"):
        authorizer.change(add=[("p", *READ), ("p", "x" * 256, "*", "document:*", "read", "allow")])
    assert Authorizer(SqlPolicy(engine)).rules == 0


def test_changes_by_many_at_once_are_all_kept(engine):
    def add(number: int) -> None:
        authorizer = Authorizer(SqlPolicy(engine))
        for step in range(4):
            while True:
                try:
                    authorizer.add_grouping_policy(f"user-{number}-{step}", "editor", "acme")
                    break
                except Unavailable:
                    continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM casbin_rule")) == 16
        assert connection.scalar(text("SELECT version FROM aisecure_policies")) >= 16


def test_a_database_that_goes_away_leaves_the_last_policy_deciding(tmp_path, clock):
    folder = tmp_path / "db"
    folder.mkdir()
    engine = create_engine(f"sqlite:///{folder / 'app.db'}")
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=1, clock=clock)
    authorizer.change(add=[("p", *READ), ("g", "ann", "editor", "acme")])
    engine.dispose()
    folder.rename(tmp_path / "away")
    clock.advance(2)
    assert may(authorizer)
    assert authorizer.is_unseen
    with pytest.raises(Unavailable):
        authorizer.add_policy("editor", "*", "document:*", "write", "allow")
    assert not may(authorizer, "write")
    (tmp_path / "away").rename(folder)
    clock.advance(2)
    assert may(authorizer)
    assert not authorizer.is_unseen
    engine.dispose()


def test_a_locked_database_refuses_the_change_and_keeps_the_policy(tmp_path):
    path = tmp_path / "app.db"
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05})
    authorizer = Authorizer(SqlPolicy(engine))
    holder = create_engine(f"sqlite:///{path}")
    with holder.connect() as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable):
            authorizer.add_policy(*READ)
        connection.rollback()
    assert authorizer.add_policy(*READ)
    engine.dispose()
    holder.dispose()


_CHANGES = """
import sys
from sqlalchemy import create_engine
from aisecure.access import Authorizer
from aisecure.adapters.sqlalchemy_policy import SqlPolicy
authorizer = Authorizer(SqlPolicy(create_engine(sys.argv[1])))
number = 0
while True:
    number += 1
    authorizer.change(add=[("g", f"u{number}", "editor", "acme"), ("g", f"u{number}", "reader", "acme")])
    print(number, flush=True)
"""


def test_a_killed_process_leaves_whole_changes(engine):
    SqlPolicy(engine)
    url = engine.url.render_as_string(hide_password=False)
    writer = subprocess.Popen([sys.executable, "-c", _CHANGES, url], stdout=subprocess.PIPE)
    acknowledged = 0
    while acknowledged < 5:
        acknowledged = int(writer.stdout.readline())
    writer.kill()
    rest = writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged
    authorizer = Authorizer(SqlPolicy(engine))
    links = authorizer.snapshot.policy.links["g"]
    assert len(links) % 2 == 0
    assert len(links) // 2 in (acknowledged, acknowledged + 1)


def test_the_url_and_its_password_are_never_shown(tmp_path):
    engine = create_engine("postgresql+psycopg://user:hunter2@/nowhere?host=/nonexistent")
    with pytest.raises(Unavailable) as caught:
        SqlPolicy(engine)
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}{caught.value.__cause__!r}"
    engine.dispose()


@pytest.mark.parametrize("model", ["/nonexistent/model.conf", "a\0b"])
def test_a_model_file_that_cannot_be_read_is_named(tmp_path, model):
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with pytest.raises(Misconfigured):
        SqlPolicy(engine, model=model)
    engine.dispose()


@pytest.mark.parametrize("engine_like", [None, "sqlite://", object()])
def test_it_takes_an_engine(engine_like):
    with pytest.raises(TypeError):
        SqlPolicy(engine_like)


def test_threads_ask_while_another_changes(engine, clock, often):
    authorizer = Authorizer(SqlPolicy(engine), reload_seconds=0)
    write = ("p", "editor", "*", "document:*", "write", "allow")
    authorizer.change(add=[("p", *READ), write, ("g", "ann", "editor", "acme")])
    other = Authorizer(SqlPolicy(engine))
    done = threading.Event()

    def ask(_number: int) -> set[tuple[bool, bool]]:
        seen = set()
        while not done.is_set():
            version = authorizer.snapshot
            seen.add(tuple(version.decide(ANN, action, "document:1").allowed for action in ("read", "write")))
        return seen

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, number) for number in range(4)]
        try:
            for number in range(6):
                other.change(**{"remove" if number % 2 == 0 else "add": [("p", *READ), write]})
        finally:
            done.set()
        answers = set().union(*[future.result() for future in asked])
    assert answers <= {(True, True), (False, False)}
