"""Which type a file is by its first bytes; tables as data, and the few types that need a closer look.

HTML and XML are recognised as the WHATWG MIME Sniffing Standard does, text by being UTF-8 without control characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["HEAD", "TYPES", "UNKNOWN", "FileType", "is_text", "sniff"]

#: Bytes that are looked at.
HEAD = 4096
UNKNOWN = "application/octet-stream"


class FileType(NamedTuple):
    """What else a type is called.

    Attributes:
        extensions: In lower case without dot, the usual one first.
        aliases: Other media types that clients declare for it.
        is_active: A program, or what a browser or another program runs.
        is_text: Told apart from other text by its name only.
    """

    extensions: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    is_active: bool = False
    is_text: bool = False


def _type(extensions: str, aliases: str = "", *, is_active: bool = False, is_text: bool = False) -> FileType:
    return FileType(tuple(extensions.split()), tuple(aliases.split()), is_active, is_text)


_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."

TYPES: Mapping[str, FileType] = {
    # text
    "text/plain": _type("txt text log", is_text=True),
    "text/csv": _type("csv", "application/csv application/vnd.ms-excel", is_text=True),
    "text/tab-separated-values": _type("tsv tab", is_text=True),
    "text/markdown": _type("md markdown", "text/x-markdown", is_text=True),
    "application/json": _type("json", "text/json", is_text=True),
    "application/x-ndjson": _type("jsonl ndjson", "application/jsonl", is_text=True),
    "application/yaml": _type("yaml yml", "text/yaml application/x-yaml text/x-yaml", is_text=True),
    "application/toml": _type("toml", is_text=True),
    "application/x-subrip": _type("srt", "text/srt", is_text=True),
    "text/vtt": _type("vtt", is_text=True),
    "text/html": _type("html htm xhtml shtml", "application/xhtml+xml", is_active=True),
    "image/svg+xml": _type("svg svgz", is_active=True),
    "application/xml": _type("xml xsl xslt", "text/xml", is_active=True),
    "text/javascript": _type("js mjs cjs", "application/javascript", is_active=True, is_text=True),
    "text/css": _type("css", is_active=True, is_text=True),
    "application/x-sh": _type("sh bash", "text/x-shellscript text/x-sh", is_active=True),
    "text/x-python": _type("py pyw", "application/x-python", is_active=True, is_text=True),
    # images
    "image/png": _type("png apng", "image/apng"),
    "image/jpeg": _type("jpg jpeg jpe jfif", "image/jpg image/pjpeg"),
    "image/gif": _type("gif"),
    "image/webp": _type("webp"),
    "image/bmp": _type("bmp dib", "image/x-ms-bmp image/x-bmp"),
    "image/tiff": _type("tif tiff"),
    "image/avif": _type("avif"),
    "image/heic": _type("heic heif", "image/heif"),
    "image/x-icon": _type("ico cur", "image/vnd.microsoft.icon"),
    # documents
    "application/pdf": _type("pdf"),
    "application/rtf": _type("rtf", "text/rtf", is_active=True),
    "application/postscript": _type("ps eps", is_active=True),
    "application/x-ole-storage": _type("doc xls ppt msg", "application/msword application/vnd.ms-excel application/vnd.ms-powerpoint", is_active=True),
    f"{_OOXML}wordprocessingml.document": _type("docx"),
    f"{_OOXML}spreadsheetml.sheet": _type("xlsx"),
    f"{_OOXML}presentationml.presentation": _type("pptx"),
    "application/vnd.ms-word.document.macroenabled.12": _type("docm dotm", is_active=True),
    "application/vnd.ms-excel.sheet.macroenabled.12": _type("xlsm xltm xlam", is_active=True),
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": _type("pptm potm ppam", is_active=True),
    f"{_ODF}text": _type("odt"),
    f"{_ODF}spreadsheet": _type("ods"),
    f"{_ODF}presentation": _type("odp"),
    f"{_ODF}graphics": _type("odg"),
    "application/epub+zip": _type("epub"),
    # archives
    "application/zip": _type("zip", "application/x-zip-compressed application/x-zip"),
    "application/java-archive": _type("jar war ear", is_active=True),
    "application/vnd.android.package-archive": _type("apk", is_active=True),
    "application/gzip": _type("gz tgz", "application/x-gzip application/x-tar application/x-compressed-tar"),
    "application/x-bzip2": _type("bz2 tbz2 tbz", "application/x-bzip"),
    "application/x-xz": _type("xz txz"),
    "application/zstd": _type("zst"),
    "application/x-7z-compressed": _type("7z"),
    "application/vnd.rar": _type("rar", "application/x-rar-compressed"),
    "application/x-tar": _type("tar"),
    # sound and film
    "audio/mpeg": _type("mp3", "audio/mp3"),
    "audio/wav": _type("wav", "audio/x-wav audio/wave audio/vnd.wave"),
    "audio/flac": _type("flac", "audio/x-flac"),
    "audio/aac": _type("aac"),
    "application/ogg": _type("ogg oga ogv opus", "audio/ogg video/ogg audio/opus"),
    "video/mp4": _type("mp4 m4v m4a mov", "audio/mp4 video/quicktime audio/x-m4a"),
    "video/webm": _type("webm mkv", "audio/webm video/x-matroska"),
    "video/x-msvideo": _type("avi"),
    # programs
    "application/x-elf": _type("so o elf", "application/x-executable application/x-sharedlib", is_active=True),
    "application/vnd.microsoft.portable-executable": _type("exe dll sys scr", "application/x-msdownload application/x-dosexec", is_active=True),
    "application/x-mach-binary": _type("dylib", is_active=True),
    "application/java-vm": _type("class", is_active=True),
    "application/wasm": _type("wasm", is_active=True),
    "application/x-ms-shortcut": _type("lnk", is_active=True),
    # models and data
    "application/x-pickle": _type("pkl pickle pt pth bin joblib", "application/python-pickle", is_active=True),
    "application/x-torch": _type("pt pth bin ckpt", is_active=True),
    "application/x-safetensors": _type("safetensors"),
    "application/x-gguf": _type("gguf"),
    "application/x-hdf5": _type("h5 hdf5 keras", is_active=True),
    "application/x-npy": _type("npy", is_active=True),
    "application/x-npz": _type("npz", is_active=True),
    "application/vnd.apache.parquet": _type("parquet"),
    "application/vnd.sqlite3": _type("sqlite db sqlite3", "application/x-sqlite3"),
}  # fmt: skip

#: Where bytes stand that say what a file is. The longest that fit come first.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"II+\0", "image/tiff"),
    (0, b"MM\0+", "image/tiff"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (0, b"\0\0\x02\0", "image/x-icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "application/ogg"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),  # or a universal Mach-O: active both
    (0, b"\0asm", "application/wasm"),
    (0, b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (0, b"GGUF", "application/x-gguf"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"\x93NUMPY", "application/x-npy"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"#!", "application/x-sh"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"heim": "image/heic",
    b"heis": "image/heic", b"hevc": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic",
}  # fmt: skip

#: A BMP's header sizes: OS/2 1 and 2, Windows 3, with masks, 4 and 5.
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
# Protocols 2 to 5 say so; 0 and 1 are ASCII and begin with a global to call, or with an empty list or dictionary.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|(?:\()?c[A-Za-z_][\w.]{0,80}\n[\w.]{1,80}\n|\(?[dl]p\d{1,5}\n")
_SAFETENSORS = re.compile(rb".{5}\0\0\0\{\s*\"", re.DOTALL)
# MPEG audio frames: eleven bits of sync, layer III, a bit rate and a sampling rate that exist.
_MP3 = re.compile(rb"\xff[\xfa\xfb\xf2\xf3\xe2\xe3][\x10-\xeb]")
_AAC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")

#: https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type, and elements that run code.
_HTML_TAGS = (
    "!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|form|meta|base|object|embed|img|link|video|audio|input|button|frameset|marquee|details|template|math"
)  # fmt: skip
_LEADING = re.compile(rb"(?:\xef\xbb\xbf)?(?:[\t\n\x0c\r ]++|<!--(?:(?!-->).)*+-->)*+", re.DOTALL)
_HTML = re.compile(rf"<(?:{_HTML_TAGS})[\t\n\x0c\r >/]|<!--".encode(), re.IGNORECASE)
_XML = re.compile(rb"<\?xml|<!DOCTYPE|<!ENTITY|<[a-z_][\w.-]*:?[\w.-]*\s[^>]{0,500}xmlns", re.IGNORECASE)
_SVG = re.compile(rb"<(?:[a-z_][\w.-]{0,40}:)?svg[\s>/]", re.IGNORECASE)
_XHTML = re.compile(rb"<(?:[a-z_][\w.-]{0,40}:)?html[\s>]|http://www\.w3\.org/1999/xhtml", re.IGNORECASE)
#: Bytes that no text has: WHATWG's "binary data byte", and DEL.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(head: bytes, size: int) -> str:
    """Return the media type that the first bytes of a file say; text only as ``text/plain``.

    A ZIP is told as such, whatever is made of it. What nobody knows is ``application/octet-stream``.

    >>> sniff(b"%PDF-1.7 ...", 100)
    'application/pdf'
    """
    for offset, magic, media_type in _MAGIC:
        if head.startswith(magic, offset):
            return media_type
    found = _by_structure(head, size)
    if found:
        return found
    return _as_text(head, is_whole=size <= len(head))


def _by_structure(head: bytes, size: int) -> str:
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if _SAFETENSORS.match(head) and int.from_bytes(head[:8], "little") < size:
        return "application/x-safetensors"
    if _PICKLE.match(head):
        return "application/x-pickle"
    if _MP3.match(head):
        return "audio/mpeg"
    return "audio/aac" if _AAC.match(head) else ""


def _by_brand(head: bytes) -> str:
    """Return the type of an ISO base media file; one that claims to be several images is the first of them."""
    length = min(int.from_bytes(head[:4], "big"), 256)
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, length - 3, 4))]
    if brands[0] not in _BRANDS:
        return "video/mp4"
    exact = [_BRANDS[brand] for brand in brands if brand in _BRANDS and brand not in {b"mif1", b"msf1"}]
    return exact[0] if exact else _BRANDS[brands[0]]


def _as_text(head: bytes, *, is_whole: bool) -> str:
    leading = _LEADING.match(head)
    start = leading.end() if leading else 0
    begins_with_comment = b"<!--" in head[:start]
    if _SVG.match(head, start):
        return "image/svg+xml"
    if _HTML.match(head, start):
        return "text/html"
    if _XML.match(head, start):
        return (
            "image/svg+xml"
            if _SVG.search(head)
            else "text/html"
            if _XHTML.search(head)
            else "application/xml"
        )
    if begins_with_comment:
        return "text/html"
    return "text/plain" if is_text(head, is_whole=is_whole) else UNKNOWN


def is_text(data: bytes, *, is_whole: bool) -> bool:
    """Whether bytes are UTF-8 without control characters; the last character may be cut when they are not the whole."""
    if not data or _BINARY.search(data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError as err:
        return not is_whole and err.reason == "unexpected end of data"
    return True
