"""What a document is made of, and what in it acts when it is opened: macros, scripts, actions, embedded programs.

The look at a PDF is partial, and says so: names are found in its bytes and in its compressed objects, but not in objects that are
encrypted, or packed by other filters than Flate. It finds what common tools write, not what somebody hides with care.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping

from aisecure.sanitize.uploads.archives import Member
from aisecure.sanitize.uploads.signatures import TYPES, UNKNOWN
from aisecure.sanitize.uploads.source import Source

__all__ = ["active_in_pdf", "of_members"]

_OOXML = "application/vnd.openxmlformats-officedocument."
_MACROS = "macroenabled.12"
_OFFICE = {
    "word/": (f"{_OOXML}wordprocessingml.document", f"application/vnd.ms-word.document.{_MACROS}"),
    "xl/": (f"{_OOXML}spreadsheetml.sheet", f"application/vnd.ms-excel.sheet.{_MACROS}"),
    "ppt/": (f"{_OOXML}presentationml.presentation", f"application/vnd.ms-powerpoint.presentation.{_MACROS}"),
}
_TEMPLATE = re.compile(
    rb"(?:attachedTemplate|oleObject|frame)\"[^>]{0,2000}TargetMode\s*=\s*[\"']External", re.IGNORECASE
)


def of_members(members: Iterable[Member]) -> tuple[str, tuple[str, ...]]:
    """Return the media type of a ZIP by what is in it, and kinds of active content in it.

    Reads to the end, so that every member is counted.
    """
    first: Member | None = None
    named: dict[str, None] = {}
    active: dict[str, None] = {}
    for member in members:
        if first is None:
            first = member
        name = member.name.replace("\\", "/").lstrip("/").removeprefix("./")
        named[_mark(name)] = None
        active.update(dict.fromkeys(_active(name.lower(), member)))
    active.pop("", None)
    if first is None:
        return "application/zip", ()
    media_type = _zip_type(first, named)
    if "archive_macro" in active:
        media_type = next((macro for plain, macro in _OFFICE.values() if plain == media_type), media_type)
    return media_type, tuple(f"upload.{kind}" for kind in active)


_MARKS: Mapping[str, str] = {
    "[Content_Types].xml": "ooxml", "META-INF/MANIFEST.MF": "jar", "AndroidManifest.xml": "apk", "classes.dex": "apk",
}  # fmt: skip


def _mark(name: str) -> str:
    """Return what a member's name says of the whole."""
    for folder in _OFFICE:
        if name.startswith(folder):
            return folder
    if name.endswith("data.pkl"):
        return "torch"
    return "npz" if name.endswith(".npy") else _MARKS.get(name, "")


def _zip_type(first: Member, named: Mapping[str, None]) -> str:
    if first.name == "mimetype":
        told = first.head[:100].decode("ascii", "replace").strip()
        return told if told in TYPES and told != "application/zip" else UNKNOWN
    if "ooxml" in named:
        return next((_OFFICE[folder][0] for folder in _OFFICE if folder in named), "application/zip")
    for mark, media_type in (
        ("apk", "application/vnd.android.package-archive"),
        ("jar", "application/java-archive"),
        ("torch", "application/x-torch"),
        ("npz", "application/x-npz"),
    ):
        if mark in named:
            return media_type
    return "application/zip"


def _active(name: str, member: Member) -> Iterable[str]:
    """Yield kinds of active content that one member is."""
    base = name.rpartition("/")[2]
    if base == "vbaproject.bin" or "macrosheets/" in name or name.startswith(("basic/", "scripts/")):
        yield "archive_macro"
    elif "activex/" in name or base.startswith("oleobject") or "embeddings/" in name:
        yield "archive_embedded"
    elif name.endswith(".rels") and _TEMPLATE.search(member.head):
        yield "archive_external_template"
    elif base.endswith("data.pkl"):
        yield "archive_pickle"
    elif member.type in TYPES and TYPES[member.type].is_active and not _is_markup(name, member):
        yield "archive_program"


def _is_markup(name: str, member: Member) -> bool:
    """Whether a member is XML or a page, as which documents and books are made; text whose name says program is none."""
    return member.type in {"application/xml", "text/html", "image/svg+xml"}


# -- PDF

#: Names of what acts, and of the finding. Those that only jump, or that nearly every document has, are told and let in.
_ACTS = {
    b"JavaScript": "pdf_javascript", b"JS": "pdf_javascript", b"Launch": "pdf_launch", b"EmbeddedFile": "pdf_embedded_file",
    b"RichMedia": "pdf_rich_media", b"XFA": "pdf_xfa", b"SubmitForm": "pdf_submit_form", b"ImportData": "pdf_import_data",
    b"GoToR": "pdf_other_file", b"GoToE": "pdf_other_file", b"Encrypt": "pdf_encrypted",
}  # fmt: skip
_TOLD = {b"OpenAction": "pdf_open_action", b"AA": "pdf_additional_action", b"URI": "pdf_link"}
_NAME = re.compile(rb"/([A-Za-z#0-9]{2,60})(?![A-Za-z0-9#])")
_HEX = re.compile(rb"#([0-9A-Fa-f]{2})")
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
#: Shorter names stand in packed bytes by chance; longer ones are looked for everywhere, in what calls itself a stream too.
_SURE = 6
#: Bytes before a stream in which its dictionary is looked for; what one stream and all may unpack to.
_DICTIONARY, _LARGEST, _ALL = 2048, 1 << 20, 32 << 20
_MOST_STREAMS = 20_000


def active_in_pdf(source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return kinds of what acts in a PDF, and kinds of what is only to be told."""
    data = source.read(0, source.size)
    names = {name for name in _names(data) if len(name) >= _SURE}
    acts: dict[str, None] = {}
    place, left = 0, _ALL
    for number, stream in enumerate(_STREAM.finditer(data)):
        if stream.start() < place:
            continue
        if number >= _MOST_STREAMS or left <= 0:
            acts["upload.pdf_too_large_to_see"] = None
            break
        names |= _names(data[place : stream.start()])
        before = data[max(place, stream.start() - _DICTIONARY) : stream.start()]
        end = data.find(b"endstream", stream.end())
        place = len(data) if end < 0 else end
        if _is_packed_objects(before):
            text = _inflated(data[stream.end() : place])
            left -= len(text)
            names |= _names(text)
    names |= _names(data[place:])
    acts |= dict.fromkeys(f"upload.{_ACTS[name]}" for name in sorted(names & _ACTS.keys()))
    told = dict.fromkeys(f"upload.{_TOLD[name]}" for name in sorted(names & _TOLD.keys()))
    return tuple(acts), tuple(told)


def _is_packed_objects(before: bytes) -> bool:
    """Whether a stream is one of objects, by the dictionary before it."""
    return b"ObjStm" in _unescaped(before[max(0, before.rfind(b" obj")) :])


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _LARGEST)
    except zlib.error:
        return b""


def _names(data: bytes) -> set[bytes]:
    return {_unescaped(found) for found in set(_NAME.findall(data))}


def _unescaped(name: bytes) -> bytes:
    return _HEX.sub(lambda found: bytes([int(found.group(1), 16)]), name) if b"#" in name else name
