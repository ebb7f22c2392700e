"""Encoded text in the sink that shows it: renderers of Markdown, a terminal emulator."""

from __future__ import annotations

from html.parser import HTMLParser

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sanitize.renderers import PIECES, renderers

from aisecure.sanitize import encode

WORDS = st.characters(exclude_categories=["Cs", "Cc"])
TEXT = st.text(WORDS, max_size=40) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


class _Shown(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(html: str) -> _Shown:
    page = _Shown()
    page.feed(html)
    page.close()
    return page


@given(TEXT)
def test_markdown_shows_the_text_and_takes_none_of_it_for_syntax(text: str) -> None:
    for name, render in renderers().items():
        page = shown(render(f"before{encode.markdown(text)}after"))
        assert page.tags == ["p"], name
        assert "".join(page.text.split()) == "".join(f"before{text}after".replace("\0", "\ufffd").split()), (
            name
        )


@given(TEXT)
def test_a_cell_stays_a_cell(text: str) -> None:
    render = renderers()["markdown-it gfm"]
    page = shown(render(f"| a | b |\n|---|---|\n| {encode.markdown(text)} | c |\n"))
    assert page.tags.count("td") == 2
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


class _Terminal(pyte.Screen):
    """A terminal that remembers what was done to it besides showing characters."""

    def __init__(self) -> None:
        super().__init__(200, 50)
        self.done: list[str] = []


_DONE = (
    "set_title set_icon_name bell backspace carriage_return index reverse_index set_tab_stop save_cursor restore_cursor insert_lines"
    " delete_lines insert_characters delete_characters erase_characters erase_in_line erase_in_display cursor_up cursor_down"
    " cursor_forward cursor_back cursor_position cursor_to_column cursor_to_line report_device_attributes report_device_status"
    " select_graphic_rendition shift_in shift_out define_charset set_mode reset_mode set_margins alignment_display"
).split()


def _watched(name: str):
    plain = getattr(pyte.Screen, name)

    def watch(self, *values, **named):
        if hasattr(self, "done"):
            self.done.append(name)
        return plain(self, *values, **named)

    return watch


for _name in _DONE:
    setattr(_Terminal, _name, _watched(_name))


def done_to_a_terminal(text: str) -> list[str]:
    screen = _Terminal()
    pyte.Stream(screen).feed(text)
    return screen.done


CODES = ["\x1b[2J", "\x1b]0;title\x07", "\x1b[31m", "\x9b2J", "\x9d0;t\x9c", "\x08", "\r", "\x07", "\x1b(0", "\x0e", "\x1bc", "\x1b[6n", "\x1b]8;;http://x\x1b\\", "\x1b", "[", "2J", "a", "\t"]  # fmt: skip


@given(st.lists(st.sampled_from(CODES), max_size=10).map("".join) | st.text(max_size=40))
def test_a_terminal_only_shows_it(text: str) -> None:
    assert done_to_a_terminal(encode.terminal(text).replace("\n", "")) == []
    assert done_to_a_terminal(encode.log(text)) == []


@pytest.mark.parametrize(
    "code", [code for code in CODES[:11] if code not in ("\x1b(0", "\x0e")]
)  # which pyte reads in another mode
def test_the_terminal_would_do_something_else_with_them(code: str) -> None:
    assert done_to_a_terminal(code) != []


def test_the_terminal_shows_every_character_that_stays() -> None:
    screen = pyte.Screen(40, 2)
    pyte.Stream(screen).feed(encode.terminal("\x1b[2Ja\u00e9\u65e5\x1b]0;x\x07!"))
    assert screen.display[0].replace("\x00", "").split()[0].startswith("[2Ja")
