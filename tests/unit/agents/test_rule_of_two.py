"""`RuleOfTwo`: a conversation does two of the three, and never all."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from aisecure import Principal
from aisecure.agents import RuleOfTwo
from aisecure.approvals import Approvals
from aisecure.call import Call, Context
from aisecure.errors import Unavailable
from aisecure.storage import Storage

ANN = Principal("ann")
TOOLS = ("tool:web_search", "tool:read_mail", "tool:send_mail")


def rule(**options: object) -> RuleOfTwo:
    return RuleOfTwo(untrusted="tool:web_*", private="tool:read_mail", outward="tool:send_*", **options)


def call(resource: str, conversation: str = "c-1", input: object = None, who: Principal = ANN) -> Call:
    return Context(who, conversation=conversation).call("call", resource, input)


@pytest.mark.parametrize("order", list(itertools.permutations(TOOLS)), ids="-".join)
def test_the_third_is_refused_in_any_order(order: tuple[str, ...]) -> None:
    guard = rule()
    verdicts = [guard.before(call(tool)) for tool in order]
    assert verdicts[:2] == [None, None]
    assert verdicts[2] is not None
    assert verdicts[2].code == "access.rule_of_two"
    assert guard.before(call(order[0])) is None


def test_other_conversations_and_principals_are_their_own() -> None:
    guard = rule()
    for tool in TOOLS[:2]:
        guard.before(call(tool))
    assert guard.before(call(TOOLS[2], "c-2")) is None
    assert guard.before(call(TOOLS[2], who=Principal("bob"))) is None
    assert guard.before(call(TOOLS[2], who=Principal("ann", tenant="other"))) is None
    assert guard.before(call(TOOLS[2])) is not None


def test_calls_without_a_conversation_are_all_of_one() -> None:
    guard = rule()
    for tool in TOOLS[:2]:
        guard.before(call(tool, ""))
    assert guard.before(call(TOOLS[2], "")) is not None


def test_what_a_tool_said_counts_as_untrusted() -> None:
    guard = rule()
    guard.before(call("model:bot", input=[{"role": "tool", "content": "a page"}]))
    assert guard.touched("c-1", principal="ann") == ("untrusted",)
    guard.before(call("tool:read_mail"))
    assert guard.before(call("tool:send_mail")) is not None


def test_a_restart_does_not_clear_and_forget_does(tmp_path: Path) -> None:
    for tool in TOOLS[:2]:
        rule(storage=Storage(tmp_path / "a.db")).before(call(tool))
    guard = rule(storage=Storage(tmp_path / "a.db"))
    assert guard.before(call(TOOLS[2])) is not None
    assert guard.forget("c-1", principal="ann")
    assert not guard.forget("c-1", principal="ann")
    assert guard.before(call(TOOLS[2])) is None


def test_a_person_may_let_one_through() -> None:
    approvals = Approvals(Storage(":memory:"))
    guard = rule(approvals=approvals)
    for tool in TOOLS[:2]:
        guard.before(call(tool))
    asked = asyncio.run(guard.abefore(call(TOOLS[2], input={"to": "bob"})))
    assert asked is not None
    assert (asked.outcome, asked.code) == ("approval", "approval.rule_of_two")
    approvals.approve(asked.approval_id, by=Principal("chief"))
    assert guard.before(call(TOOLS[2], input={"to": "eve"})) is not None
    assert guard.before(call(TOOLS[2], input={"to": "bob"})) is None
    assert guard.before(call(TOOLS[2], input={"to": "bob"})) is not None


def test_in_shadow_what_happened_is_kept() -> None:
    guard = rule(shadow=True)
    verdicts = [guard.before(call(tool)) for tool in TOOLS]
    assert verdicts[2] is not None
    assert guard.touched("c-1", principal="ann") == ("untrusted", "private", "outward")


def test_conversations_beyond_the_bound_are_refused_and_none_is_dropped() -> None:
    guard = rule(max_conversations=2)
    for name in ("c-1", "c-2"):
        guard.before(call(TOOLS[0], name))
    with pytest.raises(Unavailable) as caught:
        guard.before(call(TOOLS[0], "c-3"))
    assert caught.value.code == "unavailable.conversations"
    guard.before(call(TOOLS[1], "c-1"))
    assert guard.before(call(TOOLS[2], "c-1")) is not None


def test_a_rule_that_would_refuse_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="outward"):
        RuleOfTwo(untrusted="a", private="b", outward=())
