"""The demo's support bot as a Flask app.

    python examples/flask_bot.py [FOLDER]

starts a real local model and the app on 127.0.0.1:5000, and prints an API key and a command to try.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from aisecure import Shield
from aisecure.adapters.flask import AISecure, current_principal
from aisecure.apps.demo.bot import Notes, conversation
from aisecure.apps.demo.model import serve
from aisecure.apps.demo.stage import write_settings
from aisecure.authn import ApiKeys
from aisecure.encryption import FieldCipher
from aisecure.models import ModelPins


def create_app(shield: Shield, client: OpenAI, notes: Notes) -> Flask:
    """Return the app: chat (streamed), and notes that are encrypted where they are stored."""
    app = Flask(__name__)
    AISecure(shield).init_app(app)
    pins, cipher = shield.part(ModelPins), shield.part(FieldCipher)

    @shield.protect("model:{model}", prompt="text")
    def answer(text: str, persona: str, model: str) -> Iterator[ChatCompletionChunk]:
        yield from client.chat.completions.create(
            model=pins[model].id,
            messages=conversation(persona, text),
            max_tokens=48,
            temperature=0,
            seed=1,
            stream=True,
        )

    @shield.protect("document:notes", action="write", prompt="text")
    def write_note(tenant: str, text: str) -> int:
        number = notes.add(tenant, "")
        notes.change(number, cipher.encrypt(text, context=("notes", tenant, number)))
        return number

    @shield.protect("document:notes", action="read", prompt="number")
    def read_note(tenant: str, number: int) -> str | None:
        token = notes.body(tenant, number)
        return None if token is None else cipher.decrypt(token, context=("notes", tenant, number))

    @app.post("/chat")
    def chat() -> Response:
        asked = request.get_json()
        chunks = answer(
            str(asked["text"]), str(asked.get("persona", "help")), str(asked.get("model", "support-bot"))
        )
        words = (choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return Response(words, mimetype="text/plain")

    @app.post("/notes")
    def add_note() -> tuple[dict[str, int], int]:
        return {"number": write_note(current_principal.tenant, str(request.get_json()["text"]))}, 201

    @app.get("/notes/<int:number>")
    def get_note(number: int) -> tuple[dict[str, str], int]:
        text = read_note(current_principal.tenant, number)
        return ({}, 404) if text is None else ({"text": text}, 200)

    return app


def main(folder: Path, port: int = 5000) -> None:
    """Serve the bot until interrupted."""
    with serve() as model:
        write_settings(folder, model.weights)
        client = OpenAI(base_url=model.base_url, api_key="local")
        with Shield.from_config(folder / "aisecure.toml") as shield:
            key = shield.part(ApiKeys).create("ana", tenant="shop", roles=["member"])
            app = create_app(shield, client, Notes(folder / "data" / "notes.db"))
            print(
                f'curl -N http://127.0.0.1:{port}/chat -H "Authorization: Bearer {key.secret}" --json \'{{"text": "Hello"}}\''
            )
            app.run(port=port, threaded=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".demo"))
