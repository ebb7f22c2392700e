"""Encoders for names of files, and for fields of HTTP messages."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from aisecure.sanitize.surrogates import checked

__all__ = ["content_disposition", "file_name", "header"]

#: Bytes that the usual file systems take (POSIX NAME_MAX, NTFS and APFS).
_MOST_BYTES = 255
_LONGEST_EXTENSION = 20
# Separators and what Windows refuses, control characters, and those that change how a name is shown.
_UNFIT = re.compile('[\0-\x1f\x7f-\x9f/\\\\:*?"<>|\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]')
# With any extension, and with superscript digits too, Windows opens a device by these names.
_DEVICE = re.compile(
    "(?:CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3])(?=\\.|\\Z)", re.IGNORECASE
)
_CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f]")
_NOT_TOKEN = re.compile(r"[^ !#$&+.0-9A-Z^_`a-z|~()-]")


def file_name(text: str, *, otherwise: str = "file") -> str:
    """Return the text as the name of one file, in one folder, on POSIX and on Windows.

    What no name may hold becomes ``_``; dots and blanks at the ends go, so that the name is neither hidden nor a folder
    above; names of devices get a ``_`` in front. Long names are cut before their extension. Two texts may give the same name:
    open with mode ``x``, or store under a name of your own.

    Args:
        text: The name as somebody gave it.
        otherwise: The name when nothing of it is left.

    >>> file_name("../../etc/passwd"), file_name("report: v2?.pdf"), file_name("con.txt")
    ('_.._etc_passwd', 'report_ v2_.pdf', '_con.txt')
    """
    # Twice: what is composed may be another letter, and what goes may leave a dot at an end.
    name = _UNFIT.sub("_", unicodedata.normalize("NFC", checked(text))).strip(". \t\n\u00a0\u3000")
    name = _shortened(name)
    if not name:
        return otherwise
    return _shortened(f"_{name}") if _DEVICE.match(name) else name


def _shortened(name: str) -> str:
    if len(name.encode()) <= _MOST_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    room = _MOST_BYTES - len(f"{dot}{extension}".encode())
    cut = stem.encode()[:room].decode(errors="ignore")
    return f"{cut.rstrip('. ')}{dot}{extension}"


def header(text: str) -> str:
    r"""Return the text as the value of an HTTP field (RFC 9110 section 5.5), or refuse it.

    Dropping what does not belong there would let ``a\nb`` pass as ``ab``; a value with a line end is an attack or a mistake,
    so it is refused (CWE-113).

    Raises:
        ValueError: It holds a control character, or a character beyond Latin-1, which the field cannot carry.

    >>> header(" gzip, br ")
    'gzip, br'
    """
    text = checked(text).strip(" \t")
    if _CONTROL.search(text):
        raise ValueError("a field of HTTP holds no control characters")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            "a field of HTTP holds Latin-1 alone; encode the rest as the field's own rules say"
        ) from None
    return text


def content_disposition(name: str, *, inline: bool = False) -> str:
    r"""Return the value of ``Content-Disposition`` for a download of that name (RFC 6266, RFC 8187).

    Args:
        name: The file's name; what is unfit for one goes (`file_name`).
        inline: Let the browser show the file instead of storing it. Only for types that run nothing.

    >>> content_disposition("Größe.pdf")
    'attachment; filename="Gr__e.pdf"; filename*=UTF-8\'\'Gr%C3%B6%C3%9Fe.pdf'
    """
    name = file_name(name)
    plain = _NOT_TOKEN.sub("_", name)
    kind = "inline" if inline else "attachment"
    if plain == name:
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
