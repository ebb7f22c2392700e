"""The bot behind HTTP: the same FastAPI app as without a shield, plus one decorator a function and one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, Field

from aisecure.adapters.fastapi import CurrentPrincipal, secure
from aisecure.apps.demo.bot import Notes, complete
from aisecure.encryption import FieldCipher
from aisecure.models import ModelPins
from aisecure.shield import Shield

__all__ = ["create_app"]

Model = Annotated[str, Field(max_length=100)]


class Question(BaseModel):
    """What a customer asks."""

    text: Annotated[str, Field(max_length=4000)]
    persona: Literal["help", "contact", "quote"] = "help"
    model: Model = "support-bot"


class Note(BaseModel):
    """A note about a customer."""

    text: Annotated[str, Field(max_length=4000)]


def create_app(shield: Shield, client: AsyncOpenAI, notes: Notes) -> FastAPI:
    """Return the app.

    Args:
        shield: With its parts `ModelPins` and `FieldCipher`.
        client: Of the model server.
        notes: Where notes are kept; bodies are tokens.
    """
    app = FastAPI(title="Support bot")
    secure(app, shield)
    pins, cipher = shield.part(ModelPins), shield.part(FieldCipher)

    @shield.protect("model:{model}", prompt="text")
    async def answer(text: str, persona: str, model: str) -> AsyncIterator[ChatCompletionChunk]:
        async for chunk in complete(client, pins[model].id, persona, text):
            yield chunk

    @shield.protect("model:{model}", prompt="text")
    async def answer_as_html(text: str, persona: str, model: str) -> str:
        chunks = complete(client, pins[model].id, persona, text)
        return "".join([word async for word in words(chunks)])

    @shield.protect("document:notes", action="write", prompt="text")
    def write_note(tenant: str, text: str) -> int:
        number = notes.add(tenant, "")
        notes.change(number, cipher.encrypt(text, context=("notes", tenant, number)))
        return number

    @shield.protect("document:notes", action="read", prompt="number")
    def read_note(tenant: str, number: int) -> str:
        token = notes.body(tenant, number)
        if token is None:
            raise HTTPException(404)
        return cipher.decrypt(token, context=("notes", tenant, number))

    @app.post("/chat")
    async def chat(question: Question) -> StreamingResponse:
        chunks = answer(question.text, question.persona, question.model)
        return StreamingResponse(words(chunks), media_type="text/plain")

    @app.post("/html")
    async def html(question: Question) -> dict[str, str]:
        return {"html": await answer_as_html(question.text, question.persona, question.model)}

    @app.post("/notes", status_code=201)
    def add_note(note: Note, principal: CurrentPrincipal) -> dict[str, int]:
        return {"number": write_note(principal.tenant, note.text)}

    @app.get("/notes/{number}")
    def get_note(number: int, principal: CurrentPrincipal) -> dict[str, str]:
        return {"text": read_note(principal.tenant, number)}

    return app


async def words(chunks: AsyncIterator[ChatCompletionChunk]) -> AsyncIterator[str]:
    """Yield the texts of an answer's chunks."""
    async for chunk in chunks:
        for choice in chunk.choices:
            if choice.delta.content:
                yield choice.delta.content
