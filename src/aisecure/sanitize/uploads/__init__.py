"""Uploads checked by content: type, size, images and archives within bounds, nothing that acts.

`check_upload` is the whole of it, `UploadPolicy` says what is let in, `Upload` what was.
"""

from __future__ import annotations

from aisecure.sanitize.uploads.check import check_upload
from aisecure.sanitize.uploads.policy import TEXT_PDF_AND_IMAGES, Upload, UploadPolicy

__all__ = ["TEXT_PDF_AND_IMAGES", "Upload", "UploadPolicy", "check_upload"]
