"""Encrypted files: from path to path, as file objects, and what is left when anything goes wrong."""

from __future__ import annotations

import csv
import gc
import io
import json
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest

from aisecure.encryption import (
    EncryptingStream,
    FieldCipher,
    Keyring,
    SubjectKeys,
    decrypt_file,
    encrypt_file,
    inspect_file,
    open_encrypted,
    reencrypt_file,
)
from aisecure.encryption.providers.ring import RingProvider
from aisecure.errors import DecryptionError, Misconfigured, Unavailable
from aisecure.storage import Storage

RING = Keyring.generate()
CONTEXT = ("backups", "db", 1)
CHUNK = 65536


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plain(folder):
    path = folder / "plain.bin"
    path.write_bytes(os.urandom(3 * CHUNK + 17))
    return path


@pytest.fixture
def sealed(plain, folder):
    encrypt_file(plain, folder / "sealed.enc", RING, context=CONTEXT)
    return folder / "sealed.enc"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, data, **options):
    with open_encrypted(path, "wb", RING, context=CONTEXT, **options) as file:
        file.write(data)


def read(path, keys=RING):
    with open_encrypted(path, "rb", keys, context=CONTEXT) as file:
        return file.read()


class Endless:
    """A source of so many bytes that takes no room itself."""

    def __init__(self, size):
        self.left = size

    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


class Nowhere:
    def __init__(self):
        self.size = 0

    def write(self, data):
        self.size += len(data)


