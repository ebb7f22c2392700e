"""The models and policies that Casbin's own projects give as examples: the same answers, or a difference with its reason."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import casbin
import pytest
from casbin.persist.adapters.string_adapter import StringAdapter

from aisecure.access import Authorizer
from aisecure.errors import Misconfigured

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "casbin_examples.json").read_text("utf-8"))
CASES = VECTORS["cases"]
ANSWERED = [case for case in CASES if "refused" not in case]
REFUSED = [case for case in CASES if "refused" in case]
#: Most requests of one example; pycasbin takes a tenth of a millisecond for each rule.
MOST = 600
STRANGERS = ["zz", ""]


def text(name: str) -> str:
    return "\n".join(VECTORS["files"][name]["lines"]) if name else ""


def fields(model: str, section: str) -> list[str]:
    line = next(line for line in model.split("\n") if line.startswith(f"{section} ="))
    return [field.strip() for field in line.partition("=")[2].split(",")]


def value(written: object) -> object:
    return SimpleNamespace(**written["attributes"]) if isinstance(written, dict) else written


def requests(case: dict) -> list[tuple]:
    """Every combination of the policy's names, or as many of them as are bearable."""
    model = text(case["model"])
    names: dict[str, list] = {field: [] for field in fields(model, "r")}
    same = {"role": "user"}
    for line in text(case["policy"]).split("\n"):
        kind, *written = line.split(", ")
        for field, known in names.items():
            if kind == "p":
                pairs = zip(fields(model, "p"), written, strict=False)
                known.extend([name for one, name in pairs if same.get(one, one) == field])
            elif field == "dom":
                known.extend(written[2:] or written[:2])
            elif field not in ("act", "action"):
                known.extend(written[:2])
    only, more = case.get("only", {}), case.get("ask", {})
    columns = [
        list(dict.fromkeys([*known, *more.get(field, ()), *STRANGERS]))
        if field not in only
        else map(value, only[field])
        for field, known in names.items()
    ]
    found = list(product(*columns))
    random.Random(7).shuffle(found)
    return found[:MOST]


def theirs(case: dict) -> casbin.Enforcer:
    model = casbin.Enforcer.new_model(text=text(case["model"]))
    if not case["policy"]:
        return casbin.Enforcer(model)
    enforcer = casbin.Enforcer(model, StringAdapter(text(case["policy"])))
    if "shared_tenant" in case:
        shared = case["shared_tenant"]
        enforcer.add_named_domain_matching_func("g", lambda asked, written: written in (asked, shared))
        enforcer.build_role_links()
    return enforcer


def ours(case: dict) -> Authorizer:
    return Authorizer.from_text(
        model=text(case["model"]), policy=text(case["policy"]), shared_tenant=case.get("shared_tenant")
    )


@pytest.mark.parametrize("case", ANSWERED, ids=[case["id"] for case in ANSWERED])
def test_an_example_of_casbin_is_answered_as_pycasbin_does(case):
    may, enforcer = ours(case), theirs(case)
    answers = []
    for request in requests(case):
        want = enforcer.enforce(*request)
        answers.append(want)
        if "difference" in case:
            assert not may.enforce(*request)
        else:
            assert may.enforce(*request) is want, request
    assert (True in answers) is ("never" not in case)  # the comparison says something


@pytest.mark.parametrize("case", REFUSED, ids=[case["id"] for case in REFUSED])
def test_an_example_with_a_part_that_casbin_does_not_know_is_refused(case):
    with pytest.raises(Misconfigured, match=case["refused"]):
        ours(case)


def test_the_index_knows_the_examples():
    interpreted = {case["model"] for case in ANSWERED if not ours(case).compiled}
    assert interpreted == set()
