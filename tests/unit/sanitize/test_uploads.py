"""Uploads are what they say, within bounds, and of one type to everybody."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sanitize import upload_files as files

from aisecure import InputRejected
from aisecure.sanitize import UploadPolicy, check_upload
from aisecure.sanitize.uploads.signatures import TYPES, sniff

ALL = UploadPolicy(types=["*/*", *TYPES], active_content="allow", max_nesting=3)
EVERYTHING = UploadPolicy(types=list(TYPES), max_nesting=3)
ARCHIVES = UploadPolicy(types=["application/*"])


def refused(data, policy: UploadPolicy = EVERYTHING, **told) -> str:
    with pytest.raises(InputRejected) as caught:
        check_upload(data, policy=policy, **told)
    assert caught.value.__cause__ is None
    return caught.value.code


@pytest.mark.parametrize("media_type", files.FILES)
def test_each_type_is_known_by_its_content(media_type):
    upload = check_upload(files.FILES[media_type], policy=EVERYTHING)
    assert upload.type == media_type
    row = TYPES[media_type]
    for extension in row.extensions:
        assert upload.extension == f".{row.extensions[0]}"
        check_upload(
            files.FILES[media_type],
            name=f"a.{extension.upper()}",
            declared_type=f"{media_type}; x=y",
            policy=EVERYTHING,
        ) if not row.is_text else None


@pytest.mark.parametrize("media_type", files.ACTIVE)
def test_each_active_type_is_known_and_refused_unless_named_and_allowed(media_type):
    data = files.ACTIVE[media_type]
    assert refused(data, UploadPolicy(types=["*/*", media_type])) in {
        "input.upload_type",
        "input.active_content",
    }
    assert (
        check_upload(data, policy=UploadPolicy(types=[media_type], active_content="allow")).type == media_type
    )
    if not media_type.startswith("application/x-torch"):
        assert (
            refused(data, UploadPolicy(types=["application/*"], active_content="allow"))
            == "input.upload_type"
        )


def test_by_default_only_text_pdf_and_common_images_are_let_in():
    taken = set()
    for media_type, data in {**files.FILES, **files.ACTIVE}.items():
        try:
            check_upload(data)
            taken.add(media_type)
        except InputRejected as err:
            assert err.code == "input.upload_type"  # noqa: PT017
    assert taken == {"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"}


@pytest.mark.parametrize(
    ("name", "declared", "media_type"),
    [
        ("a.csv", None, "text/csv"),
        ("a.csv", "application/vnd.ms-excel", "text/csv"),
        (None, "text/csv; charset=utf-8", "text/csv"),
        ("README", None, "text/plain"),
        ("a.md", "text/plain", "text/markdown"),
        ("a.txt", "application/octet-stream", "text/plain"),
        (".hidden", None, "text/plain"),
    ],
)
def test_texts_are_told_apart_by_their_name(name, declared, media_type):
    assert check_upload(b"a,b\n1,2\n", name=name, declared_type=declared).type == media_type


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (files.png(), {"name": "a.jpg"}),
        (files.png(), {"name": "a.png.exe"}),
        (files.png(), {"declared_type": "text/html"}),
        (files.png(), {"declared_type": "image/jpeg"}),
        (files.TEXT, {"name": "a.html"}),
        (files.TEXT, {"name": "a.svg"}),
        (files.TEXT, {"name": "a.php"}),
        (files.TEXT, {"name": "a.py"}),
        (files.TEXT, {"declared_type": "text/html"}),
        (files.elf(), {"name": "a.png", "declared_type": "image/png"}),
        (b"\x00\x01\x02\x03", {}),
        (b"", {}),
        ("Grüße".encode("utf-16"), {"name": "a.txt"}),
        ("Grüße".encode("latin-1"), {"name": "a.txt"}),
        (b"a" * 5000 + b"\0", {"name": "a.txt"}),
        (b"a" * 4095 + "ü".encode() + b"\xff", {"name": "a.txt"}),
        (b"\x1b[31m red \x07", {"name": "a.txt"}),
    ],
)
def test_name_declared_type_and_content_have_to_agree(data, told):
    assert refused(data, UploadPolicy(), **told) == "input.upload_type"


def test_a_character_that_the_first_look_cuts_is_no_damage():
    assert check_upload(b"a" * 4095 + "ü".encode() * 10).type == "text/plain"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf \n<SCRIPT >alert(1)</script>",
        b"<!-- a --><html>",
        b"<!-- never ends",
        b"<iframe src=x>",
        b"<a href=x>",
        b'<svg\nonload="x">',
        b"<s:svg xmlns:s='x'>",
        b"<?xml version='1.0'?><x:html xmlns:x='http://www.w3.org/1999/xhtml'/>",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
        b"cos\nsystem\n(S'id'\ntR.",
        b"(dp0\nS'a'\np1\n.",
    ],
)
def test_what_a_browser_or_an_unpickler_would_run_is_no_text(data):
    assert refused(data, name="a.txt") == "input.upload_type"


@pytest.mark.parametrize(
    "data",
    [
        files.png() + files.zipped({"a.txt": b"x"}),
        files.jpeg() + files.zipped({"META-INF/MANIFEST.MF": b"x"}),
        files.gif() + files.zipped({"a": b"x"}) + b"",
        files.pdf() + files.zipped({"a": b"x"}),
        files.jpeg(comment=b"%PDF-1.4 1 0 obj"),
        files.jpeg(comment=b"<script>alert(1)</script>"),
        files.gif().replace(b";", b"!\xfe\x08<script \0;"),
        files.pdf().replace(b"1 0 obj", b"<html > 1 0 obj"),
    ],
)
def test_a_file_of_two_types_is_refused(data):
    assert refused(data) == "input.upload_type"


@pytest.mark.parametrize(
    "name",
    [
        "../a.txt", "a/b.txt", "C:\\a.txt", "a\0.txt", "a\n.txt", "\u202etxt.exe", "a.txt.", "a.txt ", "..", ".", "CON.txt",
        "nul", "a:b.txt", "x" * 300 + ".txt", "\ud800.txt", "a\u200b.txt",
    ],
)  # fmt: skip
def test_a_name_that_leads_or_misleads_is_refused(name):
    assert refused(files.TEXT, name=name) == "input.upload_name"


def test_json_has_to_be_json_of_one_meaning():
    assert check_upload(b'{"a": [1]}', name="a.json").type == "application/json"
    for bad in (b"{", b'{"a": 1, "a": 2}', b"[" * 100_000, b"NaN"):
        assert refused(bad, name="a.json") == "input.upload_damaged"


def test_size_is_bounded_for_bytes_and_files():
    policy = UploadPolicy(max_bytes=10)
    assert refused(b"a" * 11, policy) == "input.upload_size"
    assert refused(io.BytesIO(b"a" * 11), policy) == "input.upload_size"
    assert check_upload(b"a" * 10, policy=policy).size == 10


@pytest.mark.parametrize("media_type", files.FILES)
def test_a_file_is_checked_like_bytes_and_left_where_it_stood(media_type):
    data = files.FILES[media_type]
    with tempfile.SpooledTemporaryFile(max_size=100) as file:
        file.write(data)
        file.seek(3)
        assert check_upload(file, policy=EVERYTHING) == check_upload(memoryview(data), policy=EVERYTHING)
        assert file.tell() == 3


@pytest.mark.parametrize("data", ["text", None, 3, io.StringIO("text"), ["a"]])
def test_what_is_no_file_is_a_type_error(data):
    with pytest.raises(TypeError):
        check_upload(data)


def test_a_result_does_not_print_the_name():
    assert "ada" not in repr(check_upload(files.TEXT, name="ada-lovelace.txt"))


# -- images


@pytest.mark.parametrize(
    "make",
    [files.png, files.jpeg, files.gif, files.webp, files.webp_lossy, files.bmp, files.tiff, files.heif],
    ids=lambda make: make.__name__,
)
def test_an_image_is_measured_by_its_header_and_bounded(make):
    upload = check_upload(make(300, 200), policy=EVERYTHING)
    assert (upload.width, upload.height, upload.frames) == (300, 200, 1)
    assert refused(make(16_000, 16_000)) == "input.image"
    if make is not files.webp:  # which tells one less than its size
        assert refused(make(300, 0)) == "input.image"


def test_tiffs_of_the_other_byte_order_and_icons_are_measured():
    upload = check_upload(files.tiff(30, 20, pages=3, order=">"), policy=EVERYTHING)
    assert (upload.width, upload.height, upload.frames) == (30, 20, 3)
    assert check_upload(files.ico(48), policy=EVERYTHING).width == 48


@pytest.mark.parametrize(
    "data",
    [files.apng(501), files.gif(frames=501), files.webp(frames=501), files.tiff(pages=501)],
    ids=["png", "gif", "webp", "tiff"],
)
def test_frames_are_bounded(data):
    assert refused(data) == "input.image"


def test_frames_together_are_bounded():
    assert check_upload(files.gif(3_000, 3_000, frames=50)).frames == 50
    assert refused(files.gif(3_000, 3_000, frames=60)) == "input.image"


def test_a_frame_larger_than_its_canvas_counts():
    data = bytearray(files.gif(10, 10))
    place = data.index(b",")
    data[place + 5 : place + 9] = struct.pack("<HH", 60_000, 60_000)
    assert refused(bytes(data)) == "input.image"


def test_pages_that_go_round_end():
    data = bytearray(files.tiff(pages=2))
    data[-4:] = struct.pack("<I", 8)
    assert check_upload(bytes(data), policy=EVERYTHING).frames == 2


# -- documents


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (files.pdf(b"/OpenAction << /S /JavaScript /JS (app.alert) >>"), "pdf_javascript"),
        (files.pdf(b"/A << /S /J#61vaScript >>"), "pdf_javascript"),
        (files.pdf(packed=b"1 0 << /S /JavaScript /JS (x) >>"), "pdf_javascript"),
        (files.pdf(b"/Launch"), "pdf_launch"),
        (files.pdf(b"/Type/EmbeddedFile"), "pdf_embedded_file"),
        (files.pdf(b"/XFA 5 0 R"), "pdf_xfa"),
        (files.pdf(b"/Encrypt 5 0 R"), "pdf_encrypted"),
        (files.office(word__vbaProject_dot_bin=b"x"), "archive_macro"),
        (files.office(word__embeddings__oleObject1_dot_bin=b"x"), "archive_embedded"),
        (
            files.zipped(
                {
                    "[Content_Types].xml": b"<?xml version='1.0'?>",
                    "word/_rels/settings.xml.rels": b'<Relationship Type="http://x/attachedTemplate" Target="http://evil" TargetMode="External"/>',
                }
            ),
            "archive_external_template",
        ),
        (files.zipped({"run.exe": b"MZ\x90\0" + b"\0" * 9}), "archive_program"),
        (files.zipped({"inner.zip": files.zipped({"x": files.elf()})}), "archive_program"),
    ],
)
def test_what_acts_when_a_document_is_opened_is_refused_and_told(data, kind):
    with pytest.raises(InputRejected) as caught:
        check_upload(data, policy=EVERYTHING)
    assert caught.value.code in {"input.active_content", "input.upload_type"}
    upload = check_upload(data, policy=ALL)
    assert f"upload.{kind}" in {finding.kind for finding in upload.findings}


def test_a_macro_makes_another_type_of_a_document():
    data = files.office("xl", xl__vbaProject_dot_bin=b"x")
    assert check_upload(data, policy=ALL).type == "application/vnd.ms-excel.sheet.macroenabled.12"
    assert refused(data, ALL, name="a.xlsx") == "input.upload_type"


def test_what_nearly_every_document_has_is_told_and_let_in():
    upload = check_upload(files.pdf(b"/OpenAction [2 0 R /Fit] /URI (https://example.org)"))
    assert {finding.kind for finding in upload.findings} == {"upload.pdf_open_action", "upload.pdf_link"}


def test_short_names_in_packed_bytes_of_a_pdf_are_chance():
    assert check_upload(files.pdf() + b"4 0 obj <<>> stream\nabc/JS /AA \nendstream endobj").findings == ()


# -- archives


def test_an_archive_is_counted_as_it_unpacks():
    upload = check_upload(files.FILES["application/zip"], policy=ARCHIVES)
    assert (upload.entries, upload.unpacked_bytes) == (2, len(files.TEXT) * 51)
    upload = check_upload(gzip.compress(files.tarred({"a": b"x" * 700})), name="a.tar.gz", policy=ARCHIVES)
    assert upload.entries == 2
    assert upload.unpacked_bytes > 700


ZEROS = bytes(5 << 20)


@pytest.mark.parametrize(
    "data",
    [
        files.zipped({"a": ZEROS}),
        gzip.compress(ZEROS),
        bz2.compress(ZEROS),
        lzma.compress(ZEROS),
        files.zipped({"a.gz": gzip.compress(ZEROS)}),
        files.tarred({"a.txt": ZEROS}, mode="w:gz"),
        gzip.compress(gzip.compress(ZEROS)),
    ],
    ids=["zip", "gzip", "bzip2", "xz", "gzip in zip", "tar in gzip", "gzip in gzip"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(data):
    assert refused(data) == "input.archive"
    policy = UploadPolicy(types=["application/*"], max_ratio=1 << 20, max_unpacked_bytes=4 << 20)
    assert refused(data, policy) == "input.archive"
    large = UploadPolicy(types=["application/*"], max_ratio=1 << 20, max_nesting=2)
    assert check_upload(data, policy=large).unpacked_bytes >= len(ZEROS)


def test_entries_and_nesting_are_bounded():
    many = {f"{number}": b"x" for number in range(1_001)}
    assert refused(files.zipped(many), ARCHIVES) == "input.archive"
    assert refused(files.tarred(many), ARCHIVES) == "input.archive"
    data = files.zipped({"a": b"x"})
    for depth in range(4):
        policy = UploadPolicy(types=["application/*"], max_nesting=depth)
        assert check_upload(data, policy=policy).entries == depth + 1
        data = files.zipped({"a.zip": data})
        assert refused(data, policy) == "input.archive"


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "..\\a", "C:\\a", "\\\\host\\a", "a\nb", "a\u202eb"]
)
def test_names_that_lead_out_are_refused(name):
    assert refused(files.zipped({name: b"x"}), ARCHIVES) == "input.archive"
    assert refused(files.tarred({name: b"x"}), ARCHIVES) == "input.archive"
    assert refused(files.tarred({name: b"x"}, tarfile.GNU_FORMAT), ARCHIVES) == "input.archive"


def test_one_name_for_two_entries_is_refused():
    assert refused(files.zipped({"a/B": b"x", "A/b": b"y"}), ARCHIVES) == "input.archive"
    assert refused(files.tarred({"é": b"x", "e\u0301": b"y"}), ARCHIVES) == "input.archive"
    assert refused(files.zipped({"a": b"x", "./a": b"y"}), ARCHIVES) == "input.archive"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert refused(out.getvalue(), ARCHIVES) == "input.archive"


def test_a_link_in_a_zip_is_refused():
    info = zipfile.ZipInfo("a")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert refused(out.getvalue(), ARCHIVES) == "input.archive"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_with_long_names_are_read(form):
    name = "/".join(["folder" * 5] * 5) + "/f.txt"
    upload = check_upload(files.tarred({name: b"x" * 600, "b": b"y"}, form), policy=ARCHIVES)
    assert upload.unpacked_bytes == 601


def _changed(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _broken_zips() -> Mapping[str, bytes]:
    data = files.zipped({"a.txt": b"hello " * 9, "b.txt": b"world " * 9})
    central = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", central + 4)
    return {
        "other local name": _changed(data, 30, b"x.txt"),
        "declared larger": _changed(data, central + 24, struct.pack("<I", 60)),
        "declared smaller in both": _changed(
            _changed(data, central + 24, struct.pack("<I", 5)), 22, struct.pack("<I", 5)
        ),
        "other checksum": _changed(_changed(data, central + 16, b"abcd"), 14, b"abcd"),
        "encrypted": _changed(_changed(data, central + 8, b"\x01"), 6, b"\x01"),
        "other method": _changed(_changed(data, central + 10, b"\x0c"), 8, b"\x0c"),
        "overlapping": _changed(data, second + 42, struct.pack("<I", 0)),
        "prefixed": data[:4] + data,
        "followed": data + b"x",
        "cut": data[:-1],
        "no directory": data[:central],
        "fewer entries": _changed(data, len(data) - 14, b"\x01\0\x01\0"),
        "zip64": _changed(data, central + 24, b"\xff" * 4),
    }


@pytest.mark.parametrize("which", _broken_zips())
def test_a_zip_that_programs_read_differently_is_refused(which):
    assert refused(_broken_zips()[which], ARCHIVES) == "input.archive"


def test_archives_that_cannot_be_looked_into_are_refused():
    for head in (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\0", b"\x28\xb5\x2f\xfd"):
        assert refused(head + b"\0" * 40, ARCHIVES) == "input.archive"


def test_a_packed_stream_that_is_cut_or_followed_by_rubbish_is_refused():
    for data in (gzip.compress(files.TEXT), bz2.compress(files.TEXT), lzma.compress(files.TEXT)):
        assert refused(data[:-1], ARCHIVES) == "input.archive"
        assert refused(data + b"rubbish", ARCHIVES) == "input.archive"
        assert check_upload(data * 2, policy=ARCHIVES).unpacked_bytes == 2 * len(files.TEXT)


# -- anything at all

SEEDS = [*files.FILES.values(), *files.ACTIVE.values(), *_broken_zips().values(), files.pdf(b"/JS", b"/AA"), files.apng(3), files.webp(frames=2), pickle.dumps(1)]  # fmt: skip


def _answers(data: bytes) -> None:
    for policy in (ALL, EVERYTHING):
        try:
            upload = check_upload(data, policy=policy)
        except InputRejected as err:
            assert err.code.startswith("input.")  # noqa: PT017
        else:
            assert upload.type in TYPES


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_files_of_every_type_are_checked_or_refused(seed, data):
    changed = bytearray(seed)
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(seed) - 1), st.integers(0, 255)), max_size=4)
    ):
        changed[place] = byte
    start = data.draw(st.integers(0, 8))
    _answers(bytes(changed[start if start > 6 else 0 : data.draw(st.integers(0, len(seed)))]))


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_a_file_that_ends_anywhere_is_checked_or_refused(number):
    seed = SEEDS[number]
    for end in range(0, len(seed), max(1, len(seed) // 60)):
        _answers(seed[:end])


@given(st.binary(max_size=300))
def test_any_bytes_have_a_type_and_an_answer(data):
    sniff(data, len(data))
    _answers(data)


@pytest.mark.parametrize(
    "data",
    [
        files.pdf() + b"obj /ObjStm stream\n" * 50_000,
        files.pdf() + b"/" + b"A#" * 500_000,
        b"GIF89a" + b"\xff" * 7 + b"\0" * 800 + b"!\xfe" + b"\x01a" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 2_000_000,
        b"\0\0\0\x08ftypavif" + b"\0\0\0\x08free" * 200_000,
        b"<" * 1_000_000,
        b"<!--" * 300_000,
        b"PK\x03\x04" * 300_000,
        b"PK\x03\x04" + b"PK\x05\x06" * 300_000,
    ],
    ids=["pdf streams", "pdf name", "gif blocks", "jpeg fill", "boxes", "<", "<!--", "zip heads", "zip ends"],
)  # fmt: skip
def test_hostile_megabytes_have_an_answer(data):
    _answers(data)


@pytest.mark.parametrize(
    "options",
    [
        {"types": "image/png"},
        {"types": ["png"]},
        {"max_bytes": 0},
        {"max_nesting": 9},
        {"active_content": "x"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError):
        UploadPolicy(**options)
