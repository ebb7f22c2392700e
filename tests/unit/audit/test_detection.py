"""What is detected: the table of ``docs/explanation/audit.md``, each cell tried on a real log.

Attacks are made by somebody who may write the folder; "key" means that he has the signing key as well. The columns: with the
log alone, with the public key and the checkpoints that lie in the folder, and with a checkpoint that was held elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aisecure.audit import AuditLog, Verdict, verifier, verify
from aisecure.audit.checkpoint import Checkpointer
from aisecure.audit.note import NoteSigner
from aisecure.events import SecurityEvent

SIGNER = NoteSigner.generate("test/log")
KEYS = [str(SIGNER.key)]


def grow(folder, numbers):
    with AuditLog.open(folder, origin="test/log") as log:
        for number in numbers:
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))


def sign(folder):
    return Checkpointer(folder, SIGNER).make()


def segment(folder):
    (path,) = folder.glob("audit-*.jsonl")
    return path


def nothing(folder):
    pass


def edit(folder):
    path = segment(folder)
    path.write_bytes(path.read_bytes().replace(b'"rules":3', b'"rules":8'))


def delete(folder):
    path = segment(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))


def swap(folder):
    path = segment(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], lines[5], lines[4], *lines[6:]]))


def cut_off(folder):
    """Cut the newest lines off, and leave the head file as it is."""
    path = segment(folder)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def cut_off_and_tidy(folder):
    """Cut the newest lines off, and let the log mend its head; take away checkpoints that know better."""
    cut_off(folder)
    (folder / "audit.head").unlink()
    AuditLog.open(folder).close()
    tidy(folder)


def tidy(folder):
    size = verify(folder).entries
    for path in (folder / "checkpoints").iterdir():
        if int(path.name) > size:
            path.unlink()


def roll_back(folder):
    """Put back the copy that was made when the first checkpoint was signed."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("copy"), folder)


def rewrite(folder):
    """Write another history of the same length; keep the checkpoints."""
    kept = folder.with_name("kept")
    shutil.move(folder / "checkpoints", kept)
    shutil.rmtree(folder)
    grow(folder, range(100, 108))
    shutil.move(kept, folder / "checkpoints")


def rewrite_without_checkpoints(folder):
    rewrite(folder)
    shutil.rmtree(folder / "checkpoints")


def rewrite_with_the_key(folder):
    rewrite_without_checkpoints(folder)
    sign(folder)


def continue_otherwise(folder):
    """Roll back, and go on differently: a fork."""
    roll_back(folder)
    grow(folder, range(200, 206))
    sign(folder)


#: Verdict with the log alone, with the key and the folder's checkpoints, and with one held elsewhere.
OK, CHANGED, MISSING, TRUNCATED, FORKED, UNSIGNED = (
    Verdict.OK, Verdict.CHANGED, Verdict.MISSING, Verdict.TRUNCATED, Verdict.FORKED, Verdict.UNSIGNED,
)  # fmt: skip
TABLE = {
    nothing: (OK, OK, OK),
    edit: (CHANGED, CHANGED, CHANGED),
    delete: (MISSING, MISSING, MISSING),
    swap: (CHANGED, CHANGED, CHANGED),
    cut_off: (TRUNCATED, TRUNCATED, TRUNCATED),
    cut_off_and_tidy: (OK, OK, TRUNCATED),
    roll_back: (OK, OK, TRUNCATED),
    rewrite: (OK, FORKED, FORKED),
    rewrite_without_checkpoints: (OK, UNSIGNED, FORKED),
    rewrite_with_the_key: (OK, OK, FORKED),
    continue_otherwise: (OK, OK, FORKED),
}


@pytest.fixture
def attacked(folder):
    """A log with a checkpoint and a copy after four entries, and another checkpoint, held elsewhere, after nine."""
    grow(folder, range(3))
    sign(folder)
    shutil.copytree(folder, folder.with_name("copy"))
    grow(folder, range(3, 8))
    return folder, sign(folder)


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: attack.__name__)
def test_each_attack_is_found_where_the_table_says(attacked, attack):
    folder, held = attacked
    attack(folder)
    found = (
        verify(folder).verdict,
        verify(folder, keys=KEYS).verdict,
        verify(folder, keys=KEYS, checkpoints=[held]).verdict,
    )
    assert found == TABLE[attack]


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: attack.__name__)
def test_a_copy_of_the_verifier_alone_says_the_same(attacked, attack, tmp_path):
    folder, held = attacked
    attack(folder)
    (tmp_path / "held").write_text(held)
    (tmp_path / "log.pub").write_text(KEYS[0])
    program = shutil.copy(verifier.__file__, tmp_path / "check.py")
    command = [
        sys.executable,
        "-I",
        program,
        folder,
        "--key",
        tmp_path / "log.pub",
        "--checkpoint",
        tmp_path / "held",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(TABLE[attack][2].value), done.stderr
    assert done.returncode == (TABLE[attack][2] is not OK)


def test_the_documented_table_is_this_one():
    page = Path(__file__).parents[3] / "docs" / "explanation" / "audit.md"
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\| ([a-z ]+) \| ([a-z ]+) \| ([a-z ]+) \|$", page.read_text(), re.MULTILINE
    )
    assert {name: cells for name, *cells in rows} == {
        attack.__name__: [verdict.value for verdict in verdicts] for attack, verdicts in TABLE.items()
    }


def test_the_report_tells_what_was_signed_and_what_was_held(attacked):
    folder, held = attacked
    assert verify(folder).checkpoint is None
    own = verify(folder, keys=KEYS)
    assert (own.checkpoint, own.truncation_checked) == (9, False)
    report = verify(folder, keys=KEYS, checkpoints=[held])
    assert (report.checkpoint, report.truncation_checked) == (9, True)
    assert report.to_dict()["checkpoint"] == 9
    grow(folder, range(3))
    assert verify(folder, keys=KEYS, checkpoints=[held]).ok


@pytest.mark.parametrize("change", ["sign", "size", "root", "nothing at all", "other key"])
def test_a_checkpoint_that_is_not_good_is_no_checkpoint(attacked, change):
    folder, held = attacked
    lines = held.split("\n")
    if change == "sign":
        lines[4] = lines[4][:-4] + "AAA="
    elif change == "size":
        lines[1] = "8"
    elif change == "root":
        lines[2] = "A" * 43 + "="
    bad = {
        "nothing at all": "",
        "other key": NoteSigner.generate("test/log").sign("\n".join(lines[:3]) + "\n"),
    }
    report = verify(folder, keys=KEYS, checkpoints=[bad.get(change, "\n".join(lines))])
    assert (report.ok, report.verdict) == (False, Verdict.UNSIGNED)
    assert "held elsewhere" in report.reason


def test_keys_and_checkpoints_belong_together(attacked):
    folder, held = attacked
    with pytest.raises(ValueError, match="keys"):
        verify(folder, checkpoints=[held])
    for bad in ("", "a+b+c", KEYS[0][:-4], KEYS[0].replace("test", "tost")):
        with pytest.raises(ValueError, match="key"):
            verify(folder, keys=[bad])


def test_the_program_tells_what_it_cannot_use(folder, capsys):
    grow(folder, range(2))
    assert verifier.main([str(folder), "--json"]) == 0
    assert '"verdict": "ok"' in capsys.readouterr().out
    assert verifier.main([str(folder / "none")]) == 1
    for arguments in ([str(folder), "--key", "a+b"], [str(folder), "--checkpoint", str(folder / "none")]):
        with pytest.raises(SystemExit) as ended:
            verifier.main(arguments)
        assert ended.value.code == 2
