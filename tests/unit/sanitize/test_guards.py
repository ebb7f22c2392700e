from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from aisecure.call import Call
from aisecure.errors import InputRejected, Misconfigured
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.principal import Principal
from aisecure.sanitize import HtmlGuard, HtmlPolicy, HtmlSanitizer, Settings, TextGuard, build, self_tests
from aisecure.storage import Storage

ANSWER = "<p>Done.</p><script>steal()</script>"


def call(value: object) -> Call:
    return Call(Principal("u"), "invoke", "model:m", value)


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    return Ports(tmp_path, tmp_path, lambda: Storage(":memory:"), LocalNotices())


def test_every_text_of_the_input_is_cleaned() -> None:
    seen = []

    @TextGuard()
    def ask(messages: list[dict[str, str]]) -> str:
        seen.extend(messages)
        return "ok"

    ask([{"role": "user", "content": "pay\u200b me\U000e0069"}])
    assert seen == [{"role": "user", "content": "pay me"}]


def test_findings_tell_where_hidden_text_was_and_not_what() -> None:
    changed = TextGuard().before(call({"q": "a\u200b\u200bb\u202e"}))
    assert changed is not None
    assert [(f.kind, f.start, f.end, f.path) for f in changed.findings] == [
        ("text.invisible", 1, 3, "/q"),
        ("text.bidi", 4, 5, "/q"),
    ]


def test_a_clean_input_is_not_touched() -> None:
    assert TextGuard().before(call({"q": "caf\u00e9", "n": 5})) is None


def test_findings_are_bounded() -> None:
    changed = TextGuard().before(call("a\u200b" * 10_000))
    assert changed is not None
    assert len(changed.findings) == 20


def test_a_text_that_is_too_long_is_rejected() -> None:
    with pytest.raises(InputRejected, match="longer than 10"):
        TextGuard(max_chars=10).before(call(["x" * 11]))
    assert TextGuard(max_chars=None).before(call("x" * 50_000_000)) is None


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("sanitize", "<p>Done.</p>"), ("escape", "&lt;p>Done.&lt;/p>&lt;script>steal()&lt;/script>")],
)
def test_markup_of_an_answer_is_made_harmless(mode: str, wanted: str) -> None:
    @HtmlGuard(mode=mode)  # type: ignore[arg-type]
    def answer() -> dict[str, object]:
        return {"text": ANSWER, "score": 0.5}

    assert answer() == {"text": wanted, "score": 0.5}


async def _answer() -> str:
    return ANSWER


def test_coroutines_are_guarded_alike() -> None:
    import asyncio

    assert asyncio.run(HtmlGuard()(_answer)()) == "<p>Done.</p>"


def test_a_stream_never_carries_markup_however_it_is_cut() -> None:
    @HtmlGuard()
    def stream() -> object:
        yield from ANSWER

    assert "".join(stream()) == "&lt;p>Done.&lt;/p>&lt;script>steal()&lt;/script>"  # type: ignore[arg-type]


@pytest.mark.parametrize("output", ["1 < 2 && 3 > 2", "it's", {"a": ["x", None, 5]}, None, b"\xff\xfe", 7])
def test_an_output_without_markup_is_not_touched(output: object) -> None:
    assert HtmlGuard().after(call(None), output) is None


def test_harmless_markup_is_no_finding() -> None:
    assert HtmlGuard().after(call(None), "<p>x</p>") is None


def test_arguments_of_a_tool_call_are_left_to_the_tool() -> None:
    call_item = {"type": "function_call", "name": "search", "arguments": '{"q": "<b>"}'}
    assert HtmlGuard().after(call(None), [call_item]) is None


def test_a_sanitizer_of_ones_own_is_used() -> None:
    guard = HtmlGuard(sanitizer=HtmlSanitizer(HtmlPolicy(tags=frozenset({"em"}))))
    changed = guard.after(call(None), "<p><em>x</em></p>")
    assert changed is not None
    assert changed.value == "<em>x</em>"


def test_the_default_settings_clean_the_input_and_escape_the_output(ports: Ports) -> None:
    text, html = build(Settings(), ports)
    assert isinstance(text, TextGuard)
    assert isinstance(html, HtmlGuard)
    assert html.mode == "escape"


def test_everything_can_be_switched_off(ports: Ports) -> None:
    assert build(Settings(text=False, html="off"), ports) == ()


def test_hosts_of_the_settings_reach_the_policy(ports: Ports) -> None:
    _, html = build(Settings(html="sanitize", image_hosts=frozenset({"cdn.example"})), ports)
    assert html.after(call(None), '<img src="https://cdn.example/a">') is None
    changed = html.after(call(None), '<img src="https://e.example/a">')
    assert changed is not None
    assert getattr(changed, "value", None) == "<img>"


def test_a_host_that_is_none_is_misconfigured(ports: Ports) -> None:
    with pytest.raises(Misconfigured, match="image_hosts"):
        build(Settings(html="sanitize", image_hosts=frozenset({"https://cdn.example/"})), ports)


@pytest.mark.parametrize("settings", [{"htlm": "off"}, {"html": "maybe"}, {"max_chars": 0}, {"form": "NFX"}])
def test_a_misspelt_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", self_tests().keys())
def test_the_self_tests_pass(name: str) -> None:
    self_tests()[name]()
