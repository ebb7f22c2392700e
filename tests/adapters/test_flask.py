"""The contract over a Flask app, and what only this adapter does."""

from __future__ import annotations

import pytest
from flask import Flask, Response, request
from tests.adapters.contract import HttpContract
from tests.adapters.servers import Switch, serve_wsgi
from tests.adapters.world import ANA, TYPES, Bot, World, framed

from aisecure.adapters.flask import AISecure, current_principal


def flask_app(world: World) -> Flask:
    bot = Bot(world)
    app = Flask(__name__)
    AISecure(world.shield, public=["/open"]).init_app(app)

    @app.get("/me")
    def me():
        return current_principal.id

    @app.get("/open")
    def open_():
        return f"open:{current_principal.id}"

    @app.post("/ask")
    def ask():
        asked = request.get_json()
        return {"answer": bot.ask(asked["resource"], asked["text"])}

    @app.post("/stream")
    def stream():
        asked = request.get_json()
        form = asked.get("form", "sse")
        pieces = bot.stream(asked["resource"], asked["text"])
        return Response((framed(piece, form) for piece in pieces), mimetype=TYPES[form])

    return app


@pytest.fixture(scope="module")
def server():
    switch = Switch()
    with serve_wsgi(switch.wsgi) as url:
        yield switch, url


class TestFlask(HttpContract):
    @pytest.fixture
    def base_url(self, server, world):
        switch, url = server
        switch.app = flask_app(world)
        return url

    def test_both_ways_to_begin_leave_the_extension_in_its_place(self, world):
        app = Flask(__name__)
        extension = AISecure(app, world.shield)
        assert app.extensions["aisecure"] is extension
        assert extension.shield is world.shield
        for wrong in ((), (app,), (world.shield, world.shield), ("app", world.shield)):
            with pytest.raises(TypeError):
                AISecure(*wrong)

    def test_no_principal_stays_behind_after_a_request(self, world):
        self.send("/me", ANA)
        self.send("/me", "wrong-key-5e5e")
        assert self.client.get("/open").text == "open:"
        assert current_principal.is_anonymous

    def test_hooks_of_the_app_run_for_known_callers_only(self, world, server):
        app = Flask(__name__)
        seen = []

        @app.before_request
        def hook():
            seen.append(current_principal.id)

        AISecure(app, world.shield)
        server[0].app = app
        self.send("/nowhere", "wrong-key-5e5e")
        self.send("/nowhere", ANA)
        assert seen == ["ana"]
