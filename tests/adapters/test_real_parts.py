"""The shipped guards together, as a configuration file assembles them, behind a real server."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from tests.adapters.servers import serve_asgi

from aisecure import Shield
from aisecure.adapters.fastapi import CurrentPrincipal, secure
from aisecure.audit import AuditLog, verify
from aisecure.authn import ApiKeys

CONFIG = """
[quotas]
limits = "6/hour"

[models]
enabled = false
"""


@pytest.fixture
def shield(tmp_path):
    (tmp_path / "aisecure.toml").write_text(CONFIG)
    with Shield.from_config(tmp_path / "aisecure.toml") as shield:
        yield shield


@pytest.fixture
def client(shield):
    app = FastAPI()
    secure(app, shield)
    app.state.heard = heard = []

    @shield.protect("model:bot", prompt="text")
    async def answer(text: str):
        heard.append(text)
        for piece in ("Write to ada@exa", "mple.org <scr", "ipt>alert(1)</script>", " or call."):
            yield piece

    @app.get("/me")
    async def me(principal: CurrentPrincipal) -> str:
        return principal.id

    @app.post("/chat")
    async def chat(text: str) -> StreamingResponse:
        return StreamingResponse(answer(text), media_type="text/plain")

    with serve_asgi(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        client.heard = heard
        yield client


def test_keys_roles_limits_redaction_and_the_log_work_together(shield, client, tmp_path):
    keys = shield.part(ApiKeys)
    member = keys.create("ana", tenant="shop", roles=["member"]).secret
    guest = keys.create("gus", tenant="shop", roles=["guest"]).secret

    def chat(key):
        return client.post("/chat", params={"text": "I am bob@example.com"}, headers={"X-API-Key": key})

    assert client.get("/me", headers={"Authorization": f"Bearer {member}"}).json() == "ana"
    wrong = member[:-1] + ("y" if member.endswith("x") else "x")
    refused = [
        client.get("/me", headers={"X-Request-ID": "r", **h})
        for h in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": wrong})
    ]
    assert {response.status_code for response in refused} == {401}
    assert len({response.content for response in refused[1:]}) == 1

    said = chat(member)
    assert said.status_code == 200
    assert "ada@example.org" not in said.text
    assert "<script" not in said.text
    assert "bob@example.com" not in client.heard[0]
    assert chat(guest).json()["code"].startswith("access.")
    statuses = [chat(member).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    assert len(client.heard) == 6

    log = shield.part(AuditLog)
    folder = tmp_path / "data" / "audit"
    assert log is not None
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"call.allowed" in written
    assert b"authn.failed" in written
    for secret in (member, guest, "ada@example.org", "bob@example.com"):
        assert secret.encode() not in written
    assert verify(folder).ok
