"""A token that was verified a moment ago is not verified again, and is refused no later for that."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.authn.issuing import ISSUER, World, jwk_of
from tests.unit.authn.senders import VECTORS
from tests.unit.authn.sites import Service, Site, fork, settle
from tests.unit.quotas.conftest import RedisServer

from aisecure.authn import JwtVerifier, Revocations, TokenRevocations
from aisecure.authn.jwt.memo import TokenMemo
from aisecure.call import Credential
from aisecure.errors import Unavailable
from aisecure.notices import LocalNotices, StoredNotices
from aisecure.notices_redis import RedisNotices
from aisecure.principal import Principal
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, memory_storage

REVOKED = "The token was revoked."


class Counted:
    """Revocations of nothing, which count how often they are asked: once for each verification."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 1

    def version(self):
        return self.now

    def is_revoked(self, claims):
        self.asked += 1
        return False


def ask(verifier: JwtVerifier, token: str, **shown):
    """The principal, or the reason of the refusal."""
    answer = verifier.authenticate(Credential("bearer", token, **shown))
    return answer if isinstance(answer, Principal) else answer.reasons[-1]


def revocations_of(path, clock):
    """Revocations of a process that asks about changes each time."""
    storage = Storage(path)
    return TokenRevocations(storage, notices=StoredNotices(storage, poll_seconds=0), clock=clock)


def test_a_token_is_verified_once():
    counted = Counted()
    assert isinstance(counted, Revocations)
    world = World(revocations=counted)
    tokens = [world.token(sub=f"u-{number}") for number in range(5)]
    for _ in range(4):
        assert [ask(world.verifier, token).id for token in tokens] == [f"u-{number}" for number in range(5)]
    assert counted.asked == 5


def test_with_the_memo_off_it_is_verified_each_time():
    counted = Counted()
    world = World(revocations=counted, memo_seconds=0)
    token = world.token()
    for _ in range(4):
        assert isinstance(ask(world.verifier, token), Principal)
    assert counted.asked == 4
    assert len(world.verifier._memo) == 0


def test_it_is_verified_again_after_a_time_and_after_each_revocation():
    counted = Counted()
    world = World(revocations=counted, memo_seconds=60)
    token = world.token(exp=world.clock.time() + 3600)
    for advance, change, expected in ((0, 0, 1), (59, 0, 1), (2, 0, 2), (0, 1, 3), (0, 0, 3), (59, 1, 4)):
        world.clock.advance(advance)
        counted.now += change
        assert isinstance(ask(world.verifier, token), Principal)
        assert counted.asked == expected


@pytest.mark.parametrize("leeway", [0, 7])
def test_it_is_refused_from_its_end_on(leeway):
    world = World(leeway=leeway)
    token = world.token(exp=int(world.clock.time()) + 100)
    for advance in (0, 99, leeway):
        world.clock.advance(advance)
        assert isinstance(ask(world.verifier, token), Principal)
    world.clock.advance(1)
    assert ask(world.verifier, token) == "The token has expired."


def test_it_is_refused_before_its_beginning_when_the_clock_is_set_back():
    world = World()
    now = world.clock.time()
    token = world.token(nbf=now - 10, iat=now - 3600)
    assert isinstance(ask(world.verifier, token), Principal)
    world.clock.set_time(now - 11)
    assert ask(world.verifier, token) == "The nbf lies in the future."


@example(leeway=0, steps=[("ask", 0), ("set back", 1), ("ask", 0)])
@given(
    leeway=st.sampled_from([0, 5]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(0, 3)),
            st.tuples(st.just("advance"), st.sampled_from([0.5, 1, 29, 60, 301])),
            st.tuples(st.just("set back"), st.sampled_from([1, 30, 400])),
            st.tuples(st.just("revoke"), st.integers(0, 3)),
            st.tuples(st.just("revoke subject"), st.integers(0, 1)),
        ),
        max_size=25,
    ),
)
def test_answers_are_those_of_a_verifier_that_remembers_nothing(leeway, steps):
    storage, clock = memory_storage(), FrozenClock()
    try:
        revocations = TokenRevocations(storage, notices=LocalNotices(), clock=clock)
        worlds = [
            World(memo_seconds=seconds, revocations=revocations, leeway=leeway) for seconds in (86_400, 60, 0)
        ]
        for world in worlds:
            world.verifier._clock = clock
        tokens = [
            worlds[0].token(jti=f"t-{number}", sub=f"u-{number % 2}", **times)
            for number, times in enumerate(
                ({}, {"nbf": clock.time() - 20}, {"exp": clock.time() + 30}, {"exp": clock.time() + 900})
            )
        ]
        for what, value in steps:
            if what == "ask":
                answers = [ask(world.verifier, tokens[value]) for world in worlds]
                assert answers[0] == answers[1] == answers[2]
            elif what == "advance":
                clock.advance(value)
            elif what == "set back":
                clock.set_time(clock.time() - value)
            elif what == "revoke":
                revocations.revoke(f"t-{value}", issuer=ISSUER, until=clock.time() + 1000)
            else:
                revocations.revoke_subject(f"u-{value}", issuer=ISSUER)
    finally:
        storage.close()


