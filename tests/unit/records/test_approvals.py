"""`Approvals`: one call, approved by somebody else, made once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from aisecure import Principal, Shield
from aisecure.approvals import ApprovalGuard, Approvals
from aisecure.call import Call, acting_as
from aisecure.encryption import FieldCipher, Keyring
from aisecure.errors import (
    AccessDenied,
    ApprovalRequired,
    AuthenticationError,
    InputRejected,
    IntegrityError,
    Unavailable,
)
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, capture_events

ANN, CHIEF, BOSS = Principal("ann"), Principal("chief"), Principal("boss")


def mail(to: str = "bob", who: Principal = ANN, **fields: object) -> Call:
    return Call(who, "call", "tool:send_email", {"to": to, **fields})


def queue(**options: object) -> Approvals:
    return Approvals(Storage(":memory:"), **options)


def test_an_approved_call_is_made_once() -> None:
    approvals = queue()
    first = approvals.decide(mail())
    assert (first.outcome, first.code) == ("approval", "approval.required")
    assert approvals.decide(mail()).approval_id == first.approval_id
    approvals.approve(first.approval_id, by=CHIEF)
    assert approvals.decide(mail()).allowed
    again = approvals.decide(mail())
    assert not again.allowed
    assert again.approval_id != first.approval_id


@pytest.mark.parametrize(
    "other",
    [
        mail("eve"),
        mail(bcc="eve"),
        mail(who=Principal("eve")),
        mail(who=Principal("ann", tenant="other")),
        Call(ANN, "read", "tool:send_email", {"to": "bob"}),
        Call(ANN, "call", "tool:send_fax", {"to": "bob"}),
    ],
    ids=["argument", "more", "principal", "tenant", "action", "resource"],
)
def test_an_approval_is_for_exactly_one_call(other: Call) -> None:
    approvals = queue()
    approvals.approve(approvals.request(mail()).id, by=CHIEF)
    assert approvals.consume(other) is None
    assert approvals.consume(mail()) is not None


def test_nobody_approves_a_call_of_his_own_or_of_another_tenant() -> None:
    approvals = queue()
    waiting = approvals.request(mail())
    with pytest.raises(AccessDenied) as caught:
        approvals.approve(waiting.id, by=ANN)
    assert caught.value.code == "access.four_eyes"
    with pytest.raises(LookupError):
        approvals.approve(waiting.id, by=Principal("chief", tenant="other"))
    with pytest.raises((AccessDenied, LookupError)):
        approvals.approve(waiting.id, by=Principal.anonymous())
    assert queue(self_approval=True)._self_approval
    with pytest.raises(AuthenticationError):
        approvals.request(mail(who=Principal.anonymous()))


def test_several_different_people_may_be_needed() -> None:
    approvals = queue(approvers=2)
    waiting = approvals.request(mail())
    assert approvals.approve(waiting.id, by=CHIEF).state == "pending"
    with pytest.raises(ValueError, match="another one"):
        approvals.approve(waiting.id, by=CHIEF)
    assert approvals.consume(mail()) is None
    assert approvals.approve(waiting.id, by=BOSS).state == "approved"
    assert approvals.consume(mail()) is not None


def test_a_policy_may_say_who_approves() -> None:
    approvals = queue(may=lambda by, request: by.id == "boss" and request.resource == "tool:send_email")
    waiting = approvals.request(mail())
    with pytest.raises(AccessDenied):
        approvals.approve(waiting.id, by=CHIEF)
    assert approvals.approve(waiting.id, by=BOSS).state == "approved"


def test_requests_and_approvals_expire() -> None:
    clock = FrozenClock()
    with capture_events() as events:
        approvals = queue(clock=clock, lifetime=100, use_within=10, events=events)
        late = approvals.request(mail("late"))
        unused = approvals.approve(approvals.request(mail()).id, by=CHIEF)
        clock.advance(11)
        assert approvals.consume(mail()) is None
        assert approvals.get(unused.id).state == "expired"
        clock.advance(100)
        with pytest.raises(LookupError):
            approvals.approve(late.id, by=CHIEF)
        assert approvals.list() == ()
    assert [event.type for event in events].count("approval.expired") == 2


def test_a_refusal_holds_and_an_approval_can_be_taken_back() -> None:
    approvals = queue()
    waiting = approvals.request(mail())
    approvals.approve(waiting.id, by=CHIEF)
    approvals.deny(waiting.id, by=BOSS, note="not to bob")
    assert approvals.consume(mail()) is None
    assert approvals.decide(mail()).code == "approval.refused"
    assert approvals.get(waiting.id).state == "denied"


def test_a_flood_of_requests_is_refused() -> None:
    approvals = queue()
    for number in range(20):
        approvals.request(mail(str(number)))
    with pytest.raises(ApprovalRequired) as caught:
        approvals.request(mail("one more"))
    assert caught.value.code == "approval.too_many"
    approvals.request(mail(who=BOSS))


@pytest.mark.parametrize(
    "forged",
    [
        "state = 'approved', expires = expires + 100000",
        "principal = 'eve'",
        "votes = '[[\"chief\", 1.0, \"\"]]', state = 'approved'",
        "approvers = 0",
        "tag = 'x'",
        "tag = x'00'",
    ],
)
def test_whoever_writes_the_database_alone_approves_nothing(tmp_path: Path, forged: str) -> None:
    approvals = Approvals(Storage(tmp_path / "aisecure.db"), approvers=2)
    waiting = approvals.request(mail())
    approvals.approve(waiting.id, by=CHIEF)
    with sqlite3.connect(tmp_path / "aisecure.db") as connection:
        connection.execute(f"UPDATE approvals SET {forged}")
    assert approvals.get(waiting.id).state == "tampered"
    with pytest.raises(IntegrityError) as caught:
        approvals.approve(waiting.id, by=BOSS)
        approvals.consume(mail())
    assert caught.value.code == "integrity.approval"


def test_arguments_are_kept_only_sealed_or_as_a_preview(tmp_path: Path) -> None:
    path = tmp_path / "aisecure.db"
    call = mail("marker-4711\x1b[2J")
    assert Approvals(Storage(path)).request(call).arguments == ""
    sealed = Approvals(Storage(path), cipher=FieldCipher(Keyring.generate()))
    sealed.erase("ann")
    shown = sealed.request(call)
    assert "marker-4711" in shown.arguments
    assert "\x1b" not in shown.arguments
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"marker" not in stored
    assert "marker" not in repr(shown) + repr(sealed)
    preview = queue(preview=lambda text: text.replace("marker-4711", "[X]"))
    assert preview.request(call).arguments == json.dumps({"to": "[X]\x1b[2J"}).replace(": ", ":")


def test_events_tell_who_and_never_what() -> None:
    with capture_events() as events:
        approvals = queue(events=events)
        approvals.approve(
            approvals.request(mail("marker-4711"), reason="marker-reason").id, by=CHIEF, note="marker-note"
        )
        approvals.consume(mail("marker-4711"))
    assert [(event.type, event.principal) for event in events] == [
        ("approval.requested", "ann"),
        ("approval.granted", "chief"),
        ("approval.used", "ann"),
    ]
    assert "marker" not in str([event.to_dict() for event in events])


def test_what_cannot_be_recorded_was_not_given() -> None:
    class Down:
        def record(self, event: object) -> None:
            if self.is_down:
                raise Unavailable

        is_down = True

    sink = Down()
    approvals = queue(events=sink)
    with pytest.raises(Unavailable):
        approvals.request(mail())
    assert approvals.list() == ()
    sink.is_down = False
    waiting = approvals.request(mail())
    sink.is_down = True
    with pytest.raises(Unavailable):
        approvals.approve(waiting.id, by=CHIEF)
    assert approvals.get(waiting.id).state == "pending"


def test_what_nobody_could_read_is_refused() -> None:
    approvals = queue()
    for value in (b"raw", "\ud800", float("nan")):
        with pytest.raises(InputRejected):
            approvals.request(mail(body=value))
    with pytest.raises(ApprovalRequired):
        approvals.request(Call(ANN, "call", "tool:\x1b[2J", {}))
    with pytest.raises(ValueError, match="note"):
        approvals.approve(approvals.request(mail()).id, by=CHIEF, note="a\nb")


def test_a_persons_requests_are_exported_and_erased() -> None:
    approvals = queue()
    approvals.request(mail())
    approvals.request(mail(who=BOSS))
    assert [one["principal"] for one in approvals.export("ann")] == ["ann"]
    assert approvals.erase("ann") == 1
    assert approvals.export("ann") == ()
    assert len(approvals.list()) == 1


_RACER = """
import sys
from aisecure import Principal
from aisecure.approvals import Approvals
from aisecure.call import Call
from aisecure.storage import Storage
approvals = Approvals(Storage(sys.argv[1]))
sys.stdin.readline()
used = [approvals.consume(Call(Principal("ann"), "call", "tool:pay", {"n": n})) is not None for n in range(5)]
print("".join("1" if one else "0" for one in used))
"""


def test_of_several_processes_one_uses_an_approval(tmp_path: Path) -> None:
    path = tmp_path / "aisecure.db"
    approvals = Approvals(Storage(path))
    for number in range(5):
        approvals.approve(approvals.request(Call(ANN, "call", "tool:pay", {"n": number})).id, by=CHIEF)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].strip() for racer in racers]
    assert [sum(int(one[number]) for one in said) for number in range(5)] == [1] * 5


def test_the_guard_asks_and_then_lets_through_once() -> None:
    approvals = queue()
    shield = Shield(ApprovalGuard(approvals, on="tool:pay", when=lambda call: call.input["amount"] > 100))

    @shield.protect("tool:pay", prompt="*")
    async def pay(to: str, amount: int = 500) -> str:
        return f"paid {amount} to {to}"

    with acting_as(ANN):
        assert asyncio.run(pay("bob", 50)) == "paid 50 to bob"
        with pytest.raises(ApprovalRequired) as caught:
            asyncio.run(pay("bob"))
        waiting = caught.value.problem()["approval_id"]
        approvals.approve(waiting, by=CHIEF)
        with pytest.raises(ApprovalRequired):
            asyncio.run(pay("bob", 501))
        assert asyncio.run(pay("bob")) == "paid 500 to bob"
        with pytest.raises(ApprovalRequired):
            asyncio.run(pay("bob"))


def test_in_shadow_nobody_is_asked() -> None:
    approvals = queue()

    @ApprovalGuard(approvals, shadow=True)
    def pay(to: str) -> str:
        return to

    with acting_as(ANN):
        assert pay("bob") == "bob"
    assert approvals.list() == ()
