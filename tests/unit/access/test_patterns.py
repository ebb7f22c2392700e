"""The matching functions give the answers of Casbin's own, in linear time, or are refused when they are loaded."""

from __future__ import annotations

import re

import pytest
from casbin.util import builtin_operators as casbin
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aisecure.access import Authorizer
from aisecure.access._patterns import PATTERNS, NotLinear, as_function
from aisecure.errors import Misconfigured, Unavailable

THEIRS = {
    "keyMatch": casbin.key_match,
    "keyMatch2": casbin.key_match2,
    "keyMatch3": casbin.key_match3,
    "keyMatch4": casbin.key_match4,
    "keyMatch5": casbin.key_match5,
    "regexMatch": casbin.regex_match,
    "globMatch": casbin.glob_match,
    "ipMatch": casbin.ip_match,
}

PIECES = st.lists(
    st.sampled_from(
        ["a", "b", "/", "/", "*", "**", "/*", "/**", "**/", "?", ".", "-", "{id}", "{x}", "v{id}", "{id}.x", ":p",
         "[ab]", "[!a]", "{a,b}", "{a,*}", "a/{id}/{id}", "x.t"]
    ),
    min_size=1,
    max_size=7,
).map("".join)  # fmt: skip
NAMES = st.lists(
    st.sampled_from(["a", "b", "c", "/", "/", "1", "2", ".", "x.t", "-", "?q", ".h"]), max_size=7
).map("".join)


def is_asked(name: str) -> bool:
    """Whether such a name gets as far as a pattern: others are denied before."""
    return "//" not in name and not re.search(r"(?:\A|/)\.\.?(?:/|\Z)", name)


@pytest.mark.parametrize("function", sorted(THEIRS.keys() - {"ipMatch", "regexMatch"}))
@given(text=PIECES, names=st.lists(NAMES, min_size=3, max_size=8))
@example(text="**", names=[""])
@example(text="a/**", names=["a", "a/", "a/b/.c"])
@example(text="*/x", names=["/x", "x", "a/x"])
@example(text="/{id}/of/{id}", names=["/1/of/1", "/1/of/2"])
@example(text="/{x}?", names=["/", "/a"])
@example(text="/a/{id}", names=["/a/1?b=/c", "/a/?", "/a"])
def test_a_pattern_matches_what_it_matches_in_casbin(function, text, names):
    try:
        pattern = PATTERNS[function](text)
    except NotLinear:
        assume(False)
    # What is written with its parameters filled in is close to the pattern, so that there is something to match.
    near = [re.sub(r"[{:][^}/]*}?", value, text).replace("*", "a") for value in ("1", "ab")]
    for name in filter(is_asked, [*names, *near]):
        assert pattern.matches(name) is THEIRS[function](name, text), (name, text)


ADDRESSES = ["192.0.2.7", "192.0.3.7", "10.0.0.1", "2001:db8::7", "::1", "::ffff:192.0.2.7"]


@pytest.mark.parametrize(
    "text", ["192.0.2.0/24", "192.0.2.7", "192.0.2.9/23", "2001:db8::/32", "::1", "0.0.0.0/0", "::/0"]
)
def test_networks_hold_the_addresses_that_they_hold_in_casbin(text):
    pattern = PATTERNS["ipMatch"](text)
    for name in ADDRESSES:
        assert pattern.matches(name) is casbin.ip_match(name, text), name


@pytest.mark.parametrize("name", ["no address", "", "192.0.2.256", "192.0.2.1/24", "1"])
def test_what_is_no_address_fails_and_is_not_quoted(name):
    with pytest.raises(ValueError, match="does not appear"):
        casbin.ip_match(name, "192.0.2.0/24")
    with pytest.raises(Unavailable) as caught:
        PATTERNS["ipMatch"]("192.0.2.0/24").matches(name)
    assert not name or name not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("function", "text", "words"),
    [
        ("ipMatch", "the office", "no IP address or network"),
        ("ipMatch", "192.0.2.0/33", "no IP address or network"),
        ("globMatch", r"a\*", "an escape"),
        ("globMatch", "a//b", "two slashes"),
        ("globMatch", "[z-a]", "character class"),
        ("globMatch", "[[:alpha:]]", "character class"),
        ("globMatch", "a" * 8193, "too long"),
        ("keyMatch4", "/{id}/(a)", "a parenthesis"),
        ("keyMatch4", "/{id}/{id}+", "repeats a parameter"),
        ("keyMatch4", "/{id}/{id}" + "a" * 8192, "too long"),
        ("keyMatch4", "/{id}*", "repeats a group"),
        ("keyMatch5", "/(a+)+", "repeats a group"),
        ("keyMatch5", "/{id}" + "a" * 8192, "too long"),
    ],
)
def test_a_pattern_that_is_not_read_is_refused_with_its_line(function, text, words):
    model = MODEL.replace("keyMatch", function)
    with pytest.raises(Misconfigured, match=f"line 2: a pattern cannot be used: .*{words}"):
        Authorizer.from_text(model=model, policy=f"# rules\np, ann, {text}, read")


@pytest.mark.parametrize(
    ("text", "words"), [("a[", "character class"), ("{a,b}" * 7, "too many alternatives")]
)
def test_a_pattern_that_no_line_can_hold_is_refused_too(text, words):
    with pytest.raises(NotLinear, match=words):
        PATTERNS["globMatch"](text)


MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act
"""


@pytest.mark.parametrize(
    ("function", "text", "name"),
    [
        ("globMatch", "/a/**/b/**/b/**/c", "/a" + "/b" * 4000),
        ("globMatch", "/" + "*a" * 40 + "z", "/" + "a" * 8000),
        ("keyMatch4", "/{a}/x/{a}/x/{a}", "/1" + "/x/1" * 2000),
        ("keyMatch5", "/*a/*a/*a/*a/*a/*b", "/a" * 4000),
    ],
)
def test_the_longest_name_is_answered(function, text, name):
    pattern = PATTERNS[function](text)
    assert not pattern.matches(name)  # years, with backtracking


def test_a_value_that_is_no_text_matches_nothing():
    for function, text in (
        ("keyMatch", "a*"),
        ("globMatch", "a*"),
        ("ipMatch", "10.0.0.0/8"),
        ("keyMatch5", "a"),
    ):
        with pytest.raises(TypeError):
            as_function(PATTERNS[function])(42, text)
        with pytest.raises(TypeError):
            Authorizer.from_text(
                model=MODEL.replace("keyMatch", function), policy=f"p, ann, {text}, read"
            ).enforce("ann", 42, "read")
