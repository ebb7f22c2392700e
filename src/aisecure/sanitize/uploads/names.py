"""Names that clients and archives give to files, and which of them lead somewhere else."""

from __future__ import annotations

import re
import unicodedata

from aisecure.errors import InputRejected
from aisecure.sanitize.uploads.unpacking import refused

__all__ = ["check_entry_name", "check_name", "extension_of"]

_LONGEST = 255
# Controls, invisible characters that turn or hide what follows, and half surrogate pairs.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SEPARATORS = re.compile(r"[/\\:]")
#: Names that Windows opens as devices, with any extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE | re.DOTALL)


def check_name(name: str | None) -> str:
    """Return a client's file name; empty when there is none.

    Raises:
        InputRejected: ``input.upload_name``: it leads somewhere, or shows as something else than it is.
    """
    if not name:
        return ""
    if not isinstance(name, str):
        raise TypeError("name is a text")
    bad = (
        len(name.encode(errors="surrogatepass")) > _LONGEST
        or _HIDDEN.search(name)
        or _SEPARATORS.search(name)
        or name.rstrip(". ") != name
        or name.startswith(("..", " "))
        or _DEVICE.fullmatch(name)
    )
    if bad:
        raise InputRejected(
            "The file's name is too long, or has separators, control or invisible characters, or a dot or space at an end.",
            code="input.upload_name",
        )
    return name


def extension_of(name: str) -> str:
    """Return the last extension in lower case, without dot; empty when there is none."""
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def check_entry_name(name: str) -> str:
    """Return the name of an archive's entry as file systems compare it.

    Raises:
        InputRejected: ``input.archive``: it leads out of the folder that it is unpacked to.
    """
    steps = name.replace("\\", "/").split("/")
    absolute = not steps[0] or (len(steps[0]) > 1 and steps[0][1] == ":")
    if not name or absolute or ".." in steps or _HIDDEN.search(name) or len(name) > 4096:
        raise refused("A name in the archive leads out of it, or has control characters.")
    # Two names that differ in case or in the form of an accent are one file for some file systems.
    return unicodedata.normalize("NFC", "/".join(step for step in steps if step not in {"", "."})).casefold()