class TestFromFileToFile:
    @pytest.mark.parametrize(
        "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 16 * CHUNK]
    )
    def test_what_is_encrypted_is_decrypted(self, folder, size):
        data = os.urandom(size)
        Path("in").write_bytes(data)
        encrypt_file("in", "enc", FieldCipher(RING), context=CONTEXT)
        assert inspect_file("enc").plaintext_bytes == size
        decrypt_file(folder / "enc", folder / "out", RING, context=CONTEXT)
        assert Path("out").read_bytes() == data
        assert names(folder) == ["enc", "in", "out"]

    def test_both_are_for_the_owner_alone(self, plain, sealed):
        plain.chmod(0o644)
        decrypt_file(sealed, "out", RING, context=CONTEXT)
        for path in (sealed, Path("out")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_target_that_is_there_is_kept_unless_told(self, plain, sealed):
        before = sealed.read_bytes()
        for call in (encrypt_file, decrypt_file):
            with pytest.raises(Misconfigured, match=r"exists already.*overwrite=True") as caught:
                call(plain if call is encrypt_file else sealed, sealed, RING, context=CONTEXT)
            assert caught.value.code == "config.exists"
        assert sealed.read_bytes() == before
        with pytest.raises(Misconfigured, match="exists already"):  # before any work, not after it
            encrypt_file(plain, sealed, RING, progress=pytest.fail)
        encrypt_file(plain, sealed, RING, context=CONTEXT, overwrite=True)
        assert sealed.read_bytes() != before
        assert read(sealed) == plain.read_bytes()

    def test_a_target_that_appears_meanwhile_is_kept_too(self, plain, folder):
        def appear(_):
            Path("new").write_bytes(b"somebody else's")

        with pytest.raises(Misconfigured, match="exists already"):
            encrypt_file(plain, "new", RING, progress=appear)
        assert Path("new").read_bytes() == b"somebody else's"
        assert names(folder) == ["new", "plain.bin"]

    def test_a_file_may_take_its_own_place(self, plain, folder):
        data = plain.read_bytes()
        encrypt_file(plain, plain, RING, overwrite=True)
        assert plain.read_bytes()[:8] == b"\x89aisecf\n"
        decrypt_file(plain, plain, RING, overwrite=True)
        assert plain.read_bytes() == data
        assert names(folder) == ["plain.bin"]

    def test_links_are_followed_and_stay(self, plain, folder):
        (folder / "real").mkdir()
        Path("link").symlink_to("real/target")
        encrypt_file(plain, "link", RING, context=CONTEXT)
        assert Path("link").is_symlink()
        assert read("real/target") == plain.read_bytes()
        with pytest.raises(Misconfigured, match="exists already"):
            encrypt_file(plain, "link", RING)
        Path("plain link").symlink_to(plain)
        encrypt_file("plain link", "link", RING, context=CONTEXT, overwrite=True)
        assert names(folder / "real") == ["target"]

    def test_progress_tells_bytes_read_up_to_the_size_of_the_source(self, plain, sealed):
        told = []
        encrypt_file(plain, "again", RING, progress=told.append)
        assert told == [CHUNK, 2 * CHUNK, 3 * CHUNK, plain.stat().st_size]
        told.clear()
        decrypt_file(sealed, "out", RING, context=CONTEXT, progress=told.append)
        assert told == sorted(set(told))
        assert told[-1] == sealed.stat().st_size

    def test_whatever_progress_raises_ends_the_work_and_leaves_nothing(self, plain, folder):
        def stop(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encrypt_file(plain, "enc", RING, progress=stop)
        assert names(folder) == ["plain.bin"]

    def test_file_objects_will_do_for_either(self):
        source, middle, end = io.BytesIO(b"x" * 200_000), io.BytesIO(), io.BytesIO()
        encrypt_file(source, middle, RING)
        middle.seek(0)
        decrypt_file(middle, end, RING)
        assert end.getvalue() == source.getvalue()

    def test_a_target_that_takes_a_little_at_a_time_gets_everything(self):
        class Slow(io.RawIOBase):
            taken = b""

            def write(self, data):
                self.taken += bytes(data[:1000])
                return min(1000, len(data))

        out = Slow()
        encrypt_file(io.BytesIO(b"x" * 200_000), out, RING)
        back = io.BytesIO()
        decrypt_file(io.BytesIO(out.taken), back, RING)
        assert back.getvalue() == b"x" * 200_000

    def test_a_target_that_takes_nothing_now_is_an_error(self):
        class Busy(io.RawIOBase):
            def write(self, data):
                return None

        with pytest.raises(BlockingIOError):
            encrypt_file(io.BytesIO(b"x"), Busy(), RING)

    def test_a_source_without_data_yet_is_not_taken_for_a_short_one(self):
        class Later:
            def read(self, size):
                return None

        with pytest.raises(TypeError, match="one that waits"):
            encrypt_file(Later(), io.BytesIO(), RING)

    def test_a_pipe_is_read_and_written_as_it_comes(self, plain, folder):
        os.mkfifo("pipe")
        thread = threading.Thread(
            target=encrypt_file, args=(plain, "pipe", RING), kwargs={"context": CONTEXT}
        )
        thread.start()
        decrypt_file("pipe", "out", RING, context=CONTEXT)
        thread.join()
        assert Path("out").read_bytes() == plain.read_bytes()
        assert stat.S_ISFIFO(Path("pipe").stat().st_mode)

    def test_a_device_stays_a_device(self, plain):
        encrypt_file(plain, "/dev/null", RING, overwrite=True)
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
        with pytest.raises(Unavailable, match="/dev/full: No space left"):
            encrypt_file(plain, "/dev/full", RING)
        encrypt_file("/dev/null", "empty", RING)
        assert inspect_file("empty").plaintext_bytes == 0


class TestNothingHalf:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda data: data[:-1],
            lambda data: data[:47],
            lambda data: data[: 47 + CHUNK + 16],
            lambda data: data + b"\0",
            lambda data: b"",
            lambda data: os.urandom(2 << 20),
        ],
        ids=["cut", "header", "chunk", "more", "empty", "junk"],
    )
    def test_a_damaged_file_leaves_no_target_and_an_old_one_as_it_was(self, sealed, folder, spoil):
        sealed.write_bytes(spoil(sealed.read_bytes()))
        before = names(folder)
        with pytest.raises(DecryptionError):
            decrypt_file(sealed, "out", RING, context=CONTEXT)
        assert names(folder) == before
        Path("out").write_bytes(b"old")
        with pytest.raises(DecryptionError):
            decrypt_file(sealed, "out", RING, context=CONTEXT, overwrite=True)
        assert Path("out").read_bytes() == b"old"
        assert names(folder) == sorted([*before, "out"])

    @pytest.mark.parametrize(
        ("source", "target", "says"),
        [
            ("absent", "t", "absent: No such file"),
            (".", "t", "directory"),
            ("plain.bin", ".", "directory"),
            ("plain.bin", "no/folder", "no/folder: No such file"),
            ("plain.bin", "plain.bin/t", "Not a directory"),
            ("nul\0", "t", "NUL"),
            ("plain.bin", "nul\0", "NUL"),
            ("plain.bin", "\ud800", "surrogate"),
            ("plain.bin", "n" * 256, "too long"),
            ("", "t", "directory"),
            ("loop", "t", "symbolic links"),
            ("plain.bin", "loop", "symbolic links"),
        ],
    )
    def test_paths_that_cannot_be_used_are_named(self, plain, folder, source, target, says):
        Path("loop").symlink_to("loop")
        before = names(folder)
        with pytest.raises(Misconfigured, match=says):
            encrypt_file(source, target, RING)
        assert names(folder) == before

    def test_a_file_of_others_is_not_for_this_process(self, plain, folder):
        code = f"""
            import os
            from aisecure.encryption import Keyring, encrypt_file
            os.chmod({str(folder)!r}, 0o777)
            os.chmod("plain.bin", 0)
            if not os.getuid():
                os.setuid(65534)
            encrypt_file("plain.bin", "out", Keyring.generate())
        """
        assert "Misconfigured: plain.bin: Permission denied" in python(code, folder).stderr
        assert names(folder) == ["plain.bin"]

    def test_a_full_disk_leaves_the_old_target(self, plain, folder):
        Path("out").write_bytes(b"old")
        for overwrite, target in ((True, "out"), (False, "new")):
            code = f"""
                import resource
                from aisecure.encryption import Keyring, encrypt_file
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
                encrypt_file("plain.bin", {target!r}, Keyring.generate(), overwrite={overwrite})
            """
            done = python(code, folder)
            assert f"Unavailable: {target}: File too large" in done.stderr
        assert Path("out").read_bytes() == b"old"
        assert names(folder) == ["out", "plain.bin"]

    @pytest.mark.parametrize("old", [b"", b"old"], ids=["absent", "old"])
    @pytest.mark.parametrize("how", ["encrypt_file", "open_encrypted"])
    def test_a_process_killed_while_it_writes_leaves_the_target_as_it_was(self, folder, old, how):
        if old:
            Path("out").write_bytes(old)
        code = f"""
            import os, signal
            from aisecure.encryption import Keyring, encrypt_file, open_encrypted
            def kill(done):
                if done > 300_000:
                    os.kill(os.getpid(), signal.SIGKILL)
            ring = Keyring.generate()
            if {how!r} == "encrypt_file":
                encrypt_file("/dev/zero", "out", ring, progress=kill, overwrite=True)
            with open_encrypted("out", "wb", ring, overwrite=True) as file:
                while True:
                    kill(file.tell() + file.write(bytes(5000)))
        """
        assert python(code, folder).returncode == -signal.SIGKILL
        assert (Path("out").read_bytes() if old else not Path("out").exists()) == (old or True)
        for left in folder.glob(".aisecure-*.new"):
            assert stat.S_IMODE(left.stat().st_mode) == 0o600
            left.unlink()
        assert names(folder) == (["out"] if old else [])

    def test_of_many_writers_of_one_name_one_wins_and_the_rest_are_told(self, folder):
        with multiprocessing.get_context("fork").Pool(4) as pool:
            results = pool.map(_claim, range(12))
        assert results.count("made") == 1
        assert set(results) == {"made", "config.exists"}
        assert read("claimed") in {bytes([number]) * 100_000 for number in range(12)}
        assert names(folder) == ["claimed"]

    def test_of_many_that_overwrite_one_is_left_whole(self, folder):
        threads = [
            threading.Thread(target=write, args=("one", bytes([n]) * 300_000), kwargs={"overwrite": True})
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(read("one"))) == 1
        assert names(folder) == ["one"]


