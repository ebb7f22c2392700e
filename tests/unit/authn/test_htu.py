"""Addresses that proofs name: equal ones have one form, and what is no address has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.authn._htu import normal_address

SAME = {
    "https://api.example.com/notes": [
        "HTTPS://API.example.COM/notes",
        "https://api.example.com:443/notes",
        "https://api.example.com:/notes",
        "https://api.example.com:00443/notes",
        "https://api.example.com/notes?x=1",
        "https://api.example.com/notes#part",
        "https://api.example.com/notes?x=%00&y=/../",
        "https://api.example.com/./notes",
        "https://api.example.com/x/../notes",
        "https://api.example.com/../../notes",
        "https://api.example.com/%6E%6f%74es",
        "wss://api.example.com/notes",
    ],
    "https://api.example.com/": [
        "https://api.example.com",
        "https://api.example.com?x",
        "https://api.example.com/x/..",
    ],
    "http://localhost:8000/a/": ["http://LOCALHOST:8000/a/b/..", "ws://localhost:8000/a/."],
    "http://[::1]/": ["http://[0:0::0:1]:80", "http://[::1]"],
    "https://h/%C3%A9%2F": ["https://h/%c3%a9%2f"],
}
DIFFERENT = [
    "https://api.example.com/notes",
    "http://api.example.com/notes",
    "https://api.example.com:8443/notes",
    "https://api.example.com/Notes",
    "https://api.example.com/notes/",
    "https://api.example.com//notes",
    "https://api.example.com/notes;v=1",
    "https://api.example.com/n%2Fotes",
    "https://api.example.org/notes",
    "https://api.example.com./notes",
]
NONE = [
    "",
    "/notes",
    "//api.example.com/notes",
    "api.example.com/notes",
    "ftp://api.example.com/notes",
    "https:/api.example.com",
    "https://",
    "https:///notes",
    "https://user@api.example.com/notes",
    "https://user:pass@api.example.com/notes",
    "https://api.example.com\\@evil.example/notes",
    "https://api.example.com:99999999/notes",
    "https://api.example.com:4x/notes",
    "https://[::1/notes",
    "https://[zz]/notes",
    "https://api.example.com/no tes",
    "https://api.example.com/no%zz",
    "https://api.example.com/no%2",
    "https://api.example.com/né",
    "https://exämple.com/",
    "https://api.example.com/\0",
    "https://api.example.com/a\n",
    "https://api.example.com/\ud800",
    "https://api.example.com/" + "a" * 9000,
]


@pytest.mark.parametrize(("normal", "other"), [(a, b) for a, bs in SAME.items() for b in bs])
def test_two_spellings_of_one_address_have_one_form(normal, other):
    assert normal_address(other) == normal_address(normal) == normal


def test_different_addresses_have_different_forms():
    assert len({normal_address(url) for url in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("url", NONE)
def test_what_is_no_address_has_no_form(url):
    assert normal_address(url) is None


@given(st.text(alphabet="aA.%2fF/;?#:@~é", max_size=40))
def test_a_normal_form_is_its_own(path):
    form = normal_address("https://h/" + path)
    assert form is None or (normal_address(form) == form and "/../" not in form and "/./" not in form)


@given(st.text(max_size=200))
def test_any_text_has_a_form_or_none(text):
    assert normal_address(text) is None or text.isascii()