def test_a_bounded_number_is_remembered_and_the_oldest_leaves(monkeypatch):
    monkeypatch.setattr(TokenMemo, "MAX_ENTRIES", 10)
    counted = Counted()
    world = World(revocations=counted)
    tokens = [world.token(sub=f"u-{number}") for number in range(30)]
    for token in tokens:
        ask(world.verifier, token)
        assert len(world.verifier._memo) <= 10
    assert counted.asked == 30
    for token in tokens[20:]:
        ask(world.verifier, token)
    assert counted.asked == 30
    ask(world.verifier, tokens[0])
    assert counted.asked == 31


def test_refusals_are_not_remembered_and_open_nothing():
    world = World()
    token = world.token()
    assert isinstance(ask(world.verifier, token), Principal)
    for number in range(50):
        assert not isinstance(ask(world.verifier, f"{token[:-1]}{'AQgw'[number % 4]}x"), Principal)
        assert not isinstance(ask(world.verifier, world.token(aud=f"https://{number}.example")), Principal)
    assert len(world.verifier._memo) == 1


def test_no_token_is_kept():
    world = World()
    token = world.token()
    ask(world.verifier, token)
    memo = world.verifier._memo
    shown = repr([getattr(memo, name) for name in TokenMemo.__slots__ if name != "_lock"]) + repr(memo)
    assert not any(part in shown for part in (token, *token.split(".")))


def test_a_key_that_was_taken_out_takes_what_was_remembered_with_it():
    with Site() as site:
        site.publish(jwk_of("ES256"), jwk_of("ES384"))
        service = Service(site, "ES256", "ES384")
        tokens = [service.token(sub=f"u-{number}") for number in range(5)]
        for token in tokens:
            assert service.ask(token) == ""
        site.publish(jwk_of("ES384"))
        service.clock.advance(3000)
        other = service.token(algorithm="ES384")
        assert service.ask(other) == ""  # and in the background the keys are renewed
        settle()
        assert service.ask(other) == ""
        # Not only refused: nothing of these persons is held any more.
        assert len(service.verifier._memo) == 1
        assert "unknown" in service.ask(service.token(exp=service.clock.time() + 9))


def test_a_remembered_token_is_still_bound_to_its_certificate():
    certificate = base64.b64decode(VECTORS["certificate"]["der"])
    world = World()
    token = world.token(cnf={"x5t#S256": VECTORS["certificate"]["thumbprint"]})
    for _ in range(2):
        assert isinstance(ask(world.verifier, token, certificate=certificate), Principal)
        assert "certificate" in ask(world.verifier, token)
        assert "certificate" in ask(world.verifier, token, certificate=certificate + b"\0")


# -- revocation


@pytest.fixture
def revocations(tmp_path):
    return revocations_of(tmp_path / "a.db", FrozenClock())


def test_one_token_is_revoked_and_no_other(revocations):
    world = World(revocations=revocations)
    first, second, without = world.token(jti="t-1"), world.token(jti="t-2"), world.token()
    for token in (first, second, without):
        assert isinstance(ask(world.verifier, token), Principal)
    revocations.revoke("t-1", issuer=ISSUER, until=world.clock.time() + 300)
    revocations.revoke("t-2", issuer=ISSUER + "x", until=world.clock.time() + 300)
    assert ask(world.verifier, first) == REVOKED
    for token in (second, without):
        assert isinstance(ask(world.verifier, token), Principal)
    assert world.refusal(first) == REVOKED


def test_every_token_that_a_subject_was_given_before_is_revoked(revocations):
    world = World(revocations=revocations)
    now = int(world.clock.time())
    before = [world.token(iat=at) for at in (..., now - 100, now - 0.5, now)]
    for token in before:
        assert isinstance(ask(world.verifier, token), Principal)
    revocations.revoke_subject("u-17", issuer=ISSUER)
    for token in before:
        assert ask(world.verifier, token) == REVOKED
    world.clock.advance(1)
    assert isinstance(ask(world.verifier, world.token()), Principal)
    assert isinstance(ask(world.verifier, world.token(sub="u-18", iat=now - 100)), Principal)
    # An earlier moment that is told later takes nothing back.
    revocations.revoke_subject("u-17", issuer=ISSUER, before=now - 1000)
    assert ask(world.verifier, before[1]) == REVOKED


