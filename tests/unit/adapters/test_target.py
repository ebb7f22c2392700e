"""The address that a proof has to name: what was set, what a trusted proxy says, what the connection says."""

from __future__ import annotations

import pytest

from aisecure.adapters._origin import TrustedProxies
from aisecure.adapters._target import ExternalAddress
from aisecure.errors import Misconfigured

PROXY, STRANGER = "10.0.0.7", "192.0.2.9"


def address(external_url="", *, peer=STRANGER, scheme="http", path="/a%20b", **headers):
    given = {
        "host": ["api.internal:8000"],
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return ExternalAddress(external_url, TrustedProxies(["10.0.0.0/8"])).of(
        scheme=scheme, peer=peer, path=path, headers=lambda name: given.get(name, [])
    )


def test_what_was_set_wins_over_everything():
    assert address("https://api.example.com") == "https://api.example.com/a%20b"
    assert (
        address("https://api.example.com/", peer=PROXY, x_forwarded_host=["evil.example"])
        == "https://api.example.com/a%20b"
    )
    assert address("https://[::1]:8443", host=[]) == "https://[::1]:8443/a%20b"


def test_a_strangers_word_is_only_its_host():
    assert address() == "http://api.internal:8000/a%20b"
    told = {
        "x_forwarded_proto": ["https"],
        "x_forwarded_host": ["evil.example"],
        "forwarded": ["proto=https;host=evil.example"],
    }
    assert address(**told) == "http://api.internal:8000/a%20b"


def test_a_proxys_word_corrects_scheme_and_host():
    expected = "https://api.example.com/a%20b"
    assert address(peer=PROXY, x_forwarded_proto=["https"], x_forwarded_host=["api.example.com"]) == expected
    assert address(peer=PROXY, x_forwarded_proto=["https"], host=["api.example.com"]) == expected
    assert address(peer=PROXY, forwarded=['for=192.0.2.1;proto=https;host="api.example.com"']) == expected
    assert (
        address(peer=PROXY, x_forwarded_proto=["https, HTTPS"], x_forwarded_host=["API.example.com"])
        == expected
    )


@pytest.mark.parametrize(
    "told",
    [
        {"x_forwarded_proto": ["https, http"]},
        {"x_forwarded_proto": ["https"], "forwarded": ["proto=http"]},
        {"x_forwarded_host": ["a.example, b.example"]},
        {"x_forwarded_host": ["a.example", "b.example"]},
        {"x_forwarded_host": ["a.example"], "forwarded": ["host=b.example"]},
        {"forwarded": ["host=a.example, host=b.example"]},
        {"forwarded": ["junk"]},
        {"forwarded": ["host=a.example" + " " * 5000]},
        {"x_forwarded_host": ["a.example/x"]},
        {"x_forwarded_host": ["user@a.example"]},
        {"x_forwarded_host": [""]},
        {"host": []},
        {"host": ["a.example", "b.example"]},
        {"host": ["a.example\n"]},
        {"host": ["a.example/x?y"]},
    ],
    ids=str,
)
def test_what_cannot_be_known_is_not_guessed(told):
    assert address(peer=PROXY, **told) == ""


@pytest.mark.parametrize(
    "url", ["api.example.com", "https://", "https://api.example.com/v1", "https://api.example.com?x", "ftp://h", "https://u@h", "https://h\n"]
)  # fmt: skip
def test_an_external_url_is_scheme_host_and_port(url):
    with pytest.raises(Misconfigured) as caught:
        ExternalAddress(url, TrustedProxies())
    assert caught.value.code == "config.url"
