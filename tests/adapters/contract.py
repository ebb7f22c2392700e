"""What every adapter promises, as cases. An adapter's test file supplies `ask` and `stream`, or an app and a server."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest
from tests.adapters.world import ANA, GUS, MARKERS, World


class Outcome(NamedTuple):
    """What came back: texts, or the code and number of seconds of a refusal, or both when a stream was cut."""

    pieces: tuple[str, ...] = ()
    code: str = ""
    status: int = 200
    retry_after: float | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Contract:
    """Cases for any door."""

    #: Events of each kind; an adapter without an own door (LangChain) has no ``authn.failed``.
    @pytest.fixture
    def world(self) -> World:
        return World()

    def ask(self, key: str | None, resource: str, text: str) -> Outcome:
        raise NotImplementedError

    def stream(self, key: str | None, resource: str, text: str) -> Outcome:
        raise NotImplementedError

    def test_the_principal_of_the_key_is_seen_inside(self, world):
        assert self.ask(ANA, "model:echo", "hi").text.startswith("ana: hi")
        event = world.events.only("call.allowed")
        assert (event.principal, event.resource, event.code) == ("ana", "model:echo", "ok")

    def test_a_role_without_permission_is_refused_and_recorded(self, world):
        outcome = self.ask(GUS, "model:echo", "hi")
        assert (outcome.code, outcome.status) == ("access.denied", 403)
        assert world.heard == []
        event = world.events.only("call.denied")
        assert (event.principal, event.code, event.detail["guard"]) == ("gus", "access.denied", "roles")

    def test_a_limit_is_refused_with_the_time_to_wait(self, world):
        codes = [self.ask(ANA, "model:limited", "hi").code for _ in range(2)]
        last = self.ask(ANA, "model:limited", "hi")
        assert codes == ["", ""]
        assert (last.code, last.status) == ("quota.exceeded", 429)
        assert last.retry_after in (1.5, 2)
        assert world.events.only("call.denied").code == "quota.exceeded"

    def test_a_check_that_cannot_run_refuses_as_unavailable(self, world):
        outcome = self.ask(ANA, "model:down", "hi")
        assert (outcome.code, outcome.status) == ("unavailable.guard", 503)
        assert world.heard == []
        assert world.events.only("call.unavailable").detail["error_type"] == "OSError"

    def test_input_is_redacted_before_the_function_sees_it_and_output_before_the_caller_does(self, world):
        outcome = self.ask(ANA, "model:echo", "I am ada@example.org!")
        assert world.heard == ["I am <EMAIL>!"]
        assert outcome.text == "ana: I am <EMAIL>! write to <EMAIL>"
        assert [f.kind for f in world.events.only("call.allowed").findings] == ["pii.email", "pii.email"]

    def test_a_stream_comes_in_pieces_and_is_redacted_across_their_edges(self, world):
        outcome = self.stream(ANA, "model:echo", "I am ada@example.org!")
        assert len(outcome.pieces) > 3
        assert outcome.text == "ana: I am <EMAIL>! write to <EMAIL>"
        event = world.events.only("call.allowed")
        assert event.detail["chunks"] > 3
        assert world.settled.endings == ["call.allowed"]

    def test_a_stream_is_blocked_in_its_middle_and_says_so(self, world):
        outcome = self.stream(ANA, "model:echo", "this is FORBIDDEN here")
        # The first guard to see the word is the one on the way in.
        assert outcome.code == "output.word"
        outcome = self.stream(ANA, "model:echo", "say-the-word")
        assert outcome.text.startswith("ana: say-")
        assert outcome.code == "output.word"
        assert "write to" not in outcome.text
        assert world.events.only("call.blocked").detail["guard"] == "redact"

    def test_a_stream_that_is_refused_before_its_first_piece_is_a_plain_refusal(self, world):
        outcome = self.stream(GUS, "model:echo", "hi")
        assert (outcome.pieces, outcome.code, outcome.status) == ((), "access.denied", 403)

    def test_every_call_ends_in_one_event_and_one_settlement(self, world):
        self.ask(ANA, "model:echo", "one")
        self.stream(ANA, "model:echo", "two")
        self.ask(GUS, "model:echo", "three")
        ends = [type_ for type_ in world.events.types if type_.startswith("call.")]
        assert ends == ["call.allowed", "call.allowed", "call.denied"]
        assert world.settled.endings == ends

    def test_concurrent_callers_are_kept_apart(self, world):
        def one(number: int) -> bool:
            key, name = ((ANA, "ana"), (GUS, "gus"))[number % 2]
            return self.ask(key, "model:public", f"n{number}").text.startswith(f"{name}: n{number} ")

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(40)))
        assert {event.principal for event in world.events} == {"ana", "gus"}
        assert len(world.events.of_type("call.allowed")) == 40

    def test_no_secret_leaves_in_an_event(self, world):
        self.ask(ANA, "model:echo", "ada@example.org")
        self.ask(ANA, "model:down", "x")
        self.stream(ANA, "model:echo", "ada@example.org")
        recorded = json.dumps([event.to_dict() for event in world.events])
        assert not [marker for marker in MARKERS if marker in recorded]


class HttpContract(Contract):
    """Further cases for doors that are web servers. The app has the routes that `Bot` names.

    POST /ask and /stream take JSON ``{"resource", "text", "form"}``; GET /me answers the principal's id; GET /open
    is public and answers ``open:<id>``.
    """

    @pytest.fixture(autouse=True)
    def connected(self, base_url: str, world: World) -> Iterator[None]:
        self.base_url = base_url
        with httpx.Client(base_url=base_url, timeout=10, trust_env=False) as client:
            self.client = client
            yield
        world.go.set()

    def send(self, path: str, key: str | None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        method = options.pop("method", "POST" if {"json", "content"} & set(options) else "GET")
        return self.client.request(method, path, headers=headers, **options)

    def ask(self, key, resource, text):
        response = self.send("/ask", key, json={"resource": resource, "text": text})
        if response.status_code == 200:
            return Outcome((response.json()["answer"],))
        return _refusal(response)

    def stream(self, key, resource, text, form="sse"):
        body = {"resource": resource, "text": text, "form": form}
        headers = {"Authorization": f"Bearer {key}"}
        with self.client.stream("POST", "/stream", json=body, headers=headers) as response:
            if response.status_code != 200:
                response.read()
                return _refusal(response)
            raw = "".join(response.iter_text())
        if form != "sse":
            return Outcome((raw,))
        pieces, code = [], ""
        for event in raw.split("\n\n"):
            if event.startswith("event: error\ndata: "):
                code = json.loads(event.removeprefix("event: error\ndata: "))["code"]
            elif event.strip():
                pieces.append(json.loads(event.removeprefix("data: "))["delta"]["content"])
        return Outcome(tuple(pieces), code)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong-key-5e5e"},
            {"X-API-Key": "wrong-key-5e5e"},
            {"Authorization": "Basic YW5hOng="},
            {"Authorization": "Bearer"},
            {"Authorization": f"Bearer {ANA} {ANA}"},
            {"Authorization": f"Bearer {ANA}", "X-API-Key": ANA},
            [("Authorization", f"Bearer {ANA}"), ("Authorization", f"Bearer {ANA}")],
            [("X-API-Key", ANA), ("X-API-Key", GUS)],
            {"X-API-Key": "k\xe9y"},
            {"Authorization": "Bearer " + "a" * 17_000},
        ],
        ids="none wrong wrong-api-key basic empty two-words both repeated two-keys not-ascii long".split(),
    )
    def test_a_missing_or_wrong_credential_is_one_and_the_same_401(self, world, headers):
        pairs = list(headers.items()) if isinstance(headers, dict) else headers
        raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        response = self.client.get("/me", headers=[*raw, (b"X-Request-ID", b"r-1")])
        assert response.status_code == 401
        # RFC 6750 section 3.1: an error is said of a token, and to nobody who sent none.
        tokens = [value for name, value in pairs if name == "Authorization" and value.startswith("Bearer")]
        said = 'Bearer error="invalid_token"' if len(tokens) == 1 else "Bearer"
        assert response.headers.get_list("www-authenticate") == [said]
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert response.json() == {
            "type": "urn:problem-type:aisecure:authn.invalid",
            "title": "Unauthorized",
            "status": 401,
            "detail": "Authentication failed: send a valid credential.",
            "code": "authn.invalid",
            "instance": "r-1",
        }
        event = world.events.only("authn.failed")
        assert (event.resource, event.request_id, event.source) == ("http:GET /me", "r-1", "127.0.0.1")

    def test_a_key_may_come_in_either_header_and_never_in_the_query(self):
        assert self.client.get("/me", headers={"X-API-Key": ANA}).text == "ana"
        assert self.client.get("/me", headers={"Authorization": f"bearer {GUS}"}).text == "gus"
        refused = self.client.get("/me", params={"api_key": ANA, "access_token": ANA, "X-API-Key": ANA})
        assert refused.status_code == 401

    def test_a_public_path_needs_no_key_and_knows_nobody(self):
        assert self.client.get("/open").text == "open:"
        assert self.client.get("/open/../me").status_code == 401

    def test_a_harmless_request_id_is_echoed_and_recorded(self, world):
        response = self.send(
            "/ask", ANA, json={"resource": "model:echo", "text": "x"}, headers={"X-Request-ID": "A-b_c.1"}
        )
        assert response.headers["x-request-id"] == "A-b_c.1"
        assert world.events.only("call.allowed").request_id == "A-b_c.1"

    @pytest.mark.parametrize("value", ["", "a b", "x" * 129, "a\tb", "é"])
    def test_any_other_request_id_is_replaced(self, value):
        headers = [(b"X-Request-ID", value.encode("latin-1")), (b"X-API-Key", ANA.encode())]
        made = self.client.get("/me", headers=headers).headers.get_list("x-request-id")
        assert len(made) == 1
        assert len(made[0]) == 32

    def test_the_trace_and_the_address_reach_the_event(self, world):
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        body = {"resource": "model:echo", "text": "x"}
        self.send("/ask", ANA, json=body, headers={"traceparent": trace, "X-Forwarded-For": "6.6.6.6"})
        event = world.events.only("call.allowed")
        assert (event.trace, event.source) == (trace, "127.0.0.1")

    def test_a_limit_sends_whole_seconds_in_retry_after(self):
        for _ in range(2):
            self.ask(ANA, "model:limited", "x")
        response = self.send("/ask", ANA, json={"resource": "model:limited", "text": "x"})
        assert response.headers["retry-after"] == "2"
        assert response.json()["retry_after"] == 1.5

    @pytest.mark.parametrize("form", ["ndjson", "text"])
    def test_a_blocked_stream_ends_with_the_frame_of_its_content_type(self, form):
        raw = self.stream(ANA, "model:echo", "say-the-word", form).text
        last = raw.rstrip("\n").rpartition("\n")[2]
        if form == "ndjson":
            assert json.loads(last)["error"]["code"] == "output.word"
            assert all(json.loads(line) for line in raw.splitlines())
        else:
            assert raw.startswith("ana: say-")
            assert raw.endswith("\n[aisecure: output.word]\n")

    def test_a_blocked_stream_of_no_text_breaks_off(self):
        with pytest.raises(httpx.RemoteProtocolError):
            self.stream(ANA, "model:echo", "say-the-word", "binary")

    def test_a_client_that_goes_away_ends_the_call_as_cancelled(self, world):
        address = httpx.URL(self.base_url)
        body = json.dumps({"resource": "model:echo", "text": "endless", "form": "text"}).encode()
        head = (
            f"POST /stream HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {ANA}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((address.host, address.port), timeout=10) as raw:
            raw.sendall(head.encode() + body)
            received = b""
            while b"ana" not in received:
                received += raw.recv(65536)
            # A reset, as from a client that crashed.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert world.ended.wait(10), "the endless stream was not closed"
        assert _eventually(lambda: world.settled.endings == ["call.cancelled"])
        assert _eventually(lambda: world.events.types == ["call.cancelled"])
        assert world.events.only("call.cancelled").detail["chunks"] > 0

    @pytest.mark.parametrize(
        "body",
        [
            b"\xff\xfe{}",
            b'{"resource": "model:echo", "text": "\xff"}',
            b'{"text": ',
            b"[" * 100_000,
            b"",
            b"nul\0",
        ],
        ids="bom invalid-utf8 cut deep empty nul".split(),
    )
    def test_a_body_that_cannot_be_read_is_a_client_error(self, world, body):
        response = self.send("/ask", ANA, content=body, headers={"Content-Type": "application/json"})
        assert 400 <= response.status_code < 500
        assert world.heard == []
        assert self.ask(ANA, "model:echo", "still there").status == 200

    @pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
    def test_a_body_over_the_limit_is_413(self, world, stated):
        body = b'"' + b"x" * 1_100_000 + b'"'
        content = body if stated else iter([body[:600_000], body[600_000:]])
        headers = {"Content-Type": "application/json"}
        response = self.send("/ask", ANA, content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["code"] == "input.too_large"
        assert response.json()["title"] == "Request Entity Too Large"
        assert world.heard == []

    def test_no_secret_leaves_in_any_byte(self, world):
        sent = b"".join(
            response.content + str(response.headers).encode()
            for response in (
                self.send("/me", "wrong-key-5e5e"),
                self.send("/me", None, headers={"X-API-Key": "wrong-key-5e5e"}),
                self.send("/ask", ANA, json={"resource": "model:down", "text": "ada@example.org"}),
                self.send("/ask", GUS, json={"resource": "model:echo", "text": "ada@example.org"}),
                self.send("/ask", ANA, json={"resource": "model:echo", "text": "ada@example.org"}),
                self.send(
                    "/stream", ANA, json={"resource": "model:echo", "text": "say-the-word", "form": "sse"}
                ),
            )
        ).decode()
        recorded = json.dumps([event.to_dict() for event in world.events])
        assert not [marker for marker in MARKERS if marker in sent or marker in recorded]

    def test_an_error_that_is_not_ours_stays_the_servers_500(self, world):
        response = self.send("/ask", ANA, json={"resource": "model:echo", "text": "crash"})
        assert response.status_code == 500
        assert world.events.only("call.failed").detail["error_type"] == "ZeroDivisionError"


def _refusal(response: httpx.Response) -> Outcome:
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["instance"] == response.headers["x-request-id"]
    retry = response.headers.get("retry-after")
    if retry is not None:
        assert int(retry) == math.ceil(problem["retry_after"])
    return Outcome((), problem["code"], response.status_code, retry and float(retry))


def _eventually(claim: Any) -> bool:
    """Whether a claim comes true soon; for what another thread does after a socket closed."""
    pause = threading.Event()
    return any(claim() or pause.wait(0.02) for _ in range(500))