class TestFileObjects:
    def test_they_do_for_what_the_standard_library_writes_and_reads(self, folder):
        rows = [{"id": str(number), "name": "Ä" * number} for number in range(50)]
        with open_encrypted("rows", "wb", RING) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            writer = csv.DictWriter(text, ["id", "name"])
            writer.writeheader()
            writer.writerows(rows)
        with open_encrypted("rows", "rb", RING) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            assert list(csv.DictReader(text)) == rows
        with open_encrypted("tar", "wb", RING) as file, tarfile.open(fileobj=file, mode="w|gz") as archive:
            Path("member").write_bytes(b"x" * 100_000)
            archive.add("member")
        with open_encrypted("tar", "rb", RING) as file, tarfile.open(fileobj=file, mode="r|gz") as archive:
            assert [member.size for member in archive] == [100_000]
        with open_encrypted("zip", "wb", RING) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", "x" * 100_000)
        with open_encrypted("zip", "rb", RING) as file:
            assert zipfile.ZipFile(io.BytesIO(file.read())).read("a") == b"x" * 100_000
        with open_encrypted("json", "wb", RING) as file, io.TextIOWrapper(file) as text:
            json.dump(rows, text)
        with open_encrypted("json", "rb", RING) as file:
            assert json.load(file) == rows

    def test_copies_lines_and_small_reads(self, plain):
        with plain.open("rb") as source, open_encrypted("enc", "wb", RING, context=CONTEXT) as target:
            shutil.copyfileobj(source, target)
        data = plain.read_bytes()
        assert read("enc") == data
        with open_encrypted("enc", "rb", RING, context=CONTEXT) as file:
            assert file.read(10) + file.read1(5) == data[:15]
            assert b"".join(file) == data[15:]
            assert file.read() == b""
            assert (file.readable(), file.writable(), file.seekable()) == (True, False, False)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"x",
            bytearray(b"x"),
            memoryview(b"xyz")[::1],
            memoryview(b"12345678").cast("I"),
            bytes(3 << 20),
        ],
        ids=lambda data: f"{type(data).__name__}{len(data)}",
    )
    def test_everything_with_bytes_in_it_can_be_written(self, folder, data):
        with open_encrypted("enc", "wb", RING, context=CONTEXT) as file:
            assert file.write(data) == file.tell() == len(bytes(data))
        assert read("enc") == bytes(data)

    def test_text_is_not_bytes_and_a_closed_file_takes_none(self, folder):
        with open_encrypted("enc", "wb", RING) as file:
            with pytest.raises(TypeError):
                file.write("text")
            with pytest.raises(io.UnsupportedOperation):
                file.seek(0)
            with pytest.raises(io.UnsupportedOperation):
                file.read()
        with pytest.raises(ValueError, match="closed"):
            file.write(b"x")
        file.close()

    @pytest.mark.parametrize("mode", ["r", "w", "ab", "r+b", "x", "", None])
    def test_other_modes_are_refused(self, folder, mode):
        with pytest.raises(ValueError, match="mode"):
            open_encrypted("enc", mode, RING)
        assert names(folder) == []

    def test_the_file_has_its_name_only_when_it_is_closed(self, folder):
        file = open_encrypted("enc", "wb", RING, context=CONTEXT)
        file.write(bytes(200_000))
        assert not Path("enc").exists()
        file.close()
        assert read("enc") == bytes(200_000)
        assert names(folder) == ["enc"]

    def test_an_exception_in_the_block_leaves_nothing(self, folder):
        with pytest.raises(KeyError), open_encrypted("enc", "wb", RING) as file:
            file.write(bytes(200_000))
            raise KeyError
        assert names(folder) == []

    def test_nor_when_a_wrapper_closes_the_file_on_the_way_out(self, folder):
        with (
            pytest.raises(KeyError),
            open_encrypted("enc", "wb", RING) as file,
            io.TextIOWrapper(file) as text,
        ):
            text.write("half of it")
            raise KeyError
        assert file.closed
        assert names(folder) == []

    def test_a_file_that_nobody_closed_never_appears(self, folder):
        file = open_encrypted("enc", "wb", RING)
        file.write(bytes(200_000))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del file
            gc.collect()
        assert [str(warning.message) for warning in caught] == [
            "an encrypted file was never closed, and is lost"
        ]
        assert names(folder) == []

    def test_it_can_be_given_up(self, folder):
        Path("enc").write_bytes(b"old")
        with open_encrypted("enc", "wb", RING, overwrite=True) as file:
            file.write(b"new")
            file.discard()
        assert Path("enc").read_bytes() == b"old"
        assert names(folder) == ["enc"]

    def test_after_a_failed_write_closing_makes_no_file(self, folder):
        code = """
            import resource
            from aisecure.encryption import Keyring, open_encrypted
            from aisecure.errors import Unavailable
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            for inside in (True, False):
                file = open_encrypted("enc", "wb", Keyring.generate())
                try:
                    if inside:
                        with file:
                            try:
                                file.write(bytes(500_000))
                            except Unavailable as err:
                                print("write", err)
                    else:
                        file.write(bytes(500_000))
                except Unavailable as err:
                    print("block", err)
                try:
                    file.close()
                except Unavailable as err:
                    print("close", err)
        """
        done = python(code, folder)
        lost, full = "enc: a write failed, so no file was made", "enc: File too large"
        assert done.stdout.splitlines() == [
            f"write {full}",
            f"block {lost}",
            f"block {full}",
            f"close {lost}",
        ]
        assert done.stderr == ""
        assert names(folder) == []

    def test_a_close_that_failed_unseen_is_told_at_the_end_of_the_block(self):
        with (
            pytest.raises(Unavailable, match="a write failed, so no file was made"),
            open_encrypted("/dev/full", "wb", RING) as file,
            pytest.raises(Unavailable, match="No space left"),
        ):
            file.close()

    def test_threads_may_write_to_one_file(self, folder):
        file = open_encrypted("enc", "wb", RING, context=CONTEXT)
        other = threading.Thread(target=file.write, args=(b"b" * CHUNK,))
        second, met = threading.Event(), []
        real = file._file.write

        def slow(data):
            if other.ident is None:
                # The first write waits for another to overtake it, which has to wait for its turn.
                other.start()
                met.append(second.wait(0.1))
            else:
                second.set()
            real(data)

        file._file.write = slow
        file.write(b"a" * CHUNK + b"a")
        other.join()
        file.close()
        assert met == [False]
        assert read("enc") == b"a" * (CHUNK + 1) + b"b" * CHUNK

    def test_a_forked_child_does_not_touch_the_file_of_its_parent(self, folder):
        file = open_encrypted("enc", "wb", RING, context=CONTEXT)
        file.write(b"parent")
        child = os.fork()
        if not child:
            answer = 1
            try:
                file.close()
            except ValueError:
                answer = 0
            os._exit(answer)
        assert os.waitpid(child, 0)[1] == 0
        file.close()
        assert read("enc") == b"parent"

    def test_damage_is_told_by_the_read_that_meets_it_and_not_before(self, sealed, plain):
        data = bytearray(sealed.read_bytes())
        data[47 + 2 * (CHUNK + 16)] ^= 1
        sealed.write_bytes(data)
        with open_encrypted(sealed, "rb", RING, context=CONTEXT) as file:
            assert file.read(2 * CHUNK) == plain.read_bytes()[: 2 * CHUNK]
            for _ in range(2):
                with pytest.raises(DecryptionError):
                    file.read(1)

    def test_a_cut_file_never_ends_well(self, sealed):
        for size in (47 + CHUNK + 16, 47 + CHUNK + 17, 47 + 2 * (CHUNK + 16)):
            os.truncate(sealed, size)
            with pytest.raises(DecryptionError):
                read(sealed)

    @pytest.mark.parametrize("what", ["other key", "other context", "junk"])
    def test_what_does_not_open_is_told_when_it_is_opened(self, sealed, what):
        if what == "junk":
            sealed.write_bytes(b"junk" * 100_000)
        keys = Keyring.generate() if what == "other key" else RING
        with pytest.raises(DecryptionError):
            open_encrypted(sealed, "rb", keys, context=("other",) if what == "other context" else CONTEXT)

    @pytest.mark.parametrize("path", ["absent", ".", "nul\0"])
    def test_a_path_that_cannot_be_read_is_named(self, folder, path):
        with pytest.raises(Misconfigured):
            open_encrypted(path, "rb", RING)