def test_a_jti_is_no_subject(revocations):
    world = World(revocations=revocations)
    revocations.revoke("u-17", issuer=ISSUER, until=world.clock.time() + 300)
    revocations.revoke_subject("t-1", issuer=ISSUER)
    assert isinstance(ask(world.verifier, world.token(jti="t-1")), Principal)


def test_notes_are_dropped_when_no_token_needs_them_and_name_nobody(tmp_path):
    clock = FrozenClock()
    revocations = revocations_of(tmp_path / "a.db", clock)
    for number in range(10):
        revocations.revoke(f"marker-{number}", issuer="https://marker.example", until=clock.time() + 100)
    revocations.revoke_subject("marker-sub", issuer="https://marker.example", until=clock.time() + 100)
    revocations.revoke_subject("marker-kept", issuer="https://marker.example")
    clock.advance(161)
    revocations.revoke("one more", issuer=ISSUER, until=clock.time() + 100)
    storage = Storage(tmp_path / "a.db")
    assert storage.query("SELECT count(*) FROM authn_revoked_tokens") == [(2,)]
    storage.close()
    for path in tmp_path.iterdir():
        assert b"marker" not in path.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("", ISSUER, 1.0), (None, ISSUER, 1.0), (1, ISSUER, 1.0), (b"x", ISSUER, 1.0), ("t", "", 1.0), ("t", None, 1.0),
        ("t", ISSUER, float("nan")), ("t", ISSUER, True), ("t", ISSUER, "1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(revocations, arguments):
    jti, issuer, until = arguments
    for call in (
        lambda: revocations.revoke(jti, issuer=issuer, until=until),
        lambda: revocations.revoke_subject(jti, issuer=issuer, before=until, until=until),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert revocations.version() == 0


def test_any_text_names_a_token(revocations):
    world = World(revocations=revocations)
    for jti in ("\0", "é\u202e😀", "' OR 1=1 --", "x" * 1_000_000, "\ud800"):
        revocations.revoke(jti, issuer=ISSUER, until=world.clock.time() + 300)
        assert revocations.is_revoked({"iss": ISSUER, "jti": jti, "sub": "a"})
        assert not revocations.is_revoked({"iss": ISSUER, "jti": jti + " ", "sub": "a"})
    for claims in ({}, {"iss": 1, "jti": [], "sub": {}}, {"iss": ISSUER, "jti": None}):
        assert not revocations.is_revoked(claims)


def test_where_revocations_cannot_be_read_nobody_is_let_in(tmp_path):
    storage = Storage(tmp_path / "a.db")
    revocations = TokenRevocations(storage, notices=StoredNotices(storage, poll_seconds=0))
    world = World(revocations=revocations)
    token = world.token()
    assert isinstance(ask(world.verifier, token), Principal)
    storage.execute("DROP TABLE notices")
    with pytest.raises(Unavailable):
        ask(world.verifier, token)  # also not whom it remembers
    with pytest.raises(Unavailable):
        world.verifier.health()
    storage.execute("DROP TABLE authn_revoked_tokens")
    with pytest.raises(Unavailable):
        world.verifier.verify(token)
    with pytest.raises(Unavailable):
        revocations.revoke("t-1", issuer=ISSUER, until=world.clock.time() + 300)


def test_a_revocation_counts_in_every_thread_once_it_is_told(revocations):
    world = World(revocations=revocations)
    tokens = [world.token(jti=f"t-{number}") for number in range(4)]
    told, stop, seen = set(), threading.Event(), []

    def verify(_):
        while not stop.is_set():
            for number, token in enumerate(tokens):
                before = number in told
                seen.append((before, isinstance(ask(world.verifier, token), Principal)))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(verify, number) for number in range(4)]
        try:
            for number in range(4):
                revocations.revoke(f"t-{number}", issuer=ISSUER, until=world.clock.time() + 300)
                told.add(number)
                for _ in range(5):
                    assert ask(world.verifier, tokens[number]) == REVOKED
        finally:
            stop.set()
        assert [one.result() for one in running] == [None] * 4
    assert (True, True) not in seen
    assert {(False, True), (True, False)} <= set(seen)


def test_other_processes_hear_within_a_second(tmp_path):
    here = FrozenClock()
    storage = Storage(tmp_path / "a.db")
    notices = StoredNotices(storage, monotonic=here.monotonic)
    world = World(revocations=TokenRevocations(storage, notices=notices, clock=here))
    token = world.token(jti="t-1")
    assert isinstance(ask(world.verifier, token), Principal)
    _run(tmp_path, "revocations.revoke('t-1', issuer=ISSUER, until=2e9)")
    assert isinstance(ask(world.verifier, token), Principal)
    here.advance(1)
    assert ask(world.verifier, token) == REVOKED


def _process(folder, code, **options):
    start = f"""
        import os, signal, sys
        from aisecure.authn import TokenRevocations
        from aisecure.notices import LocalNotices
        from aisecure.storage import Storage
        ISSUER = {ISSUER!r}
        revocations = TokenRevocations(Storage({str(folder / "a.db")!r}))
        """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(start) + code], **options)


