from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.errors import Unavailable
from aisecure.models import ModelPins, lock_entry_for_file
from aisecure.models.files import FileDigests, _quoted


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "bot.gguf"
    path.write_bytes(b"GGUF" + bytes(1 << 20))
    return path


def locked(model: Path) -> ModelPins:
    return ModelPins.from_text("version = 1\n" + lock_entry_for_file(model, name="bot"))


def test_the_pinned_bytes_pass(model: Path) -> None:
    pins = locked(model)
    assert pins["bot"].digest == "sha256:" + hashlib.sha256(model.read_bytes()).hexdigest()
    assert pins.verify_file("bot").allowed
    assert pins.verify_file("bot").allowed


def test_one_changed_byte_is_found_after_a_good_answer(model: Path) -> None:
    pins = locked(model)
    assert pins.verify_file("bot").allowed
    with model.open("r+b") as file:
        file.seek(5000)
        file.write(b"\1")
    assert pins.verify_file("bot").code == "model.changed"


def test_setting_size_and_time_back_hides_nothing(model: Path) -> None:
    pins, before = locked(model), model.stat()
    assert pins.verify_file("bot").allowed
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_mtime_ns == before.st_mtime_ns
    assert pins.verify_file("bot").code == "model.changed"


def test_a_swapped_link_is_found(model: Path, tmp_path: Path) -> None:
    other, link = tmp_path / "other.gguf", tmp_path / "link.gguf"
    other.write_bytes(b"G" * model.stat().st_size)
    link.symlink_to(model)
    pins = locked(link)
    assert pins.verify_file("bot").allowed
    link.unlink()
    link.symlink_to(other)
    assert pins.verify_file("bot").code == "model.changed"
    link.unlink()
    link.symlink_to(model)
    assert pins.verify_file("bot").allowed


def test_a_replaced_file_is_found_and_its_return_too(model: Path, tmp_path: Path) -> None:
    pins, kept = locked(model), tmp_path / "kept"
    assert pins.verify_file("bot").allowed
    model.rename(kept)
    assert pins.verify_file("bot").code == "model.missing"
    model.write_bytes(b"")
    assert pins.verify_file("bot").code == "model.changed"
    kept.replace(model)
    assert pins.verify_file("bot").allowed


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "loop", "below a file"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(model: Path, kind: str) -> None:
    pins = locked(model)
    model.unlink()
    if kind == "folder":
        model.mkdir()
    elif kind == "pipe":
        os.mkfifo(model)
    elif kind == "dangling link":
        model.symlink_to("nowhere")
    elif kind == "loop":
        model.symlink_to(model)
        with pytest.raises(Unavailable):
            pins.verify_file("bot")
        return
    else:
        model.parent.joinpath("x").write_bytes(b"")
        pins = ModelPins.from_text(
            f'version = 1\n[models.bot]\npath = "x/y"\ndigest = "sha256:{"0" * 64}"', folder=model.parent
        )
    assert pins.verify_file("bot").code == "model.missing"


def test_an_unreadable_device_is_unavailable(tmp_path: Path) -> None:
    # Reading the memory of the process from its start fails with an I/O error.
    with pytest.raises(Unavailable):
        FileDigests().sha256(Path("/proc/self/mem"))


def test_a_hosted_model_has_no_file_to_verify() -> None:
    pins = ModelPins.from_text('version = 1\n[models.bot]\nprovider = "openai"\nid = "gpt-4.1-2025-04-14"')
    assert pins.verify_file("bot").allowed


def test_the_digest_is_remembered_until_the_file_changes(model: Path) -> None:
    digests = FileDigests()
    first = digests.sha256(model)
    known = digests._known[model]
    assert digests.sha256(model) == first
    assert digests._known[model] is known
    model.write_bytes(b"x")
    assert digests.sha256(model) != first


def test_threads_get_one_answer(model: Path) -> None:
    pins, start, codes = locked(model), Barrier(8), []

    def work() -> None:
        start.wait()
        codes.append(pins.verify_file("bot").code)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["ok"] * 8


def test_names_a_local_server_gives_are_accepted(model: Path) -> None:
    pins = ModelPins.from_text("version = 1\n" + lock_entry_for_file(model, name="bot", responses=("smol",)))
    for seen in ("smol", "bot.gguf", str(model), ""):
        assert pins.check_response("bot", seen).allowed
    assert pins.check_response("bot", "other.gguf").code == "model.drift"


def test_an_entry_is_relative_to_its_lock_file(model: Path, tmp_path: Path) -> None:
    entry = tomllib.loads(lock_entry_for_file(model, relative_to=tmp_path))
    assert entry["models"]["bot"]["path"] == "bot.gguf"
    outside = tomllib.loads(lock_entry_for_file(model, relative_to=tmp_path / "app"))
    assert outside["models"]["bot"]["path"] == str(model)


def test_an_entry_for_nothing_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError):
            lock_entry_for_file(path)


@pytest.mark.parametrize(
    "name", ['a "b".gguf', "tab\there.gguf", "back\\slash.gguf", "new\nline.gguf", "\u00e9\U0001f600.gguf"]
)
def test_an_entry_is_valid_toml_for_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    entry = tomllib.loads(lock_entry_for_file(path, name="bot"))
    assert entry["models"]["bot"]["path"] == str(path)


def test_a_file_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.gguf")
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="UTF-8"):
        lock_entry_for_file(path, name="bot")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoting_is_read_back(text: str) -> None:
    assert tomllib.loads(f"x = {_quoted(text)}") == {"x": text}
