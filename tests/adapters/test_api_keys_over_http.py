"""API keys behind real servers: kept in PostgreSQL, revoked over Redis, throttled, and never in an answer or a log."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from sqlalchemy import create_engine, text
from tests.adapters.servers import serve_asgi, serve_wsgi
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure import Shield
from aisecure.adapters.fastapi import CurrentPrincipal, secure
from aisecure.adapters.flask import AISecure, current_principal
from aisecure.adapters.sqlalchemy_keys import SqlKeyStore
from aisecure.authn import ApiKeys, AuthenticationGuard, Throttle
from aisecure.notices_redis import RedisNotices
from aisecure.testing import capture_events

__all__ = ["redis_client", "redis_server"]


@pytest.fixture
def engine(postgres):
    engine = create_engine(postgres)
    yield engine
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture
def keys(engine, redis_server, redis_client):
    notices = RedisNotices(redis_server.url, poll_seconds=0.0)
    yield ApiKeys(SqlKeyStore(engine), pepper=bytes(32), notices=notices)
    notices.close()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture(params=["fastapi", "flask"])
def client(request, keys, events):
    guard = AuthenticationGuard(keys, throttle=Throttle(failures=3, seconds=600, events=events))
    shield = Shield(guard, sinks=[events])
    if request.param == "fastapi":
        app = FastAPI()
        secure(app, shield)

        @app.get("/me")
        async def me(principal: CurrentPrincipal) -> str:
            return principal.id

        with serve_asgi(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            yield client
    else:
        flask = Flask(__name__)
        AISecure(flask, shield)
        flask.get("/me")(lambda: current_principal.id)
        with serve_wsgi(flask) as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            yield client


def _ask(client, secret):
    return client.get("/me", headers={"Authorization": f"Bearer {secret}"})


def test_a_key_is_rotated_revoked_and_its_guesser_told_to_wait(client, keys, events):
    old = keys.create("ana", tenant="shop")
    assert _ask(client, old.secret).status_code == 200
    new = keys.rotate(old.key_id, overlap_seconds=3600)
    assert [_ask(client, key.secret).status_code for key in (old, new)] == [200, 200]
    keys.revoke(old.key_id)
    refusals = [_ask(client, old.secret) for _ in range(5)]
    assert [refusal.status_code for refusal in refusals] == [401, 401, 401, 429, 429]
    assert refusals[0].headers["www-authenticate"].startswith("Bearer")
    throttled = refusals[-1]
    assert 0 < int(throttled.headers["retry-after"]) <= 200
    assert throttled.json()["code"] == "authn.throttled"
    assert throttled.json()["status"] == 429
    assert old.key_id not in throttled.text
    # Whoever has a right key is let in, from the same address.
    assert _ask(client, new.secret).status_code == 200
    told = [event for event in events if event.type == "authn.throttled"]
    assert {(event.source, event.detail["by"], event.detail["key_id"]) for event in told} == {
        ("127.0.0.1", "source", old.key_id),
        ("127.0.0.1", "key_id", old.key_id),
    }
    for key in (old, new):
        assert key.secret not in repr([event.to_dict() for event in events])


def test_a_database_that_is_gone_answers_503_and_says_nothing_about_itself(client, keys, engine):
    issued = keys.create("ana")
    assert _ask(client, issued.secret).status_code == 200
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE aisecure_api_keys RENAME TO away"))
    unseen = keys._text.new()[0]
    answer = _ask(client, unseen)
    assert answer.status_code == 503
    assert "away" not in answer.text
    assert "api_keys" not in answer.text


def test_a_redis_server_that_is_gone_answers_503_also_for_a_key_that_was_remembered(
    client, keys, redis_server
):
    issued = keys.create("ana")
    assert _ask(client, issued.secret).status_code == 200
    redis_server.kill()
    try:
        answer = _ask(client, issued.secret)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable.notices")
    finally:
        redis_server.start()
    assert _ask(client, issued.secret).status_code == 200