class TestErasure:
    def test_the_files_of_an_erased_person_do_not_open_and_those_of_others_do(self, plain):
        subjects = SubjectKeys(Storage(":memory:"), RingProvider(FieldCipher(RING)))
        ada, bob = subjects.cipher("ada"), subjects.cipher("bob")
        for name, cipher in (("ada.enc", ada), ("bob.enc", bob)):
            encrypt_file(plain, name, cipher, context=CONTEXT)
            assert len(inspect_file(name).key_id) == 32
            assert read(name, cipher) == plain.read_bytes()
        with pytest.raises(DecryptionError):
            read("ada.enc", bob)
        subjects.erase("ada", request_id="r-1")
        for name, keys in (("ada.enc", ada), ("ada.enc", subjects.cipher("ada")), ("ada.enc", RING)):
            with pytest.raises(DecryptionError):
                read(name, keys)
        with pytest.raises(DecryptionError):
            reencrypt_file("ada.enc", ada, context=CONTEXT)
        assert subjects.export("ada") == {}  # looking for a key that is gone makes none
        assert read("bob.enc", bob) == plain.read_bytes()


class TestInspection:
    def test_it_tells_version_key_and_sizes_without_a_key(self, sealed, plain):
        facts = inspect_file(sealed)
        assert (facts.version, facts.key_id, facts.chunk_bytes) == (1, RING.primary, CHUNK)
        assert (facts.encrypted_bytes, facts.plaintext_bytes) == (sealed.stat().st_size, plain.stat().st_size)

    @pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048, 2049])
    def test_sizes_are_right_at_the_edges_of_chunks(self, folder, size):
        stream = EncryptingStream(RING, chunk_bytes=1024)
        data = stream.feed(bytes(size)) + stream.finish()
        Path("enc").write_bytes(data)
        assert inspect_file("enc").plaintext_bytes == size

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"junk",
            b"\x89aisecf\n\x02" + bytes(300),
            b"\x89aisecf\n\x01\x04ab",
            b"\x89aisecf\n\x01\x04abcd\x10" + bytes(31),
            bytes(1 << 20),
        ],
        ids=len,
    )
    def test_other_files_are_none_of_ours(self, folder, data):
        Path("other").write_bytes(data)
        with pytest.raises(DecryptionError):
            inspect_file("other")

    def test_only_ordinary_files_are_inspected(self, folder):
        os.mkfifo("pipe")
        for path in ("pipe", ".", "/dev/zero", "absent"):
            with pytest.raises(Misconfigured):
                inspect_file(path)


