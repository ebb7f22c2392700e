"""How large an image becomes when it is decoded, read from its headers without decoding anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aisecure.errors import InputRejected
from aisecure.sanitize.uploads.policy import UploadPolicy
from aisecure.sanitize.uploads.source import Source

__all__ = ["Dimensions", "check_image"]

#: Chunks, segments and boxes that are walked; real files have far fewer.
_MOST_STEPS = 300_000
#: Frames together may have so many times the pixels of one image.
_ANIMATION = 10


class Dimensions(NamedTuple):
    """Pixels across and down, and frames or pages."""

    width: int
    height: int
    frames: int = 1


def check_image(source: Source, media_type: str, policy: UploadPolicy) -> Dimensions | None:
    """Return an image's dimensions; None for a type that is no image.

    Raises:
        InputRejected: ``input.image``: it is too large, or its headers cannot be understood.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        return None
    try:
        found = reader(source, policy.max_frames)
    except (struct.error, IndexError):
        found = None
    if found is None or found.width < 1 or found.height < 1 or found.frames < 1:
        raise InputRejected("The image's headers cannot be understood.", code="input.image")
    pixels = found.width * found.height
    if pixels > policy.max_pixels or pixels * found.frames > policy.max_pixels * _ANIMATION:
        raise InputRejected(
            f"The image has more than {policy.max_pixels} pixels, or its frames together more than {_ANIMATION} times as many.",
            code="input.image",
        )
    if found.frames > policy.max_frames:
        raise InputRejected(f"The image has more than {policy.max_frames} frames.", code="input.image")
    return found


def _png(source: Source, max_frames: int) -> Dimensions | None:
    length, name, width, height = struct.unpack(">I4sII", source.read(8, 16))
    if length != 13 or name != b"IHDR":
        return None
    place, frames = 33, 1
    for _ in range(_MOST_STEPS):
        length, name = struct.unpack(">I4s", source.read(place, 8))
        if name == b"acTL":  # animated; stands before the image data
            (frames,) = struct.unpack(">I", source.read(place + 8, 4))
        if name in {b"IDAT", b"IEND"}:
            return Dimensions(width, height, frames)
        place += 12 + length
    return None


#: Start of frame, all of which tell the size; C4, C8 and CC are other segments.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(source: Source, max_frames: int) -> Dimensions | None:
    place = 2
    for _ in range(_MOST_STEPS):
        head = source.read(place, 9)
        if head[0] != 0xFF:
            return None
        marker = head[1]
        if marker == 0xFF:  # fill
            place += 1
        elif marker in _SOF:
            height, width = struct.unpack(">HH", head[5:9])
            # Height 0 is told later by a DNL segment, which decoders read differently; refused as no size.
            return Dimensions(width, height)
        elif marker in {0x01, *range(0xD0, 0xD9)}:
            place += 2
        elif marker in {0xD9, 0xDA}:  # the image begins or ends without a size
            return None
        else:
            place += 2 + max(2, int.from_bytes(head[2:4], "big"))
    return None


def _gif(source: Source, max_frames: int) -> Dimensions | None:
    width, height, flags = struct.unpack("<HHB", source.exactly(6, 5))
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames, steps = 0, 0
    while steps < _MOST_STEPS and frames <= max_frames:
        kind = source.read(place, 1)
        if kind == b",":
            left, top, across, down, flags = struct.unpack("<HHHHB", source.read(place + 1, 9))
            # Decoders enlarge the canvas to what a frame covers.
            width, height = max(width, left + across), max(height, top + down)
            frames += 1
            place += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
        elif kind == b"!":
            place += 2
        else:  # the trailer, or a cut file: decoders show what there is
            return Dimensions(width, height, frames)
        while (size := source.read(place, 1)) not in {b"\0", b""}:
            place += 1 + size[0]
            steps += 1
            if steps >= _MOST_STEPS:
                return None
        place += 1
        steps += 1
    return Dimensions(width, height, frames) if frames > max_frames else None


