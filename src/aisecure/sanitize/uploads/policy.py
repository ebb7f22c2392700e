"""What uploads may be, as one frozen record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from aisecure.decisions import Finding

__all__ = ["TEXT_PDF_AND_IMAGES", "Upload", "UploadPolicy"]

#: What people show to an assistant, and nothing that a browser or an office program runs.
TEXT_PDF_AND_IMAGES = frozenset(
    {
        "application/json", "application/pdf", "image/gif", "image/jpeg", "image/png", "image/webp", "text/csv",
        "text/markdown", "text/plain",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """What uploads may be.

    Attributes:
        types: Media types that are let in, such as ``image/png``, or a family as ``image/*``. Programs, web pages and other
            active content have to be named in full and need ``active_content="allow"`` too.
        max_bytes: Of the file as it comes.
        max_pixels: Width times height of an image, and of all its frames together ten times as many. Decoded, a pixel takes
            about four bytes.
        max_frames: Of an animation, or pages of a TIFF.
        max_entries: Files and folders in an archive, those of archives inside it included.
        max_unpacked_bytes: Of all of them, as they really unpack.
        max_ratio: Unpacked bytes for each packed one, from the first MiB on.
        max_nesting: Archives inside archives; ``.tar.gz`` is a tar in a gzip, so 1.
        active_content: What happens to scripts, macros, actions and embedded files in documents: ``"refuse"``, or ``"allow"`` to
            let them in with findings.

    Raises:
        ValueError: A setting makes no sense.
    """

    types: Collection[str] = TEXT_PDF_AND_IMAGES
    max_bytes: int = 10 << 20
    max_pixels: int = 50_000_000
    max_frames: int = 500
    max_entries: int = 1_000
    max_unpacked_bytes: int = 100 << 20
    max_ratio: int = 200
    max_nesting: int = 1
    active_content: Literal["refuse", "allow"] = "refuse"

    def __post_init__(self) -> None:
        if isinstance(self.types, str) or not all("/" in kind for kind in self.types):
            raise ValueError('types is a list of media types, such as "image/png"')
        if self.active_content not in {"refuse", "allow"}:
            raise ValueError("active_content is 'refuse' or 'allow'")
        limits = (
            self.max_bytes, self.max_pixels, self.max_frames, self.max_entries, self.max_unpacked_bytes, self.max_ratio,
        )  # fmt: skip
        if min(limits) < 1 or not 0 <= self.max_nesting <= 5:
            raise ValueError("limits are at least 1, and max_nesting is 0 to 5")

    def takes(self, media_type: str) -> bool:
        """Whether a media type is let in."""
        return media_type in self.types or f"{media_type.partition('/')[0]}/*" in self.types


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was checked; it holds facts and no content.

    Attributes:
        type: Media type by content.
        extension: The usual one of that type, with its dot: what to store the file under, with a name of your own.
        size: In bytes.
        name: As the client gave it; empty when it gave none. Fit to be shown, not to be stored under.
        width, height: Of an image, in pixels; 0 for others.
        frames: Of an animation, or pages of a TIFF; 1 for a still image, 0 for others.
        entries: Files and folders of an archive.
        unpacked_bytes: Of all of them.
        findings: What was noticed and let in, such as ``upload.pdf_open_action``.
    """

    type: str
    extension: str
    size: int
    name: str = field(default="", repr=False)
    width: int = 0
    height: int = 0
    frames: int = 0
    entries: int = 0
    unpacked_bytes: int = 0
    findings: tuple[Finding, ...] = ()
