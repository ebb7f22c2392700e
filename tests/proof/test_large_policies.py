"""Policies far larger than anybody keeps: they load, answer rightly, and stay within a bounded memory."""

from __future__ import annotations

import random
import tracemalloc
from collections import defaultdict

import pytest

from aisecure import Principal
from aisecure.access import Authorizer

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]


def _rule(number: int) -> tuple[str, str, str, str, str]:
    effect = "deny" if number % 10 == 9 else "allow"
    resource = f"document:{number // 20}" if number % 3 else f"folder:{number // 20}*"
    return f"role{number % 1000}", f"t{number % 7}", resource, ("read", "write")[number % 2], effect


def test_a_million_rules_answer_as_one_does() -> None:
    rules = [_rule(number) for number in range(1_000_000)]
    text = "\n".join("p, " + ", ".join(rule) for rule in rules)
    may = Authorizer.from_text(policy=text)
    assert (may.rules, may.compiled) == (1_000_000, True)
    alike: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for role, tenant, resource, action, effect in rules:
        alike[role, tenant, action].append((resource, effect))
    rnd = random.Random(4)
    answers = set()
    for number in rnd.sample(range(len(rules)), 5_000):
        role, tenant, resource, action, _ = rules[number]
        asked = resource.replace("*", rnd.choice(["", "x", "7"]))
        for who in (role, f"role{rnd.randrange(1000)}"):
            effects = {
                effect
                for written, effect in alike[who, tenant, action]
                if (asked.startswith(written[:-1]) if written.endswith("*") else written == asked)
            }
            told = may.decide(Principal("u", roles={who}, tenant=tenant), action, asked)
            assert told.allowed is (effects == {"allow"}), (who, rules[number])
            answers.add(told.code)
    assert answers == {"ok", "access.denied", "access.rule"}


def test_a_million_unknown_names_leave_nothing_behind() -> None:
    may = Authorizer.from_text(policy="p, member, *, model:*, invoke, allow\ng, lead, member, *")
    tracemalloc.start()
    try:
        for number in range(200_000):  # more than are remembered
            may.decide(Principal(f"u{number}", roles={f"r{number}"}), "invoke", f"model:{number}")
        before = tracemalloc.get_traced_memory()[0]
        for number in range(200_000, 1_000_000):
            may.decide(Principal(f"u{number}", roles={f"r{number}"}), "invoke", f"model:{number}")
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 40 * 2**20


def test_a_ring_of_a_hundred_thousand_roles_ends() -> None:
    links = "\n".join(f"g, r{number}, r{(number + 1) % 100_000}, *" for number in range(100_000))
    may = Authorizer.from_text(policy="p, r5, *, x, read, allow\n" + links)
    assert may.decide(Principal("u", roles={"r5"}), "read", "x").allowed
    assert may.decide(Principal("u", roles={"r2"}), "read", "x").allowed
    assert not may.decide(Principal("u", roles={"r6"}), "read", "x").allowed
