"""Known-answer checks of key texts, of the way from a key to a principal, and of proofs."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from aisecure.authn.binding import TokenBinding
from aisecure.authn.dpop import DpopProofs
from aisecure.authn.keys import ApiKeys
from aisecure.authn.method import refused
from aisecure.authn.text import is_well_formed
from aisecure.authn.throttle import Throttle
from aisecure.call import Credential
from aisecure.errors import AuthenticationError
from aisecure.storage import Storage

__all__ = ["self_tests"]


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability."""
    return {
        "authn.key_text": _key_text,
        "authn.hmac_sha256": _hmac,
        "authn.api_keys": _api_keys,
        "authn.throttle": _throttle,
        "authn.dpop": _dpop,
    }


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:  # not ``assert``, which python -O removes
        raise AssertionError(what)


def _key_text() -> None:
    known = "ais_live_000000000000_" + "0" * 30 + "0VqxsA"
    _expect(is_well_formed(known), "a well-formed key is refused")
    _expect(not is_well_formed(known.replace("live", "test")), "a wrong checksum is accepted")


def _hmac() -> None:
    # RFC 4231, test case 2; from a copy, as `Peppers` hashes.
    keyed = hmac.new(b"Jefe", None, "sha256").copy()
    keyed.update(b"what do ya want for nothing?")
    answer = keyed.hexdigest()
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    _expect(answer == known, "HMAC-SHA-256 gives another answer than RFC 4231")


def _throttle() -> None:
    throttle, wrong = Throttle(failures=1, seconds=60), refused("The secret is wrong.")
    codes = [throttle.failed(wrong, source=source).code for source in ("::1", "::1", "192.0.2.1")]
    _expect(
        codes == ["authn.invalid", "authn.throttled", "authn.invalid"], "failures are not counted by source"
    )


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


def _dpop() -> None:
    # RFC 9449 section 7.1, with the thumbprint of section 6.1.
    header = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMi"
        "LCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
    )
    payload = (
        "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6"
        "MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
    )
    signature = "2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
    shown = Credential(
        "dpop",
        "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        (f"{header}.{payload}.{signature}",),
        "GET",
        "https://resource.example.org/protectedresource",
    )
    claims = {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
    binding = TokenBinding(dpop=DpopProofs(clock=_At(1_562_262_618)))
    _expect(binding(claims, shown) is None, "the proof of RFC 9449 is refused")
    _expect(binding(claims, shown) is not None, "a proof is taken twice")


class _At:
    """A clock that stands still."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def time(self) -> float:
        return self._seconds

    def monotonic(self) -> float:
        return self._seconds
