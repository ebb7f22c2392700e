"""What requests and responses with encrypted fields do; the how-to advises models of plain types there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from aisecure.encryption import Encrypted, FieldCipher, Keyring, using_cipher

CIPHER = FieldCipher(Keyring.generate())


class Patient(BaseModel):
    notes: Encrypted[str]


class Shown(BaseModel):
    notes: str


async def with_cipher() -> AsyncIterator[None]:
    with using_cipher(CIPHER):
        yield


@pytest.fixture(scope="module")
def client():
    app = FastAPI(dependencies=[Depends(with_cipher)])

    @app.post("/stored")
    async def stored(patient: Patient) -> Patient:
        return patient

    @app.post("/shown")
    def shown(patient: Patient) -> Shown:
        return Shown(notes=patient.notes.get_secret_value())

    with TestClient(app) as client:
        yield client


def test_a_request_brings_plaintext_and_a_response_carries_a_token(client):
    answer = client.post("/stored", json={"notes": "secret"}).json()
    assert CIPHER.decrypt(answer["notes"], context=("Patient", "notes")) == "secret"


def test_a_response_of_plain_types_shows_the_plaintext(client):
    assert client.post("/shown", json={"notes": "secret"}).json() == {"notes": "secret"}


@pytest.mark.parametrize("body", [{"notes": 78051120}, {"notes": ["78051120"]}], ids=["number", "list"])
def test_a_refused_value_is_not_sent_back(client, body):
    answer = client.post("/stored", json=body)
    assert answer.status_code == 422
    assert "78051120" not in answer.text


def test_a_token_in_a_request_is_not_decrypted(client: TestClient) -> None:
    token = CIPHER.encrypt("secret", context=("Patient", "notes"))
    answer = client.post("/shown", json={"notes": token})
    assert answer.status_code == 422
    assert "a token where plaintext belongs" in answer.text


def test_the_schema_of_the_interface_says_hidden_text(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Patient"]["properties"]["notes"] == {
        "title": "Notes",
        "type": "string",
        "format": "password",
    }
