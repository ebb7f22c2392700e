"""Failed attempts are counted, and a right credential passes whatever strangers do."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Principal, Shield
from aisecure.adapters._problems import body_of, headers_of, status_of
from aisecure.authn import ApiKeys, AuthenticationGuard, MemoryKeyStore, Throttle, refused
from aisecure.authn import throttle as module
from aisecure.authn.text import _checksum
from aisecure.call import Call, Credential
from aisecure.errors import AuthenticationError, Unavailable
from aisecure.testing import FrozenClock, capture_events

WRONG = refused("The secret is wrong.")


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def throttle(clock, events):
    return Throttle(failures=3, seconds=60, clock=clock, events=events)


def _codes(throttle, times, **who):
    return [throttle.failed(WRONG, **who).code.partition(".")[2] for _ in range(times)]


class TestCounts:
    def test_so_many_may_fail_at_once_and_then_one_an_interval(self, throttle, clock):
        assert _codes(throttle, 5, source="192.0.2.7") == ["invalid"] * 3 + ["throttled"] * 2
        clock.advance(19.9)
        assert _codes(throttle, 1, source="192.0.2.7") == ["throttled"]
        clock.advance(0.1)
        assert _codes(throttle, 2, source="192.0.2.7") == ["invalid", "throttled"]
        clock.advance(60)
        assert _codes(throttle, 4, source="192.0.2.7") == ["invalid"] * 3 + ["throttled"]

    def test_a_refusal_says_how_long_to_wait_and_waiting_so_long_helps(self, throttle, clock):
        _codes(throttle, 3, source="192.0.2.7")
        clock.advance(5)
        wait = throttle.failed(WRONG, source="192.0.2.7").retry_after
        assert wait == pytest.approx(15)
        clock.advance(wait)
        assert _codes(throttle, 1, source="192.0.2.7") == ["invalid"]

    def test_attempts_that_are_refused_do_not_lengthen_the_wait(self, throttle, clock):
        _codes(throttle, 1000, source="192.0.2.7")
        clock.advance(20)
        assert _codes(throttle, 1, source="192.0.2.7") == ["invalid"]

    def test_sources_and_key_ids_are_counted_apart(self, throttle):
        assert _codes(throttle, 4, source="192.0.2.7")[-1] == "throttled"
        assert _codes(throttle, 1, source="192.0.2.8") == ["invalid"]
        assert _codes(throttle, 3, source="192.0.2.9", key_id="A")[-1] == "invalid"
        assert _codes(throttle, 1, source="192.0.2.10", key_id="A") == ["throttled"]
        assert _codes(throttle, 1, source="192.0.2.11", key_id="B") == ["invalid"]

    def test_a_source_and_a_key_id_of_the_same_name_are_two(self, throttle):
        _codes(throttle, 4, source="A")
        assert _codes(throttle, 1, key_id="A") == ["invalid"]

    def test_an_unknown_source_without_a_key_id_is_not_counted(self, throttle):
        assert _codes(throttle, 100) == ["invalid"] * 100

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True), ("2001:db8:1:2::1", "2001:0DB8:1:2::1", True),
         ("2001:db8:1:2::1", "2001:db8:1:3::1", False), ("::ffff:192.0.2.7", "192.0.2.7", True), ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
         ("fe80::1%eth0", "fe80::1%eth1", True), ("192.0.2.7", "192.0.2.70", False), ("not:an:address", "not:an:other", False)],
    )  # fmt: skip
    def test_ipv6_is_counted_by_its_64_bits_of_network(self, throttle, one, other, same):
        _codes(throttle, 4, source=one)
        assert _codes(throttle, 1, source=other) == ["throttled" if same else "invalid"]

    @pytest.mark.parametrize(
        "name",
        ["\0", "\ud800", "x" * 1_000_000, "::" * 500_000, "%", "[::1]:80"],
        ids=lambda name: f"{name[:4]!a}",
    )
    def test_any_text_is_a_name(self, throttle, name):
        assert _codes(throttle, 4, source=name) == ["invalid"] * 3 + ["throttled"]

    def test_threads_lose_no_count(self, clock):
        throttle = Throttle(failures=500, seconds=3600, clock=clock)
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda _: throttle.failed(WRONG, source="192.0.2.7").code, range(800)))
        assert codes.count("authn.invalid") == 500

    def test_memory_stays_the_same_whatever_comes(self, throttle):
        before = len(throttle._stamps), len(throttle._told)
        for number in range(2_000):
            throttle.failed(WRONG, source=f"192.0.{number >> 8}.{number & 255}", key_id=f"{number:012}")
        assert (len(throttle._stamps), len(throttle._told)) == before

    def test_who_sprays_over_many_names_does_not_push_out_a_count(self, throttle):
        _codes(throttle, 3, source="192.0.2.7")
        for number in range(5_000):
            throttle.failed(WRONG, source=f"2001:db8:{number:x}::1")
        assert _codes(throttle, 1, source="192.0.2.7") == ["throttled"]

    @given(
        steps=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=60),
        failures=st.integers(1, 5),
    )
    def test_no_window_holds_more_than_twice_the_allowance_and_none_is_refused_below_it(
        self, steps, failures
    ):
        clock = FrozenClock()
        throttle = Throttle(failures=failures, seconds=60, clock=clock)
        passed = {"a": [], "b": []}
        for pause, name in steps:
            clock.advance(pause)
            now = clock.monotonic()
            recent = [at for at in passed[name] if now - at < 60]
            if throttle.failed(WRONG, source=name).code == "authn.invalid":
                assert len(recent) < 2 * failures
                passed[name].append(now)
            else:
                assert len(recent) >= failures

    @pytest.mark.parametrize(
        "options",
        [{"failures": 0}, {"seconds": 0}, {"seconds": float("nan")}, {"seconds": 1e12}, {"refuse": "right"}],
        ids=repr,
    )
    def test_settings_that_make_no_sense_are_value_errors(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            Throttle(**options)


class TestTelling:
    def test_it_is_told_once_a_period_with_source_and_key_id(self, throttle, clock, events):
        _codes(throttle, 50, source="192.0.2.7", key_id="A" * 12)
        by = {event.detail["by"]: event for event in events}
        assert len(events) == 2
        assert set(by) == {"source", "key_id"}
        event = by["key_id"]
        assert (event.type, event.source, event.code) == ("authn.throttled", "192.0.2.7", "authn.throttled")
        assert dict(event.detail) == {"by": "key_id", "key_id": "A" * 12, "failures": 3, "seconds": 60}
        clock.advance(60)
        _codes(throttle, 50, source="192.0.2.7")
        assert len(events) == 3

    def test_the_log_hears_both_reasons_and_the_caller_one_that_says_nothing(self, throttle):
        _codes(throttle, 3, source="192.0.2.7")
        public, why, reason = throttle.failed(WRONG, source="192.0.2.7").reasons
        assert public == "Too many failed attempts: wait before the next one."
        assert why == "More than 3 attempts from this source failed within 60 seconds."
        assert reason == "The secret is wrong."

    def test_it_prints_no_source(self, throttle):
        _codes(throttle, 4, source="192.0.2.7")
        assert repr(throttle) == "Throttle(failures=3, seconds=60, refuse='wrong')"


def _wrong_secret_for(secret):
    head, _, tail = secret.rpartition("_")
    body = f"{head}_{'0' * 30 if tail[0] != '0' else '1' * 30}"
    return body + _checksum(body)


class TestGuard:
    @pytest.fixture
    def keys(self):
        return ApiKeys(MemoryKeyStore(), pepper=bytes(32))

    def _shield(self, keys, throttle, **options):
        return Shield(AuthenticationGuard(keys, throttle=throttle, **options))

    def _ask(self, shield, secret, source="192.0.2.7"):
        call = Call(
            Principal.anonymous(),
            "invoke",
            "model:echo",
            source=source,
            credential=Credential("bearer", secret),
        )
        try:
            return shield.authenticate(call).principal.id
        except AuthenticationError as err:
            return err

    def test_too_many_wrong_keys_are_429_with_the_time_to_wait(self, keys, throttle):
        shield = self._shield(keys, throttle)
        errors = [self._ask(shield, "ais_live_junk") for _ in range(4)]
        assert [(err.code, status_of(err)) for err in errors] == [("authn.invalid", 401)] * 3 + [
            ("authn.throttled", 429)
        ]
        assert dict(headers_of(errors[-1]))["retry-after"] == "20"
        assert b"Too many failed attempts" in body_of(errors[-1], "r-1")

    def test_a_stranger_cannot_lock_out_the_owner_of_a_key(self, keys, throttle):
        """Neither from elsewhere, nor from behind the same address, nor with the key's id."""
        shield = self._shield(keys, throttle)
        owner = keys.create("ana")
        wrong = _wrong_secret_for(owner.secret)
        for source in ("203.0.113.9", "192.0.2.7"):
            for _ in range(50):
                self._ask(shield, wrong, source)
            assert self._ask(shield, wrong, source).code == "authn.throttled"
        assert self._ask(shield, owner.secret, "192.0.2.7") == "ana"
        assert self._ask(shield, owner.secret, "203.0.113.9") == "ana"

    def test_a_key_id_that_exists_and_one_that_does_not_are_throttled_alike(self, keys, throttle):
        shield = self._shield(keys, throttle)
        known, gone = (_wrong_secret_for(keys.create(name, tenant=name).secret) for name in ("known", "gone"))
        keys.erase("gone", tenant="gone")
        codes = {
            secret: [self._ask(shield, secret, f"198.51.{number}.{times}").code for times in range(5)]
            for number, secret in enumerate((known, gone))
        }
        assert codes[known] == codes[gone] == ["authn.invalid"] * 3 + ["authn.throttled"] * 2

    def test_a_success_clears_nothing(self, keys, throttle):
        shield = self._shield(keys, throttle)
        good = keys.create("mallory").secret
        for _ in range(3):
            self._ask(shield, "ais_live_junk")
            assert self._ask(shield, good) == "mallory"
        assert self._ask(shield, "ais_live_junk").code == "authn.throttled"

    def test_a_call_without_credential_is_no_attempt(self, keys, throttle):
        shield = self._shield(keys, throttle)
        call = Call(Principal.anonymous(), "invoke", "model:echo", source="192.0.2.7")
        for _ in range(10):
            with pytest.raises(AuthenticationError) as caught:
                shield.authenticate(call)
            assert caught.value.code == "authn.missing"
        assert self._ask(shield, "ais_live_junk").code == "authn.invalid"

    def test_a_store_that_is_gone_is_no_failed_attempt(self, throttle):
        class Gone(MemoryKeyStore):
            def find(self, key_id):
                raise Unavailable

        keys = ApiKeys(Gone(), pepper=bytes(32))
        secret = keys._text.new()[0]
        shield = self._shield(keys, throttle)
        for _ in range(10):
            with pytest.raises(Unavailable):
                self._ask(shield, secret)
        assert self._ask(shield, "ais_live_junk").code == "authn.invalid"

    def test_a_credential_of_a_foreign_kind_counts(self, keys, throttle):
        shield = self._shield(keys, throttle)
        assert [self._ask(shield, "eyJ.junk").code for _ in range(4)][-1] == "authn.throttled"

    def test_in_shadow_nobody_is_refused_and_everybody_is_known(self, keys, clock, events):
        throttle = Throttle(failures=3, seconds=60, refuse="all", clock=clock, events=events)
        guard = AuthenticationGuard(keys, throttle=throttle, shadow=True)
        shield = Shield(guard, sinks=[events])
        for _ in range(5):
            assert self._ask(shield, "ais_live_junk") == ""
        assert self._ask(shield, keys.create("ana").secret) == "ana"
        codes = [event.code for event in events if event.type == "guard.would_deny"]
        assert codes == ["authn.invalid"] * 3 + ["authn.throttled"] * 2
        assert len([event for event in events if event.type == "authn.throttled"]) == 1

    def test_coroutines_are_counted_the_same(self, throttle):
        class Slow:
            name = "slow"

            def takes(self, credential):
                return True

            def authenticate(self, credential):
                raise AssertionError

            async def aauthenticate(self, credential):
                return WRONG

        shield = Shield(AuthenticationGuard(Slow(), throttle=throttle))

        async def ask():
            call = Call(
                Principal.anonymous(), "invoke", "x", source="192.0.2.7", credential=Credential("bearer", "x")
            )
            codes = []
            for _ in range(4):
                with pytest.raises(AuthenticationError) as caught:
                    await shield.aauthenticate(call)
                codes.append(caught.value.code)
            return codes

        assert asyncio.run(ask()) == ["authn.invalid"] * 3 + ["authn.throttled"]


