"""The format of encrypted files, and the streams that make and read it."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import os
import pickle
import threading
from pathlib import Path

import pytest

from aisecure.encryption import (
    DecryptingStream,
    EncryptingStream,
    FieldCipher,
    Keyring,
    decrypt_chunks,
    encrypt_chunks,
)
from aisecure.encryption import _chunks as chunks
from aisecure.encryption.keyring import Key
from aisecure.errors import DecryptionError, Unavailable

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "encrypted_file_v1.json").read_text())
CONTEXT = ("scans", 7)
RING = Keyring.generate()
#: Header and sealed chunk of a file in chunks of 1 KiB.
HEAD, CHUNK = 47, 1024 + 16


def seal(data, keys=RING, context=CONTEXT, chunk_bytes=1024):
    stream = EncryptingStream(keys, context=context, chunk_bytes=chunk_bytes)
    return stream.feed(data) + stream.finish()


def unseal(sealed, keys=RING, context=CONTEXT):
    stream = DecryptingStream(keys, context=context)
    return stream.feed(sealed) + stream.finish()


def released(pieces, keys=RING, context=CONTEXT):
    """Return what a reader got before it knew better."""
    stream, out = DecryptingStream(keys, context=context), b""
    with pytest.raises(DecryptionError):
        for piece in pieces:
            out += stream.feed(piece)
        stream.finish()
    return out


def content(size):
    return bytes((7 * at + 3) % 251 for at in range(size))


SIZES = [0, 1, 15, 16, 17, 1023, 1024, 1025, 2047, 2048, 2049, 5000]


class TestVectors:
    @pytest.mark.parametrize("case", VECTORS["tests"], ids=lambda case: f"{case['id']} {case['comment']}")
    def test_files_of_version_1_open_or_do_not(self, case):
        rings = [
            Keyring(
                [Key(bytes.fromhex(key["id"]), bytes.fromhex(key["key_hex"]), 0) for key in keys], primary
            )
            for keys in VECTORS["rings"]
            for primary in [bytes.fromhex(keys[0]["id"])]
        ]
        sealed = base64.b64decode(case["file_base64"])
        opened = []
        for ring in rings:
            try:
                opened.append(unseal(sealed, ring, tuple(case["context"])))
            except DecryptionError:
                continue
        assert opened == ([content(case["plaintext_bytes"])] if case["result"] == "valid" else [])

    @pytest.mark.parametrize(
        "case", [case for case in VECTORS["tests"] if case["result"] == "valid"], ids=lambda case: case["id"]
    )
    def test_a_file_of_known_salt_is_written_byte_for_byte(self, case):
        sealed = base64.b64decode(case["file_base64"])
        header = chunks.Header.parse(sealed[: chunks.header_bytes(sealed[: chunks.FIXED_BYTES])])
        keys = {key["id"]: key["key_hex"] for ring in VECTORS["rings"] for key in ring}
        key = Key(header.key_id, bytes.fromhex(keys[header.key_id.hex()]), 0)
        stream = EncryptingStream(
            Keyring([key], key.id),
            context=tuple(case["context"]),
            chunk_bytes=header.chunk_bytes,
            random=lambda _: header.salt,
        )
        assert stream.feed(content(case["plaintext_bytes"])) + stream.finish() == sealed


class TestRoundTrip:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("step", [1, 7, 1024, 1040, 10_000])
    def test_any_size_in_pieces_of_any_size(self, size, step):
        data, stream = content(size), EncryptingStream(RING, context=CONTEXT, chunk_bytes=1024)
        sealed = b"".join(stream.feed(data[at : at + step]) for at in range(0, size, step)) + stream.finish()
        assert len(sealed) == HEAD + size + 16 * max(1, -(-size // 1024))
        opened = DecryptingStream(RING, context=CONTEXT)
        got = b"".join(opened.feed(sealed[at : at + step]) for at in range(0, len(sealed), step))
        assert got + opened.finish() == data

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_what_the_caller_changes_later_is_not_what_is_encrypted(self, kind):
        buffer = bytearray(b"before")
        stream = EncryptingStream(RING)
        begin = stream.feed(kind(buffer))
        buffer[:] = b"after!"
        assert unseal(begin + stream.finish(), context=()) == b"before"

    def test_two_files_of_one_content_have_nothing_in_common_but_the_header(self):
        one, two = seal(content(3000)), seal(content(3000))
        assert one[:15] == two[:15]
        assert one[15:47] != two[15:47]
        assert sum(a == b for a, b in zip(one[47:], two[47:], strict=True)) < 200

    def test_a_rotated_ring_opens_older_files_and_a_retired_key_opens_nothing(self):
        sealed, newer = seal(b"old"), RING.rotate()
        assert unseal(sealed, newer) == b"old"
        with pytest.raises(DecryptionError):
            unseal(sealed, newer.retire(RING.primary))
        assert unseal(seal(b"new", newer), newer)[:3] == b"new"
        with pytest.raises(DecryptionError):
            unseal(seal(b"new", newer))

    def test_a_cipher_stands_for_its_present_ring(self):
        cipher = FieldCipher(RING)
        assert unseal(seal(b"x", cipher)) == unseal(seal(b"x"), cipher) == b"x"

    def test_a_ring_that_cannot_be_had_is_told_at_once(self):
        class Down:
            @property
            def keyring(self):
                raise Unavailable("the provider is down")

        for make in (EncryptingStream, DecryptingStream):
            with pytest.raises(Unavailable):
                make(Down())


class TestTampering:
    SEALED = seal(content(2500))

    @pytest.mark.parametrize("at", range(HEAD))
    def test_every_bit_of_the_header_counts(self, at):
        for bit in range(8):
            changed = bytearray(self.SEALED)
            changed[at] ^= 1 << bit
            assert released([bytes(changed)]) == b""

    def test_one_bit_of_any_chunk_counts_and_releases_only_what_stands_before_it(self):
        for at in range(HEAD, len(self.SEALED), 97):
            changed = bytearray(self.SEALED)
            changed[at] ^= 1
            got = released([changed[i : i + 100] for i in range(0, len(changed), 100)])
            assert got == content(2500)[: (at - HEAD) // CHUNK * 1024]

    @pytest.mark.parametrize(
        "end",
        [
            0,
            1,
            8,
            9,
            10,
            46,
            47,
            48,
            62,
            63,
            64,
            HEAD + CHUNK,
            HEAD + 2 * CHUNK,
            HEAD + CHUNK - 1,
            HEAD + CHUNK + 1,
            HEAD + CHUNK + 16,
            -1,
            -16,
            -17,
        ],
    )
    def test_every_truncation_is_told_and_releases_a_prefix(self, end):
        got = released([self.SEALED[:end]])
        assert content(2500).startswith(got)

    def test_a_file_of_full_chunks_cut_between_them_is_told(self):
        sealed = seal(content(4096))
        for end in range(HEAD, len(sealed), CHUNK):
            released([sealed[:end]])

    def test_chunks_cannot_be_moved_repeated_left_out_or_taken_from_another_file(self):
        def parts(sealed):
            return [sealed[:HEAD], *(sealed[at : at + CHUNK] for at in range(HEAD, len(sealed), CHUNK))]

        head, one, two, three, last = parts(seal(content(4096)))
        other = parts(seal(content(4096)))
        for wrong in (
            [one, three, two, last],
            [two, one, three, last],
            [one, one, two, three, last],
            [one, two, two, three, last],
            [one, two, last],
            [two, three, last],
            [last],
            [one, two, three, last, last],
            [one, two, three, last, one],
            [one, other[2], three, last],
            [one, two, three, other[4]],
            [*other[1:]],
        ):
            released([head, *wrong])
        assert unseal(b"".join([head, one, two, three, last])) == content(4096)

    @pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(1040), content(5000)], ids=len)
    def test_nothing_can_follow_the_last_chunk(self, more):
        released([self.SEALED + more])
        released([self.SEALED, more])

    @pytest.mark.parametrize(
        "other", [(), ("scans",), ("scans", 8), ("scans", "7"), ("scans7",), ("scans", 7, 0)]
    )
    def test_another_place_does_not_open(self, other):
        assert released([self.SEALED], context=other) == b""

    def test_another_ring_with_the_same_id_does_not_open(self):
        key = RING.primary_key
        assert released([self.SEALED], Keyring([Key(key.id, bytes(32), 0)], key.id)) == b""

    @pytest.mark.parametrize(
        "junk",
        [
            b"",
            b"\n",
            b"%PDF-1.7",
            bytes(3 << 20),
            os.urandom(3 << 20),
            b"\x89aisecf\n",
            b"\x89aisecf\n\x01\xff" + bytes(3 << 20),
            b"\x89aisecf\r\n\x01\x04" + bytes(300),
        ],
        ids=lambda junk: f"{junk[:6]}{len(junk)}",
    )
    def test_what_is_none_of_ours_is_the_same_error(self, junk):
        assert released([junk]) == b""

    def test_an_error_tells_nothing_of_its_cause(self):
        wrong = [self.SEALED[:-1], b"junk" * 100, self.SEALED[:9] + b"\x05" + self.SEALED[10:]]
        errors = []
        for sealed in wrong:
            with pytest.raises(DecryptionError) as caught:
                unseal(sealed)
            errors.append(
                (str(caught.value), caught.value.code, caught.value.__cause__, caught.value.__context__)
            )
        assert len(set(errors)) == 1
        assert errors[0][2:] == (None, None)

    def test_after_an_error_nothing_more_comes_out(self):
        stream = DecryptingStream(RING, context=CONTEXT)
        with pytest.raises(DecryptionError):
            stream.feed(b"junk" * 100)
        for _ in range(2):
            with pytest.raises(DecryptionError):
                stream.feed(self.SEALED)
            with pytest.raises(DecryptionError):
                stream.finish()


class TestBounds:
    def test_a_file_ends_before_its_chunks_run_out_of_numbers(self, monkeypatch):
        monkeypatch.setattr(chunks, "MAX_CHUNKS", 3)
        full = seal(content(3 * 1024))
        stream = EncryptingStream(RING, context=CONTEXT, chunk_bytes=1024)
        with pytest.raises(ValueError, match="at most 3 chunks"):
            stream.feed(content(3 * 1024 + 1))
            stream.finish()
        assert unseal(full) == content(3 * 1024)
        monkeypatch.setattr(chunks, "MAX_CHUNKS", 2)
        released([full])

    def test_the_bound_keeps_what_it_promises(self):
        blocks = chunks.MAX_CHUNKS << chunks.MOST_EXPONENT - 4
        assert blocks**2 / 2**129 <= 2**-32
        assert chunks.MAX_CHUNKS <= 1 << 8 * 11

    def test_a_size_is_that_of_one_content_or_of_no_file(self):
        bodies = {size + 16 * max(1, -(-size // 1024)): size for size in range(4000)}
        for body in range(max(bodies)):
            if body in bodies:
                assert chunks.plaintext_bytes(1024, body) == bodies[body]
            else:
                with pytest.raises(DecryptionError):
                    chunks.plaintext_bytes(1024, body)
        with pytest.raises(DecryptionError):
            chunks.plaintext_bytes(1024, 1 << 60)

    @pytest.mark.parametrize("size", [0, -1, 512, 1000, 1025, 1 << 21, 1 << 70, True, 1024.0, "1024", None])
    def test_other_chunk_sizes_are_refused(self, size):
        with pytest.raises(ValueError, match="power of two from 1024 to 1048576"):
            EncryptingStream(RING, chunk_bytes=size)


class TestMisuse:
    @pytest.mark.parametrize("data", ["text", None, 5, [1], ["a"]])
    def test_only_bytes_are_fed(self, data):
        for stream in (EncryptingStream(RING), DecryptingStream(RING)):
            with pytest.raises(TypeError, match="feed takes bytes"):
                stream.feed(data)

    @pytest.mark.parametrize("keys", [None, b"k" * 32, "ring", object(), RING.primary_key])
    def test_only_rings_and_ciphers_are_keys(self, keys):
        for make in (EncryptingStream, DecryptingStream):
            with pytest.raises(TypeError, match="a Keyring or a FieldCipher"):
                make(keys)

    @pytest.mark.parametrize("context", ["scans", ["scans"], None, (1.5,), (True,), (b"x",)])
    def test_only_tuples_of_texts_and_numbers_are_contexts(self, context):
        for make in (EncryptingStream, DecryptingStream):
            with pytest.raises(TypeError, match="context"):
                make(RING, context=context)
            with pytest.raises(ValueError, match="surrogate"):
                make(RING, context=("\ud800",))

    def test_a_finished_stream_is_finished(self):
        for stream in (EncryptingStream(RING), DecryptingStream(RING)):
            stream.feed(seal(b"x", context=()))
            stream.finish()
            with pytest.raises(ValueError, match="finished"):
                stream.feed(b"more")
            with pytest.raises(ValueError, match="finished"):
                stream.finish()

    def test_a_stream_is_not_copied_because_its_nonces_would_be_used_twice(self):
        for stream in (EncryptingStream(RING), DecryptingStream(RING)):
            for take in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="not copied"):
                    take(stream)

    def test_a_forked_child_cannot_go_on_with_the_stream_of_its_parent(self):
        stream = EncryptingStream(RING, context=CONTEXT, chunk_bytes=1024)
        begin = stream.feed(content(3000))
        child = os.fork()
        if not child:
            answer = 1
            try:
                stream.feed(b"x" * 5000)
            except ValueError:
                answer = 0
            os._exit(answer)
        assert os.waitpid(child, 0)[1] == 0
        assert unseal(begin + stream.finish()) == content(3000)

    def test_a_print_shows_no_key(self):
        shown = repr(EncryptingStream(RING)) + repr(DecryptingStream(RING))
        assert RING.primary_key.secret.hex() not in shown

    def test_threads_that_share_a_stream_never_share_a_nonce(self):
        inside, met = threading.Event(), []

        class Slow:
            def encrypt(self, nonce, chunk, _):
                if not nonce[10]:
                    # The first chunk waits for a second thread to come in, which the lock keeps out.
                    other.start()
                    met.append(inside.wait(0.1))
                else:
                    inside.set()
                return chunk

        stream = EncryptingStream(RING, chunk_bytes=1024)
        stream._seal = chunks.Sealer(Slow()).seal
        stream.feed(b"x" * 1024)
        other = threading.Thread(target=stream.feed, args=(b"x" * 1024,))
        stream.feed(b"x" * 1024)
        other.join()
        assert met == [False]
        assert inside.is_set()

    def test_threads_that_share_a_stream_lose_nothing(self):
        stream, out = EncryptingStream(RING, context=CONTEXT, chunk_bytes=1024), []
        threads = [
            threading.Thread(target=lambda: [out.append(stream.feed(b"x" * 700)) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        out.append(stream.finish())
        # The pieces may have been collected in another order than they were made; their sizes tell that all are there.
        assert sum(map(len, out)) == len(seal(b"x" * 700 * 200))


class TestIterables:
    def test_an_iterable_goes_there_and_back(self):
        data = [content(70_000), b"", b"x", content(200_000)]
        sealed = list(encrypt_chunks(data, RING, context=CONTEXT))
        assert b"".join(decrypt_chunks(sealed, RING, context=CONTEXT)) == b"".join(data)
        assert b"".join(decrypt_chunks(encrypt_chunks([], RING), RING)) == b""

    def test_an_asynchronous_one_too(self):
        async def source():
            for _ in range(3):
                await asyncio.sleep(0)
                yield content(70_000)

        async def there_and_back():
            return [part async for part in decrypt_chunks(encrypt_chunks(source(), RING), RING)]

        assert b"".join(asyncio.run(there_and_back())) == content(70_000) * 3

    def test_mistakes_are_told_before_the_first_piece(self):
        for through in (encrypt_chunks, decrypt_chunks):
            with pytest.raises(TypeError):
                through([b"x"], "no ring")
            with pytest.raises(TypeError):
                through([b"x"], RING, context="place")
            with pytest.raises(TypeError, match="put a single one in a list"):
                through(b"x", RING)

    def test_a_source_that_fails_leaves_what_does_not_open(self):
        def source():
            yield content(200_000)
            raise OSError("the client is gone")

        out = []
        with pytest.raises(OSError, match="the client is gone"):
            for part in encrypt_chunks(source(), RING, context=CONTEXT):
                out.append(part)  # noqa: PERF402  (what came before the error is wanted)
        assert content(200_000).startswith(released(out))

    def test_a_reader_learns_of_a_cut_at_the_end_only(self):
        got = []
        with pytest.raises(DecryptionError):
            got.extend(decrypt_chunks([seal(content(5000))[:-1]], RING, context=CONTEXT))
        assert b"".join(got) == content(5000)[:4096]
