"""The section ``[access]`` with a database and a Redis server, real ones."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure.access import Settings, build
from aisecure.adapters.sqlalchemy_policy import SqlPolicy
from aisecure.call import Call
from aisecure.errors import Misconfigured, Unavailable
from aisecure.notices_redis import RedisNotices
from aisecure.principal import Principal
from aisecure.testing import memory_ports

__all__ = ["redis_client", "redis_server"]

LINES = [("p", "editor", "*", "document:*", "read", "allow"), ("g", "ann", "editor", "acme")]
CALL = Call(Principal("ann", tenant="acme"), "read", "document:1")


def may(guard) -> bool:
    decision = guard.before(CALL)
    return decision is None or decision.allowed


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'app.db'}"


@pytest.fixture
def postgresql(postgres):
    yield postgres
    engine = create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture
def opened():
    """Guards whose engines are closed afterwards."""
    guards = []
    yield lambda *arguments: guards.append(build(*arguments)[0]) or guards[-1]
    for guard in guards:
        source = guard.authorizer._source
        if isinstance(source, SqlPolicy):
            source._database.engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_holds_the_policy(kind, request, tmp_path, opened):
    url = request.getfixturevalue(kind)
    ports = memory_ports(tmp_path)
    guard = opened(Settings(database=url, table="rules", reload_seconds=1), ports)
    assert not may(guard)
    other = opened(Settings(database=url, table="rules"), ports)
    other.authorizer.change(add=LINES)
    ports.clock.advance(1)
    assert may(guard)
    assert guard.health()["ok"]


def test_a_model_file_belongs_to_the_policy_in_the_database(sqlite, tmp_path, opened):
    model = (
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n"
        "[policy_effect]\ne = some(where (p.eft == allow))\n"
        "[matchers]\nm = r.sub == p.sub && r.obj == p.obj && r.act == p.act\n"
    )
    (tmp_path / "model.conf").write_text(model)
    guard = opened(Settings(database=sqlite, model="model.conf"), memory_ports(tmp_path))
    guard.authorizer.add_policy("ann", "document:1", "read")
    assert may(guard)


def test_redis_tells_of_a_change_that_a_file_does_not_show(redis_server, redis_client, tmp_path, opened):
    """As on a network file system that answers from its memory."""
    (tmp_path / "policy.csv").write_text("p, editor, *, document:*, read, allow\n")
    ports = memory_ports(tmp_path)
    guard = opened(Settings(policy="policy.csv", redis_url=redis_server.url, reload_seconds=1), ports)
    source = guard.authorizer._source
    (tmp_path / "policy.csv").write_text("\n".join(map(", ".join, LINES)))
    guard.authorizer._stamp = source.stamp()
    ports.clock.advance(1)
    assert not may(guard)
    notices = RedisNotices(redis_server.url)
    notices.publish("access.policy")
    notices.close()
    ports.clock.advance(1)
    assert may(guard)


def test_redis_that_is_down_shows_in_health_and_the_policy_stays(
    redis_server, redis_client, tmp_path, opened
):
    (tmp_path / "policy.csv").write_text("\n".join(map(", ".join, LINES)))
    ports = memory_ports(tmp_path)
    guard = opened(Settings(policy="policy.csv", redis_url=redis_server.url, reload_seconds=1), ports)
    assert guard.health()["ok"]
    redis_server.kill()
    try:
        ports.clock.advance(1)
        assert may(guard)
        assert not guard.health()["ok"]
        late = opened(Settings(policy="policy.csv", redis_url=redis_server.url, reload_seconds=1), ports)
        assert may(late)
    finally:
        redis_server.start()
    ports.clock.advance(1)
    assert may(guard)
    assert guard.health()["ok"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"database": "sqlite://", "policy": "rules.csv"}, "database"),
        ({"redis_url": "redis://localhost"}, "redis_url"),
        ({"database": "nonsense"}, "URL"),
        ({"database": "nosuch://user:hunter2@host/name"}, "driver"),
        ({"database": "mysql://user:hunter2@host/name"}, "driver"),
        ({"database": "postgresql+nosuch://user:hunter2@host/name"}, "driver"),
        ({"database": "postgresql://user:hunter2@host:port/name"}, "URL"),
        ({"policy": "rules.csv", "redis_url": "nonsense://:hunter2@host"}, "redis_url"),
    ],
)
def test_settings_that_cannot_work_name_the_remedy_and_no_password(settings, words, tmp_path):
    (tmp_path / "rules.csv").write_text("")
    with pytest.raises(Misconfigured, match=words) as caught:
        build(Settings(**settings), memory_ports(tmp_path))
    shown = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert "hunter2" not in shown


def test_a_database_that_is_down_at_the_start_is_unavailable(tmp_path):
    url = "postgresql+psycopg://user:hunter2@/name?host=/nonexistent"
    settings = Settings(database=url)
    assert "hunter2" not in repr(settings)
    with pytest.raises(Unavailable) as caught:
        build(settings, memory_ports(tmp_path))
    assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!r}"


def test_without_sqlalchemy_the_error_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    monkeypatch.delitem(__import__("sys").modules, "aisecure.access._sql_policy", raising=False)
    with pytest.raises(Misconfigured, match=r"pip install 'aisecure\[sql\]'"):
        build(Settings(database="sqlite://"), memory_ports(tmp_path))
