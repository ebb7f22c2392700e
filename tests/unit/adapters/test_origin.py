"""Address, path, request id and trace of a request, as far as they can be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.adapters._credentials import read_credential
from aisecure.adapters._origin import PublicPaths, TrustedProxies, request_id, traceparent
from aisecure.errors import AuthenticationError, Misconfigured

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["6.6.6.6"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.9"], "192.0.2.9"),
        ("10.0.0.1", ["6.6.6.6", "192.0.2.9, 10.0.0.2"], "192.0.2.9"),
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["192.0.2.9:443"], "192.0.2.9"),
        ("10.0.0.1", ["[2001:DB9::1]:443"], "2001:db9::1"),
        ("::ffff:10.0.0.1", ["192.0.2.9"], "192.0.2.9"),
        ("10.0.0.1", ["192.0.2.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.9, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["' OR 1=1 --"], "10.0.0.1"),
        ("", ["192.0.2.9"], ""),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer, forwarded, client):
    assert PROXIES.client(peer, forwarded) == client


def test_a_socket_file_is_trusted_only_by_name():
    assert TrustedProxies(["unix"]).client("", ["192.0.2.9"]) == "192.0.2.9"
    assert TrustedProxies(["unix"]).client("192.0.2.1", ["6.6.6.6"]) == "192.0.2.1"


@given(st.lists(st.text()))
def test_no_header_makes_an_untrusted_peer_somebody_else(values):
    assert PROXIES.client("192.0.2.1", values) == "192.0.2.1"
    assert isinstance(PROXIES.client("10.0.0.1", values), str)


@pytest.mark.parametrize("networks", [["nonsense"], ["10.0.0.1/8"]])
def test_a_network_that_is_none_is_told(networks):
    with pytest.raises(Misconfigured, match="trusted_proxies"):
        TrustedProxies(networks)
    with pytest.raises(TypeError):
        TrustedProxies("10.0.0.0/8")


def test_public_paths_are_exact_or_below_and_do_not_climb():
    public = PublicPaths(["/health", "/static/*"])
    assert [p in public for p in ("/health", "/health/", "/static/a/b", "/static/", "/static", "/static/../me")] == [
        True, False, True, True, False, False,
    ]  # fmt: skip
    for wrong in (["health"], "/health"):
        with pytest.raises(Misconfigured):
            PublicPaths(wrong)


@given(st.text())
def test_a_request_id_is_harmless_whatever_came(value):
    taken = request_id([value])
    assert taken.replace("-", "").replace(".", "").replace("_", "").isalnum() or set(taken) <= set("-._")
    assert 1 <= len(taken) <= 128
    assert taken.isascii()


def test_two_request_ids_are_none():
    assert request_id(["a", "a"]) != "a"


VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ([VALID], VALID),
        ([VALID, VALID], ""),
        ([VALID.upper()], ""),
        ([VALID + "-x"], ""),
        (["ff" + VALID[2:]], ""),
        ([VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)], ""),
        ([VALID.replace("00f067aa0ba902b7", "0" * 16)], ""),
        ([VALID + "\n"], ""),
        ([], ""),
    ],
)
def test_a_traceparent_is_taken_only_when_it_is_one(values, taken):
    assert traceparent(values) == taken


@given(st.lists(st.text(), max_size=2), st.lists(st.text(), max_size=2))
def test_any_headers_give_one_credential_or_none_or_a_refusal(authorization, api_key):
    try:
        credential = read_credential(authorization, api_key)
    except AuthenticationError:
        return
    assert (credential is None) == (not authorization and not api_key)
    if credential is not None:
        assert credential.value.isascii()
        assert " " not in credential.value
        assert repr(credential) == f"Credential(scheme={credential.scheme!r})"