def _run(folder, code):
    with _process(folder, code) as process:
        return process.wait(60)


def test_what_a_killed_process_had_revoked_stays_revoked(tmp_path):
    endless = textwrap.dedent("""
        number = 0
        while True:
            revocations.revoke(f"t-{number}", issuer=ISSUER, until=2e9)
            print(number, flush=True)
            number += 1
        """)
    with _process(tmp_path, endless, stdout=subprocess.PIPE) as process:
        for _ in range(20):
            last = int(process.stdout.readline())
        process.kill()
    revocations = revocations_of(tmp_path / "a.db", FrozenClock())
    for number in range(last + 1):
        assert revocations.is_revoked({"iss": ISSUER, "jti": f"t-{number}", "sub": "a"})
    revocations.revoke("t-x", issuer=ISSUER, until=2e9)


def test_a_revocation_that_was_stored_but_not_told_counts_when_it_is_repeated(tmp_path):
    revocations = revocations_of(tmp_path / "a.db", FrozenClock())
    world = World(revocations=revocations)
    token = world.token(jti="t-1")
    assert isinstance(ask(world.verifier, token), Principal)
    dies = textwrap.dedent("""
        class Dies(LocalNotices):
            def publish(self, topic):
                os.kill(os.getpid(), signal.SIGKILL)
        TokenRevocations(revocations._storage, notices=Dies()).revoke("t-1", issuer=ISSUER, until=2e9)
        """)
    assert _run(tmp_path, dies) == -signal.SIGKILL
    # Who does not remember the token knows already.
    assert ask(World(revocations=revocations).verifier, token) == REVOKED
    revocations.revoke("t-1", issuer=ISSUER, until=2e9)
    assert ask(world.verifier, token) == REVOKED


def test_a_process_that_forks_goes_on_with_what_it_remembers_and_hears_of_revocations(tmp_path):
    revocations = revocations_of(tmp_path / "a.db", FrozenClock())
    world = World(revocations=revocations)
    token = world.token(jti="t-1")
    assert isinstance(ask(world.verifier, token), Principal)
    (asked, child_asked), (revoked, parent_revoked) = os.pipe(), os.pipe()

    def run():
        first = ask(world.verifier, token)
        os.write(child_asked, b"x")
        os.read(revoked, 1)
        return isinstance(first, Principal) and ask(world.verifier, token) == REVOKED

    was_right = fork(run)
    assert os.read(asked, 1)
    revocations.revoke("t-1", issuer=ISSUER, until=world.clock.time() + 300)
    os.write(parent_revoked, b"x")
    assert was_right()
    for pipe in (asked, child_asked, revoked, parent_revoked):
        os.close(pipe)


def test_processes_without_a_common_file_hear_through_redis(tmp_path):
    server = RedisServer(tmp_path)
    here, there = (RedisNotices(server.url, poll_seconds=0) for _ in range(2))
    storage = Storage(tmp_path / "a.db")
    try:
        world = World(revocations=TokenRevocations(storage, notices=here))
        token = world.token(jti="t-1")
        asked = world.verifier.aauthenticate
        assert isinstance(asyncio.run(asked(Credential("bearer", token))), Principal)
        TokenRevocations(Storage(tmp_path / "a.db"), notices=there).revoke("t-1", issuer=ISSUER, until=2e9)
        answer = asyncio.run(asked(Credential("bearer", token)))
        assert answer.reasons[-1] == REVOKED
        assert ask(world.verifier, token) == REVOKED
        server.kill()
        with pytest.raises(Unavailable):
            asyncio.run(asked(Credential("bearer", token)))
        with pytest.raises(Unavailable):
            ask(world.verifier, world.token())
    finally:
        server.kill()
        for notices in (here, there):
            notices.close()
