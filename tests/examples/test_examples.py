"""The examples, each over a real local model."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import threading
from pathlib import Path

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from openai import OpenAI
from werkzeug.serving import make_server

from aisecure import Principal, Shield
from aisecure.apps.demo.bot import Notes
from aisecure.apps.demo.model import serve
from aisecure.apps.demo.stage import write_settings
from aisecure.audit import read, verify
from aisecure.authn import ApiKeys

EXAMPLES = Path(__file__).parents[2] / "examples"
QUESTION = "My card 4111 1111 1111 1111 was charged twice, write to ana@example.org."


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model():
    with serve() as running:
        yield running


@pytest.fixture
def shield(model, tmp_path):
    write_settings(tmp_path, model.weights)
    with Shield.from_config(tmp_path / "aisecure.toml") as made:
        yield made


def test_the_flask_bot_streams_restores_refuses_and_encrypts(model, shield, tmp_path):
    notes = Notes(tmp_path / "data" / "notes.db")
    client = OpenAI(base_url=model.base_url, api_key="local")
    app = load("flask_bot").create_app(shield, client, notes)
    keys = shield.part(ApiKeys)
    ana = {"Authorization": "Bearer " + keys.create("ana", tenant="shop", roles=["member"]).secret}
    lea = {"Authorization": "Bearer " + keys.create("lea", tenant="shop", roles=["lead"]).secret}
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=60) as http:
            assert http.post("/chat", json={"text": "hi"}).status_code == 401
            answer = http.post("/chat", json={"text": QUESTION, "persona": "contact"}, headers=ana)
            assert answer.status_code == 200
            assert "ana@example.org" in answer.text
            unpinned = http.post("/chat", json={"text": "hi", "model": "other"}, headers=ana)
            assert (unpinned.status_code, unpinned.json()["code"]) == (403, "model.not_pinned")
            number = http.post("/notes", json={"text": "allergic to latex"}, headers=ana).json()["number"]
            assert http.get(f"/notes/{number}", headers=ana).status_code == 403
            assert http.get(f"/notes/{number}", headers=lea).json() == {"text": "allergic to latex"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        client.close()
        notes.close()
    connection = sqlite3.connect(tmp_path / "data" / "notes.db")
    assert "latex" not in str(connection.execute("SELECT * FROM notes").fetchall())
    connection.close()
    assert verify(tmp_path / "data" / "audit").ok


def test_the_langchain_bot_streams_and_restores_and_the_model_never_sees_the_address(model, shield, tmp_path):
    pieces = []
    chain = load("langchain_bot").create_chain(shield, model.base_url)
    with shield.acting_as(Principal("ana", tenant="shop", roles=["member"])):
        pieces = list(chain.stream({"text": QUESTION}))
    assert len(pieces) > 1
    assert "ana@example.org" in "".join(pieces)
    events = [entry["ev"] for entry in read(tmp_path / "data" / "audit")]
    call = next(event for event in events if event["type"] == "call.allowed")
    assert {finding["kind"] for finding in call["findings"]} >= {"pii.email", "pii.credit_card"}
    assert "ana@example.org" not in json.dumps(events)


def test_the_langgraph_bot_remembers_and_its_checkpoints_hold_no_word(model, shield):
    saver = InMemorySaver()
    graph = load("langgraph_bot").create_graph(shield, model.base_url, saver, "shop")
    config = {"configurable": {"thread_id": "t-1"}}
    with shield.acting_as(Principal("ana", tenant="shop", roles=["member"])):
        for text in ("My parcel from Lisbon is late.", "And now?"):
            said = graph.invoke({"messages": [("user", text)]}, config)
    kept = graph.get_state(config).values["messages"]
    assert [message.type for message in kept] == ["human", "ai", "human", "ai"]
    assert kept == said["messages"]
    stored = str([saver.storage, saver.blobs, saver.writes])
    assert "Lisbon" not in stored
    assert kept[-1].text
    assert kept[-1].text not in stored
