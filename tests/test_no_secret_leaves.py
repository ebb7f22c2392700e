"""Secrets and personal data go in at every door; they come out at none that they should not."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from aisecure import Call, Decision, Guard, Principal, Shield
from aisecure.adapters.fastapi import secure
from aisecure.audit import read
from aisecure.authn import ApiKeys
from aisecure.encryption import FieldCipher
from aisecure.errors import AISecureError
from aisecure.testing import capture_events

EMAIL = "zo.canary@example.org"
CARD = "4111 1111 1111 1111"
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
NOTE = "canary-note-allergic-to-penicillin"
CRASH = "canary-password-in-an-exception-text"
PROMPT = f"I am {EMAIL}, card {CARD}, token {TOKEN}."
SECRETS = (EMAIL, CARD, CARD.replace(" ", ""), TOKEN, NOTE, CRASH)


class Careless(Guard):
    """A guard of a user's own that fails, with what it saw in the text of its error."""

    name = "careless"

    def before(self, call: Call) -> Decision | None:
        raise RuntimeError(f"cannot judge {call.input} {CRASH}")


def _found(where: str | bytes, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    text = where.decode("utf-8", "replace") if isinstance(where, bytes) else where
    return [secret for secret in secrets if secret in text]


def _everything_about(error: BaseException) -> str:
    """Return what an error tracker would send: texts, attributes and causes; not the frames of our callers."""
    told, seen = [], set()
    pending: list[BaseException | None] = [error]
    while pending:
        err = pending.pop()
        if err is None or id(err) in seen:
            continue
        seen.add(id(err))
        told += [str(err), repr(err), repr(err.args), repr(vars(err))]
        if isinstance(err, AISecureError):
            told.append(repr(err.problem(instance="r-1")))
            # The error of a guard that broke stays as the cause, for its author; it is theirs, not ours.
            pending += [err.__cause__ if isinstance(err.__cause__, AISecureError) else None]
    return "\n".join(told)


@pytest.fixture
def shield(tmp_path: Path) -> Iterator[Shield]:
    with Shield.defaults(tmp_path / "data") as made:
        yield made


@pytest.fixture
def client(shield: Shield) -> Iterator[TestClient]:
    app = FastAPI()
    secure(app, shield)

    @shield.protect("model:bot")
    def answer(prompt: str) -> str:
        return prompt

    @shield.protect("model:bot", prompt="prompt")
    def crash(prompt: str) -> str:
        raise RuntimeError(CRASH)

    @app.post("/chat")
    def chat(body: dict[str, str]) -> dict[str, str]:
        return {"answer": answer(body["text"])}

    @app.post("/crash")
    def crashing(body: dict[str, str]) -> dict[str, str]:
        return {"answer": crash(body["text"])}

    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


def test_neither_log_nor_database_nor_answer_nor_output_holds_what_went_in(
    client: TestClient,
    shield: Shield,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = shield.part(ApiKeys)
    member, guest = keys.create("u-1", roles={"member"}).secret, keys.create("u-2", roles={"guest"}).secret
    wrong = member[:-1] + ("a" if member[-1] != "a" else "b")
    secrets = (*SECRETS, member, guest, wrong)
    cipher = shield.part(FieldCipher)
    token = cipher.encrypt(NOTE, context=("notes", 1))
    (tmp_path / "data" / "notes.txt").write_text(token)
    answers = []
    for path in ("/chat", "/crash"):
        for key in (member, guest, wrong, None):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            answers.append(client.post(path, json={"text": PROMPT}, headers=headers))
    assert {response.status_code for response in answers} == {200, 401, 403, 500}
    for response in answers:
        assert not _found(response.content, secrets)
        assert not _found(str(response.headers), secrets)
    assert len(list(read(tmp_path / "data" / "audit"))) > len(answers)
    shield.close()
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            assert not _found(file.read_bytes(), secrets), f"{file.name} holds what it should not"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("aisecure")]
    assert not _found("\n".join(ours), secrets)
    shown = capfd.readouterr()
    assert not _found(shown.out + shown.err, (EMAIL, CARD, TOKEN, member, guest, wrong))


@pytest.mark.parametrize(
    "provoke",
    [
        pytest.param(lambda shield: shield.protect("model:bot")(_echo)(PROMPT), id="nobody"),
        pytest.param(
            lambda shield: _as("guest", shield, lambda: shield.protect("model:bot")(_echo)(PROMPT)),
            id="denied",
        ),
        pytest.param(lambda shield: shield.part(ApiKeys).verify(f"ais_live_{TOKEN}"), id="credential"),
        pytest.param(
            lambda shield: shield.part(FieldCipher).decrypt(NOTE, context=("notes", 1)), id="damaged token"
        ),
        pytest.param(
            lambda shield: shield.part(FieldCipher).decrypt(
                shield.part(FieldCipher).encrypt(NOTE, context=("a",)), context=("b",)
            ),
            id="moved token",
        ),
        pytest.param(lambda shield: Careless().decorate("model:bot")(_echo)(PROMPT), id="broken guard"),
    ],
)
def test_an_error_tells_the_rule_and_never_what_met_it(
    shield: Shield, provoke: Callable[[Shield], Any]
) -> None:
    with pytest.raises(AISecureError) as caught:
        provoke(shield)
    assert not _found(_everything_about(caught.value))


def test_an_event_of_a_broken_guard_names_the_class_of_the_error_and_not_its_text() -> None:
    events = capture_events()
    with pytest.raises(AISecureError):
        Careless().decorate("model:bot", events=events)(_echo)(PROMPT)
    assert events.only("call.unavailable").detail["error_type"] == "RuntimeError"
    assert not _found(repr([event.to_dict() for event in events]))


def test_the_repr_of_no_object_of_the_library_shows_a_secret(shield: Shield) -> None:
    keys = shield.part(ApiKeys)
    issued = keys.create(EMAIL, roles={"member"})
    principal = keys.verify(issued.secret)
    cipher = shield.part(FieldCipher)
    token = cipher.encrypt(NOTE, context=("notes", 1))
    assert _as("member", shield, lambda: shield.protect("model:bot")(_echo)(PROMPT)) != PROMPT
    assert cipher.decrypt(token, context=("notes", 1)) == NOTE
    alive = [value for value in gc.get_objects() if str(type(value).__module__).startswith("aisecure.")]
    assert {type(principal), type(cipher), type(keys)} <= {type(value) for value in alive}
    for value in alive:
        assert not _found(repr(value), (*SECRETS, issued.secret)), type(value)


def test_a_traceback_of_a_refusal_shows_no_credential(shield: Shield) -> None:
    secret = f"ais_live_{TOKEN}"
    with pytest.raises(AISecureError) as caught:
        shield.part(ApiKeys).verify(secret)
    assert not _found("".join(traceback.format_exception(caught.value)), (secret, TOKEN))


def _echo(prompt: str) -> str:
    return prompt


def _as(role: str, shield: Shield, run: Callable[[], Any]) -> Any:
    with shield.acting_as(Principal("u-1", roles={role})):
        return run()
