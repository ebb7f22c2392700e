"""Everything the demo needs, really running: model server, shield, HTTP server, principals with keys."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from openai import AsyncOpenAI

from aisecure.apps.demo.app import create_app
from aisecure.apps.demo.bot import Notes
from aisecure.apps.demo.model import MODEL_ID, serve
from aisecure.authn import ApiKeys
from aisecure.models import lock_entry_for_file
from aisecure.shield import Shield

__all__ = ["CONFIG", "POLICY", "Stage", "set_up"]

CONFIG = """\
data_dir = "data"

[quotas]
limits = "8/minute"
on = "model:*"

[detect]
on = "model:*"
restore = true

[sanitize]
html = "sanitize"
"""

POLICY = """\
p, member, *, model:*, invoke, allow
p, member, *, document:notes, write, allow
p, lead, *, document:notes, read, allow
g, lead, member, *
"""

#: Who takes part: name, roles.
PEOPLE = {"ana": ("member",), "lea": ("lead",), "cyd": ("member",), "gus": ("guest",)}


@dataclass
class Stage:
    """What the steps of the demo act on.

    Attributes:
        http: A real HTTP client of the app.
        keys: API key by name.
        folder: The demo's folder.
        shield: The shield in front of the bot.
        received: Bodies of the requests that reached the model, in order.
    """

    http: httpx2.Client
    keys: dict[str, str]
    folder: Path
    shield: Shield
    received: list[dict[str, Any]] = field(default_factory=list)

    def post(self, path: str, who: str | None, **body: Any) -> httpx2.Response:
        """Send a JSON body as somebody, or as nobody."""
        return self.http.post(path, json=body, headers=self._headers(who))

    def get(self, path: str, who: str | None) -> httpx2.Response:
        """Read a path as somebody."""
        return self.http.get(path, headers=self._headers(who))

    def _headers(self, who: str | None) -> dict[str, str]:
        return {} if who is None else {"Authorization": f"Bearer {self.keys.get(who, who)}"}

    def last_question(self) -> str:
        """Return the last user message that the model received."""
        return str(self.received[-1]["messages"][-1]["content"]) if self.received else ""


def write_settings(folder: Path, weights: Path) -> None:
    """Write configuration, policy and lock file, as a project would keep them in its repository."""
    (folder / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "aisecure.toml").write_text(CONFIG)
    (folder / "data" / "policy.csv").write_text(POLICY)
    (folder / "models.lock").write_text(
        "version = 1\n\n" + lock_entry_for_file(weights, name="support-bot", id=MODEL_ID)
    )


@contextmanager
def set_up(folder: Path) -> Iterator[Stage]:
    """Start everything, and stop it at the end of the block.

    Args:
        folder: Receives configuration, data and log; must be new or empty.

    Raises:
        Misconfigured: The model or another part of the extra ``demo`` is missing.
    """
    with serve() as model:
        write_settings(folder, model.weights)
        received: list[dict[str, Any]] = []

        async def record(request: httpx2.Request) -> None:
            received.append(json.loads(await request.aread()))

        wire = httpx2.AsyncClient(event_hooks={"request": [record]})
        client = AsyncOpenAI(base_url=model.base_url, api_key="local", http_client=wire)
        notes = Notes(folder / "data" / "notes.db")
        with Shield.from_config(folder / "aisecure.toml") as shield:
            issue = shield.part(ApiKeys)
            keys = {
                name: issue.create(name, tenant="shop", roles=roles).secret for name, roles in PEOPLE.items()
            }
            with (
                _served(create_app(shield, client, notes)) as url,
                httpx2.Client(base_url=url, timeout=60) as http,
            ):
                yield Stage(http, keys, folder, shield, received)
        notes.close()


@contextmanager
def _served(app: Any) -> Iterator[str]:
    """Run an ASGI app on a free port of 127.0.0.1 in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="demo-server", daemon=True
    )
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
