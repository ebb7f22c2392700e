"""Signed notes, against the example of the specification and against every small change."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.audit.note import InvalidNote, NoteKey, NoteSigner, open_note
from aisecure.errors import Misconfigured

#: The example of c2sp.org/signed-note.
KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo"
    " Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SIGNER = NoteSigner.generate("example.org/log")


def test_the_example_of_the_specification_verifies() -> None:
    key = NoteKey.parse(KEY)
    assert str(key) == KEY
    assert open_note(NOTE, [key]) == ("This is an example message.\n", ("example.com/foo",))


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_a_changed_note_is_none(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(InvalidNote):
            open_note(changed, [NoteKey.parse(KEY)])


def test_signatures_of_others_are_passed_over() -> None:
    text = "a\n\nb\n"
    note = SIGNER.sign(text)
    other = NoteSigner.generate("example.net/witness")
    both = note + other.sign(text).rpartition("\n\n")[2]
    assert open_note(both, [SIGNER.key]) == (text, ("example.org/log",))
    assert open_note(both, [other.key, SIGNER.key])[1] == ("example.org/log", "example.net/witness")
    with pytest.raises(InvalidNote, match="no known key"):
        open_note(both, [NoteKey.parse(KEY)])
    with pytest.raises(InvalidNote, match="no known key"):
        open_note(both, [])


def test_a_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    other = NoteSigner.generate("example.net/witness")
    wrong = base64.b64encode(other.key.id + bytes(64)).decode()
    with pytest.raises(InvalidNote, match=r"witness does not fit"):
        open_note(
            f"{SIGNER.sign('a' + chr(10))}\u2014 example.net/witness {wrong}\n", [SIGNER.key, other.key]
        )


def test_another_key_of_the_same_name_is_another_key() -> None:
    impostor = NoteSigner.generate(SIGNER.name)
    with pytest.raises(InvalidNote, match="no known key"):
        open_note(impostor.sign("a\n"), [SIGNER.key])


@pytest.mark.parametrize("text", ["", "\n", "a", "a\r\n", "a\0\n", "a\tb\n", "a\x7f\n"])
def test_what_is_no_text_of_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="text of a note"):
        SIGNER.sign(text)


@pytest.mark.parametrize(
    "note",
    ["", "a", "a\n", "a\n\n", "a\n\nb\n", "\n\n\u2014 n AAAAAAAA\n", "a\n\n\u2014 n AAAA\n", "a\n\n\u2014 n !!!!\n", "a\r\n\n\u2014 n AAAAAAAA\n",
     "a\n\n" + "\u2014 n AAAAAAAA\n" * 101, "a" * 70_000 + "\n\n\u2014 n AAAAAAAA\n"],
)  # fmt: skip
def test_what_is_no_note_is_told(note: str) -> None:
    with pytest.raises(InvalidNote):
        open_note(note, [SIGNER.key])


def test_only_text_is_a_note() -> None:
    with pytest.raises(TypeError):
        open_note(NOTE.encode(), [SIGNER.key])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a+00000000+AAAA", KEY.replace("530d903a", "530d903b"), KEY.replace("foo", "bar"), KEY[:-4],
     "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "\u2028", KEY.replace("+Ae", "+Be")],
)  # fmt: skip
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        NoteKey.parse(text)


def test_a_key_is_kept_in_a_file_of_its_owner(tmp_path) -> None:
    path = tmp_path / "log.key"
    SIGNER.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert NoteSigner.load(path).key == SIGNER.key
    with pytest.raises(Misconfigured, match="not written over"):
        SIGNER.save(path)
    text = path.read_text()
    for bad in ("", text[:-10], text.replace("log+", "lag+"), str(SIGNER.key), "\udcff"):
        path.write_bytes(bad.encode("utf-8", "surrogateescape"))
        with pytest.raises(Misconfigured) as told:
            NoteSigner.load(path)
        assert told.value.code == "config.signing_key"
        assert text[40:60] not in str(told.value)
    with pytest.raises(Misconfigured):
        NoteSigner.load(tmp_path / "none")


def test_nothing_shows_the_private_half() -> None:
    assert "seed" not in repr(SIGNER)
    assert repr(SIGNER) == "NoteSigner(name='example.org/log')"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 256])
def test_names_are_printable_words(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        NoteSigner.generate(name)
