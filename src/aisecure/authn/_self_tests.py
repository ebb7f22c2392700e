"""Known-answer checks of key texts and of the way from a key to a principal."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from aisecure.authn.keys import ApiKeys
from aisecure.authn.text import is_well_formed
from aisecure.errors import AuthenticationError
from aisecure.storage import Storage

__all__ = ["self_tests"]


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability."""
    return {"authn.key_text": _key_text, "authn.hmac_sha256": _hmac, "authn.api_keys": _api_keys}


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:  # not ``assert``, which python -O removes
        raise AssertionError(what)


def _key_text() -> None:
    known = "ais_live_000000000000_" + "0" * 30 + "0VqxsA"
    _expect(is_well_formed(known), "a well-formed key is refused")
    _expect(not is_well_formed(known.replace("live", "test")), "a wrong checksum is accepted")


def _hmac() -> None:
    # RFC 4231, test case 2.
    answer = hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256").hex()
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    _expect(answer == known, "HMAC-SHA-256 gives another answer than RFC 4231")


def _api_keys() -> None:
    storage = Storage(":memory:")
    try:
        keys = ApiKeys(storage, pepper=bytes(32))
        issued = keys.create("self-test", roles=("member",))
        principal = keys.verify(issued.secret)
        _expect(
            (principal.id, set(principal.roles)) == ("self-test", {"member"}), "a key gives another principal"
        )
        keys.revoke(issued.key_id)
        try:
            keys.verify(issued.secret)
        except AuthenticationError:
            return
        raise AssertionError("a revoked key is accepted")
    finally:
        storage.close()
