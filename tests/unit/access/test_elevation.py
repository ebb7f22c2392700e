"""Roles for a while, and broken glass."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aisecure import Shield
from aisecure.access import AccessGuard, Authorizer, ElevationGuard, Elevations
from aisecure.call import acting_as
from aisecure.errors import AccessDenied, Unavailable
from aisecure.notices import LocalNotices, StoredNotices
from aisecure.principal import Principal
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, capture_events

POLICY = """\
p, chief, acme, role:auditor, elevate, allow
p, oncall, acme, role:rescuer, break-glass, allow
p, auditor, acme, ledger, read, allow
p, rescuer, acme, ledger, read, allow
"""
CHIEF = Principal("chief-1", roles={"chief"}, tenant="acme")
ANN = Principal("ann", tenant="acme")
ONCALL = Principal("olga", roles={"oncall"}, tenant="acme")
WHY = "Yearly audit, ticket 4711"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def storage(tmp_path):
    storage = Storage(tmp_path / "aisecure.db")
    yield storage
    storage.close()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def may():
    return Authorizer.from_text(policy=POLICY)


@pytest.fixture
def elevations(storage, may, clock, events):
    return Elevations(storage, authorizer=may, clock=clock, notices=LocalNotices(), events=events)


@pytest.fixture
def read(elevations, may, events, clock):
    shield = Shield(ElevationGuard(elevations, events=events, clock=clock), AccessGuard(may), sinks=[events])

    @shield.protect("ledger", action="read")
    def ledger(query: str) -> str:
        return "1,000"

    def read(principal):
        with acting_as(principal):
            return ledger("all")

    return read


class TestGranted:
    def test_roles_count_until_their_time_is_over_and_not_a_moment_longer(self, elevations, read, clock):
        with pytest.raises(AccessDenied):
            read(ANN)
        elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
        assert read(ANN) == "1,000"
        clock.advance(599.9)
        assert read(ANN) == "1,000"
        clock.advance(0.1)
        with pytest.raises(AccessDenied):
            read(ANN)

    def test_a_clock_that_is_set_back_does_not_lengthen_them(self, elevations, read, clock, monkeypatch):
        elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
        read(ANN)
        began = clock.time()
        clock.advance(600)
        monkeypatch.setattr(clock, "time", lambda: began)
        with pytest.raises(AccessDenied):
            read(ANN)

    def test_they_can_be_ended_before(self, elevations, read):
        held = elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
        assert elevations.end(held.id, by=CHIEF)
        assert not elevations.end(held.id, by=CHIEF)
        with pytest.raises(AccessDenied):
            read(ANN)

    def test_they_are_of_one_person_in_one_tenant(self, elevations, read):
        elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
        for other in (
            Principal("ann", tenant="globex"),
            Principal("Ann", tenant="acme"),
            Principal.anonymous(),
        ):
            assert elevations.active(other) == ()

    def test_they_are_told_to_the_log_without_the_reason(self, elevations, read, events):
        held = elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason="marker: why it is done")
        event = events.of_type("access.elevated")[0]
        assert (event.principal, event.tenant) == ("chief-1", "acme")
        assert event.detail == {"elevation": held.id, "subject": "ann", "roles": ["auditor"], "seconds": 600}
        assert "marker" not in repr(events) + repr(held) + repr(elevations)

    @pytest.mark.parametrize(
        "by",
        [
            Principal("bob", tenant="acme"),
            Principal("chief-1", roles={"chief"}, tenant="globex"),
            Principal.anonymous(),
            ONCALL,
        ],
    )
    def test_by_nobody_whom_the_policy_does_not_let(self, elevations, by):
        with pytest.raises(AccessDenied):
            elevations.grant(by, "ann", ["auditor"], seconds=600, reason=WHY)
        assert elevations.list() == ()

    def test_to_another_tenant_only_from_there(self, elevations):
        with pytest.raises(AccessDenied):
            elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY, tenant="globex")

    def test_each_role_has_to_be_allowed(self, elevations):
        with pytest.raises(AccessDenied):
            elevations.grant(CHIEF, "ann", ["auditor", "rescuer"], seconds=600, reason=WHY)

    def test_not_to_himself(self, elevations, storage, may):
        with pytest.raises(AccessDenied) as caught:
            elevations.grant(CHIEF, "chief-1", ["auditor"], seconds=600, reason=WHY)
        assert caught.value.code == "access.four_eyes"
        alone = Elevations(storage, authorizer=may, four_eyes=False, notices=LocalNotices())
        assert alone.grant(CHIEF, "chief-1", ["auditor"], seconds=600, reason=WHY).principal == "chief-1"

    @pytest.mark.parametrize(
        ("changed", "error"),
        [
            ({"seconds": 0}, ValueError), ({"seconds": -1}, ValueError), ({"seconds": 8 * 3600 + 1}, ValueError),
            ({"seconds": float("nan")}, ValueError), ({"seconds": True}, ValueError), ({"seconds": "600"}, ValueError),
            ({"reason": ""}, ValueError), ({"reason": "short"}, ValueError), ({"reason": " " * 20}, ValueError),
            ({"reason": "x" * 501}, ValueError), ({"reason": "line\nbreak in it"}, ValueError), ({"reason": None}, TypeError),
            ({"roles": []}, ValueError), ({"roles": "auditor"}, TypeError), ({"roles": [1]}, TypeError),
            ({"roles": ["a\0"]}, ValueError), ({"principal_id": ""}, ValueError), ({"principal_id": "a\n"}, ValueError),
            ({"principal_id": "x" * 1_000_000}, ValueError), ({"principal_id": "\ud800"}, ValueError),
        ],
    )  # fmt: skip
    def test_only_with_values_that_make_sense(self, storage, changed, error):
        values = {"principal_id": "ann", "roles": ["auditor"], "seconds": 600, "reason": WHY} | changed
        elevations = Elevations(storage, notices=LocalNotices())
        with pytest.raises(error):
            elevations.grant(CHIEF, values.pop("principal_id"), values.pop("roles"), **values)
        assert elevations.list(all_=True) == ()


class TestBrokenGlass:
    def test_is_loud_and_each_call_tells_of_it(self, elevations, read, events):
        held = elevations.break_glass(ONCALL, "rescuer", reason="Production is down, ticket 1")
        assert read(ONCALL) == "1,000"
        assert events.of_type("access.break_glass")[0].severity == "critical"
        used = events.of_type("access.break_glass_used")[0]
        assert (used.principal, used.resource, used.detail["elevation"]) == ("olga", "ledger", [held.id])

    @pytest.mark.parametrize(
        "principal", [ANN, CHIEF, Principal.anonymous(), Principal("olga", tenant="acme")]
    )
    def test_only_for_whom_the_policy_trusts_with_it(self, elevations, principal):
        with pytest.raises(AccessDenied):
            elevations.break_glass(principal, "rescuer", reason="Production is down, ticket 1")

    def test_for_an_hour_at_most(self, elevations):
        with pytest.raises(ValueError, match="3600"):
            elevations.break_glass(ONCALL, "rescuer", reason="Production is down, ticket 1", seconds=3601)

    def test_what_cannot_be_recorded_is_not_given(self, storage, may):
        class Full:
            def record(self, event):
                raise Unavailable("disk full")

        elevations = Elevations(storage, authorizer=may, notices=LocalNotices(), events=Full())
        with pytest.raises(Unavailable):
            elevations.break_glass(ONCALL, "rescuer", reason="Production is down, ticket 1")
        assert elevations.active(ONCALL) == ()
        assert elevations.list(all_=True) == ()


class TestStore:
    def test_other_processes_hear_of_it(self, storage, may):
        mine = Elevations(storage, notices=StoredNotices(storage, poll_seconds=0))
        done = subprocess.run(
            [sys.executable, "-c", _GRANTS, storage.path], capture_output=True, text=True, check=True
        )
        assert [held.id for held in mine.active(ANN)] == [done.stdout.strip()]

    def test_a_store_that_is_gone_leaves_ordinary_roles_and_is_told_once(self, storage, may, events, clock):
        class Down(LocalNotices):
            is_down = False

            def version(self, topic):
                if self.is_down:
                    raise Unavailable("no answer")
                return super().version(topic)

        notices = Down()
        guard = ElevationGuard(Elevations(storage, notices=notices, clock=clock), events=events, clock=clock)
        notices.is_down = True
        shield = Shield(guard, AccessGuard(may), sinks=[events])

        @shield.protect("ledger", action="read")
        def ledger(query: str) -> str:
            return "1,000"

        for _ in range(3):
            with acting_as(Principal("u", roles={"auditor"}, tenant="acme")):
                assert ledger("all") == "1,000"
        assert len(events.of_type("access.elevations_unseen")) == 1
        assert guard.health()["ok"] is False

    def test_exports_and_erases_a_person(self, elevations):
        elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
        assert elevations.export("ann", tenant="acme")[0]["reason"] == WHY
        assert elevations.export("ann", tenant="globex") == ()
        assert elevations.erase("ann", tenant="acme") == 1
        assert elevations.active(ANN) == ()
        assert elevations.export("ann", tenant="acme") == ()

    def test_many_at_once_are_all_kept(self, storage):
        def grant(number):
            with_own = Elevations(storage, notices=LocalNotices())
            return with_own.grant(CHIEF, f"user-{number}", ["auditor"], seconds=600, reason=WHY).id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(grant, range(40)))
        assert {held.id for held in Elevations(storage, notices=LocalNotices()).list()} == ids

    def test_threads_that_ask_while_it_changes_see_one_state_or_the_other(self, elevations):
        done = threading.Event()
        answers = set()

        def ask():
            while not done.is_set():
                answers.add(len(elevations.active(ANN)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            held = elevations.grant(CHIEF, "ann", ["auditor"], seconds=600, reason=WHY)
            elevations.end(held.id, by=CHIEF)
        done.set()
        for thread in threads:
            thread.join()
        assert answers <= {0, 1}
        assert elevations.active(ANN) == ()


_GRANTS = """
import sys
from aisecure.access import Elevations
from aisecure.principal import Principal
from aisecure.storage import Storage
elevations = Elevations(Storage(sys.argv[1]))
print(elevations.grant(Principal("c", tenant="acme"), "ann", ["auditor"], seconds=600, reason="Yearly audit, ticket 1").id)
"""


def test_the_guard_takes_elevations():
    with pytest.raises(TypeError):
        ElevationGuard(None)


def test_the_settings_switch_it_on(tmp_path):
    (tmp_path / "aisecure.toml").write_text("[access]\nelevation = true\n")
    with Shield.from_config(tmp_path / "aisecure.toml") as shield:
        assert [guard.name for guard in shield.guards][:3] == ["authn", "elevation", "access"]
        assert shield.part(Elevations).list() == ()
