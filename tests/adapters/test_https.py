"""Only HTTPS gets through: the ruling itself, and both adapters over real servers, with and without TLS."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask, request
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi
from tests.unit.encryption.tls_parts import Authority
from websockets.asyncio.client import connect as aconnect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as ws_connect

from aisecure import Shield
from aisecure.adapters._https import HttpsRule
from aisecure.adapters.asgi import AISecureMiddleware, Hsts, HttpsOnly
from aisecure.adapters.fastapi import secure
from aisecure.adapters.flask import AISecure
from aisecure.adapters.flask import HttpsOnly as FlaskHttpsOnly
from aisecure.encryption.tls import client_context, server_context
from aisecure.errors import Misconfigured, Unavailable
from aisecure.testing import CapturedEvents

PROXY, STRANGER = "10.0.0.7", "192.0.2.9"


class TestHsts:
    def test_the_header_says_what_was_set(self):
        assert Hsts().header == "max-age=63072000"
        assert Hsts(max_age=0).header == "max-age=0"
        full = Hsts(max_age=31_536_000, include_subdomains=True, preload=True)
        assert full.header == "max-age=31536000; includeSubDomains; preload"

    @pytest.mark.parametrize(
        "settings",
        [
            {"preload": True},
            {"preload": True, "include_subdomains": True, "max_age": 31_535_999},
            {"preload": True, "max_age": 63_072_000},
            {"max_age": -1},
            {"max_age": 1.5},
            {"max_age": "300"},
            {"max_age": True},
        ],
    )
    def test_what_browsers_or_the_preload_list_would_not_take_is_refused(self, settings):
        with pytest.raises(Misconfigured) as caught:
            Hsts(**settings)
        assert caught.value.code == "config.https"


class TestRule:
    def ruling(self, rule=None, **changes):
        headers = {"host": ["example.com"], **changes.pop("headers", {})}
        asked = {
            "method": "GET", "scheme": "http", "peer": STRANGER, "path": "/", "target": b"/", "query": b"", **changes,
            "headers": lambda name: headers.get(name, ()),
        }  # fmt: skip
        return (rule or HttpsRule(hosts=["example.com"], trusted_proxies=["10.0.0.0/8", "unix"])).judge(
            **asked
        )

    @pytest.mark.parametrize(
        ("peer", "headers", "secure"),
        [
            (PROXY, {"x-forwarded-proto": ["https"]}, True),
            (PROXY, {"x-forwarded-proto": ["HTTPS"]}, True),
            (PROXY, {"x-forwarded-proto": ["wss"]}, True),
            ("", {"x-forwarded-proto": ["https"]}, True),
            ("::ffff:10.0.0.7", {"x-forwarded-proto": ["https"]}, True),
            (STRANGER, {"x-forwarded-proto": ["https"]}, False),
            (STRANGER, {"forwarded": ["proto=https"]}, False),
            ("not an address", {"x-forwarded-proto": ["https"]}, False),
            (PROXY, {}, False),
            (PROXY, {"x-forwarded-proto": ["http"]}, False),
            (PROXY, {"x-forwarded-proto": [""]}, False),
            (PROXY, {"x-forwarded-proto": ["https,"]}, False),
            (PROXY, {"x-forwarded-proto": ["https, http"]}, False),
            (PROXY, {"x-forwarded-proto": ["http, https"]}, False),
            (PROXY, {"x-forwarded-proto": ["https", "http"]}, False),
            (PROXY, {"x-forwarded-proto": ["https", "https, https"]}, True),
            (PROXY, {"x-forwarded-proto": ["httpsx"]}, False),
            (PROXY, {"forwarded": ["for=192.0.2.1;proto=https;by=10.0.0.7"]}, True),
            (
                PROXY,
                {"forwarded": ['for="[2001:db8::1]:4711";proto="https", for=10.0.0.8;Proto=HTTPS']},
                True,
            ),
            (PROXY, {"forwarded": ["for=[2001:db8::1];proto=https"]}, True),
            (PROXY, {"forwarded": ["for=192.0.2.1;proto=https, for=10.0.0.8;proto=http"]}, False),
            (PROXY, {"forwarded": ["for=192.0.2.1"]}, False),
            (PROXY, {"forwarded": ['proto=https;for="', "for=192.0.2.1;proto=http"]}, False),
            (PROXY, {"forwarded": ['proto=https;for=", for=192.0.2.1;proto=http']}, False),
            (PROXY, {"forwarded": ["proto=https" + " " * 5000]}, False),
            (PROXY, {"forwarded": ["proto=https"], "x-forwarded-proto": ["http"]}, False),
            (PROXY, {"forwarded": ["proto=http"], "x-forwarded-proto": ["https"]}, False),
            (PROXY, {"x-forwarded-ssl": ["on"], "x-forwarded-scheme": ["https"]}, False),
        ],
    )
    def test_only_a_trusted_proxy_makes_plain_http_secure_and_every_hop_has_to_be(
        self, peer, headers, secure
    ):
        ruling = self.ruling(peer=peer, headers=headers)
        assert ruling.secure is secure
        assert ruling.scheme == ("https" if secure else "http")

    def test_what_a_stranger_says_cannot_make_https_plain_and_what_a_proxy_says_can(self):
        said = {"x-forwarded-proto": ["http"]}
        assert self.ruling(scheme="https", headers=said).secure
        assert not self.ruling(scheme="https", peer=PROXY, headers=said).secure
        assert self.ruling(scheme="https", peer=PROXY).secure
        assert self.ruling(scheme="wss", method="CONNECT").scheme == "wss"

    @given(st.lists(st.text(max_size=30), max_size=3), st.lists(st.text(max_size=30), max_size=3))
    def test_nothing_that_a_client_writes_beside_a_proxys_plain_helps(self, protos, forwarded):
        headers = {"x-forwarded-proto": [*protos, "http"], "forwarded": forwarded}
        assert not self.ruling(peer=PROXY, headers=headers).secure
        headers = {"forwarded": [", ".join([*forwarded, "for=192.0.2.1;proto=http"])]}
        assert not self.ruling(peer=PROXY, headers=headers).secure

    @pytest.mark.parametrize("size", [10_000, 1_000_000])
    def test_a_long_header_is_read_in_linear_time(self, size):
        for value in ("for=" * size, 'a="' + "\\" * size, "a=b;" * size, "," * size):
            assert not self.ruling(peer=PROXY, headers={"forwarded": [value[:4096]]}).secure
            assert not self.ruling(
                peer=PROXY, headers={"forwarded": [value], "x-forwarded-proto": [value]}
            ).secure

    @pytest.mark.parametrize(
        ("target", "query", "location"),
        [
            (b"/", b"", "https://example.com/"),
            (b"/a/b", b"q=1&r=%20", "https://example.com/a/b?q=1&r=%20"),
            (b"/%2e%2E/%C3%A9", b"", "https://example.com/%2e%2E/%C3%A9"),
            (b"//evil.com/x", b"", "https://example.com//evil.com/x"),
            (b"/\\evil.com", b"", "https://example.com/%5Cevil.com"),
            (b"/%0d%0aSet-Cookie:%20a=b", b"", "https://example.com/%0d%0aSet-Cookie:%20a=b"),
            (b"/\r\nSet-Cookie: a=b", b"x\r\ny", "https://example.com/%0D%0ASet-Cookie:%20a=b?x%0D%0Ay"),
            (b"/\xff\x00", b'<">', "https://example.com/%FF%00?%3C%22%3E"),
            (b"/a;b=1", b"//evil", "https://example.com/a;b=1?//evil"),
            (b"/@evil.com", b"", "https://example.com/@evil.com"),
        ],
    )  # fmt: skip
    def test_a_redirect_keeps_path_and_query_and_adds_no_header_or_host(self, target, query, location):
        ruling = self.ruling(target=target, query=query)
        assert ruling.location == location
        assert ruling.refusal is None

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_whatever_the_path_a_redirect_stays_on_the_host_and_names_the_same_bytes(self, path, query):
        location = self.ruling(target=b"/" + path, query=query).location
        assert location.isascii()
        assert location.isprintable()
        assert " " not in location
        parts = urlsplit(location)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "example.com", "")
        assert unquote_to_bytes(
            location.removeprefix("https://example.com").partition("?")[0]
        ) == unquote_to_bytes(b"/" + path)

    @pytest.mark.parametrize(
        "target", [b"http://evil.com/", b"http://example.com/", b".evil.com/", b"@evil.com", b":80@evil.com/", b"*", b"", b"evil.com:443", b"\\evil"]
    )  # fmt: skip
    def test_a_target_of_another_form_is_refused(self, target):
        ruling = self.ruling(target=target)
        assert ruling.location == ""
        assert ruling.refusal.code == "transport.insecure"

    @pytest.mark.parametrize(
        "hosts",
        [
            (), ("evil.com",), ("example.com", "evil.com"), ("example.com", "example.com"), ("example.com.evil.com",), ("example.com@evil.com",),
            ("example.com/",), ("example.com\r\nx: y",), ("example.com.",), ("",), ("xexample.com",), ("example.com:80:80",), ("example.com:",),
            ("example.com,evil.com",), ("\u0435xample.com",), ("e" * 100_000,),
        ],
    )  # fmt: skip
    def test_a_host_that_is_not_listed_is_refused_and_not_redirected_to(self, hosts):
        ruling = self.ruling(headers={"host": list(hosts)})
        assert ruling.location == ""
        assert ruling.refusal.status == 403

    @pytest.mark.parametrize(
        ("listed", "asked", "netloc"),
        [
            ("example.com", "example.com:80", "example.com"),
            ("example.com", "EXAMPLE.com:8080", "example.com"),
            ("Example.com:8443", "example.com", "example.com:8443"),
            ("example.com:443", "example.com", "example.com"),
            ("[2001:db8::1]", "[2001:DB8::1]:80", "[2001:db8::1]"),
            ("[::1]:8443", "[::1]", "[::1]:8443"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ],
    )
    def test_a_listed_host_is_found_without_its_port_and_redirected_to_the_listed_one(
        self, listed, asked, netloc
    ):
        assert (
            self.ruling(HttpsRule(hosts=[listed]), headers={"host": [asked]}).location == f"https://{netloc}/"
        )

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "*",
            "*.example.com",
            "https://example.com",
            "example.com/",
            "a b",
            "example.com:0",
            "example.com:99999",
            "-",
            "\n",
            "é.com",
        ],
    )
    def test_a_host_that_is_no_name_is_refused_at_construction(self, host):
        with pytest.raises(Misconfigured, match="hosts"):
            HttpsRule(hosts=[host])

    def test_settings_of_a_wrong_kind_are_refused(self):
        for wrong in ({"hosts": "example.com"}, {"trusted_proxies": "10.0.0.0/8"}):
            with pytest.raises(TypeError):
                HttpsRule(**wrong)
        for wrong in ({"trusted_proxies": ["proxy.example"]}, {"exempt": ["health"]}, {"exempt": "/health"}):
            with pytest.raises(Misconfigured):
                HttpsRule(**wrong)

    def test_without_hosts_nothing_is_redirected(self):
        assert self.ruling(HttpsRule()).refusal.code == "transport.insecure"

    @pytest.mark.parametrize(
        "method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "get", "TRACE", "X" * 9999]
    )
    def test_a_method_that_is_not_repeated_by_itself_is_refused(self, method):
        events = CapturedEvents()
        ruling = self.ruling(HttpsRule(hosts=["example.com"], sinks=[events]), method=method)
        assert ruling.refusal.code == "transport.insecure"
        event = events.only("transport.insecure")
        assert (event.source, event.result, event.code) == (STRANGER, "failure", "transport.insecure")
        assert event.request_id == ruling.request_id

    @pytest.mark.parametrize("name", ["authorization", "x-api-key", "proxy-authorization"])
    def test_a_credential_in_clear_is_refused_also_where_it_could_be_redirected_and_told_without_its_value(
        self, name
    ):
        events = CapturedEvents()
        ruling = self.ruling(
            HttpsRule(hosts=["example.com"], sinks=[events]),
            headers={name: ["Bearer hunter2"], "cookie": ["c=hunter2"]},
        )
        assert "must be replaced" in ruling.refusal.detail
        assert events.only("transport.exposed").detail == {"credential": name}
        assert "hunter2" not in str(events.only("transport.exposed").to_dict())

    def test_a_cookie_in_clear_is_told_and_the_browser_redirected(self):
        events = CapturedEvents()
        ruling = self.ruling(
            HttpsRule(hosts=["example.com"], sinks=[events]), headers={"cookie": ["s=hunter2"]}
        )
        assert ruling.location == "https://example.com/"
        assert events.only("transport.exposed").detail == {"credential": "cookie"}

    def test_a_plain_first_visit_is_no_event(self):
        events = CapturedEvents()
        assert self.ruling(HttpsRule(hosts=["example.com"], sinks=[events])).location
        assert events.types == []

    def test_the_source_is_that_which_the_proxy_saw(self):
        events = CapturedEvents()
        rule = HttpsRule(trusted_proxies=["10.0.0.0/8"], sinks=[events])
        self.ruling(rule, peer=PROXY, headers={"x-forwarded-for": [STRANGER]}, path="/x" * 9999)
        event = events.only("transport.insecure")
        assert event.source == STRANGER
        assert len(event.resource) < 600

    @pytest.mark.parametrize("failure", [Unavailable(), RuntimeError("hunter2")])
    def test_a_log_that_is_down_refuses_as_unavailable_and_the_other_sinks_still_hear(self, failure):
        class Down:
            def record(self, event):
                raise failure

        events = CapturedEvents()
        ruling = self.ruling(
            HttpsRule(hosts=["example.com"], sinks=[Down(), events]), headers={"cookie": ["a=b"]}
        )
        assert (ruling.location, ruling.refusal.code) == ("", "unavailable.events")
        assert "hunter2" not in ruling.refusal.detail
        assert events.types == ["transport.exposed"]

    def test_exempt_paths_may_be_asked_for_in_clear(self):
        rule = HttpsRule(exempt=["/health", "/probe/*"])
        for path in ("/health", "/probe/a"):
            ruling = self.ruling(rule, path=path)
            assert (ruling.secure, ruling.refusal, ruling.location) == (False, None, "")
        for path in ("/healthz", "/health/", "/probe/../admin", "//health"):
            assert self.ruling(rule, path=path).refusal


# -- over real servers


async def echo(scope, receive, send):
    """Tell the scheme that the application sees; accept every WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] == "/own":
        headers.append((b"Strict-Transport-Security", b"max-age=5"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})


