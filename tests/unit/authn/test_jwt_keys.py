"""The keys of an issuer are fetched seldom, in time, and never given up for a worse answer."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme
from tests.unit.authn.issuing import AUDIENCE, jwk_of
from tests.unit.authn.sites import KEYS, METADATA, Reply, Service, Site, fork, settle

from aisecure.authn import JwtVerifier
from aisecure.call import Credential
from aisecure.errors import Misconfigured, Unavailable
from aisecure.principal import Principal

UNAVAILABLE, UNKNOWN = "unavailable.issuer", "The key that the token is signed with is unknown."
HOUR = 3600


@pytest.fixture
def site():
    with Site() as made:
        made.publish(jwk_of("ES256"))
        yield made
    settle()


# -- caching


def test_keys_are_found_by_discovery_and_fetched_once_for_many_tokens(site):
    service = Service(site)
    assert site.asked == []
    for number in range(20):
        assert service.ask(service.token(sub=f"u-{number}")) == ""
    assert site.asked == [METADATA, KEYS]
    assert service.events.types == ["jwks.loaded"]
    assert service.events[0].detail == {"issuer": site.origin, "keys": 1}


def test_an_address_of_keys_is_asked_directly(site):
    service = Service(site, issuer="https://login.example.com/", jwks_uri=f"{site.origin}{KEYS}?tenant=a")
    site.pages[f"{KEYS}?tenant=a"] = site.pages[KEYS]
    assert service.ask() == ""
    assert site.asked == [f"{KEYS}?tenant=a"]


def test_a_host_of_several_addresses_is_found_at_the_one_that_answers(site):
    name = site.origin.replace("127.0.0.1", "localhost")
    service = Service(site, issuer=name)
    site.publish(jwk_of("ES256"), issuer=name)
    assert service.ask() == ""


@pytest.mark.parametrize(
    ("path", "metadata"),
    [
        ("", METADATA),
        ("/", METADATA),
        ("/acme", f"/acme{METADATA}"),
        ("/acme/", f"/acme{METADATA}"),
        ("/acme", "/.well-known/oauth-authorization-server/acme"),
    ],
)
def test_metadata_are_where_openid_or_oauth_put_them(site, path, metadata):
    service = Service(site, issuer=site.origin + path)
    site.pages[metadata] = {"issuer": site.origin + path, "jwks_uri": site.origin + KEYS}
    if metadata != METADATA:
        del site.pages[METADATA]
    assert service.ask() == ""
    assert site.asked[-2:] == [metadata, KEYS]


def test_the_request_says_nothing_but_what_it_wants(site):
    Service(site).ask()
    host = site.origin.removeprefix("http://")
    assert site.headers == [
        {
            "Host": host, "Accept": "application/json", "Accept-Encoding": "identity",
            "User-Agent": "aisecure", "Connection": "close",
        }
    ] * 2  # fmt: skip


def test_no_proxy_of_the_environment_is_asked(site, monkeypatch):
    with Site() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        monkeypatch.delenv("no_proxy", raising=False)
        assert Service(site).ask() == ""
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 3600),
        ({"Cache_Control": "public, max-age=600"}, 600),
        ({"Cache_Control": 'max-age="600"'}, 600),
        ({"Cache_Control": "MAX-AGE = 600, must-revalidate"}, 600),
        ({"Cache_Control": "max-age=600", "Age": "100"}, 500),
        ({"Cache_Control": "max-age=600", "Age": "9" * 30}, 600),
        ({"Cache_Control": "max-age=600", "Age": "soon"}, 600),
        ({"Cache_Control": "max-age=1"}, 300),
        ({"Cache_Control": "no-store"}, 300),
        ({"Cache_Control": "no-cache, max-age=9000"}, 300),
        ({"Cache_Control": "max-age=999999999"}, 86_400),
        ({"Cache_Control": "max-age=-5"}, 3600),
        ({"Cache_Control": "max-age=" + "9" * 60_000}, 86_400),
        ({"Cache_Control": "s-maxage=1, x-max-age=1"}, 3600),
    ],
)
def test_keys_are_kept_as_long_as_the_issuer_says_within_bounds(site, headers, seconds):
    site.publish(jwk_of("ES256"), **headers)
    service = Service(site, jwks_uri=site.origin + KEYS)
    service.ask()
    service.clock.advance(seconds * 0.8 - 1)
    assert service.ask() == ""
    settle()
    assert len(site.asked) == 1
    # In the last fifth the old keys serve while new ones are fetched.
    service.clock.advance(2)
    assert service.ask() == ""
    settle()
    assert len(site.asked) == 2
    service.clock.advance(1)
    assert service.ask() == ""
    settle()
    assert len(site.asked) == 2


def test_the_same_keys_again_are_no_change(site):
    service = Service(site)
    token = service.token(exp=service.clock.time() + 90_000)
    service.ask(token)
    held = service.verifier._keys.current(wait=True)
    site.publish({**jwk_of("ES256"), "x-note": "published anew"})
    service.clock.advance(HOUR + 1)
    assert service.ask(token) == ""
    assert len(site.asked) == 4
    assert service.verifier._keys.current(wait=True) is held
    assert service.events.types == ["jwks.loaded"]


# -- rotation


def test_an_unknown_key_makes_the_keys_be_fetched_once(site):
    service = Service(site)
    old = service.token(exp=service.clock.time() + HOUR)
    assert service.ask(old) == ""
    site.publish(jwk_of("ES256", 1))
    assert service.ask(service.token(1)) == ""
    assert len(site.asked) == 4
    # The key that was taken out is not honoured any more, remembered or not.
    assert service.ask(old) == UNKNOWN
    assert service.events.types == ["jwks.loaded", "jwks.loaded"]


def test_made_up_keys_cause_no_storm(site):
    service = Service(site, jwks_uri=site.origin + KEYS)
    service.ask()
    with ThreadPoolExecutor(8) as pool:
        kids = [f"made-up-{number}" for number in range(400)]
        assert set(pool.map(lambda kid: service.ask(service.token(kid=kid)), kids)) == {UNKNOWN}
    assert len(site.asked) == 2
    service.clock.advance(59)
    assert service.ask(service.token(kid="x")) == UNKNOWN
    assert len(site.asked) == 2
    service.clock.advance(2)
    assert service.ask(service.token(kid="x")) == UNKNOWN
    assert service.ask(service.token(kid="y")) == UNKNOWN
    assert len(site.asked) == 3


def test_what_is_refused_anyway_makes_nobody_look(site):
    service = Service(site)
    service.ask()
    before = len(site.asked)
    for token in (
        service.token(kid="x", iss="https://other.example"),
        service.token(algorithm="ES384"),
        "e30.e30.e30",
        "a.b.c",
    ):
        assert service.ask(token)
    assert len(site.asked) == before


def test_a_look_for_an_unknown_key_that_fails_leaves_the_keys(site):
    service = Service(site)
    service.ask()
    site.pages[KEYS] = Reply(status=500)
    assert service.ask(service.token(1)) == UNKNOWN
    assert service.ask() == ""
    assert service.events.types == ["jwks.loaded", "jwks.refused"]


def test_while_keys_change_every_answer_is_of_the_old_or_the_new_ones(site):
    service = Service(site, jwks_uri=site.origin + KEYS)
    service.ask()
    tokens = [service.token(number, exp=service.clock.time() + 90_000) for number in range(3)]
    stop, answers = threading.Event(), []

    def verify(number):
        while not stop.is_set():
            answers.append((number, service.ask(tokens[number])))

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(verify, number) for number in range(3)]
        try:
            for turn in range(4):
                site.publish(jwk_of("ES256", turn % 2), jwk_of("RS256"))
                service.clock.advance(HOUR * 0.9)
                assert service.ask(tokens[turn % 2]) in ("", UNKNOWN)
                settle()
                assert service.ask(tokens[turn % 2]) == ""
        finally:
            stop.set()
        assert [one.result() for one in running] == [None] * 3
    assert {answer for _, answer in answers} <= {"", UNKNOWN}
    assert {answer for number, answer in answers if number == 2} == {UNKNOWN}


# -- what an issuer may answer instead


def raw(*parts):
    def write(handler):
        for part in parts:
            handler.wfile.write(part)

    return write


def endless(start, part):
    def write(handler):
        handler.wfile.write(start)
        while True:  # until the other side goes away
            handler.wfile.write(part)

    return write


def keys_of(**changes):
    return {"keys": [jwk_of("ES256", **changes)]}


OK = b"HTTP/1.1 200 OK\r\n"
#: Another key than the one that is known, to tell whether it was taken.
GOOD = json.dumps({"keys": [jwk_of("ES256", 2)]}).encode()
ANSWERS = {
    "500": Reply(b"marker", 500),
    "404": Reply(b"marker", 404),
    "401": Reply(b"marker", 401),
    "204": Reply(b"", 204),
    "206": Reply(b"{}", 206),
    "empty": Reply(),
    "page": Reply(b"<html>marker</html>"),
    "cut off": Reply(b'{"keys": [', headers=(("Content-Length", "500"),)),
    "not JSON": Reply(b'{"keys": ['),
    "twice": Reply(b'{"keys": [], "keys": []}'),
    "deep": Reply(b'{"keys":' + b"[" * 100_000),
    "utf-16": Reply('{"keys": []}'.encode("utf-16")),
    "bom": Reply(b"\xef\xbb\xbf{}"),
    "list": Reply(b"[]"),
    "number": Reply(b"1e999"),
    "no keys": {"keys": []},
    "other member": {"jwks": keys_of()["keys"]},
    "keys as object": {"keys": {"marker": 1}},
    "odd keys": {"keys": [None, 1, "marker", [], {}]},
    "101 keys": {"keys": keys_of()["keys"] * 101},
    "for another use": keys_of(use="enc"),
    "secret": {"keys": [jwk_of("HS256", kid="ES256-0", alg="ES256")]},
    "private": keys_of(d="marker"),
    "off the curve": keys_of(x="AAAA"),
    # These hold good keys, so that only what is said here speaks against them.
    "10 MB": Reply(GOOD[:-1] + b', "marker": "' + b"x" * 10_000_000 + b'"}'),
    "cut off after the keys": Reply(GOOD, headers=(("Content-Length", str(len(GOOD) + 9)),)),
    "said to be gzip": Reply(GOOD, headers=(("Content-Encoding", "gzip"),)),
    "not found": Reply(GOOD, 404),
    "error with keys": Reply(GOOD, 500),
    "partial": Reply(GOOD, 206),
    "and more": Reply(GOOD + b"{}"),
    "10 MB announced": Reply(b"{}", headers=(("Content-Length", "10000000"),)),
    "gzip": Reply(b"\x1f\x8b\x08\0", headers=(("Content-Encoding", "gzip"),)),
    "br": Reply(b"{}", headers=(("Content-Encoding", "identity, br"),)),
    "no HTTP": raw(b"marker\r\n\r\n"),
    "nothing": raw(),
    "half a line": raw(b"HTTP/1.1 2"),
    "long line": raw(b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"),
    "header line": raw(OK + b"X: " + b"marker" * 20_000 + b"\r\n\r\n{}"),
    "many headers": raw(OK + b"X: marker\r\n" * 500 + b"\r\n{}"),
    "bad chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nmarker\r\n{}"),
    "negative chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"),
    "huge chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n{}\r\n"),
    "last chunk missing": raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "length no number": raw(OK + b"Content-Length: marker\r\n\r\nmarker"),
    "negative length": raw(OK + b"Content-Length: -1\r\n\r\nmarker"),
}  # fmt: skip
#: Nothing ends these but the time.
SLOW = {
    "silence": Site.stall,
    "100 Continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
}


def _page(site, answer):
    return site.stall if answer is Site.stall else answer


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_no_answer_but_a_good_one_replaces_keys(site, answer):
    fresh, served = Service(site, jwks_uri=site.origin + KEYS), Service(site, jwks_uri=site.origin + KEYS)
    assert served.ask() == ""
    site.pages[KEYS] = answer
    # Who has none yet lets nobody in, and who has some goes on with them, also beyond their time.
    assert fresh.ask() == UNAVAILABLE
    served.clock.advance(HOUR + 1)
    assert served.ask() == ""
    assert len(served.events.of_type("jwks.loaded")) == 1
    for service in (fresh, served):
        event = service.events[-1]
        assert event.type in ("jwks.stale", "jwks.refused")
        assert event.detail == {"issuer": site.origin, "keys": 1 if service is served else 0}
        assert "marker" not in repr(vars(event) if hasattr(event, "__dict__") else event)
    # It gets well again.
    site.publish(jwk_of("ES256", 1))
    for service in (fresh, served):
        assert service.ask(service.token(1)) in (UNAVAILABLE, "")
        service.clock.advance(16)
        assert service.ask(service.token(1)) == ""
        assert service.ask() == UNKNOWN


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_nobody_waits_for_ever(site, answer):
    service = Service(site, jwks_uri=site.origin + KEYS, timeout_seconds=0.15)
    site.pages[KEYS] = _page(site, answer)
    assert service.ask() == UNAVAILABLE
    settle()
    assert service.events.types == ["jwks.stale"]


def test_bytes_that_drip_do_not_add_to_the_time(site):
    site.pages[KEYS] = site.drip
    service = Service(site, jwks_uri=site.origin + KEYS, timeout_seconds=0.15)
    assert service.ask() == UNAVAILABLE
    settle()
    assert "not sent in time" in service.events.only("jwks.stale").reasons[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(site, status, tmp_path):
    with Site() as other:
        other.publish(jwk_of("ES256", 1))
        for target in (
            other.origin + KEYS,
            "/elsewhere",
            f"file://{tmp_path}/keys",
            "http://169.254.169.254/",
        ):
            site.pages["/elsewhere"] = keys_of()
            service = Service(site, jwks_uri=site.origin + KEYS)
            site.pages[KEYS] = Reply(b"", status, (("Location", target),))
            assert service.ask() == UNAVAILABLE
            assert str(status) in service.events.only("jwks.refused").reasons[0]
        assert other.asked == []
        assert "/elsewhere" not in site.asked


def test_a_secret_that_is_published_is_none(site):
    site.publish(jwk_of("HS256"), jwk_of("ES256"))
    service = Service(site)
    assert service.ask(service.token(algorithm="HS256")) != ""
    assert service.ask() == ""
    assert len(service.verifier._keys.current(wait=True)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": None},
        {"jwks_uri": 1},
        {"jwks_uri": ""},
        {"jwks_uri": ["x"]},
        {"jwks_uri": "/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "data:application/json,{}"},
        {"jwks_uri": "http://login.example.com/keys"},
        {"jwks_uri": "http://127.0.0.1.example.com/keys"},
        {"jwks_uri": "http://0x7f.1/keys"},
        {"jwks_uri": "https://user:marker@login.example.com/keys"},
        {"jwks_uri": "https://login.example.com\\@evil.example/keys"},
        {"jwks_uri": "https://login.example.com/keys\r\nX: y"},
        {"jwks_uri": "https://login.example.com:99999/keys"},
        {"jwks_uri": "https://login.example.com:0/keys"},
        {"jwks_uri": "https:///keys"},
        {"jwks_uri": "https://[::1/keys"},
        {"jwks_uri": "https://login.example.com/" + "k" * 3000},
        {"jwks_uri": "https://ev\u0456l.example/"},
    ],
    ids=str,
)
def test_metadata_that_lie_lead_nowhere(site, changes):
    site.pages[METADATA] = {**site.pages[METADATA], **changes}
    service = Service(site)
    assert service.ask() == UNAVAILABLE
    assert site.asked == [METADATA]
    assert service.events.types == ["jwks.refused"]
    assert "marker" not in service.events[0].reasons[0]


def test_one_issuer_cannot_pass_off_its_keys_as_those_of_another(site):
    with Site() as evil:
        # On its own host it may say what it wants: its tokens have its own name, or no key.
        evil.publish(jwk_of("ES256", 1), issuer=site.origin)
        assert Service(evil).ask() == UNAVAILABLE
        assert evil.asked == [METADATA]


# -- without an answer


def test_the_last_good_keys_serve_for_their_time_and_then_nobody_is_let_in(site):
    service = Service(site, max_stale_seconds=600)
    service.ask()
    site.pages.clear()
    for _ in range(3):
        service.clock.advance(0.99 * (HOUR + 600) / 3)
        assert service.ask() == ""
    service.clock.advance(100)
    with pytest.raises(Unavailable) as caught:
        service.verifier.verify(service.token())
    assert caught.value.code == UNAVAILABLE
    assert service.verifier.health() == {"ok": False, "keys": 0}
    settle()
    site.publish(jwk_of("ES256"))
    service.clock.advance(16)
    assert service.ask() == ""


def test_an_issuer_that_is_down_is_asked_seldom(site):
    service = Service(site, jwks_uri=site.origin + KEYS)
    site.pages.clear()
    for _ in range(50):
        assert service.ask() == UNAVAILABLE
    assert len(site.asked) == 1
    service.clock.advance(14)
    service.ask()
    assert len(site.asked) == 1
    service.clock.advance(2)
    service.ask()
    assert len(site.asked) == 2


def test_an_issuer_that_went_away_is_outlived(site):
    with Site() as gone:
        gone.publish(jwk_of("ES256"))
        service = Service(gone)
        service.ask()
    service.clock.advance(HOUR + 1)
    assert service.ask() == ""
    assert service.events.types == ["jwks.loaded", "jwks.stale"]
    assert "ConnectionRefusedError" in service.events[1].reasons[0]
    assert service.verifier.health() == {"ok": True, "keys": 1, "stale": True}


def test_who_comes_while_the_first_keys_are_fetched_waits_for_them(site):
    arrive, release = threading.Barrier(7), threading.Event()
    site.pages[KEYS] = site.until(release, keys_of())
    service = Service(site)

    def ask(_):
        arrive.wait(30)
        return service.ask()

    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(service.ask)
        for _ in (METADATA, KEYS):
            assert site.arrived.acquire(timeout=30)
        others = [pool.submit(ask, number) for number in range(6)]
        arrive.wait(30)
        # A request of our own takes longer than being turned away.
        with pytest.raises(Unavailable):
            Service(site, issuer=site.origin + "/none", events=service.events).verifier.verify("a.b.c")
        release.set()
        assert [first.result(), *(one.result() for one in others)] == [""] * 7
    assert site.asked.count(KEYS) == 1


@pytest.mark.parametrize("age", [0.9, 1.1])
def test_an_issuer_that_hangs_holds_up_one_caller_at_most(site, age):
    service = Service(site, timeout_seconds=60, memo_seconds=0)
    service.ask()
    release = threading.Event()
    site.pages[METADATA] = site.until(release, site.pages[METADATA])
    service.clock.advance(HOUR * age)
    while site.arrived.acquire(blocking=False):
        pass
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.ask)
        assert site.arrived.acquire(timeout=30)
        # It hangs now. Nobody else waits a minute.
        for _ in range(5):
            assert service.ask() == ""
        assert age < 1 or not first.done()
        release.set()
        assert first.result() == ""
    settle()
    assert site.asked == [METADATA, KEYS] * 2


def test_a_loop_does_not_stand_still_while_keys_are_fetched(site):
    service = Service(site, memo_seconds=0)
    service.ask()
    release = threading.Event()
    site.pages[KEYS] = site.until(release, keys_of(kid="new"))

    async def both():
        ask = service.verifier.aauthenticate
        unknown = asyncio.create_task(ask(Credential("bearer", service.token(kid="new"))))
        while site.asked.count(KEYS) < 2:
            await asyncio.sleep(0)
        known = await ask(Credential("bearer", service.token()))
        waiting = not unknown.done()
        release.set()
        return known, waiting, await unknown

    known, waiting, unknown = asyncio.run(both())
    assert isinstance(known, Principal)
    assert isinstance(unknown, Principal)
    assert waiting


def test_the_first_token_in_a_loop_waits_in_a_thread(site):
    service = Service(site)

    async def ask():
        return await service.verifier.aauthenticate(Credential("bearer", service.token()))

    assert isinstance(asyncio.run(ask()), Principal)
    site.pages.clear()
    service.clock.advance(HOUR * 9)
    with pytest.raises(Unavailable):
        asyncio.run(ask())


def test_a_process_that_forks_while_keys_are_fetched_fetches_its_own(site):
    service, release = Service(site, jwks_uri=site.origin + KEYS), threading.Event()
    site.pages[KEYS] = site.until(release, keys_of())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.ask)
        assert site.arrived.acquire(timeout=30)
        token = service.token()
        was_right = fork(lambda: service.ask(token) == "")
        assert site.arrived.acquire(timeout=30)  # the child asks too
        release.set()
        assert was_right()
        assert first.result() == ""


def test_where_no_thread_can_be_started_keys_serve_or_nobody_is_let_in(site, monkeypatch):
    service, fresh = Service(site), Service(site)
    service.ask()
    service.clock.advance(HOUR + 1)

    def fail(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", fail)
        assert service.ask() == ""
        assert fresh.ask() == UNAVAILABLE
    assert fresh.ask() == ""
    assert len(site.asked) == 4


def test_keys_whose_arrival_cannot_be_recorded_are_not_taken(site):
    class Full:
        def record(self, event):
            raise Unavailable("the log is full", code="unavailable.storage")

    service = Service(site, events=Full())
    assert service.ask() == UNAVAILABLE


def test_health_tells_and_begins_to_fetch(site):
    service = Service(site)
    assert service.verifier.health() == {"ok": False, "keys": 0}
    settle()
    assert service.verifier.health() == {"ok": True, "keys": 1, "stale": False}
    assert site.asked == [METADATA, KEYS]


# -- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def _server(authority, name="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def _trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_keys_are_fetched_over_tls_from_whom_is_trusted(authority):
    context = _trusting(authority)
    with Site(_server(authority)) as site:
        site.publish(jwk_of("ES256"))
        service = Service(site, ssl_context=context, allow_http_loopback=False)
        assert service.ask() == ""
        stranger = Service(site, allow_http_loopback=False)
        assert stranger.ask() == UNAVAILABLE
        assert "SSLCertVerificationError" in stranger.events.only("jwks.stale").reasons[0]
        # From https nothing leads back to http, loopback or not.
        with Site() as plain:
            plain.publish(jwk_of("ES256"))
            site.pages[METADATA] = {"issuer": site.origin, "jwks_uri": plain.origin + KEYS}
            fooled = Service(site, ssl_context=context, allow_http_loopback=False)
            assert fooled.ask() == UNAVAILABLE
            assert plain.asked == []
    with Site(_server(authority, "login.example.com")) as other:
        other.publish(jwk_of("ES256"))
        assert Service(other, ssl_context=context).ask() == UNAVAILABLE
        assert other.asked == []


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01\xff\xff"])
def test_a_server_that_speaks_no_tls_is_given_up(authority, says):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = Service(
            issuer=f"https://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.15,
            ssl_context=_trusting(authority),
        )  # fmt: skip
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(service.ask)
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                if says:
                    connection.sendall(says)
                assert answer.result() == UNAVAILABLE
        settle()
    assert service.events.types == ["jwks.stale"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"issuer": "http://login.example.com"}, "issuer"),
        ({"issuer": "login.example.com"}, "issuer"),
        ({"issuer": "https://user:pass@login.example.com"}, "issuer"),
        ({"issuer": "file:///etc"}, "issuer"),
        ({"issuer": "http://127.0.0.1:80"}, "issuer"),
        ({"issuer": "http://127.0.0.1.nip.io", "allow_http_loopback": True}, "issuer"),
        ({"issuer": "x", "jwks_uri": "http://login.example.com/k", "allow_http_loopback": True}, "jwks_uri"),
        ({"issuer": "x", "jwks_uri": "ftp://127.0.0.1/k", "allow_http_loopback": True}, "jwks_uri"),
        ({"issuer": "x", "jwks_uri": ""}, "jwks_uri"),
        ({"issuer": "x", "jwks_uri": 1}, "jwks_uri"),
    ],
)
def test_an_address_that_is_not_safe_is_a_mistake(options, name):
    with pytest.raises(Misconfigured, match=rf"^{name}: .*https://") as caught:
        JwtVerifier(audience=AUDIENCE, algorithms=["ES256"], **options)
    assert caught.value.code == "config.jwks"
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("issuer", ["https://login.example.com?t=1", "https://login.example.com#x"])
def test_an_issuer_that_can_have_no_metadata_needs_an_address_of_its_keys(issuer):
    with pytest.raises(ValueError, match="give jwks_uri"):
        JwtVerifier(issuer=issuer, audience=AUDIENCE, algorithms=["ES256"])
    JwtVerifier(
        issuer=issuer, audience=AUDIENCE, algorithms=["ES256"], jwks_uri="https://login.example.com/k"
    )
