from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from aisecure.adapters._ratelimit_headers import ratelimit_headers
from aisecure.standing import Standing

#: RFC 9651: a list of strings with whole numbers as parameters.
MEMBER = r'"(?:[ !#-\[\]-~]|\\["\\])*"(?:;[a-z*][a-z0-9_.*-]*=-?[0-9]{1,15})*'
FIELD = re.compile(rf"{MEMBER}(?:, {MEMBER})*")

standings = st.builds(
    Standing,
    name=st.text(max_size=200)
    | st.sampled_from(['a"b', "a\\b", "a\r\nSet-Cookie: x", "ä", "\ud800", "", "chat"]),
    limit=st.integers(1, 10**30) | st.sampled_from([10, 20]),
    window_seconds=st.integers(1, 10**9) | st.just(60),
    remaining=st.integers(0, 10**30),
    reset_seconds=st.floats(0, 1e15),
)


def told(*standings, retry_after=""):
    return dict(ratelimit_headers(standings, retry_after))


@given(st.lists(standings, min_size=1), st.text(max_size=30))
def test_whatever_limits_are_called_the_fields_are_well_formed_and_name_the_same_policies(many, retry_after):
    fields = told(*many, retry_after=retry_after)
    assert all(FIELD.fullmatch(value) for value in fields.values())
    names = [re.findall(r'"([^"]*)"', fields[field]) for field in ("ratelimit-policy", "ratelimit")]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.floats(0, 1e6, allow_subnormal=False),
)
def test_no_reader_is_told_a_faster_pace_than_the_limit(limit, window, remaining, reset):
    remaining = min(remaining, limit)
    field = told(Standing("chat", limit, window, remaining, reset))["ratelimit"]
    seconds = int(field.rpartition("=")[2])
    assert remaining * window <= limit * seconds


def test_several_limits_are_a_member_each():
    fields = told(Standing("chat", 10, 60, 3, 59.2), Standing("chat", 1000, 86400, 900, 86_000.5))
    assert fields == {
        "ratelimit-policy": '"chat/60";q=10;w=60, "chat/86400";q=1000;w=86400',
        "ratelimit": '"chat/60";r=3;t=60, "chat/86400";r=900;t=86001',
    }


def test_of_a_limit_that_was_asked_several_times_the_lowest_is_told():
    fields = told(*(Standing("tools", 10, 60, left, 60.0) for left in (7, 2, 5)))
    assert fields["ratelimit"] == '"tools/60";r=2;t=60'


def test_two_limits_of_one_name_are_told_apart():
    fields = told(Standing("chat", 10, 60, 3, 60.0), Standing("chat", 20, 60, 13, 60.0))
    assert fields["ratelimit"] == '"chat/60";r=3;t=60, "chat/60/20";r=13;t=60'


def test_where_nothing_is_left_no_reader_is_told_to_wait_longer_than_retry_after():
    assert told(Standing("chat", 10, 60, 0, 60.0), retry_after="12")["ratelimit"] == '"chat/60";r=0;t=12'
    assert told(Standing("chat", 10, 60, 0, 60.0), retry_after="90")["ratelimit"] == '"chat/60";r=0;t=60'
    for nonsense in ("", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 5000, "١٢"):
        assert (
            told(Standing("chat", 10, 60, 0, 60.0), retry_after=nonsense)["ratelimit"] == '"chat/60";r=0;t=60'
        )


def test_what_the_draft_has_no_unit_for_is_not_told():
    assert (
        told(Standing("budget", 1000, 60, 1, 1.0, "tokens"), Standing("budget", 5, 60, 1, 1.0, "USD")) == {}
    )
    assert told() == {}