class TestRefuseAll:
    """For secrets that can be guessed."""

    class Pin:
        name = "pin"
        aauthenticate = None
        asked = 0

        def takes(self, credential):
            return True

        def authenticate(self, credential):
            self.asked += 1
            return Principal("ana") if credential.value == "1234" else WRONG

    @pytest.fixture
    def guard(self, clock, events):
        return AuthenticationGuard(
            self.Pin(), throttle=Throttle(failures=3, seconds=60, refuse="all", clock=clock, events=events)
        )

    def _ask(self, guard, value, source="192.0.2.7"):
        call = Call(
            Principal.anonymous(), "invoke", "x", source=source, credential=Credential("bearer", value)
        )
        answer = guard.identify(call)
        return getattr(answer, "code", "ok")

    def test_nothing_of_a_source_above_its_limit_is_checked(self, guard, events, clock):
        codes = [self._ask(guard, f"{pin:04}") for pin in range(1230, 1240)]
        assert codes == ["authn.invalid"] * 3 + ["authn.throttled"] * 7
        assert guard.methods[0].asked == 3
        assert self._ask(guard, "1234") == "authn.throttled"
        assert events.only("authn.throttled").detail["by"] == "source"
        clock.advance(20)
        assert self._ask(guard, "1234") == "ok"

    def test_other_sources_and_unknown_ones_go_on(self, guard):
        for _ in range(5):
            self._ask(guard, "0000")
        assert self._ask(guard, "1234", "192.0.2.8") == "ok"
        assert self._ask(guard, "1234", "") == "ok"


def test_places_are_a_power_of_two():
    assert module._PLACES & (module._PLACES - 1) == 0
