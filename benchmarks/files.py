"""Encrypting and decrypting files: the stream alone in memory, and files with the page cache below them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._harness import Goal, Table, compare

CHUNK = 1 << 16
#: What one run encrypts; enough that header and key do not count.
SIZE = 16 << 20
CONTEXT = ("backups", "db", 42)


def run() -> bool:
    from aisecure.encryption import (
        DecryptingStream,
        EncryptingStream,
        Keyring,
        decrypt_file,
        encrypt_file,
    )

    ring = Keyring.generate()
    data = os.urandom(SIZE)
    pieces = [data[at : at + CHUNK] for at in range(0, SIZE, CHUNK)]
    stream = EncryptingStream(ring, context=CONTEXT)
    body = stream.feed(data) + stream.finish()
    cut = _cut(body, len(ring.primary_key.id))
    seal, unseal = _raw(pieces)

    table = Table(f"Encrypt {SIZE >> 20} MiB in chunks of {CHUNK >> 10} KiB, in memory")
    table.add("AESGCM.encrypt of each chunk (the limit)", seal)
    table.peer("tink AES-GCM-HKDF streaming (4 KiB segments)", partial(_tink, data, encrypt=True))
    table.peer("Fernet (one token, all in memory)", partial(_fernet, data, encrypt=True))
    # 0.8 of the speed of the limit is 1.25 times its time.
    table.add(
        "aisecure EncryptingStream",
        lambda: _stream(partial(EncryptingStream, ring, context=CONTEXT), pieces),
        Goal(1.25),
    )
    good = compare(table)

    table = Table(f"Decrypt {SIZE >> 20} MiB")
    table.add("AESGCM.decrypt of each chunk (the limit)", unseal)
    table.peer("tink AES-GCM-HKDF streaming (4 KiB segments)", partial(_tink, data, encrypt=False))
    table.peer("Fernet (one token, all in memory)", partial(_fernet, data, encrypt=False))
    table.add(
        "aisecure DecryptingStream",
        lambda: _stream(partial(DecryptingStream, ring, context=CONTEXT), cut),
        Goal(1.25),
    )
    good &= compare(table)

    with tempfile.TemporaryDirectory(prefix="aisecure-bench-") as folder:
        plain, encrypted, target = (Path(folder, name) for name in ("plain", "encrypted", "target"))
        plain.write_bytes(data)
        encrypted.write_bytes(body)
        table = Table(f"A file of {SIZE >> 20} MiB to a new one, on the disk at the end", by="wall")
        table.add("read, write and fsync, nothing encrypted (the limit)", lambda: _copied(plain, target))
        table.add("the same with AESGCM.encrypt of each chunk", lambda: _copied(plain, target, encrypt=True))
        table.add(
            "aisecure encrypt_file",
            lambda: encrypt_file(plain, target, ring, context=CONTEXT, overwrite=True),
        )
        table.add(
            "aisecure decrypt_file",
            lambda: decrypt_file(encrypted, target, ring, context=CONTEXT, overwrite=True),
        )
        good &= compare(table)
    return good


def _stream(make: Callable[[], Any], pieces: list[bytes]) -> None:
    """Run a stream over the pieces. What comes out is dropped, here and below, as whoever writes it on does: kept, it
    would measure how the allocator gets 16 MiB from the kernel."""
    stream = make()
    for piece in pieces:
        stream.feed(piece)
    stream.finish()


def _cut(body: bytes, id_bytes: int) -> list[bytes]:
    """Cut a file as a reader does: the two parts of the header, then chunks with their tags."""
    head = 10 + id_bytes + 1 + 32
    size = CHUNK + 16
    return [body[:10], body[10:head], *(body[at : at + size] for at in range(head, len(body), size))]


def _raw(pieces: list[bytes]) -> tuple[Callable[[], object], Callable[[], object]]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aead = AESGCM(AESGCM.generate_key(256))

    def seal() -> None:
        for number, piece in enumerate(pieces):
            aead.encrypt(number.to_bytes(12, "big"), piece, None)

    sealed = [
        (number.to_bytes(12, "big"), aead.encrypt(number.to_bytes(12, "big"), piece, None))
        for number, piece in enumerate(pieces)
    ]

    def unseal() -> None:
        for nonce, piece in sealed:
            aead.decrypt(nonce, piece, None)

    return seal, unseal


def _tink(data: bytes, *, encrypt: bool) -> Callable[[], object]:
    import tink
    from tink import streaming_aead

    streaming_aead.register()
    handle = tink.new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_4KB)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    place = b"backups/db/42"

    class Kept(io.BytesIO):
        def close(self) -> None:
            """Stay open: tink closes what it wrote to."""

    def seal() -> bytes:
        out = Kept()
        with primitive.new_encrypting_stream(out, place) as stream:
            stream.write(data)
        return out.getvalue()

    if encrypt:
        return seal
    sealed = seal()
    return lambda: primitive.new_decrypting_stream(io.BytesIO(sealed), place).read()


def _fernet(data: bytes, *, encrypt: bool) -> Callable[[], object]:
    from cryptography.fernet import Fernet

    fernet = Fernet(Fernet.generate_key())
    if encrypt:
        return lambda: fernet.encrypt(data)
    token = fernet.encrypt(data)
    return lambda: fernet.decrypt(token)


def _copied(source: Path, target: Path, *, encrypt: bool = False) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aead, number = AESGCM(bytes(32)), 0
    new = target.with_suffix(".new")
    with source.open("rb", buffering=0) as read, new.open("wb", buffering=0) as write:
        while piece := read.read(CHUNK):
            write.write(aead.encrypt(number.to_bytes(12, "big"), piece, None) if encrypt else piece)
            number += 1
        os.fsync(write.fileno())
    new.replace(target)
