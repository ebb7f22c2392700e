"""Deciding whether a principal may, beside Casbin and Cedar, and flat in the number of rules and users.

Tenants with a tree of roles; a role has four rules: a literal path, two with parameters, one for all below, and now
and then one that denies. `casbin-fastapi-decorator` is not here: it needs the package ``casbin``, whose files are
those of ``pycasbin``.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks import _callgrind
from benchmarks._harness import Goal, Table, compare, show_sizes

MODEL = """
[request_definition]
r = sub, dom, obj, act
[policy_definition]
p = sub, dom, obj, act, eft
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && keyMatch2(r.obj, p.obj) && r.act == p.act
"""
#: Told to a child that measures one load in a process of its own.
_LOAD = "BENCHMARK_LOAD"
_LOADS = 5


class Data(NamedTuple):
    """Rules, links, and one request that is allowed."""

    rules: list[tuple[str, ...]]
    links: list[tuple[str, ...]]
    user: str
    path: str

    @property
    def text(self) -> str:
        lines = [("p", *rule) for rule in self.rules] + [("g", *link) for link in self.links]
        return "\n".join(map(", ".join, lines)) + "\n"


def data(rules: int, users: int) -> Data:
    rnd = random.Random(1)
    tenants = max(1, min(100, rules // 100))
    roles = max(1, rules // (4 * tenants))
    made: list[tuple[str, ...]] = []
    links: list[tuple[str, ...]] = []
    for tenant in range(tenants):
        for role in range(roles):
            if role:
                links.append((f"role{role}", f"role{(role - 1) // 3}", f"t{tenant}"))
            paths = (
                f"/svc{role}/items",
                f"/svc{role}/items/:id",
                f"/svc{role}/files/*",
                f"/svc{role}/parts/:part",
            )
            made += [
                (f"role{role}", f"t{tenant}", path, ("GET", "POST")[number % 2], "allow")
                for number, path in enumerate(paths)
            ]
            if role % 10 == 5:
                made[-1] = (f"role{role}", f"t{tenant}", f"/svc{role}/files/secret/*", "GET", "deny")
    mine = [(f"u{user}", f"role{rnd.randrange(roles)}", f"t{user % tenants}") for user in range(users)]
    user, role_name, _ = next(link for link in mine if link[2] == "t0")
    return Data(made[: max(rules, 4)], links + mine, user, f"/svc{role_name[4:]}/items")


def run() -> bool:
    if _LOAD in os.environ:
        rules, users = map(int, os.environ[_LOAD].split(","))
        _load_once(rules, users)
    # Each warning of a refused request would be what is measured.
    logging.getLogger("casbin").setLevel(logging.ERROR)
    tables = [_rules(), _users(), _built_in()]
    good = [compare(table) for table in tables]
    if _callgrind.alone() is None:
        good.append(_loads())
    return all(good)


def _rules() -> Table:
    table = Table("May this user read this path? By rules")
    for size in (10, 10_000, 100_000):
        for answer, path in (("allowed", ""), ("refused", "/nowhere/42")):
            flat = (
                Goal(1.5, case=f"aisecure, 10 rules, {answer}") if size > 10 else Goal(8_000, "instructions")
            )
            table.prepared(f"aisecure, {size:,} rules, {answer}", partial(_ours, size, 10, path), flat)
    for size in (10, 1_000):
        table.peer(f"pycasbin Enforcer, {size:,} rules", partial(_pycasbin, size, fast=False))
        table.peer(f"pycasbin FastEnforcer, {size:,} rules", partial(_pycasbin, size, fast=True))
        table.peer(f"cedarpy, {size:,} rules", partial(_cedar, size))
    return table


def _users() -> Table:
    table = Table("May this user read this path? By users")
    for users in (10, 100_000):
        ways = (
            ("one", partial(_ours, 10_000, users)),
            ("each in turn, again", partial(_everybody, users)),
        )
        for how, prepare in ways:
            goal = Goal(1.5, case=f"aisecure, 10 users, {how}") if users > 10 else None
            table.prepared(f"aisecure, {users:,} users, {how}", prepare, goal)
    return table


def _built_in() -> Table:
    """The built-in model, roles from the credential."""
    from aisecure import Principal
    from aisecure.access import Authorizer

    policy = "\n".join(
        [f"p, role{number}, acme, document:{number}, read, allow" for number in range(8)]
        + ["p, member, *, model:*, invoke, allow", "p, banned, *, *, *, deny"]
    )
    may = Authorizer.from_text(policy=policy)
    member = Principal("u-17", roles={"member"}, tenant="acme")
    banned = Principal("u-18", roles={"member", "banned"}, tenant="acme")
    reader = Principal("u-19", roles={"role5"}, tenant="acme")
    goal = Goal(8_000, "instructions")
    table = Table("May this member invoke this model?")
    table.add("allowed by a pattern", partial(may.decide, member, "invoke", "model:support-bot"), goal)
    table.add("allowed by name", partial(may.decide, reader, "read", "document:5"), goal)
    table.add("refused, no rule", partial(may.decide, member, "delete", "model:support-bot"), goal)
    table.add("refused by a rule", partial(may.decide, banned, "invoke", "model:support-bot"), goal)
    return table


def _ours(rules: int, users: int, path: str = "") -> Callable[[], object]:
    from aisecure import Principal
    from aisecure.access import Authorizer

    case = data(rules, users)
    may = Authorizer.from_text(model=MODEL, policy=case.text)
    user = Principal(case.user, tenant="t0")
    assert may.decide(user, "GET", path or case.path).allowed is not bool(path)
    return partial(may.decide, user, "GET", path or case.path)


def _everybody(users: int) -> Callable[[], object]:
    from itertools import cycle

    from aisecure import Principal
    from aisecure.access import Authorizer

    case = data(10_000, users)
    may = Authorizer.from_text(model=MODEL, policy=case.text)
    everybody = [Principal(name, tenant=tenant) for name, _, tenant in case.links if name[0] == "u"]
    for user in everybody:
        may.decide(user, "GET", case.path)
    turns = cycle(everybody)
    return lambda: may.decide(next(turns), "GET", case.path)


def _pycasbin(size: int, *, fast: bool) -> Callable[[], object]:
    import casbin
    from casbin.model import FastModel
    from casbin.persist.adapters.string_adapter import StringAdapter

    case = data(size, 10)
    if fast:
        model = FastModel([1, 3])
        model.load_model_from_text(MODEL)
        enforcer: Any = casbin.FastEnforcer(model, StringAdapter(case.text), cache_key_order=[1, 3])
    else:
        enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL), StringAdapter(case.text))
    assert enforcer.enforce(case.user, "t0", case.path, "GET")
    return partial(enforcer.enforce, case.user, "t0", case.path, "GET")


def _cedar(size: int) -> Callable[[], object]:
    import cedarpy

    case = data(size, 10)
    rules = [
        f'{"permit" if effect == "allow" else "forbid"}(principal in Role::"{tenant}/{role}", '
        f'action == Action::"{action}", resource) when {{ context.path like "{re.sub(r":[^/]+", "*", path)}" }};'
        for role, tenant, path, action, effect in case.rules
    ]
    parents: dict[tuple[str, str], list[dict[str, str]]] = {}
    for name, role, tenant in case.links:
        key = "User" if name[0] == "u" else "Role", f"{tenant}/{name}"
        parents.setdefault(key, []).append({"type": "Role", "id": f"{tenant}/{role}"})
    for role in [role["id"] for found in list(parents.values()) for role in found]:
        parents.setdefault(("Role", role), [])
    entities = [
        {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": found}
        for (kind, name), found in parents.items()
    ]
    policies, known = (
        cedarpy.PolicySet.from_str("\n".join(rules)),
        cedarpy.Entities.from_json_str(json.dumps(entities)),
    )
    request = {
        "principal": {"type": "User", "id": f"t0/{case.user}"},
        "action": {"type": "Action", "id": "GET"},
        "resource": {"type": "Api", "id": "t0"},
        "context": {"path": case.path},
    }
    assert cedarpy.is_authorized(request, policies, known).allowed
    return partial(cedarpy.is_authorized, request, policies, known)


def _loads() -> bool:
    """Load in processes of their own, so that what one leaves in memory does not serve another."""
    good = True
    for rules, users in ((10, 10), (10_000, 10_000), (100_000, 10_000), (100_000, 100_000)):
        told = {_LOAD: f"{rules},{users}"}
        found = [
            json.loads(
                subprocess.run(
                    [sys.executable, "-m", "benchmarks", "authorise"],
                    env={**os.environ, **told}, capture_output=True, text=True, check=True,
                ).stdout.splitlines()[-1]
            )
            for _ in range(_LOADS)
        ]  # fmt: skip
        cpu, first, resident = (min(one[number] for one in found) for number in range(3))
        with_goal = (rules, users) == (100_000, 10_000)
        good &= show_sizes(
            f"Load {rules:,} rules and {users:,} users",
            [
                ("CPU time", cpu, "ms", 200 if with_goal else None),
                ("first decision", first, "ms", 5 if with_goal else None),
                ("resident", resident, "MiB", 60 if with_goal else None),
            ],
        )
    return good


def _load_once(rules: int, users: int) -> None:
    from aisecure import Principal
    from aisecure.access import Authorizer

    case = data(rules, users)
    text, user = case.text, Principal(case.user, tenant="t0")
    Authorizer.from_text(model=MODEL, policy="p, a, b, /c, d, allow").decide(user, "GET", "/c")  # imports
    path = case.path
    del case
    gc.collect()
    before, begin = _resident(), time.process_time()
    may = Authorizer.from_text(model=MODEL, policy=text)
    loaded = time.process_time()
    assert may.decide(user, "GET", path).allowed
    first = time.process_time()
    print(json.dumps([(loaded - begin) * 1e3, (first - loaded) * 1e3, _resident() - before]))
    sys.stdout.flush()
    os._exit(0)


def _resident() -> float:
    """Return resident MiB, where the system tells."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0
