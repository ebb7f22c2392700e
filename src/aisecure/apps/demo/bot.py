"""The support bot, as anybody might write it: a model call and notes in a database. Nothing here is security."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

__all__ = ["PERSONAS", "Notes", "complete", "conversation"]

#: What the bot can do: a system prompt and a few examples each. A 135M model needs to be shown.
PERSONAS: dict[str, list[tuple[str, str]]] = {
    "help": [
        ("system", "You are the friendly support assistant of a shoe shop. Answer in one short sentence.")
    ],
    "contact": [
        ("system", "You are a support assistant. Confirm the customer's contact address."),
        ("user", "Write to me at [EMAIL_7] please."),
        ("assistant", "Thank you. We will write to [EMAIL_7]."),
        ("user", "My address is [EMAIL_5], get in touch."),
        ("assistant", "Thank you. We will write to [EMAIL_5]."),
    ],
    "quote": [
        ("system", "Repeat the text of the user, character by character."),
        ("user", "one <i>two</i>"),
        ("assistant", "one <i>two</i>"),
        ("user", "<u>red</u> <script>stop(3)</script>"),
        ("assistant", "<u>red</u> <script>stop(3)</script>"),
    ],
}


def conversation(persona: str, question: str) -> list[dict[str, str]]:
    """Return the messages for a question."""
    shown = [{"role": role, "content": text} for role, text in PERSONAS[persona]]
    return [*shown, {"role": "user", "content": question}]


async def complete(
    client: AsyncOpenAI, model: str, persona: str, question: str, *, max_tokens: int = 48
) -> AsyncIterator[ChatCompletionChunk]:
    """Yield the chunks of the model's answer; temperature 0, so that the demo shows the same thing twice."""
    messages: Any = conversation(persona, question)
    async with await client.chat.completions.create(
        model=model,
        messages=messages,
        max_tokens=max_tokens,
        temperature=0,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        async for chunk in chunks:
            yield chunk


class Notes:
    """Notes about customers, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, tenant TEXT, body TEXT)"
        )

    def add(self, tenant: str, body: str) -> int:
        """Store a note and return its number."""
        cursor = self._connection.execute("INSERT INTO notes (tenant, body) VALUES (?, ?)", (tenant, body))
        return int(cursor.lastrowid or 0)

    def change(self, number: int, body: str) -> None:
        """Replace the body of a note."""
        self._connection.execute("UPDATE notes SET body = ? WHERE id = ?", (body, number))

    def body(self, tenant: str, number: int) -> str | None:
        """Return the body as stored, or None."""
        row = self._connection.execute(
            "SELECT body FROM notes WHERE id = ? AND tenant = ?", (number, tenant)
        ).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