def flask_app():
    app = Flask("echo")

    @app.route("/", methods=["GET", "POST"])
    @app.route("/<path:rest>", methods=["GET", "POST"])
    def view(rest=""):
        headers = {"strict-transport-security": "max-age=5"} if rest == "own" else {}
        return request.scheme, 200 if rest != "boom" else 500, headers

    return app


def raw(url, head):
    """Send a request head exactly as written; return status and headers."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        connection.sendall(head)
        data = b""
        while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
            data += more
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), {
        k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])
    }


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def context(ca):
    pair = ca.issue()
    return server_context(pair.cert, pair.key)


@pytest.fixture(scope="module")
def doors(context):
    """The four servers: each framework, in clear and with TLS."""
    switches = {"asgi": Switch(), "flask": Switch()}
    asgi, wsgi = switches["asgi"].asgi, switches["flask"].wsgi
    with (
        serve_asgi(asgi) as asgi_plain,
        serve_asgi(asgi, context) as asgi_tls,
        serve_wsgi(wsgi) as flask_plain,
        serve_wsgi(wsgi, context) as flask_tls,
    ):
        yield switches, {"asgi": (asgi_plain, asgi_tls), "flask": (flask_plain, flask_tls)}


@pytest.mark.parametrize("framework", ["asgi", "flask"])
class TestServers:
    @pytest.fixture
    def door(self, doors, framework):
        switches, urls = doors

        def guarded(**options):
            if framework == "asgi":
                switches["asgi"].app = HttpsOnly(echo, **options)
            else:
                app = flask_app()
                FlaskHttpsOnly(**options).init_app(app)
                switches["flask"].app = app
            return urls[framework]

        return guarded

    @pytest.fixture
    def client(self, ca):
        with httpx.Client(verify=client_context(ca=ca.file), trust_env=False, timeout=10) as client:
            yield client

    def test_https_comes_through_with_hsts(self, door, client):
        _, tls = door()
        response = client.get(f"{tls}/")
        assert (response.status_code, response.text) == (200, "https")
        assert response.headers.get_list("strict-transport-security") == ["max-age=63072000"]
        assert client.post(f"{tls}/", content=b"x").status_code == 200

    def test_hsts_of_the_application_is_left_alone_and_none_is_sent_when_switched_off(self, door, client):
        _, tls = door()
        assert client.get(f"{tls}/own").headers.get_list("strict-transport-security") == ["max-age=5"]
        assert "strict-transport-security" in client.get(f"{tls}/boom").headers
        _, tls = door(hsts=None)
        assert "strict-transport-security" not in client.get(f"{tls}/").headers

    def test_plain_get_is_redirected_to_where_https_answers(self, door, client):
        plain, tls = door(hosts=[urlsplit(door()[1]).netloc])
        response = client.get(f"{plain}/a%2Fb?q=%C3%A9&r")
        assert response.status_code == 308
        assert response.headers["location"] == f"{tls}/a%2Fb?q=%C3%A9&r"
        assert "strict-transport-security" not in response.headers  # RFC 6797 section 7.2
        assert client.get(f"{plain}/x", follow_redirects=True).text == "https"
        assert client.head(f"{plain}/x").status_code == 308

    def test_everything_else_in_clear_is_a_problem(self, door, client):
        events = CapturedEvents()
        plain, _ = door(hosts=["127.0.0.1"], sinks=[events])
        for response in (
            client.post(f"{plain}/", content=b"secret", headers={"X-Request-ID": "r-1"}),
            client.get(f"{plain}/", headers={"X-API-Key": "hunter2", "X-Request-ID": "r-1"}),
            client.get(f"{plain}/", headers={"Host": "evil.com", "X-Request-ID": "r-1"}),
        ):
            assert response.status_code == 403
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["x-request-id"] == "r-1"
            assert "strict-transport-security" not in response.headers
            assert (response.json()["code"], response.json()["instance"]) == ("transport.insecure", "r-1")
            assert "evil" not in response.text
        assert events.types == ["transport.insecure", "transport.exposed", "transport.insecure"]
        assert {event.source for event in events} == {"127.0.0.1"}

    def test_the_word_of_a_proxy_counts_only_where_it_is_trusted(self, door, client):
        said = {"X-Forwarded-Proto": "https"}
        plain, _ = door()
        assert client.get(f"{plain}/", headers=said).status_code == 403
        plain, _ = door(trusted_proxies=["10.0.0.0/8"])
        assert client.get(f"{plain}/", headers=said).status_code == 403
        plain, _ = door(trusted_proxies=["127.0.0.1"])
        response = client.get(f"{plain}/", headers=said)
        assert (response.status_code, response.text) == (200, "https")
        assert response.headers["strict-transport-security"]
        assert (
            client.get(
                f"{plain}/", headers=[("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")]
            ).status_code
            == 403
        )
        assert client.get(f"{plain}/", headers={"Forwarded": 'for="[::1]";proto=https'}).status_code == 200
        assert client.get(f"{plain}/").status_code == 403

    def test_a_health_check_in_clear_passes_without_hsts(self, door, client):
        plain, _ = door(exempt=["/health"])
        response = client.get(f"{plain}/health")
        assert (response.status_code, response.text) == (200, "http")
        assert "strict-transport-security" not in response.headers
        assert client.get(f"{plain}/health2").status_code == 403

    @pytest.mark.parametrize(
        ("head", "location"),
        [
            (b"GET //evil.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n", "https://example.com//evil.com/x"),
            (b"GET /\\evil.com HTTP/1.1\r\nHost: example.com\r\n\r\n", "https://example.com/%5Cevil.com"),
            (b"GET /a%0d%0aX:%20y?z%0d%0a HTTP/1.1\r\nHost: example.com\r\n\r\n", "https://example.com/a%0d%0aX:%20y?z%0d%0a"),
            (b"GET http://evil.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n", None),
            (b"GET http://example.com.evil.com/x HTTP/1.1\r\nHost: example.com\r\n\r\n", None),
            (b"GET .evil.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", None),
            (b"GET @evil.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: example.com\r\nHost: evil.com\r\n\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: evil.com\r\nX-Forwarded-Host: example.com\r\n\r\n", None),
            (b"GET / HTTP/1.0\r\n\r\n", None),
        ],
    )  # fmt: skip
    def test_no_written_request_leads_to_another_host_or_adds_a_header(self, door, head, location):
        plain, _ = door(hosts=["example.com"])
        status, headers = raw(plain, head)
        assert "x" not in headers
        if location is None:
            assert status in {400, 403, 404}
            assert "location" not in headers
        else:
            # Python's http.server, under werkzeug, joins slashes at the beginning of a target.
            assert (status, headers["location"].replace("com//", "com/")) == (
                308,
                location.replace("com//", "com/"),
            )


class TestAsgi:
    def test_a_websocket_in_clear_is_refused_before_it_is_accepted(self, doors, ca):
        switches, urls = doors
        events = CapturedEvents()
        switches["asgi"].app = HttpsOnly(echo, hosts=["127.0.0.1"], sinks=[events])
        plain, tls = (url.replace("http", "ws", 1) for url in urls["asgi"])
        with pytest.raises(InvalidStatus) as caught:
            ws_connect(plain, proxy=None)
        assert caught.value.response.status_code == 403
        assert json.loads(caught.value.response.body)["code"] == "transport.insecure"
        assert events.types == ["transport.insecure"]

        # As in test_client_certificates: without threads.
        async def greeting() -> str:
            async with aconnect(tls, ssl=client_context(ca=ca.file), proxy=None) as socket_:
                return await socket_.recv()

        assert asyncio.run(greeting()) == "wss"

    def run(self, app, scope):
        sent = []

        async def receive():
            return {"type": "lifespan.startup"}

        async def send(message):
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        return sent

    def test_a_websocket_is_closed_where_the_server_can_say_no_more(self):
        scope = {"type": "websocket", "scheme": "ws", "path": "/", "headers": [], "client": None}
        assert self.run(HttpsOnly(echo), scope) == [{"type": "websocket.close", "code": 1008}]

    def test_lifespan_passes_and_an_unknown_scope_is_refused(self):
        seen = []

        async def app(scope, receive, send):
            seen.append(scope["type"])

        self.run(HttpsOnly(app), {"type": "lifespan"})
        with pytest.raises(RuntimeError, match="webtransport"):
            self.run(HttpsOnly(app), {"type": "webtransport"})
        assert seen == ["lifespan"]

    def test_a_scope_with_only_what_the_protocol_demands_is_served(self):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/é ?\ud800",
            "headers": [(b"Host", b"example.com")],
            "query_string": b"",
        }
        start, _body = self.run(HttpsOnly(echo, hosts=["example.com"]), scope)
        assert dict(start["headers"])[b"location"] == b"https://example.com/%C3%A9%20%3F%ED%A0%80"

    def test_the_scope_of_the_server_is_not_changed(self):
        scope = {
            "type": "http",
            "scheme": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"x-forwarded-proto", b"https")],
            "client": (PROXY, 1),
        }
        start, body = self.run(HttpsOnly(echo, trusted_proxies=[PROXY]), scope)
        assert body["body"] == b"https"
        assert scope["scheme"] == "http"
        assert (b"strict-transport-security", b"max-age=63072000") in start["headers"]

    def test_the_check_comes_before_authentication(self):
        events = CapturedEvents()
        shield = Shield(sinks=[events])
        app = HttpsOnly(AISecureMiddleware(echo, shield), sinks=shield.sinks)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"authorization", b"Bearer k")],
            "client": (STRANGER, 1),
        }
        assert self.run(app, scope)[0]["status"] == 403
        assert events.types == ["transport.exposed"]


class TestFastapi:
    def test_secure_puts_it_outermost_with_the_shields_proxies_and_sinks(self, doors):
        switches, urls = doors
        events = CapturedEvents()
        app = FastAPI()
        secure(
            app,
            Shield(sinks=[events]),
            trusted_proxies=["127.0.0.1"],
            https={"hosts": ["example.com"], "exempt": ["/health"]},
        )

        @app.get("/health")
        async def health() -> str:
            return "fine"

        @app.get("/items/")
        async def items() -> str:
            return "items"

        switches["asgi"].app = app
        with httpx.Client(base_url=urls["asgi"][0], trust_env=False, timeout=10) as client:
            assert client.get("/health").json() == "fine"
            assert client.get("/items/", headers={"X-API-Key": "k"}).json()["code"] == "transport.insecure"
            assert (
                client.get("/items/", headers={"Host": "example.com"}).headers["location"]
                == "https://example.com/items/"
            )
            secure_ = {"X-Forwarded-Proto": "https", "Host": "example.com"}
            assert client.get("/items/", headers=secure_).headers["strict-transport-security"]
            # The framework's own redirects keep the scheme that the client used.
            assert client.get("/items", headers=secure_).headers["location"] == "https://example.com/items/"
        assert events.types == ["transport.exposed"]


class TestFlask:
    def test_it_stands_before_the_shield_in_whichever_order_they_are_set_up(self):
        for first in (True, False):
            events = CapturedEvents()
            shield = Shield(sinks=[events])
            app = flask_app()
            steps = [lambda app=app, shield=shield: AISecure(shield).init_app(app)]
            steps.insert(
                0 if first else 1, lambda app=app, shield=shield: FlaskHttpsOnly(app, sinks=shield.sinks)
            )
            for step in steps:
                step()
            response = app.test_client().get("/", headers={"Authorization": "Bearer k"})
            assert response.status_code == 403
            assert events.types == ["transport.exposed"]
            assert app.test_client().get("/", base_url="https://localhost").status_code == 200

    def test_a_server_that_tells_no_raw_target_gets_the_decoded_one_encoded(self):
        app = flask_app()
        FlaskHttpsOnly(app, hosts=["localhost"])
        environ = {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/m%", "PATH_INFO": "/\xc3\xa9?\r\n", "QUERY_STRING": "a=%20", "wsgi.url_scheme": "http",
            "HTTP_HOST": "localhost", "REMOTE_ADDR": STRANGER,
        }  # fmt: skip
        said = []
        body = app.wsgi_app(environ, lambda status, headers: said.append((status, dict(headers))))
        assert b"".join(body) == b""
        assert said[0][0] == "308 Permanent Redirect"
        assert said[0][1]["location"] == "https://localhost/m%25/%C3%A9%3F%0D%0A?a=%20"


class TestTls:
    """Real frameworks and clients over our own contexts."""

    def test_a_server_of_mutual_tls_knows_its_clients_only(self, ca, doors):
        switches, _ = doors
        switches["asgi"].app = HttpsOnly(echo)
        pair, me = ca.issue(), ca.issue("client-7", client=True)
        mutual = server_context(pair.cert, pair.key, client_ca=ca.file)
        with serve_asgi(switches["asgi"].asgi, mutual) as url:
            known = client_context(ca=ca.file, certificate=me.cert, key=me.key)
            with httpx.Client(verify=known, trust_env=False, timeout=10) as client:
                assert client.get(url).text == "https"
            unknown = client_context(ca=ca.file)
            with httpx.Client(verify=unknown, trust_env=False) as client, pytest.raises(httpx.TransportError):
                client.get(url)

    def test_a_renewed_certificate_is_served_by_a_running_server(self, ca, tmp_path, doors):
        switches, _ = doors
        switches["asgi"].app = HttpsOnly(echo)
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        first, second = ca.issue(), ca.issue()
        key.touch(0o600)
        for target, source in ((cert, first.cert), (key, first.key)):
            target.write_bytes(source.read_bytes())
        context = server_context(cert, key)
        with serve_asgi(switches["asgi"].asgi, context) as url:
            for target, source in ((cert, second.cert), (key, second.key)):
                target.write_bytes(source.read_bytes())
            context.reload()
            backup = ca.issue().pin
            pinned = client_context(ca=ca.file, pins=[second.pin, backup])
            with httpx.Client(verify=pinned, trust_env=False, timeout=10) as client:
                assert client.get(url).text == "https"
