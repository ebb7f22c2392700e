from __future__ import annotations

import json
import pickle
import sqlite3

import jinja2
import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import SafeHtml, Untrusted, encode, sanitize_html

ATTACK = "<img src=x onerror=steal()>"
ESCAPED = "&lt;img src=x onerror=steal()&gt;"
TEMPLATES = jinja2.Environment(autoescape=True)
BARE = jinja2.Environment(autoescape=False)


# HTML


@pytest.mark.parametrize(
    "made",
    [
        SafeHtml("<p>{}</p>").format(ATTACK),
        SafeHtml("<p>{a}</p>").format(a=ATTACK),
        SafeHtml("<p>{a}</p>").format_map({"a": ATTACK}),
        SafeHtml("<p>%s</p>") % ATTACK,
        SafeHtml("<p>%s</p>") % (ATTACK,),
        SafeHtml("<p>") + ATTACK + SafeHtml("</p>"),
        SafeHtml("").join([SafeHtml("<p>"), ATTACK, SafeHtml("</p>")]),
        SafeHtml("<p>") + Untrusted(ATTACK) + SafeHtml("</p>"),
        SafeHtml("<p>{}</p>").format(Untrusted(ATTACK)),
    ],
)
def test_what_is_put_into_html_is_escaped(made: SafeHtml) -> None:
    assert type(made) is SafeHtml
    assert made == f"<p>{ESCAPED}</p>"


def test_what_is_put_before_html_is_escaped() -> None:
    assert "a<" + SafeHtml("<b>") == "a&lt;<b>"


@given(st.text(), st.text())
def test_html_and_text_never_mix_unescaped(first: str, second: str) -> None:
    for made in (SafeHtml("<i>") + first, first + SafeHtml("<i>"), SafeHtml("{}<i>{}").format(first, second)):
        assert isinstance(made, SafeHtml)
        assert made.replace("<i>", "").count("<") == 0


def test_html_of_others_is_taken_as_it_is() -> None:
    assert SafeHtml("{}").format(markupsafe.Markup("<b>")) == "<b>"
    assert markupsafe.Markup("{}").format(SafeHtml("<b>")) == "<b>"
    assert markupsafe.Markup("{} {}").format(Untrusted("<"), "<") == "&lt; &lt;"
    assert markupsafe.escape(SafeHtml("<b>")) == "<b>"
    assert SafeHtml.escape(5) == "5"


def test_sanitised_html_is_typed() -> None:
    assert SafeHtml.sanitize(f"<b>x</b>{ATTACK}") == sanitize_html(f"<b>x</b>{ATTACK}")
    assert SafeHtml.sanitize(Untrusted("<b>x</b><h1>y</h1>"), policy="comment") == "<b>x</b>y"
    with pytest.raises(TypeError, match="takes a str"):
        SafeHtml.sanitize(5)


@pytest.mark.parametrize(
    "change",
    [lambda s: s[1:], lambda s: s.replace("b", "c"), lambda s: s.upper(), lambda s: s.strip(), lambda s: s.split()[0], lambda s: s.translate({})],
)  # fmt: skip
def test_a_piece_of_html_is_plain_text(change) -> None:
    assert type(change(SafeHtml("<b>x</b>"))) is str


@pytest.mark.parametrize("template", ["{0.__class__}", "{a[0]}", "{:{}}"])
def test_format_strings_reach_into_nothing(template: str) -> None:
    with pytest.raises(ValueError, match="plain places"):
        SafeHtml(template).format("x", a="x")


def test_percent_takes_only_what_it_can_fill() -> None:
    assert SafeHtml("100%% %s") % "<" == "100% &lt;"
    assert SafeHtml("%s%s") % ("<%s>", "b") == "&lt;%s&gt;b"
    with pytest.raises(TypeError, match="not enough"):
        SafeHtml("%s%s") % ("a",)
    with pytest.raises(TypeError, match="more values"):
        SafeHtml("%s") % ("a", "b")
    with pytest.raises(ValueError, match="%s and %%"):
        SafeHtml("%d") % 5
    with pytest.raises(TypeError):
        SafeHtml("a") + 5


def test_html_is_copied_and_serialised_as_what_it_is() -> None:
    html = SafeHtml("<b>")
    assert type(pickle.loads(pickle.dumps(html))) is SafeHtml
    assert json.dumps(html) == '"<b>"'
    assert html * 2 == 2 * html == "<b><b>"
    assert type(str(html)) is SafeHtml


# Text from outside


def test_a_template_that_escapes_shows_it_as_text() -> None:
    shown = TEMPLATES.from_string("<p title='{{ a }}'>{{ a }} {{ h }}</p>")
    assert shown.render(a=Untrusted("'<b>"), h=SafeHtml("<i>")) == (
        "<p title='&#x27;&lt;b&gt;'>&#x27;&lt;b&gt; <i></p>"
    )


@pytest.mark.parametrize("source", ["{{ a }}", "{{ 'x' ~ a }}", "{{ a|upper }}", "{{ '%s'|format(a) }}"])
def test_a_template_that_does_not_escape_fails(source: str) -> None:
    with pytest.raises(TypeError, match="untrusted"):
        BARE.from_string(source).render(a=Untrusted(ATTACK))


@pytest.mark.parametrize(
    "use",
    [
        str, format, print, list, bytes, json.dumps, open, "{}".format, "%s".__mod__, "x".__add__, "a".join, lambda a: f"{a}",
        lambda a: a + "x", lambda a: a % 5, lambda a: a[0], lambda a: "x" in a, lambda a: "a".replace("a", a), lambda a: "x" + a,
    ],
)  # fmt: skip
def test_it_goes_nowhere_by_accident(use) -> None:
    with pytest.raises(TypeError):
        use(Untrusted(ATTACK))


def test_a_database_takes_it_only_unwrapped() -> None:
    database = sqlite3.connect(":memory:")
    with pytest.raises((sqlite3.InterfaceError, sqlite3.ProgrammingError)):
        database.execute("SELECT ?", [Untrusted("x")])
    assert database.execute("SELECT ?", [Untrusted("x").unwrap()]).fetchone() == ("x",)
    database.close()


def test_it_says_how_much_it_is_and_not_what() -> None:
    text = Untrusted("marker-4711")
    assert "4711" not in repr(text)
    assert len(text) == 11
    assert text == Untrusted("marker-4711")
    assert text != "marker-4711"
    assert len({text, Untrusted("marker-4711")}) == 1
    assert not Untrusted("")
    assert text.to(encode.url) == "marker-4711"


def test_all_texts_of_an_answer_are_wrapped() -> None:
    wrapped = Untrusted.wrap({"a": ["x", 5, None, ("y",)], "b": {"c": "z"}})
    assert wrapped == {"a": [Untrusted("x"), 5, None, (Untrusted("y"),)], "b": {"c": Untrusted("z")}}
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(ValueError, match="nested"):
        Untrusted.wrap(cyclic)


@pytest.mark.parametrize("bad", [None, 5, b"x", ["x"]])
def test_only_text_is_wrapped_alone(bad: object) -> None:
    with pytest.raises(TypeError):
        Untrusted(bad)
