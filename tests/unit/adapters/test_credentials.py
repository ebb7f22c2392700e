"""The one credential of a request: what is taken, and everything that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.adapters._credentials import read_credential, scheme_sent, with_proofs
from aisecure.call import Credential
from aisecure.errors import AuthenticationError

DER = b"a certificate"


def test_what_is_taken():
    assert read_credential([], []) is None
    assert read_credential(["Bearer abc"], []) == Credential("bearer", "abc")
    assert read_credential(["bEARER   abc=="], []) == Credential("bearer", "abc==")
    assert read_credential(["dPoP abc"], []) == Credential("dpop", "abc")
    assert read_credential([], ["abc"]) == Credential("api_key", "abc")
    assert read_credential([], [], DER) == Credential("mtls", "", certificate=DER)
    assert read_credential(["Bearer abc"], [], DER) == Credential("bearer", "abc", certificate=DER)
    assert read_credential(["DPoP abc"], [], DER) == Credential("dpop", "abc", certificate=DER)
    assert read_credential([], ["abc"], DER) == Credential("api_key", "abc", certificate=DER)


def test_a_token_with_the_scheme_dpop_brings_its_proofs_and_what_they_have_to_name():
    full = with_proofs(Credential("dpop", "abc", certificate=DER), ["p", "q"], "GET", "https://h/a")
    assert full == Credential("dpop", "abc", ("p", "q"), "GET", "https://h/a", DER)
    assert "abc" not in repr(full)


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        (["Bearer a", "Bearer a"], []),
        (["Bearer a", "DPoP a"], []),
        (["Bearer a"], ["a"]),
        ([], ["a", "a"]),
        (["Bearer"], []),
        (["Bearer "], []),
        (["DPoP"], []),
        (["Bearer\ta"], []),
        (["Bearer a b"], []),
        (["Bearer a,Bearer b"], []),
        (["Bearer a, DPoP b"], []),
        (["DPoP a b"], []),
        (["Basic a"], []),
        (["BearerDPoP a"], []),
        ([""], []),
        ([], [""]),
        ([], ["a b"]),
        ([], ["a,b"]),
        ([], ["é"]),
        (["Bearer \ud800"], []),
        (["Bearer a\0"], []),
        (["Bearer a\n"], []),
        (["DPoP " + "a" * 20_000], []),
        ([], ["a" * 20_000]),
        (["a" * 1_000_000], []),
    ],
    ids=lambda values: str(values)[:20],
)
@pytest.mark.parametrize("certificate", [b"", DER])
def test_what_is_not(authorization, api_key, certificate):
    with pytest.raises(AuthenticationError):
        read_credential(authorization, api_key, certificate)


@given(st.lists(st.text(max_size=30), max_size=2), st.lists(st.text(max_size=30), max_size=2))
def test_any_headers_are_one_credential_none_or_refused(authorization, api_key):
    try:
        read = read_credential(authorization, api_key)
    except AuthenticationError:
        return
    assert read is None or len(authorization) + len(api_key) == 1


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        ([], ""), (["Bearer x"], "Bearer"), (["BEARER"], "Bearer"), (["dpop x"], "DPoP"), (["Basic x"], ""), ([""], ""),
        (["Bearer x", "DPoP y"], ""), (["Bearer x,Bearer y"], ""), (["Bearerx"], ""),
    ],
)  # fmt: skip
def test_the_scheme_that_was_sent(values, scheme):
    assert scheme_sent(values) == scheme
