"""The models that Casbin's documentation describes, as data."""

from __future__ import annotations

import json
from pathlib import Path

import casbin
import pytest
from casbin.persist.adapters.string_adapter import StringAdapter

from aisecure.access import Authorizer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "casbin_models.json").read_text("utf-8"))
CASES = VECTORS["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
class TestModel:
    def test_answers_are_the_expected_ones(self, case):
        may = Authorizer.from_text(model="\n".join(case["model"]), policy="\n".join(case["policy"]))
        assert may.compiled is case["compiled"], may.reason
        assert bool(may.reason) is not may.compiled
        for request in case["requests"]:
            assert may.enforce(*request["ask"]) is request["expected"], request

    def test_expected_answers_are_pycasbins(self, case):
        model = casbin.Enforcer.new_model(text="\n".join(case["model"]))
        enforcer = casbin.Enforcer(model, StringAdapter("\n".join(case["policy"])))
        for request in case["requests"]:
            assert enforcer.enforce(*request["ask"]) is request["expected"], request
