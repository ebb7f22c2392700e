"""Calls that need a fresher or stronger login: as guard, as decorator of every kind of function, as values."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Principal, Shield
from aisecure.authn import StepUp, require_acr, require_amr, require_method, require_recent_auth
from aisecure.call import acting_as
from aisecure.decisions import Outcome
from aisecure.errors import AuthenticationError, StepUpRequired
from aisecure.testing import CapturedEvents, FrozenClock

NOW = FrozenClock().time()


def ana(*, age=None, method="jwt", **claims):
    return Principal("ana", method=method, claims=claims, authenticated_at=None if age is None else NOW - age)


class TestDecisions:
    @pytest.mark.parametrize(
        ("age", "recent"),
        [
            (0, True),
            (300, True),
            (300.5, False),
            (1e6, False),
            (None, False),
            (-60, True),
            (-61, False),
            (math.nan, False),
        ],
    )
    def test_a_login_is_recent_up_to_its_greatest_age_and_never_when_nobody_knows_it(self, age, recent):
        decision = require_recent_auth(300, clock=FrozenClock()).decide(ana(age=age))
        assert (decision is None) == recent

    def test_the_caller_is_told_how_recent_it_has_to_be(self):
        decision = require_recent_auth(300.9).decide(ana())
        assert (decision.outcome, decision.code) == (Outcome.STEP_UP, "step_up.required")
        assert decision.challenge == {"error": "insufficient_user_authentication", "max_age": "300"}
        with pytest.raises(StepUpRequired):
            decision.require()

    def test_a_method_is_one_of_those_named(self):
        guard = require_method("mtls", "jwt")
        assert [guard.decide(ana(method=method)) is None for method in ("mtls", "jwt", "api_key", "", "MTLS")] == [
            True, True, False, False, False,
        ]  # fmt: skip
        assert guard.decide(ana(method="api_key")).challenge == {"error": "insufficient_user_authentication"}

    def test_a_class_of_login_is_one_of_those_named_and_the_caller_is_told_which(self):
        guard = require_acr("phr", "phrh")
        assert guard.decide(ana(acr="phrh")) is None
        assert guard.decide(ana(acr="pwd")).challenge["acr_values"] == "phr phrh"

    @pytest.mark.parametrize("acr", [None, "", "phr ", "PHR", ["phr"], {"phr": 1}, 0, True, "phr phrh"])
    def test_no_other_value_of_acr_suffices(self, acr):
        assert require_acr("phr").decide(ana(acr=acr)) is not None

    @pytest.mark.parametrize(
        ("amr", "enough"),
        [
            (["pwd", "mfa"], True),
            (("mfa",), True),
            (["pwd"], False),
            ([], False),
            ("mfa", False),
            ({"mfa": 1}, False),
            (None, False),
            ([["mfa"]], False),
            ([None, 7], False),
        ],
        ids=str,
    )
    def test_a_means_is_one_of_the_list_in_the_token(self, amr, enough):
        assert (require_amr("mfa", "hwk").decide(ana(amr=amr)) is None) == enough

    def test_nobody_is_asked_to_log_in_and_not_to_step_up(self):
        for guard in (require_recent_auth(1), require_method("x"), require_acr("x"), require_amr("x")):
            assert guard.decide(Principal.anonymous()).code == "authn.missing"

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
    def test_no_claim_of_another_shape_suffices(self, value):
        assert require_acr("a strong one".replace(" ", "-")).decide(ana(acr=value)) is not None
        assert require_amr("a-strong-one").decide(ana(amr=value)) is not None

    @pytest.mark.parametrize("wrong", [(), ("",), ("two words",), (7,), (None,)])
    @pytest.mark.parametrize("make", [require_method, require_acr, require_amr])
    def test_one_or_more_words_are_named(self, make, wrong):
        with pytest.raises(ValueError, match="words"):
            make(*wrong)

    @pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan])
    def test_an_age_is_a_number_above_zero(self, wrong):
        with pytest.raises(ValueError, match="above 0"):
            require_recent_auth(wrong)


class TestDecorator:
    """Fresh and stale callers of every kind of function."""

    guard = require_recent_auth(300, clock=FrozenClock())

    def test_a_function(self):
        @self.guard
        def refund(order, amount, *, note=""):
            return order, amount, note

        with acting_as(ana(age=1)):
            assert refund("o-1", 5, note="n") == ("o-1", 5, "n")
        with acting_as(ana(age=301)), pytest.raises(StepUpRequired):
            refund("o-1", 5)
        with pytest.raises(AuthenticationError):
            refund("o-1", 5)

    def test_a_function_without_parameters_and_a_method(self):
        @self.guard
        def nothing():
            return 1

        class Desk:
            @self.guard
            def close(self, day, hour):
                return day, hour

        with acting_as(ana(age=1)):
            assert (nothing(), Desk().close(1, 2)) == (1, (1, 2))
        with acting_as(ana()):
            for call in (nothing, lambda: Desk().close(1, 2)):
                with pytest.raises(StepUpRequired):
                    call()

    def test_a_coroutine_function(self):
        @self.guard
        async def refund(order):
            return order

        async def run():
            with acting_as(ana(age=1)):
                assert await refund("o") == "o"
            with acting_as(ana()), pytest.raises(StepUpRequired):
                await refund("o")

        asyncio.run(run())

    def test_a_generator_runs_nothing_for_a_stale_login(self):
        ran = []

        @self.guard
        def pages(count):
            ran.append(count)
            yield from range(count)

        with acting_as(ana(age=1)):
            assert list(pages(2)) == [0, 1]
        with acting_as(ana()), pytest.raises(StepUpRequired):
            list(pages(2))
        assert ran == [2]

    def test_an_asynchronous_generator(self):
        @self.guard
        async def pages(count):
            for number in range(count):
                yield number

        async def run():
            with acting_as(ana(age=1)):
                assert [n async for n in pages(2)] == [0, 1]
            with acting_as(ana()), pytest.raises(StepUpRequired):
                [n async for n in pages(2)]

        asyncio.run(run())

    def test_several_stand_over_each_other(self):
        @require_method("mtls")
        @self.guard
        def wipe(disk):
            return disk

        with acting_as(ana(age=1)), pytest.raises(StepUpRequired):
            wipe("d")
        with acting_as(ana(age=1, method="mtls")):
            assert wipe("d") == "d"


class TestGuard:
    def test_in_a_shield_it_concerns_the_resources_it_names_and_leaves_an_event(self):
        events = CapturedEvents()
        shield = Shield(require_recent_auth(300, on="tool:refund", clock=FrozenClock()), sinks=[events])

        @shield.protect("tool:refund")
        def refund(text):
            return text

        @shield.protect("tool:look")
        def look(text):
            return text

        with shield.acting_as(ana()):
            assert look("x") == "x"
            with pytest.raises(StepUpRequired):
                refund("x")
        event = events.only("call.denied")
        assert (event.code, event.detail["guard"], event.principal) == ("step_up.required", "step_up", "ana")
        assert "too long ago" in event.reasons[1]

    def test_in_shadow_mode_it_only_watches(self):
        events = CapturedEvents()
        shield = Shield(require_method("mtls", shadow=True), sinks=[events])
        with shield.acting_as(ana()):
            assert shield.protect("tool:x")(lambda text: text)("y") == "y"
        assert events.types == ["guard.would_deny", "call.allowed"]

    def test_it_is_made_by_hand_for_a_rule_of_ones_own(self):
        night = StepUp(lambda principal: principal.tenant == "acme", "Only Acme.", {"scope": "night"})
        assert night.decide(Principal("a", tenant="acme")) is None
        assert night.decide(Principal("a")).challenge["scope"] == "night"