class TestReencryption:
    def test_it_brings_a_file_under_the_new_key_once(self, sealed, plain, folder):
        sealed.chmod(0o640)
        newer = RING.rotate()
        assert reencrypt_file(sealed, newer, context=CONTEXT) is True
        assert inspect_file(sealed).key_id == newer.primary
        assert stat.S_IMODE(sealed.stat().st_mode) == 0o640
        assert read(sealed, newer.retire(RING.primary)) == plain.read_bytes()
        before = sealed.read_bytes()
        assert reencrypt_file(sealed, newer, context=CONTEXT) is False
        assert sealed.read_bytes() == before
        assert names(folder) == ["plain.bin", "sealed.enc"]

    @pytest.mark.parametrize("size", [0, 1, 1024, 1025])
    def test_it_keeps_the_size_of_chunks(self, folder, size):
        stream = EncryptingStream(RING, context=CONTEXT, chunk_bytes=1024)
        Path("enc").write_bytes(stream.feed(bytes(size)) + stream.finish())
        newer = RING.rotate()
        assert reencrypt_file("enc", newer, context=CONTEXT)
        assert inspect_file("enc").chunk_bytes == 1024
        assert read("enc", newer) == bytes(size)

    def test_what_does_not_open_stays_as_it_is(self, sealed, folder):
        for context, keys in ((("other",), RING.rotate()), (CONTEXT, RING.rotate().retire(RING.primary))):
            before = sealed.read_bytes()
            with pytest.raises(DecryptionError):
                reencrypt_file(sealed, keys, context=context)
            assert sealed.read_bytes() == before
        data = bytearray(before)
        data[-1] ^= 1
        sealed.write_bytes(data)
        with pytest.raises(DecryptionError):
            reencrypt_file(sealed, RING.rotate(), context=CONTEXT)
        assert sealed.read_bytes() == data
        assert names(folder) == ["plain.bin", "sealed.enc"]

    def test_a_file_that_was_replaced_meanwhile_is_not_lost(self, sealed):
        def replaced(_):
            write(sealed, b"newer content", overwrite=True)

        newer = RING.rotate()
        with pytest.raises(Unavailable, match="changed meanwhile"):
            reencrypt_file(sealed, newer, context=CONTEXT, progress=replaced)
        assert read(sealed) == b"newer content"

    def test_a_link_stays(self, sealed):
        Path("link").symlink_to(sealed)
        newer = RING.rotate()
        assert reencrypt_file("link", newer, context=CONTEXT)
        assert Path("link").is_symlink()
        assert inspect_file(sealed).key_id == newer.primary


