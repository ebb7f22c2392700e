"""Known answers that show that each capability works in this installation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["self_tests"]

#: Root of the tree over the eight leaves that certificate-transparency implementations test with.
_EIGHT = tuple(
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability; each raises AssertionError when the capability is broken."""
    return {
        "audit.hash": _hash,
        "audit.canonical": _canonical,
        "audit.evidence": _evidence,
        "audit.checkpoint": _checkpoint,
    }


def _expect(got: object, wanted: object) -> None:
    # Not an assert statement: those vanish under python -O.
    if got != wanted:
        raise AssertionError(f"self-test: wanted {wanted!a}, got {got!a}")


def _hash() -> None:
    from aisecure.audit.merkle import CompactRange, leaf_hash

    tree = CompactRange()
    for leaf in _EIGHT:
        tree.append(leaf_hash(leaf))
    _expect(tree.root().hex(), _ROOT)


def _canonical() -> None:
    from aisecure.audit.canonical import canonical

    _expect(
        canonical({"b": [1e21, 1.0, 1e-7], "a": "\u2028\x00"}),
        '{"a":"\u2028\\u0000","b":[1e+21,1,1e-7]}'.encode(),
    )


def _evidence() -> None:
    """Write a log, change one bit of one line, and see it found there."""
    from aisecure.audit.log import AuditLog
    from aisecure.audit.verifier import Verdict, verify
    from aisecure.events import SecurityEvent

    with tempfile.TemporaryDirectory() as folder:
        with AuditLog.open(folder) as log:
            for number in range(3):
                log.record(SecurityEvent("policy.loaded", detail={"rules": number}))
        _expect(verify(folder).verdict, Verdict.OK)
        (segment,) = Path(folder).glob("audit-*.jsonl")
        lines = segment.read_bytes().split(b"\n")
        lines[2] = lines[2].replace(b'"rules":1', b'"rules":0')
        segment.write_bytes(b"\n".join(lines))
        report = verify(folder)
        _expect((report.verdict, report.seq, report.line), (Verdict.CHANGED, 2, 3))


def _checkpoint() -> None:
    """Sign a log, prove an entry of it, and see that another log of the same name is not taken for it."""
    from aisecure.audit.checkpoint import Checkpointer
    from aisecure.audit.log import AuditLog
    from aisecure.audit.note import NoteSigner
    from aisecure.audit.verifier import Verdict, verify

    signer = NoteSigner.generate("self/test")
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        for log in (one, other):
            AuditLog.open(log, origin="self/test").close()
        held = Checkpointer(one, signer).make()
        keys = [str(signer.key)]
        _expect(verify(one, keys=keys, checkpoints=[held]).verdict, Verdict.OK)
        _expect(verify(other, keys=keys, checkpoints=[held]).verdict, Verdict.FORKED)
        checkpointer = Checkpointer(one)
        _expect(checkpointer.prove(0).verify(checkpointer.entry(0), [signer.key]).size, 1)
