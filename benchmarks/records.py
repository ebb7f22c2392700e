"""A record of 20 fields, five of them encrypted, to JSON and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._harness import Goal, Table, compare

SECRET = {
    "ssn": "123-45-6789",
    "email": "ada@example.org",
    "phone": "+15550100",
    "dob": "1815-12-10",
    "notes": "allergic to penicillin; follow-up in two weeks",
}
CLEAR: dict[str, Any] = {
    "id": 1, "name": "Ada Lovelace", "f8": "a" * 12, "f9": "b" * 12, "f10": 10, "f11": 11, "f12": 1.25, "f13": True,
    "f14": "c" * 30, "f15": "d" * 30, "f16": "e" * 30, "f17": 17, "f18": "f" * 8, "f19": "g" * 8, "f20": "h" * 8,
}  # fmt: skip


def run() -> bool:
    from pydantic import BaseModel, create_model

    from aisecure.encryption import Encrypted, FieldCipher, FieldPaths, Keyring, SealedModel

    cipher, values = FieldCipher(Keyring.generate()), CLEAR | SECRET
    context = {"cipher": cipher}
    clear: dict[str, Any] = {name: type(value) for name, value in CLEAR.items()}
    secret: dict[str, Any] = clear | dict.fromkeys(SECRET, Encrypted[str])
    plain: type[BaseModel] = create_model("Record", **(clear | dict.fromkeys(SECRET, str)))
    fields: type[BaseModel] = create_model("Record", **secret)
    sealed: type[BaseModel] = create_model("Record", __base__=SealedModel, **secret)
    bound: type[BaseModel] = create_model(
        "Record", __base__=SealedModel, __cls_kwargs__={"record": "id"}, **secret
    )
    to_json = plain(**values).model_dump_json

    table = Table("A record of 20 fields, 5 of them encrypted, to JSON")
    table.add("model_dump_json, nothing encrypted (the limit)", to_json)
    table.add("the same, and 1 bare encryption of their JSON", _with_bare(to_json, ["x" * 160]))
    table.add("the same, and 5 bare encryptions", _with_bare(to_json, list(SECRET.values())))
    for name, model, goal in (
        ("aisecure SealedModel", sealed, Goal(4)),
        ("aisecure SealedModel, bound to its record", bound, Goal(4)),
        ("aisecure Encrypted, a token a field", fields, Goal(4)),
    ):
        table.add(name, partial(model(**values).model_dump_json, context=context), goal)
    along = FieldPaths(list(SECRET))
    table.add(
        "aisecure FieldPaths, a dictionary", partial(along.encrypt, values, cipher, context=("records", 1))
    )
    good = compare(table)

    table = Table("The same record from JSON")
    read = partial(plain.model_validate_json, to_json())
    table.add("model_validate_json, nothing encrypted (the limit)", read)
    for name, model in (("aisecure SealedModel", sealed), ("aisecure Encrypted, a token a field", fields)):
        stored = model(**values).model_dump_json(context=context)
        table.add(name, partial(model.model_validate_json, stored, context=context))
    return good & compare(table)


def _with_bare(to_json: Callable[[], str], texts: list[str]) -> Callable[[], None]:
    """Return what nobody can do without: JSON, nonces, AES and base64."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from pybase64 import b64encode_as_string

    aead, head, place = AESGCM(AESGCM.generate_key(256)), bytes(13), b"s6:Records5:notes"

    def work() -> None:
        to_json()
        for text in texts:
            nonce = os.urandom(12)
            b64encode_as_string(head + nonce + aead.encrypt(nonce, text.encode(), place))

    return work