class TestMemory:
    def test_it_does_not_grow_with_the_size(self):
        def peak(size):
            out = Nowhere()
            tracemalloc.start()
            encrypt_file(Endless(size), out, RING)
            used = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert out.size > size
            return used

        peak(CHUNK)  # what is loaded once is not counted
        assert peak(16 << 20) <= peak(1 << 20) + CHUNK < 1 << 20

    @pytest.mark.proof
    def test_256_mb_go_there_and_back_in_an_address_space_that_has_no_room_for_them(self, folder):
        code = """
            import resource, sys
            from aisecure.encryption import Keyring, decrypt_file, encrypt_file, reencrypt_file
            with open("sparse", "wb") as file:
                file.truncate(256 << 20)
            ring = Keyring.generate()
            encrypt_file("/dev/null", "warm", ring)
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20),) * 2)
            encrypt_file("sparse", "enc", ring)
            newer = ring.rotate()
            assert reencrypt_file("enc", newer)
            decrypt_file("enc", "out", newer)
        """
        done = python(code, folder)
        assert done.stderr == ""
        assert Path("out").stat().st_size == 256 << 20
        with Path("out").open("rb") as file:
            assert all(not any(block) for block in iter(lambda: file.read(1 << 24), b""))


def python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder, capture_output=True, text=True, check=False
    )


def _claim(number):
    try:
        encrypt_file(io.BytesIO(bytes([number]) * 100_000), "claimed", RING, context=CONTEXT)
    except Misconfigured as err:
        return err.code
    return "made"
