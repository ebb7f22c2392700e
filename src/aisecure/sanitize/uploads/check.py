"""The one look at an upload: what it is, whether everybody says so, and whether it is within bounds."""

from __future__ import annotations

import re
from typing import Any

from aisecure.decisions import Decision, Finding
from aisecure.errors import InputRejected, denied
from aisecure.sanitize._strict_json import JsonLimits, Malformed, parse
from aisecure.sanitize.uploads import zips
from aisecure.sanitize.uploads.archives import ARCHIVES, look_into
from aisecure.sanitize.uploads.documents import active_in_pdf, of_members
from aisecure.sanitize.uploads.images import check_image
from aisecure.sanitize.uploads.names import check_name, extension_of
from aisecure.sanitize.uploads.policy import Upload, UploadPolicy
from aisecure.sanitize.uploads.signatures import HEAD, TYPES, UNKNOWN, is_text, sniff
from aisecure.sanitize.uploads.source import Source
from aisecure.sanitize.uploads.unpacking import Budget

__all__ = ["check_upload"]

_DETECTOR = "upload"
#: What clients declare when they do not know.
_UNDECLARED = frozenset({"", UNKNOWN, "binary/octet-stream", "application/unknown"})
#: Elements that a browser acts on, in a file that is shown as something else.
_MARKUP = re.compile(
    rb"<(?:!doctype|script|html|head|body|iframe|svg|object|embed|form|meta|base|link)[\s>/]", re.IGNORECASE
)
#: Readers of PDF take the header anywhere in the first 1024 bytes.
_LEADING = 1024


def check_upload(
    data: Any,
    *,
    name: str | None = None,
    declared_type: str | None = None,
    policy: UploadPolicy | None = None,
) -> Upload:
    r"""Return what an uploaded file is, when it is allowed, within bounds, and nothing else besides.

    Nothing is executed, decoded or written. Images are judged by their headers, archives by reading every entry in bounded
    pieces. Beyond a few hundred KB, held in memory are a PDF or a text (at most ``max_bytes``), and archives within archives.

    What this cannot do: find malware, or exploits of the programs that will open the file; see PDFs whole (see
    `aisecure.sanitize.uploads.documents`); know text formats but by their name.

    Args:
        data: Bytes, or a binary file that can be sought. It is left where it stood.
        name: As the client gave it; its extension has to fit the content.
        declared_type: ``Content-Type`` as the client gave it; has to fit too, unless it is ``application/octet-stream``.
        policy: What is allowed; text, PDF and common images up to 10 MiB when None.

    Raises:
        InputRejected: ``input.upload_size``, ``input.upload_name``, ``input.upload_type``, ``input.upload_damaged``,
            ``input.active_content``, ``input.image`` or ``input.archive``. Its text names rules, never content.
        TypeError: The data is neither bytes nor a file.

    >>> check_upload(b"Dear all, ...", name="letter.txt").type
    'text/plain'
    >>> check_upload(b"MZ\x90\0", name="letter.txt")
    Traceback (most recent call last):
        ...
    aisecure.errors.InputRejected: Files of the type application/vnd.microsoft.portable-executable are not accepted.
    """
    policy = policy or UploadPolicy()
    source = Source(data)
    try:
        return _checked(source, check_name(name), _media_type(declared_type), policy)
    finally:
        source.close()


def _media_type(declared: str | None) -> str:
    return (declared or "").partition(";")[0].strip().lower()


