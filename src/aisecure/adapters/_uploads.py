"""A file from a form that was checked, the same for every framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO

from aisecure.adapters._form import refused
from aisecure.call import current_context
from aisecure.errors import InputRejected
from aisecure.sanitize.uploads import Upload, UploadPolicy, check_upload
from aisecure.shield import Shield

__all__ = ["CheckedFile", "checked", "recorded"]


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """An uploaded file that the policy lets in.

    Attributes:
        upload: What it is.
        file: Its bytes, as an open file that stands at its beginning. The framework closes it when the request ends.
    """

    upload: Upload
    file: IO[bytes] = field(repr=False)

    def read(self) -> bytes:
        """Return the whole content."""
        self.file.seek(0)
        return self.file.read()


def checked(
    file: IO[bytes], name: str, declared_type: str, policy: UploadPolicy, shield: Shield | None, route: str
) -> CheckedFile:
    """Return a file of a form when the policy lets it in; a refusal leaves an event where there is a shield.

    Raises:
        InputRejected: It does not.
    """
    try:
        upload = check_upload(file, name=name, declared_type=declared_type, policy=policy)
    except InputRejected as err:
        raise recorded(err, shield, route) from None
    file.seek(0)
    return CheckedFile(upload, file)


def recorded(err: InputRejected, shield: Shield | None, route: str) -> InputRejected:
    """Return the error to raise, after its event was recorded."""
    if shield is None:
        return err
    judged = refused(shield.passage(current_context().call("upload", route)), err)
    return judged if isinstance(judged, InputRejected) else err
