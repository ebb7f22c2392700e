"""What the check says of servers of every kind, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.encryption.tls_parts import DAY, Authority, Pair, Peer, listening, plain_context, small_rsa

from aisecure.encryption.tls import TlsPolicy, check_tls, pin_of, require_tls, server_context
from aisecure.encryption.tls.hello import (
    ALL_SUITES,
    STRONG_SUITES,
    Answer,
    Version,
    client_hello,
    read_answer,
)
from aisecure.encryption.tls.report import FINDINGS
from aisecure.encryption.tls.wire import hsts_max_age
from aisecure.errors import Misconfigured

HSTS = b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=63072000\r\n\r\n"
MOVED = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://localhost/\r\n\r\n"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(ca):
    return ca.issue()


def codes(report):
    return {found.code for found in report.findings}


def checked(ca, serve, target="localhost:{}", **policy):
    with listening(serve) as port:
        report = check_tls(target.format(port), policy=TlsPolicy(ca=ca.file, timeout_seconds=5, **policy))
    json.dumps(report.to_dict())
    return report


class TestTls:
    def test_our_own_server_meets_the_policy(self, ca, good):
        report = checked(ca, Peer(server_context(good.cert, good.key)))
        assert report.ok
        assert report.findings == ()
        assert report.not_checked == ()
        assert (report.version, report.suite) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
        assert report.certificate.pin == good.pin

    def test_our_own_server_of_1_2_meets_it_too_and_not_the_stricter_one(self, ca, good):
        peer = Peer(server_context(good.cert, good.key, minimum="1.2"))
        assert checked(ca, peer).findings == ()
        report = checked(ca, peer, minimum="1.3")
        assert codes(report) == {"tls.old_version"}
        assert "TLS 1.2 with ECDHE_ECDSA_WITH_AES" in report.findings[0].message

    @pytest.mark.parametrize(
        ("make", "code"),
        [
            (lambda ca: ca.issue(start=-DAY * 9, end=-DAY), "tls.expired"),
            (lambda ca: ca.issue(start=DAY, end=DAY * 99), "tls.not_yet_valid"),
            (lambda ca: ca.issue("example.org"), "tls.wrong_name"),
            (lambda ca: ca.issue(self_signed=True), "tls.self_signed"),
            (lambda ca: Authority(ca.folder / "x").issue(), "tls.untrusted"),
            (lambda ca: ca.issue(client=True), "tls.untrusted"),
            (lambda ca: ca.issue(end=DAY * 9), "tls.expires_soon"),
        ],
        ids=["expired", "future", "name", "self-signed", "untrusted", "purpose", "soon"],
    )
    def test_each_fault_of_a_certificate_has_its_code(self, ca, make, code):
        pair = make(ca)
        peer = Peer(plain_context(pair, low="TLSv1_3"))
        report = checked(ca, peer)
        assert codes(report) == {code}
        assert report.ok == (code == "tls.expires_soon")
        assert report.certificate.pin == pair.pin
        assert peer.heard == []

    def test_several_faults_are_told_together_worst_first(self, ca):
        pair = ca.issue("example.org", end=DAY * 9)
        report = checked(ca, Peer(plain_context(pair, low="TLSv1_3")))
        assert [found.code for found in report.findings] == ["tls.wrong_name", "tls.expires_soon"]

    def test_the_date_is_a_parameter(self, ca, good):
        with listening(Peer(server_context(good.cert, good.key))) as port:
            report = check_tls(
                f"localhost:{port}", policy=TlsPolicy(ca=ca.file), now=time.time() + 86400 * 59
            )
        assert codes(report) == {"tls.expires_soon"}

    @pytest.mark.parametrize("code", ["tls.weak_key", "tls.weak_signature"])
    def test_a_weak_certificate_is_found(self, ca, code, tmp_path):
        pair = ca.issue(key=small_rsa()) if code == "tls.weak_key" else Pair(tmp_path / "c", tmp_path / "k")
        if code == "tls.weak_signature":
            make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=localhost -sha1"
            subprocess.run(
                [*make.split(), "-keyout", pair.key, "-out", pair.cert], check=True, capture_output=True
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pair.cert, pair.key)
        assert code in codes(checked(ca, Peer(context)))

    @pytest.mark.parametrize(("low", "label"), [("TLSv1", "TLS 1.0"), ("TLSv1_1", "TLS 1.1")])
    def test_a_server_of_an_old_version_only_is_found(self, ca, good, low, label):
        report = checked(ca, Peer(plain_context(good, low=low, suites="ALL:@SECLEVEL=0")))
        assert codes(report) == {"tls.handshake", "tls.old_version"}
        assert any(f"accepts {label} with ECDHE_ECDSA" in found.message for found in report.findings)

    def test_a_server_that_also_accepts_old_versions_is_found(self, ca, good):
        context = plain_context(good, suites="ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        report = checked(ca, Peer(context))
        assert report.version == "TLSv1.3"
        assert codes(report) == {"tls.old_version", "tls.weak_suite"}

    def test_a_server_without_1_3_is_warned_of(self, ca, good):
        suites = "ECDHE+AESGCM"
        report = checked(ca, Peer(plain_context(good, low="TLSv1_2", suites=suites)))
        assert codes(report) == {"tls.no_1_3"}
        assert report.ok
        report = checked(ca, Peer(plain_context(good, low="TLSv1_2", suites=suites)), minimum="1.3")
        assert codes(report) == {"tls.old_version"}
        assert not report.ok

    def test_pins_are_compared(self, ca, good):
        backup = pin_of(ca.file.read_bytes())
        peer = Peer(server_context(good.cert, good.key))
        assert codes(checked(ca, peer, pins=(good.pin, backup))) == set()
        assert codes(checked(ca, peer, pins=(ca.issue().pin, backup))) == {"tls.wrong_pin"}

    def test_a_server_that_asks_for_a_client_certificate_is_still_seen(self, ca, good):
        report = checked(
            ca, Peer(server_context(good.cert, good.key, client_ca=ca.file)), "https://localhost:{}/"
        )
        assert report.certificate.pin == good.pin
        assert codes(report) == {"http.no_answer"}

    @pytest.mark.parametrize(
        ("serve", "said"),
        [
            (lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9), "wrong version number"),
            (lambda c: c.recv(9999), "unexpected eof"),
            (lambda c: c.recv(9999) and c.sendall(os.urandom(4096)), ""),
            (lambda c: c.recv(9999) and c.sendall(b"\x16\x03\x03\xff\xff" + bytes(70000)), ""),
        ],
        ids=["plain-text", "closes", "junk", "long-record"],
    )
    def test_what_is_no_tls_is_told(self, ca, serve, said):
        report = checked(ca, serve)
        assert codes(report) == {"tls.handshake"}
        assert said in report.findings[0].message

    def test_a_server_that_hangs_is_left_and_what_was_not_seen_is_listed(self, ca):
        def hang(connection):
            while connection.recv(9999):
                pass

        with listening(hang) as port:
            report = check_tls(f"localhost:{port}", policy=TlsPolicy(ca=ca.file, timeout_seconds=0.1))
        assert "timed out" in report.findings[0].message
        assert [line.split(" (")[0] for line in report.not_checked] == [
            "SSL 3.0",
            "TLS 1.0",
            "TLS 1.1",
            "TLS 1.2",
        ]

    def test_a_server_that_drips_is_left_at_the_deadline(self, ca):
        def drip(connection):
            connection.recv(9999)
            connection.settimeout(0.01)
            while True:  # one byte of a long record every 10 ms, far longer than the deadline
                connection.sendall(b"\x16\x03\x03\x3f\x00"[:1])
                try:
                    if not connection.recv(9999):
                        return
                except TimeoutError:
                    continue

        with listening(drip) as port:
            report = check_tls(f"localhost:{port}", policy=TlsPolicy(ca=ca.file, timeout_seconds=0.2))
        assert codes(report) == {"tls.handshake"}

    def test_nobody_there_is_told_once(self, ca):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            report = check_tls(f"127.0.0.1:{unused.getsockname()[1]}", policy=TlsPolicy(ca=ca.file))
        assert codes(report) == {"tls.unreachable"}
        assert not report.ok
        assert report.certificate is None

    def test_a_name_that_cannot_be_looked_up_is_unreachable(self, ca):
        for name in ("x" * 64 + ".example", "nobody.invalid"):
            assert codes(check_tls(name, policy=TlsPolicy(ca=ca.file))) == {"tls.unreachable"}

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
    def test_addresses_are_verified_like_names(self, ca, good, host):
        with listening(
            Peer(server_context(good.cert, good.key)), host="::1" if "[" in host else "127.0.0.1"
        ) as port:
            target = f"{host}:{port}"
            assert check_tls(target, policy=TlsPolicy(ca=ca.file)).findings == ()


class TestHttp:
    def site(self, ca, good, secure, plain=MOVED, target="https://localhost/", **policy):
        """Check a site on the usual ports, which lead to peers of the test; None is a closed port."""
        peer = Peer(server_context(good.cert, good.key), secure)
        heard = []

        def serve_plain(connection):
            heard.append(connection.recv(9999))
            connection.sendall(plain)

        with listening(peer) as port, listening(serve_plain) as other:

            def connect(host, asked, seconds):
                if asked == 80 and plain is None:
                    raise ConnectionRefusedError
                return socket.create_connection(("127.0.0.1", {443: port, 80: other}[asked]), seconds)

            report = check_tls(
                target, policy=TlsPolicy(ca=ca.file, timeout_seconds=5, **policy), connect=connect
            )
        for request in (*peer.heard, *heard):
            assert request.startswith(b"HEAD ")
            assert b"uthorization" not in request
            assert b"ookie" not in request
        return report

    def test_a_site_that_does_it_right_passes(self, ca, good):
        for plain in (MOVED, None, b"HTTP/1.1 403 Forbidden\r\n\r\n"):
            report = self.site(ca, good, HSTS, plain)
            assert report.findings == ()
            assert report.hsts == "max-age=63072000"
        assert self.site(ca, good, HSTS, target="http://localhost/").ok

    @pytest.mark.parametrize(
        ("head", "code"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", "hsts.missing"),
            (b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=300\r\n\r\n", "hsts.short"),
            (b"HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age\r\n\r\n", "hsts.invalid"),
            (b"HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=0\r\nStrict-Transport-Security: max-age=99999999\r\n\r\n", "hsts.short"),
            (HSTS.replace(b"200 OK", b"302 Found\r\nLocation: http://localhost/"), "http.downgrade"),
            (b"SSH-2.0-x\r\n\r\n", "http.no_answer"),
            (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000, "http.no_answer"),
            (b"HTTP/1.1 200 OK\r\n", "http.no_answer"),
            (b"\xff\xfe\x00\r\n\r\n", "http.no_answer"),
        ],
    )  # fmt: skip
    def test_each_fault_of_the_answer_has_its_code(self, ca, good, head, code):
        assert codes(self.site(ca, good, head)) == {code}

    def test_hsts_is_not_asked_of_a_service_or_where_it_is_switched_off(self, ca, good):
        bare = b"HTTP/1.1 200 OK\r\n\r\n"
        assert codes(self.site(ca, good, bare, hsts_seconds=None)) == set()
        assert codes(self.site(ca, good, bare, target="localhost")) == set()

    @pytest.mark.parametrize(
        "plain",
        [
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            b"HTTP/1.1 302 Found\r\nLocation: http://www.localhost/\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
            b"HTTP/1.1 302 Found\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: https:\\\\[evil\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("target", ["https://localhost/", "http://localhost/"])
    def test_plain_http_that_leads_elsewhere_is_found(self, ca, good, plain, target):
        report = self.site(ca, good, HSTS, plain, target=target)
        if b"https:" in plain:
            assert "http.plain" not in codes(report) or not report.ok
        else:
            assert codes(report) == {"http.plain"}

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("max-age=1", 1), ('MAX-AGE = "2" ; preload', 2), ("includeSubDomains; max-age=3;", 3), ("max-age=", None),
            ("max-age=-1", None), ("max-age=1; max-age=2", None), ("max-age=\u0661", None), ("", None), ("x" * 100_000, None),
            ("max-age=" + "9" * 5000, None),
        ],
    )  # fmt: skip
    def test_hsts_is_read_as_browsers_do(self, value, seconds):
        assert hsts_max_age(value) == seconds


class TestTargets:
    @pytest.mark.parametrize(
        "target",
        [
            "", " ", "a b", "host:0", "host:65536", "host:x", "::1]:443", "https://", "https:///x", "https://host:99999/",
            "ftp://host/", "file:///etc/passwd", "https://u:hunter2@host/", "https://host/\r\nX: y", "https://h\0/", "hé.example",
            "\ud800", "https://[::1/", "https://[zz]/", "javascript:alert(1)", "a" * 1_000_000, "host/path", "u@host",
        ],
    )  # fmt: skip
    def test_what_is_no_target_is_refused_and_not_repeated(self, target):
        with pytest.raises(Misconfigured) as caught:
            check_tls(target, connect=lambda *_: pytest.fail("connected"))
        assert caught.value.code == "config.url"
        assert "hunter2" not in caught.value.detail
        assert caught.value.__context__ is None or "hunter2" not in str(caught.value.__context__)

    def test_a_target_is_a_text(self):
        for wrong in (None, 7, b"https://host"):
            with pytest.raises(TypeError):
                check_tls(wrong)

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 601])
    def test_a_check_always_ends(self, seconds):
        with pytest.raises(Misconfigured, match="timeout_seconds"):
            TlsPolicy(timeout_seconds=seconds)

    def test_a_policy_has_no_lower_minimum_and_no_single_pin(self):
        with pytest.raises(Misconfigured):
            TlsPolicy(minimum="1.1")
        with pytest.raises(Misconfigured):
            TlsPolicy(pins=(pin_of(b"") if False else "sha256/" + "A" * 43 + "=",))

    def test_every_finding_says_what_to_do_and_stands_in_the_reference(self):
        page = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text()
        for code, row in FINDINGS.items():
            assert row.remedy
            assert f"`{code}`" in page


class TestRequireTls:
    @pytest.mark.parametrize(
        "url",
        [
            "https://h",
            "https://h:8443/p?q=%20#f",
            "wss://h/x",
            "https://[::1]:9/",
            "HTTPS://H/",
            "https://1.2.3.4/",
        ],
    )
    def test_encrypted_addresses_are_returned_unchanged(self, url):
        assert require_tls(url) == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://h/", "ws://h/", "HTTP://h", "redis://h", "ftp://h", "//h/", "h", "", "https:h", "https:/h", "https://", "https:///p",
            "https://u@h/", "https://u:hunter2@h/", "http://127.0.0.1@evil/", "https://h\n.evil/", "\thttps://h", "https://h\\@evil/",
            "https://h/ ", "https://é/", "data:text/html,x", "https://h:port/", "https://h:99999", "h" * 1_000_000, "\ud800", "https://\0",
        ],
    )  # fmt: skip
    def test_everything_else_is_refused_without_being_repeated(self, url):
        with pytest.raises(Misconfigured) as caught:
            require_tls(url, allow_loopback=True)
        assert caught.value.code == "config.url"
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["http://localhost:8000/", "http://127.0.0.1", "ws://[::1]/", "http://127.9.9.9/"]
    )
    def test_the_machine_itself_may_be_spoken_to_in_clear_where_that_is_allowed(self, url):
        assert require_tls(url, allow_loopback=True) == url
        with pytest.raises(Misconfigured, match="not encrypted"):
            require_tls(url)

    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1.evil.com/", "http://localhost.evil.com/", "http://0.0.0.0/", "http://2130706433/", "http://10.0.0.1/", "redis://localhost/"],
    )  # fmt: skip
    def test_what_only_looks_like_the_machine_itself_is_refused(self, url):
        with pytest.raises(Misconfigured):
            require_tls(url, allow_loopback=True)

    def test_other_schemes_may_be_named(self):
        assert require_tls("rediss://h:6380/0", schemes=["rediss"]) == "rediss://h:6380/0"
        assert require_tls("redis://localhost/0", schemes=["rediss"], allow_loopback=True)
        with pytest.raises(Misconfigured, match="none of: rediss"):
            require_tls("https://h/", schemes=["rediss"])

    @given(st.text(max_size=60))
    def test_any_text_is_returned_unchanged_or_refused(self, text):
        for url in (text, "https://" + text, "http://" + text):
            with contextlib.suppress(Misconfigured):
                assert require_tls(url, allow_loopback=True) == url


class TestHello:
    def reader(self, data):
        def read(size):
            nonlocal data
            if len(data) < size:
                raise EOFError
            out, data = data[:size], data[size:]
            return out

        return read

    @pytest.mark.parametrize("version", list(Version))
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "a" * 63 + ".example"])
    def test_a_real_server_understands_the_hello(self, good, version, host):
        # OpenSSL answers a hello that it can read with a ServerHello, or with an alert that names the reason.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = server_context(good.cert, good.key, minimum="1.2").wrap_bio(
            incoming, outgoing, server_side=True
        )
        incoming.write(client_hello(version, ALL_SUITES, host))
        with pytest.raises(ssl.SSLError) as caught:
            server.do_handshake()
        assert caught.value.reason in {None, "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"}
        assert isinstance(caught.value, ssl.SSLWantReadError) == (version is Version.TLS_1_2)
        answer = read_answer(self.reader(outgoing.read()))
        assert answer == (Answer(0x0303, answer.suite) if version is Version.TLS_1_2 else Answer(None))
        assert not answer.suite or answer.suite in STRONG_SUITES.values()

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"\x16\x03\x03\x00\x40", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c"]),
    )
    def test_any_bytes_are_an_answer_or_no_tls(self, data, start):
        try:
            answer = read_answer(self.reader(start + data))
        except (EOFError, ValueError):
            return
        assert answer.version is None or answer.suite

    def test_an_answer_in_pieces_is_put_together(self):
        body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x2f" + b"\x00"
        message = b"\x02" + len(body).to_bytes(3, "big") + body
        records = b"".join(b"\x16\x03\x01\x00\x01" + message[n : n + 1] for n in range(len(message)))
        assert read_answer(self.reader(records)) == Answer(0x0301, "RSA_WITH_AES_128_CBC_SHA")

    def test_an_endless_answer_is_given_up(self):
        with pytest.raises(ValueError, match="ServerHello"):
            read_answer(
                self.reader(b"\x16\x03\x01\x00\x04\x02\xff\xff\xff" + b"\x16\x03\x01\x00\x01\x00" * 99999)
            )


class TestCommand:
    @pytest.fixture
    def run(self):
        from click.testing import CliRunner

        from aisecure.cli import main

        return lambda *args: CliRunner().invoke(main, ["tls", *map(str, args)])

    def test_check_prints_what_it_found_and_exits_accordingly(self, run, ca, good):
        with listening(Peer(server_context(good.cert, good.key))) as port:
            fine = run("check", f"localhost:{port}", "--ca", ca.file)
            assert (fine.exit_code, fine.output.split()[:2]) == (0, ["ok", f"localhost:{port}"])
            bad = run("check", f"localhost:{port}", f"https://localhost:{port}/", "--ca", ca.file, "--json")
            assert bad.exit_code == 1
            first, second = json.loads(bad.output)
            assert first["ok"]
            assert [found["code"] for found in second["findings"]] == ["hsts.missing"]
            shown = run("check", f"https://localhost:{port}/", "--ca", ca.file)
            assert "FAIL" in shown.output
            assert FINDINGS["hsts.missing"].remedy in shown.output

    def test_pin_prints_that_of_a_file_and_of_a_host_that_proved_its_name(self, run, ca, good, tmp_path):
        assert run("pin", good.cert).output.strip() == good.pin
        with listening(Peer(server_context(good.cert, good.key))) as port:
            assert run("pin", f"localhost:{port}", "--ca", ca.file).output.strip() == good.pin
            unproven = run("pin", f"localhost:{port}")
            assert unproven.exit_code == 1
            assert "tls.untrusted" in unproven.output
            assert good.pin not in unproven.output

    def test_a_private_key_has_no_pin_and_the_way_to_one_is_told(self, run, good):
        result = run("pin", good.key)
        assert result.exit_code == 3
        assert "openssl pkey" in result.output
        assert "PRIVATE" not in result.output

    def test_a_wrong_target_is_exit_code_3(self, run):
        assert run("check", "ftp://host").exit_code == 3
        assert run("check").exit_code == 2