def _checked(source: Source, name: str, declared: str, policy: UploadPolicy) -> Upload:
    if source.size > policy.max_bytes:
        raise InputRejected(f"The file is larger than {policy.max_bytes} bytes.", code="input.upload_size")
    head = source.read(0, HEAD)
    media_type = sniff(head, source.size)
    if media_type == "text/plain":
        media_type = _kind_of_text(name, declared)
    if media_type != "application/zip":  # of which more is known after a look inside
        _require_allowed(media_type, policy)
        _require_agreement(media_type, name, declared)
    _require_one_type(source, head, media_type)
    image = check_image(source, media_type, policy)
    budget = Budget(policy, source.size)
    acts: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    if media_type in ARCHIVES:
        inside, acts = of_members(look_into(source, media_type, budget))
        if media_type == "application/zip":
            media_type = inside
            _require_allowed(media_type, policy)
            _require_agreement(media_type, name, declared)
    elif media_type == "application/pdf":
        acts, told = active_in_pdf(source)
    elif TYPES[media_type].is_text:
        _require_text(source, media_type)
    findings = tuple(Finding(kind, 0, 0, detector=_DETECTOR) for kind in (*acts, *told))
    if acts and policy.active_content == "refuse":
        reason = "The file holds scripts, macros, programs, or other parts that act when it is opened."
        raise denied(Decision.deny("input.active_content", reason, findings=findings))
    return Upload(
        media_type,
        "." + TYPES[media_type].extensions[0],
        source.size,
        name,
        *(image or (0, 0, 0)),
        budget.entries,
        budget.unpacked_bytes,
        findings,
    )


def _kind_of_text(name: str, declared: str) -> str:
    """Return the type of a text, which only its name and what is declared can tell."""
    extension = extension_of(name)
    if extension:
        for media_type, row in TYPES.items():
            if extension in row.extensions and row.is_text:
                return media_type
        return "text/plain"  # and an extension that does not fit is refused as such
    for media_type, row in TYPES.items():
        if row.is_text and (declared == media_type or declared in row.aliases):
            return media_type
    return "text/plain"


def _require_allowed(media_type: str, policy: UploadPolicy) -> None:
    active = media_type in TYPES and TYPES[media_type].is_active
    allowed = media_type in policy.types if active else policy.takes(media_type)
    if media_type == UNKNOWN:
        raise InputRejected("The file is of no type that is known here.", code="input.upload_type")
    if not allowed or (active and policy.active_content == "refuse"):
        raise InputRejected(f"Files of the type {media_type} are not accepted.", code="input.upload_type")


def _require_agreement(media_type: str, name: str, declared: str) -> None:
    row = TYPES[media_type]
    extension = extension_of(name)
    if extension and extension not in row.extensions:
        raise InputRejected(
            f"The file's extension does not fit its content, which is {media_type}.", code="input.upload_type"
        )
    if declared in _UNDECLARED or declared == media_type or (declared == "text/plain" and row.is_text):
        return
    if declared not in row.aliases:
        raise InputRejected(
            f"The declared type does not fit the file's content, which is {media_type}.",
            code="input.upload_type",
        )


def _require_one_type(source: Source, head: bytes, media_type: str) -> None:
    """Refuse what is a second thing to somebody: a ZIP behind an image, a PDF inside one, a page in its first lines."""
    start = head[:_LEADING]
    row = TYPES[media_type]
    if media_type in ARCHIVES or row.is_text or row.is_active:
        return  # read whole, or let in by name by somebody who knows
    is_pdf = media_type == "application/pdf"
    is_shown = is_pdf or media_type.startswith(("image/", "audio/", "video/"))
    second = (
        zips.ends_in_zip(source)
        or (not is_pdf and b"%PDF-" in start)
        or (is_shown and _MARKUP.search(start) is not None)
    )
    if second:
        raise InputRejected("The file is of two types at once.", code="input.upload_type")


def _require_text(source: Source, media_type: str) -> None:
    data = source.read(0, source.size)
    if not is_text(data, is_whole=True):
        raise InputRejected(
            "The file is no text in UTF-8, or has control characters.", code="input.upload_type"
        )
    if media_type == "application/json":
        limits = JsonLimits(max_bytes=max(1, source.size), max_depth=100, max_items=1_000_000)
        try:
            parse(data.decode("utf-8-sig"), limits)
        except Malformed:
            raise InputRejected(
                "The file calls itself JSON and is not, or not in bounds.", code="input.upload_damaged"
            ) from None