def _webp(source: Source, max_frames: int) -> Dimensions | None:
    found, frames, place = None, 0, 12
    for _ in range(_MOST_STEPS):
        name, length = source.read(place, 4), int.from_bytes(source.read(place + 4, 4), "little")
        if len(name) < 4:
            break
        data = source.read(place + 8, 10)
        if name == b"VP8X":
            found = Dimensions(
                1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
            )
        elif name == b"ANMF":
            frames += 1
        elif name == b"VP8 " and found is None and data[3:6] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", data[6:10])
            found = Dimensions(width & 0x3FFF, height & 0x3FFF)
        elif name == b"VP8L" and found is None and data[:1] == b"\x2f":
            bits = int.from_bytes(data[1:5], "little")
            found = Dimensions((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        place += 8 + length + (length & 1)
        if frames > max_frames:
            break
    return found and found._replace(frames=max(1, frames))


def _bmp(source: Source, max_frames: int) -> Dimensions:
    (header,) = struct.unpack("<I", source.read(14, 4))
    form, length = ("<HH", 4) if header == 12 else ("<ii", 8)
    width, height = struct.unpack(form, source.read(18, length))
    return Dimensions(abs(width), abs(height))


_WIDTH, _HEIGHT = 256, 257
_TIFF_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # BYTE, SHORT, LONG, LONG8


def _tiff(source: Source, max_frames: int) -> Dimensions | None:
    order = "<" if source.read(0, 1) == b"I" else ">"
    is_big = source.read(2, 2) in {b"+\0", b"\0+"}
    count_form, entry_length, offset_form = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    (place,) = struct.unpack(order + offset_form, source.read(8 if is_big else 4, 8 if is_big else 4))
    width = height = pages = 0
    seen: set[int] = set()
    while place and place not in seen and pages <= max_frames:
        seen.add(place)
        counted = struct.calcsize(order + count_form)
        (entries,) = struct.unpack(order + count_form, source.read(place, counted))
        if entries > 4096:
            return None
        table = source.exactly(place + counted, entries * entry_length)
        for at in range(0, len(table), entry_length):
            tag, kind = struct.unpack_from(order + "HH", table, at)
            if tag in {_WIDTH, _HEIGHT}:
                size = _TIFF_SIZES.get(kind, 0)
                value = table[at + (12 if is_big else 8) :][:size]
                number = int.from_bytes(value, "little" if order == "<" else "big")
                width, height = (
                    (max(width, number), height) if tag == _WIDTH else (width, max(height, number))
                )
        pages += 1
        after = place + counted + len(table)
        length = 8 if is_big else 4
        (place,) = struct.unpack(order + offset_form, source.read(after, length))
    return Dimensions(width, height, pages)


#: Boxes on the way to ``ispe``, and the bytes before their inner boxes.
_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0}
_MOVIE_BOXES = {b"moov": 0, b"trak": 0}


def _heif(source: Source, max_frames: int) -> Dimensions | None:
    """AVIF and HEIC: the largest of all image sizes, tracks of image sequences included."""
    width = height = steps = 0
    waiting = [(0, source.size, 0)]
    while waiting and steps < _MOST_STEPS:
        place, end, depth = waiting.pop()
        while place + 8 <= end and steps < _MOST_STEPS:
            steps += 1
            length, name = struct.unpack(">I4s", source.read(place, 8))
            header = 8
            if length == 1:
                (length,) = struct.unpack(">Q", source.read(place + 8, 8))
                header = 16
            elif length == 0:
                length = end - place
            if length < header:
                return None
            inside = place + header
            if name == b"ispe":
                across, down = struct.unpack(">II", source.read(inside + 4, 8))
                width, height = max(width, across), max(height, down)
            elif name == b"tkhd":
                across, down = struct.unpack(">II", source.read(place + length - 8, 8))
                width, height = max(width, across >> 16), max(height, down >> 16)
            elif (skipped := (_BOXES | _MOVIE_BOXES).get(name)) is not None and depth < 8:
                waiting.append((inside + skipped, min(place + length, end), depth + 1))
            place += length
    return Dimensions(width, height) if not waiting and steps < _MOST_STEPS else None


def _ico(source: Source, max_frames: int) -> Dimensions | None:
    (count,) = struct.unpack("<H", source.read(4, 2))
    table = source.exactly(6, 16 * count)
    sides = [(table[at] or 256, table[at + 1] or 256) for at in range(0, len(table), 16)]
    return (
        Dimensions(max(side[0] for side in sides), max(side[1] for side in sides), count) if sides else None
    )


_READERS: Mapping[str, Callable[[Source, int], Dimensions | None]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/bmp": _bmp,
    "image/tiff": _tiff,
    "image/avif": _heif,
    "image/heic": _heif,
    "image/x-icon": _ico,
}
