"""Expressions of a policy: the answers of ``re``, in linear time."""

from __future__ import annotations

import re

import pytest
from casbin.util import key_match2_func, key_match3_func, key_match_func, regex_match_func
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.access._patterns import PATTERNS
from aisecure.access._regex import NotLinear, _Automaton, _backtracking_free, alternatives, matcher

#: Each has made a backtracking engine work quadratically or worse, with a name that does.
HOSTILE = [
    ("^.*a.*b.*c$", "ab" * 20_000),
    ("^.*x[^/]+/y$", "x" * 40_000),
    ("^(a|aa|aaa)*$", None),
    ("^(a+)+$", None),
    ("^a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaa$", "a" * 11),
    ("^a*a*a*a*a*a*b$", "a" * 40_000),
    ("^/.*/.*/.*/.*/end$", "/" * 40_000),
]


@pytest.mark.parametrize(("source", "name"), HOSTILE)
def test_a_hostile_name_is_answered_or_the_expression_is_refused(source, name):
    if name is None:
        with pytest.raises(NotLinear):
            alternatives(source)
    else:
        assert not matcher(alternatives(source))(name)


@pytest.mark.parametrize(
    "source",
    ["/a/[^/]+/b$", "/files/.*$", "/[^/]+/[^/]+/x.*$", "a[0-9]+-[a-z]+$", ".*end$", "[^/]+/.*y$"],
)
def test_what_runs_on_re_has_one_quantifier_that_can_give_back_and_fixed_length_after_it(source):
    for sequence in alternatives(source):
        expression = _backtracking_free(sequence)
        assert expression is not None
        quantifiers = re.findall(r"(?<!\\)[*+?](\+?)", re.sub(r"\[.*?\]", "C", expression))
        assert quantifiers.count("") <= 1
        free = next(
            (
                at
                for at, atom in enumerate(sequence)
                if atom.times and f"{atom.source}{atom.times}+" not in expression
            ),
            None,
        )
        assert free is None or not any(atom.times for atom in sequence[free + 1 :])


def test_a_million_characters_are_matched_by_each_engine():
    name = "/" + "x" * 1_000_000
    assert matcher(alternatives("^/[^/]+$"))(name)
    assert not matcher(alternatives("^/.*y$"))(name)
    automaton = matcher(alternatives("^.*y.*z$"))
    assert isinstance(automaton.__self__, _Automaton)
    assert not automaton(name)


def test_an_automaton_looks_at_each_character_once():
    steps = 0

    class Counted(str):
        __slots__ = ()

        def __iter__(self):
            nonlocal steps
            for char in str.__iter__(self):
                steps += 1
                yield char

    automaton = matcher(alternatives("^.*a.*b.*c.*d$"))
    for size in (1_000, 2_000, 4_000):
        steps = 0
        automaton(Counted("abc" * size))
        assert steps == 3 * size


@pytest.mark.parametrize(
    "source",
    [
        r"(a)\1", "(?=a)b", "(?i)a", "(?P<n>a)", "(ab)+", "(ab){2}", "a++", "[[a]", "a^b", "a$b", "^*", "(", "*a", "[z-a]",
        r"\bword", "a{20000}", "(a|b)" * 8, "a" * 20_000, "(a|b|c|d)(a|b|c|d)(a|b|c|d)(a|b|c|d)",
    ],
)  # fmt: skip
def test_what_has_no_linear_form_is_refused(source):
    with pytest.raises(NotLinear):
        alternatives(source)


PIECES = st.sampled_from(["a", "b", "/", ".", "x", "[^/]", "[ab]", r"\d", r"\.", "-", ":", "{", "é"]).flatmap(
    lambda piece: st.sampled_from(["", "", "*", "+", "?", "*?", "{2}", "{1,2}", "{,1}", "{2,}"]).map(
        lambda times: piece + times
    )
)
SOURCES = st.recursive(
    st.lists(PIECES, max_size=5).map("".join),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("|".join), inner.map(lambda text: f"({text})"), inner.map(lambda text: f"(?:{text})?"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=4,
).flatmap(lambda text: st.sampled_from([text, f"^{text}", f"{text}$", f"^{text}$"]))  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(source=SOURCES, names=st.lists(st.text(alphabet="ab/x.1-:{é", max_size=9), min_size=1, max_size=8))
def test_the_answer_is_that_of_re(source, names):
    try:
        test = matcher(alternatives(source))
    except NotLinear:
        return
    for name in names:
        assert bool(test(name)) is (re.match(source, name) is not None), (source, name)


FUNCTIONS = {
    "keyMatch": key_match_func,
    "keyMatch2": key_match2_func,
    "keyMatch3": key_match3_func,
    "regexMatch": regex_match_func,
}


@settings(max_examples=120, deadline=None)
@given(
    function=st.sampled_from(sorted(FUNCTIONS)),
    text=st.lists(st.sampled_from(["/", "a", "b", ":a", ":", "*", "/*", "{x}", ".", "c:*"]), max_size=6).map(
        "".join
    ),
    names=st.lists(st.text(alphabet="ab/:c.*", max_size=8), min_size=1, max_size=8),
)
def test_a_pattern_gives_the_answer_of_casbins_function(function, text, names):
    try:
        pattern = PATTERNS[function](text)
    except NotLinear:
        return
    for name in names:
        want = FUNCTIONS[function](name, text)
        assert pattern.matches(name) is want
        assert pattern.exact is None or (name == pattern.exact) is want
        assert name.startswith(pattern.prefix) or not want
