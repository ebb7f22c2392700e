"""The example of encrypted columns, run as a reader runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "encrypted_column.py"


def test_the_example_searches_rotates_and_retires_and_leaves_no_plaintext(tmp_path):
    words = [sys.executable, "-W", "error", EXAMPLE, tmp_path]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Found by e-mail address: born 1815-12-10, allergic to penicillin" in told
    assert "Copied to another row, 1 of 2 tokens does not open" in told
    assert "patients.allergies: 2 re-encrypted, under the old key now 0" in told
    assert "After the old key was retired: bob@example.org, born 1990-01-31" in told
    database = b"".join(path.read_bytes() for path in tmp_path.glob("clinic.db*"))
    for secret in (b"example.org", b"penicillin", b"1815", b"1990"):
        assert secret not in database
