"""Encrypting one field to a text token, and a record with five such fields."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._harness import Goal, Table, compare

CONTEXT = ("patients", "notes", 42)


def run() -> bool:
    from aisecure.encryption import FieldCipher, Keyring

    cipher = FieldCipher(Keyring.generate())
    good = True
    for size in (16, 64, 256):
        text = "x" * size
        token = cipher.encrypt(text, context=CONTEXT)
        sealed, opened = _primitive(text)
        table = Table(f"Encrypt {size} bytes to a text token, bound to its place")
        table.add("AESGCM + urandom + base64 (the limit)", sealed)
        table.peer("Fernet (no context)", partial(_fernet, text, encrypt=True))
        table.peer("jwcrypto JWE, dir + A256GCM", partial(_jwe, text, encrypt=True))
        table.add("aisecure FieldCipher.encrypt", partial(cipher.encrypt, text, context=CONTEXT), Goal(1.8))
        good &= compare(table)
        table = Table(f"Decrypt {size} bytes")
        table.add("AESGCM + base64 (the limit)", opened)
        table.peer("Fernet (no context)", partial(_fernet, text, encrypt=False))
        table.peer("jwcrypto JWE, dir + A256GCM", partial(_jwe, text, encrypt=False))
        table.add("aisecure FieldCipher.decrypt", partial(cipher.decrypt, token, context=CONTEXT), Goal(2.2))
        good &= compare(table)
    return good & compare(_record(cipher))


def _primitive(text: str) -> tuple[Callable[[], object], Callable[[], object]]:
    import pybase64
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aead, place = AESGCM(AESGCM.generate_key(256)), b"patients/notes/42"

    def seal() -> str:
        nonce = os.urandom(12)
        return pybase64.urlsafe_b64encode(nonce + aead.encrypt(nonce, text.encode(), place)).decode()

    token = seal()

    def open_() -> str:
        raw = pybase64.urlsafe_b64decode(token)
        return aead.decrypt(raw[:12], raw[12:], place).decode()

    return seal, open_


def _fernet(text: str, *, encrypt: bool) -> Callable[[], object]:
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())
    token = fernet.encrypt(text.encode()).decode()
    if encrypt:
        return lambda: fernet.encrypt(text.encode()).decode()
    return lambda: fernet.decrypt(token).decode()


def _jwe(text: str, *, encrypt: bool) -> Callable[[], object]:
    from jwcrypto import jwe, jwk

    key = jwk.JWK.generate(kty="oct", size=256)
    header = '{"alg":"dir","enc":"A256GCM"}'

    def seal() -> str:
        return jwe.JWE(text.encode(), protected=header, recipient=key).serialize(compact=True)

    token = seal()

    def open_() -> str:
        opened = jwe.JWE()
        opened.deserialize(token, key)
        return opened.payload.decode()

    return seal if encrypt else open_


def _record(cipher: object) -> Table:
    from pydantic import BaseModel, create_model

    from aisecure.encryption import Encrypted

    names = [f"field_{number}" for number in range(20)]
    types: dict[str, Any] = dict.fromkeys(names, str)
    plain: type[BaseModel] = create_model("Plain", **types)
    sealed: type[BaseModel] = create_model("Sealed", **(types | dict.fromkeys(names[:5], Encrypted[str])))
    values = dict.fromkeys(names, "x" * 24)
    table = Table("A pydantic record of 20 fields, 5 of them encrypted, to JSON")
    to_json = plain(**values).model_dump_json
    table.add("model_dump_json, nothing encrypted (the limit)", to_json)
    seal, _ = _primitive(values[names[0]])
    table.add("the same, and 5 bare encryptions", lambda: (to_json(), seal(), seal(), seal(), seal(), seal()))
    record = sealed(**values)
    table.add("aisecure Encrypted", partial(record.model_dump_json, context={"cipher": cipher}), Goal(4))
    return table
