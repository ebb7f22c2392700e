"""Small valid files of each type, made with the standard library."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping


def png(width: int = 3, height: int = 2, *, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(min(height, 50))))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def apng(frames: int) -> bytes:
    data = struct.pack(">II", frames, 0)
    return png(extra=struct.pack(">I", 8) + b"acTL" + data + struct.pack(">I", zlib.crc32(b"acTL" + data)))


def jpeg(width: int = 3, height: int = 2, comment: bytes = b"") -> bytes:
    app = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    said = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment if comment else b""
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\0"
    return b"\xff\xd8" + app + said + frame + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x00\xff\xd9"


def gif(width: int = 3, height: int = 2, frames: int = 1) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + b"\0\0\0\xff\xff\xff"
        + frame * frames
        + b";"
    )


def webp(width: int = 3, height: int = 2, frames: int = 0) -> bytes:
    def size(number: int) -> bytes:
        return (number - 1).to_bytes(3, "little")

    if frames:
        body = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size(width) + size(height)
        body += (b"ANMF" + struct.pack("<I", 16) + b"\0" * 16) * frames
    else:
        bits = (width - 1) | (height - 1) << 14
        body = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_lossy(width: int = 3, height: int = 2) -> bytes:
    body = b"VP8 " + struct.pack("<I", 10) + b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp(width: int = 3, height: int = -2) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 80, 0, 0, 54)
        + struct.pack("<IiiHH", 40, width, height, 1, 24)
        + b"\0" * 40
    )


def tiff(width: int = 3, height: int = 2, pages: int = 1, order: str = "<") -> bytes:
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for page in range(pages):
        entries = struct.pack(order + "HHII", 256, 4, 1, width) + struct.pack(
            order + "HHII", 257, 4, 1, height
        )
        after = len(out) + 2 + len(entries) + 4
        out += (
            struct.pack(order + "H", 2) + entries + struct.pack(order + "I", after if page + 1 < pages else 0)
        )
    return out


def heif(width: int = 3, height: int = 2, brand: bytes = b"avif") -> bytes:
    def box(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data) + 8) + name + data

    size = box(b"ispe", b"\0\0\0\0" + struct.pack(">II", width, height))
    meta = box(b"meta", b"\0\0\0\0" + box(b"iprp", box(b"ipco", size)))
    return box(b"ftyp", brand + b"\0\0\0\0" + brand + b"mif1") + meta + box(b"mdat", b"data")


def ico(side: int = 16) -> bytes:
    return b"\0\0\x01\0\x01\0" + bytes([side, side]) + b"\0" * 14 + b"data"


def pdf(body: bytes = b"", packed: bytes = b"") -> bytes:
    out = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R " + body + b" >>\nendobj\n"
    if packed:
        data = zlib.compress(packed)
        out += b"3 0 obj\n<< /Type /ObjStm /Filter /FlateDecode /Length %d >>\nstream\n" % len(data)
        out += data + b"\nendstream\nendobj\n"
    return out + b"trailer\n<< /Root 1 0 R >>\n%%EOF\n"


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def office(folder: str = "word", **members: bytes) -> bytes:
    return zipped(
        {
            "[Content_Types].xml": b"<?xml version='1.0'?><Types/>",
            f"{folder}/document.xml": b"<?xml version='1.0'?><d/>",
        }
        | {name.replace("__", "/").replace("_dot_", "."): data for name, data in members.items()}
    )


def tarred(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def elf() -> bytes:
    return b"\x7fELF\x02\x01\x01" + b"\0" * 60


TEXT = "Grüße, 你好, مرحبا 👩‍🚀\n".encode()

#: Valid files by media type.
FILES: Mapping[str, bytes] = {
    "text/plain": TEXT,
    "image/png": png(),
    "image/jpeg": jpeg(),
    "image/gif": gif(),
    "image/webp": webp(),
    "image/bmp": bmp(),
    "image/tiff": tiff(),
    "image/avif": heif(),
    "image/heic": heif(brand=b"heic"),
    "image/x-icon": ico(),
    "application/pdf": pdf(),
    "application/zip": zipped({"a.txt": TEXT, "b/c.txt": TEXT * 50}),
    "application/gzip": gzip.compress(TEXT),
    "application/x-bzip2": bz2.compress(TEXT),
    "application/x-xz": lzma.compress(TEXT),
    "application/x-tar": tarred({"a.txt": TEXT, "b/c.txt": TEXT}),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": office(),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": office("xl"),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": office("ppt"),
    "application/vnd.oasis.opendocument.text": zipped(
        {"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<?xml version='1.0'?><d/>"},
        zipfile.ZIP_STORED,
    ),
    "application/epub+zip": zipped({"mimetype": b"application/epub+zip", "a.xhtml": b"<html></html>"}),
    "application/x-safetensors": struct.pack("<Q", 20) + b'{"__metadata__":{}} ' + b"\0" * 8,
    "application/x-gguf": b"GGUF\x03\0\0\0" + b"\0" * 16,
    "audio/mpeg": b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\0" + b"\0" * 40,
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 28,
    "audio/flac": b"fLaC\0\0\0\x22" + b"\0" * 34,
    "application/ogg": b"OggS\0\x02" + b"\0" * 40,
    "video/mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 16,
    "video/webm": b"\x1a\x45\xdf\xa3\x9f" + b"\0" * 30,
    "application/vnd.apache.parquet": b"PAR1" + b"\0" * 20 + b"PAR1",
}

#: Programs, pages and others that act.
ACTIVE: Mapping[str, bytes] = {
    "text/html": b"\n <!DOCTYPE html><p>hi",
    "image/svg+xml": b'<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>',
    "application/xml": b"<?xml version='1.0'?><note/>",
    "application/x-sh": b"#!/bin/sh\necho\n",
    "application/x-elf": elf(),
    "application/vnd.microsoft.portable-executable": b"MZ\x90\0" + b"\0" * 60,
    "application/x-mach-binary": b"\xcf\xfa\xed\xfe" + b"\0" * 28,
    "application/java-vm": b"\xca\xfe\xba\xbe\0\0\0\x34",
    "application/wasm": b"\0asm\x01\0\0\0",
    "application/rtf": b"{\\rtf1 hi}",
    "application/x-ole-storage": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 60,
    "application/x-pickle": pickle.dumps({"a": 1}, protocol=4),
    "application/java-archive": zipped({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n", "A.class": b"\xca\xfe\xba\xbe"}),
    "application/vnd.android.package-archive": zipped({"AndroidManifest.xml": b"\3\0", "classes.dex": b"dex\n"}),
    "application/x-torch": zipped({"m/data.pkl": pickle.dumps(1, 2), "m/data/0": b"\0"}, zipfile.ZIP_STORED),
}  # fmt: skip
