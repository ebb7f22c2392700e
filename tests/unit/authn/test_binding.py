"""Tokens that are bound to their sender open nothing for anybody else, and what nobody understands opens nothing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authn.senders import VECTORS, Holder, b64, credential

from aisecure.authn import DpopProofs, TokenBinding, certificate_thumbprint
from aisecure.testing import FrozenClock

ANA = Holder()
CLOCK = FrozenClock()
DER = base64.b64decode(VECTORS["certificate"]["der"])
X5T = VECTORS["certificate"]["thumbprint"]
BY_KEY, BY_CERTIFICATE = {"jkt": ANA.thumbprint}, {"x5t#S256": X5T}
BOTH = {**BY_KEY, **BY_CERTIFICATE}


def decide(cnf=..., *, required=False, dpop=True, **shown):
    """The reason for a refusal, or None; ``proof=True`` sends a right proof."""
    binding = TokenBinding(dpop=DpopProofs(clock=CLOCK) if dpop else None, required=required)
    claims = {"sub": "ana"} if cnf is ... else {"sub": "ana", "cnf": cnf}
    proofs = (ANA.proof(CLOCK.time()),) if shown.pop("proof", False) else ()
    decision = binding(claims, credential(*proofs, **{"scheme": "bearer", **shown}))
    if decision is None:
        return None
    assert (decision.allowed, decision.code) == (False, "authn.invalid")
    return decision.reasons[1]


def test_the_thumbprint_of_rfc_8705_appendix_a():
    assert certificate_thumbprint(DER) == X5T


def test_what_opens_the_door():
    assert decide() is None
    assert decide(certificate=DER) is None
    assert decide(BY_CERTIFICATE, certificate=DER) is None
    assert decide(BY_CERTIFICATE, certificate=DER, dpop=False) is None
    assert decide(BY_KEY, scheme="dpop", proof=True) is None
    assert decide(BOTH, scheme="dpop", proof=True, certificate=DER) is None
    assert decide(BY_CERTIFICATE, certificate=DER, required=True) is None


@pytest.mark.parametrize(
    ("cnf", "shown", "reason"),
    [
        (BY_CERTIFICATE, {}, "has none"),
        (BY_CERTIFICATE, {"certificate": DER + b"\0"}, "another certificate"),
        (BY_CERTIFICATE, {"certificate": DER, "scheme": "dpop", "proof": True}, "no DPoP key"),
        (BY_KEY, {"proof": True}, "without the scheme DPoP"),
        (BY_KEY, {"certificate": DER}, "without the scheme DPoP"),
        (BY_KEY, {"scheme": "dpop"}, "no DPoP header"),
        (BY_KEY, {"scheme": "dpop", "proof": True, "dpop": False}, "checks no proofs"),
        (BOTH, {"scheme": "dpop", "proof": True}, "has none"),
        (BOTH, {"certificate": DER}, "without the scheme DPoP"),
        (BOTH, {"scheme": "dpop", "certificate": DER}, "no DPoP header"),
        (..., {"scheme": "dpop", "proof": True}, "no DPoP key"),
        (..., {"required": True}, "bound to no sender"),
        (..., {"required": True, "certificate": DER}, "bound to no sender"),
    ],
    ids=str,
)
def test_what_does_not(cnf, shown, reason):
    assert reason in decide(cnf, **shown)


@pytest.mark.parametrize(
    "cnf",
    [
        None, False, True, 0, "", "jkt", [], ["jkt"], {},
        {"jwk": ANA.public}, {"kid": "k-1"}, {"x5t": X5T}, {"x5t#s256": X5T}, {"jkt ": ANA.thumbprint}, {"x5u": "https://evil.example"},
        {**BY_KEY, "kid": "k-1"}, {**BY_CERTIFICATE, "x5t#uri": "spiffe://acme/bot"}, {1: X5T},
        {"jkt": None}, {"jkt": ""}, {"jkt": 7}, {"jkt": [ANA.thumbprint]}, {"jkt": ANA.thumbprint + "="}, {"jkt": ANA.thumbprint[:-1]},
        {"x5t#S256": None}, {"x5t#S256": ""}, {"x5t#S256": b64(bytes(31))}, {"x5t#S256": X5T + "A"}, {"x5t#S256": X5T[:-1] + "é"},
        {"x5t#S256": X5T[:-1] + "1"}, {"x5t#S256": X5T + "\n"}, {"x5t#S256": "A" * 1_000_000},
    ],
    ids=lambda cnf: str(cnf)[:40],
)  # fmt: skip
@pytest.mark.parametrize("required", [False, True])
def test_a_binding_that_is_not_understood_is_refused_and_never_overlooked(cnf, required):
    everything = {"scheme": "dpop", "proof": True, "certificate": DER}
    assert "not known" in decide(cnf, required=required, **everything)
    assert "not known" in decide(cnf, required=required, certificate=DER)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["jkt", "x5t#S256", "x", "kid"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(_JSON, st.sampled_from(["bearer", "dpop"]))
def test_no_value_of_the_claim_opens_the_door_without_the_certificate_or_key(cnf, scheme):
    assert decide(cnf, scheme=scheme, proof=scheme == "dpop", certificate=b"other") is not None


def test_only_proofs_check_proofs():
    with pytest.raises(TypeError):
        TokenBinding(dpop=object())
