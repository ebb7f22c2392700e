"""Deciding whether a principal may, beside pycasbin, and flat in the number of rules."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks._harness import Goal, Table, compare


def _policy(rules: int) -> str:
    lines = [f"p, role{number}, acme, document:{number}, read, allow" for number in range(rules - 2)]
    return "\n".join([*lines, "p, member, *, model:*, invoke, allow", "p, banned, *, *, *, deny", ""])


def run() -> bool:
    from aisecure import Principal
    from aisecure.access import Authorizer

    member = Principal("u-17", roles={"member"}, tenant="acme")
    small, large = Authorizer.from_text(policy=_policy(10)), Authorizer.from_text(policy=_policy(100_000))
    assert small.decide(member, "invoke", "model:support-bot").allowed
    assert not large.decide(member, "delete", "model:support-bot").allowed
    table = Table("May this member invoke this model?")
    table.add(
        "aisecure, 10 rules",
        partial(small.decide, member, "invoke", "model:support-bot"),
        Goal(8_000, "instructions"),
    )
    table.peer("pycasbin, 10 rules", partial(_pycasbin, 10))
    table.peer("pycasbin, 1,000 rules", partial(_pycasbin, 1_000))
    table.add(
        "aisecure, 100,000 rules",
        partial(large.decide, member, "invoke", "model:support-bot"),
        Goal(1.5, case="aisecure, 10 rules"),
    )
    return compare(table)


def _pycasbin(rules: int) -> Callable[[], object]:
    from casbin import Enforcer

    from aisecure.access import DEFAULT_MODEL

    with tempfile.TemporaryDirectory() as folder:
        model, policy = Path(folder, "model.conf"), Path(folder, "policy.csv")
        model.write_text(DEFAULT_MODEL)
        policy.write_text(_policy(rules) + "g, u-17, member, acme\n")
        enforcer = Enforcer(str(model), str(policy))
    assert enforcer.enforce("u-17", "acme", "model:support-bot", "invoke")
    return partial(enforcer.enforce, "u-17", "acme", "model:support-bot", "invoke")
