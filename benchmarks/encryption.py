"""Encrypting fields to text tokens and to bytes, beside bare AES-GCM and the libraries that people use for it."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from functools import partial

from benchmarks._harness import Goal, Table, compare

CONTEXT = ("patients", "notes", 42)
#: What the bare primitive binds: as long as our context.
PLACE = b"tenant=42|table=patient|field=ssn"
LIMIT = "AESGCM + urandom (the limit)"
KEYS = 1000


def run() -> bool:
    from aisecure.encryption import FieldCipher, Keyring
    from aisecure.encryption.keyring import Key

    # At once, since a thousand rotations take a second, and callgrind starts anew for each case.
    keys = [Key(os.urandom(4), os.urandom(32), 0) for _ in range(KEYS)]
    ring = Keyring(keys, keys[-1].id)
    # Tokens of the first keys too: what a token costs must not depend on where in the ring its key is.
    cipher, old = FieldCipher(ring), FieldCipher(Keyring(ring.keys[: KEYS // 2], ring.keys[KEYS // 2 - 1].id))
    notes = cipher.bind(*CONTEXT[:2])
    good = True
    for size in (16, 64, 256):
        text = "x" * size
        token, older = cipher.encrypt(text, context=CONTEXT), old.encrypt(text, context=CONTEXT)
        seal, unseal = _bare(text.encode())
        table = Table(f"Encrypt {size} bytes to a text token, bound to its place, ring of {KEYS} keys")
        table.add(LIMIT, seal)
        _peers(table, text, encrypt=True)
        table.add("aisecure, column bound", partial(notes.encrypt, text, 42), Goal(1.8))
        table.add("aisecure, context= tuple", _whole(cipher.encrypt, text), Goal(1.8))
        good &= compare(table)
        table = Table(f"Decrypt {size} bytes from a text token, ring of {KEYS} keys")
        table.add("AESGCM (the limit)", unseal)
        _peers(table, text, encrypt=False)
        table.add("aisecure, column bound", partial(notes.decrypt, token, 42), Goal(2.2))
        table.add("aisecure, column bound, key in mid-ring", partial(notes.decrypt, older, 42), Goal(2.2))
        table.add("aisecure, context= tuple", _whole(cipher.decrypt, token), Goal(2.2))
        good &= compare(table)
    for size, goal in ((16, 1.5), (256, 1.5), (4096, 1.3), (1 << 20, 1.3)):
        data = b"x" * size
        seal, unseal = _bare(data)
        sealed = cipher.encrypt_bytes(data, context=CONTEXT)
        table = Table(f"Encrypt {size} bytes to bytes")
        table.add(LIMIT, seal)
        table.peer("tink AES256_GCM", partial(_tink, data, encrypt=True))
        table.add("aisecure, column bound", partial(notes.encrypt_bytes, data, 42), Goal(goal))
        table.add("aisecure, context= tuple", _whole(cipher.encrypt_bytes, data))
        good &= compare(table)
        table = Table(f"Decrypt {size} bytes from bytes")
        table.add("AESGCM (the limit)", unseal)
        table.peer("tink AES256_GCM", partial(_tink, data, encrypt=False))
        table.add("aisecure, column bound", partial(notes.decrypt_bytes, sealed, 42), Goal(goal))
        table.add("aisecure, context= tuple", _whole(cipher.decrypt_bytes, sealed))
        good &= compare(table)
    return good


def _whole(method: Callable[..., object], value: object) -> Callable[[], object]:
    # As a caller writes it: `partial` merges keyword arguments, at a tenth of what is measured here.
    return lambda: method(value, context=CONTEXT)


def _peers(table: Table, text: str, *, encrypt: bool) -> None:
    table.peer("tink AES256_GCM, bytes, no text form", partial(_tink, text.encode(), encrypt=encrypt))
    table.peer("Fernet (no context)", partial(_fernet, text, 1, encrypt=encrypt))
    table.peer("MultiFernet of 4 keys (no context)", partial(_fernet, text, 4, encrypt=encrypt))
    table.peer(
        "sqlalchemy-utils AesGcmEngine (no context)", partial(_sqlalchemy_utils, text, encrypt=encrypt)
    )
    table.peer("jwcrypto JWE, dir + A256GCM (no context)", partial(_jwe, text, encrypt=encrypt))


def _bare(data: bytes) -> tuple[Callable[[], object], Callable[[], object]]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aead = AESGCM(AESGCM.generate_key(256))

    def seal() -> bytes:
        nonce = os.urandom(12)
        return nonce + aead.encrypt(nonce, data, PLACE)

    sealed = seal()
    return seal, lambda: aead.decrypt(sealed[:12], sealed[12:], PLACE)


def _tink(data: bytes, *, encrypt: bool) -> Callable[[], object]:
    import tink
    from tink import aead

    aead.register()
    primitive = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
    sealed = primitive.encrypt(data, PLACE)
    return partial(primitive.encrypt, data, PLACE) if encrypt else partial(primitive.decrypt, sealed, PLACE)


def _fernet(text: str, keys: int, *, encrypt: bool) -> Callable[[], object]:
    from cryptography.fernet import Fernet, MultiFernet

    ring = [Fernet(Fernet.generate_key()) for _ in range(keys)]
    fernet = ring[0] if keys == 1 else MultiFernet(ring)
    token = ring[-1].encrypt(text.encode()).decode()
    if encrypt:
        return lambda: fernet.encrypt(text.encode()).decode()
    return lambda: fernet.decrypt(token).decode()


def _sqlalchemy_utils(text: str, *, encrypt: bool) -> Callable[[], object]:
    from sqlalchemy import String
    from sqlalchemy_utils import StringEncryptedType
    from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine

    column = StringEncryptedType(String, lambda: "a passphrase", AesGcmEngine)
    token = column.process_bind_param(text, None)
    if encrypt:
        return lambda: column.process_bind_param(text, None)
    return lambda: column.process_result_value(token, None)


def _jwe(text: str, *, encrypt: bool) -> Callable[[], object]:
    from jwcrypto import jwe, jwk

    key = jwk.JWK(kty="oct", k=base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode())
    header = '{"alg":"dir","enc":"A256GCM"}'

    def seal() -> str:
        return jwe.JWE(text.encode(), protected=header, recipient=key).serialize(compact=True)

    token = seal()

    def open_() -> str:
        opened = jwe.JWE()
        opened.deserialize(token, key)
        return opened.payload.decode()

    return seal if encrypt else open_
