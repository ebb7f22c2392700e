"""Contexts for both ends of a connection, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.unit.encryption.tls_parts import (
    DAY,
    Authority,
    Pair,
    Peer,
    connect,
    listening,
    plain_context,
    public_pem,
    small_rsa,
)

from aisecure.encryption.tls import PinMismatch, client_context, pin_of, server_context
from aisecure.errors import Misconfigured, Unavailable
from aisecure.testing import CapturedEvents, FrozenClock

BACKUP = pin_of(public_pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))))


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "Other CA")


@pytest.fixture(scope="module")
def good(ca):
    return ca.issue()


@pytest.fixture(scope="module")
def me(ca):
    return ca.issue("client-7", client=True)


class TestFloor:
    def test_a_client_verifies_and_speaks_1_3_by_default(self):
        context = client_context()
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION

    @pytest.mark.parametrize("minimum", ["1.1", "1.0", "", None, 1.3, "TLSv1.3", "1.4"])
    def test_no_other_minimum_is_taken(self, minimum, good):
        with pytest.raises(Misconfigured, match="minimum"):
            client_context(minimum=minimum)
        with pytest.raises(Misconfigured, match="minimum"):
            server_context(good.cert, good.key, minimum=minimum)

    def test_1_2_is_limited_to_ephemeral_keys_and_authenticated_ciphers(self, good):
        for context in (
            client_context(ca=good.cert, minimum="1.2"),
            server_context(good.cert, good.key, minimum="1.2"),
        ):
            old = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
            assert len(old) == 6
            assert all(re.fullmatch(r"ECDHE-(ECDSA|RSA)-(AES\d+-GCM|CHACHA20)-.*", name) for name in old)
            assert context.security_level >= 2

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("check_hostname", False),
            ("verify_mode", ssl.CERT_NONE),
            ("verify_mode", ssl.CERT_OPTIONAL),
            ("minimum_version", ssl.TLSVersion.TLSv1_2),
            ("minimum_version", ssl.TLSVersion.MINIMUM_SUPPORTED),
            ("maximum_version", ssl.TLSVersion.TLSv1_2),
            ("maximum_version", ssl.TLSVersion.MINIMUM_SUPPORTED),
            ("options", 0),
            ("options", ssl.OP_NO_COMPRESSION),
            ("verify_flags", ssl.VERIFY_DEFAULT),
            ("hostname_checks_common_name", True),
            ("keylog_filename", "/dev/null"),
            ("sslsocket_class", ssl.SSLSocket),
            ("sslobject_class", ssl.SSLObject),
            ("pins", frozenset()),
            ("_sealed", False),
        ],
    )
    def test_a_context_refuses_to_be_weakened(self, ca, name, value):
        context = client_context(ca=ca.file)
        before = getattr(context, name)
        with pytest.raises(Misconfigured, match=name) as caught:
            setattr(context, name, value)
        assert caught.value.code == "config.tls"
        assert getattr(context, name) == before

    def test_suites_cannot_be_replaced(self, ca):
        with pytest.raises(Misconfigured, match="set_ciphers"):
            client_context(ca=ca.file).set_ciphers("ALL:@SECLEVEL=0")

    def test_what_strengthens_or_changes_nothing_is_taken(self, ca):
        context = client_context(ca=ca.file, minimum="1.2")
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        context.options |= ssl.OP_NO_TICKET
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.set_alpn_protocols(["h2"])
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3

    def test_named_authorities_are_not_widened_by_a_librarys_own_bundle(self, ca, other_ca):
        context = client_context(ca=ca.file)
        for widen in (
            lambda: context.load_verify_locations(other_ca.file),
            context.load_default_certs,
            context.set_default_verify_paths,
        ):
            with pytest.raises(Misconfigured, match="no others"):
                widen()
        assert [c["subject"][0][0][1] for c in context.get_ca_certs()] == ["Test CA"]
        client_context().load_verify_locations(ca.file)  # the system's own may be added to

    def test_no_session_key_is_written_for_the_environment(self, ca, tmp_path, monkeypatch):
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
        assert client_context(ca=ca.file).keylog_filename is None

    def test_the_floor_wins_over_opensslconf(self, tmp_path, good):
        config = tmp_path / "openssl.cnf"
        config.write_text(
            "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
            "[c]\nMinProtocol = TLSv1\nMaxProtocol = TLSv1.2\nCipherString = ALL:@SECLEVEL=0\nOptions = Compression\n"
        )
        code = (
            "from aisecure.encryption.tls import client_context, server_context\nimport ssl, sys\n"
            "assert ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).maximum_version == ssl.TLSVersion.TLSv1_2, 'not read'\n"
            "for c in (client_context(), server_context(*sys.argv[1:])):\n"
            "    print(c.minimum_version.name, c.maximum_version.name, c.security_level, bool(c.options & ssl.OP_NO_COMPRESSION))"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, good.cert, good.key],
            env={**os.environ, "OPENSSL_CONF": str(config)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert out == "TLSv1_3 MAXIMUM_SUPPORTED 2 True\n" * 2

    def test_the_repr_of_a_server_shows_no_password(self, ca):
        pair = ca.issue(password=b"hunter2")
        assert "hunter2" not in repr(server_context(pair.cert, pair.key, password="hunter2"))


class TestPeers:
    """What a careful client makes of each kind of server."""

    def test_a_good_server_is_talked_to(self, ca, good):
        peer = Peer(server_context(good.cert, good.key))
        with listening(peer) as port:
            assert connect(client_context(ca=ca.file), port).endswith(b"ok")

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda ca, other: ca.issue(start=-DAY * 9, end=-DAY), "expired"),
            (lambda ca, other: ca.issue(start=DAY, end=DAY * 9), "not yet valid"),
            (lambda ca, other: ca.issue("example.org"), "Hostname mismatch"),
            (lambda ca, other: ca.issue("evil.localhost", "*.localhost"), "Hostname mismatch"),
            (lambda ca, other: ca.issue(self_signed=True), "self-signed"),
            (lambda ca, other: other.issue(), "unable to get local issuer"),
            (lambda ca, other: ca.issue(client=True), "unsuitable certificate purpose"),
        ],
        ids=["expired", "not-yet-valid", "wrong-name", "wildcard", "self-signed", "untrusted", "client's"],
    )
    def test_a_bad_certificate_ends_the_handshake_before_a_byte_is_sent(self, ca, other_ca, make, reason):
        peer = Peer(plain_context(make(ca, other_ca)))
        with listening(peer) as port, pytest.raises(ssl.SSLCertVerificationError, match=reason):
            connect(client_context(ca=ca.file), port, say=b"secret")
        assert peer.heard == []

    def test_a_name_only_in_the_common_name_counts_for_nothing(self, ca):
        # The subject's common name is the first name; the alternative names leave it out.
        pair = ca.issue("localhost")
        peer = Peer(plain_context(pair))
        with listening(peer) as port, pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            connect(client_context(ca=ca.file), port, name="127.0.0.1")

    @pytest.mark.parametrize(
        ("low", "minimum"),
        [("TLSv1_2", "1.3"), ("TLSv1_1", "1.3"), ("TLSv1_1", "1.2"), ("TLSv1", "1.2")],
    )
    def test_a_downgraded_server_is_refused(self, ca, good, low, minimum):
        peer = Peer(plain_context(good, low=low, suites="ALL:@SECLEVEL=0"))
        with listening(peer) as port, pytest.raises(ssl.SSLError):
            connect(client_context(ca=ca.file, minimum=minimum), port, say=b"secret")
        assert peer.heard == []

    def test_1_2_is_spoken_where_it_is_allowed(self, ca, good):
        peer = Peer(plain_context(good, low="TLSv1_2"))
        with listening(peer) as port:
            assert connect(client_context(ca=ca.file, minimum="1.2"), port).endswith(b"ok")

    @pytest.mark.parametrize(
        "suite", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM"]
    )
    def test_a_1_2_server_of_weak_suites_is_refused(self, ca, good, suite):
        peer = Peer(plain_context(good, low="TLSv1_2", suites=f"{suite}:@SECLEVEL=0"))
        with listening(peer) as port, pytest.raises(ssl.SSLError):
            connect(client_context(ca=ca.file, minimum="1.2"), port)

    def test_a_short_key_is_refused(self, ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        pair = ca.issue(key=small_rsa())
        context.load_cert_chain(pair.cert, pair.key)
        with listening(Peer(context)) as port, pytest.raises(ssl.SSLError):
            connect(client_context(ca=ca.file), port)

    @pytest.mark.parametrize(
        "serve",
        [
            lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            lambda c: c.sendall(b"\x16\x03\x03\xff\xff" + b"\0" * 70000),
            lambda c: c.sendall(os.urandom(4096)),
            lambda c: None,
            lambda c: (c.recv(10), c.close()),
            lambda c: c.sendall(b"\x15\x03\x03\x00\x02\x02\x28"),
        ],
        ids=["plain-text", "long-record", "junk", "closes", "resets", "alert"],
    )
    def test_what_is_no_tls_is_an_error_and_not_a_conversation(self, ca, serve):
        with listening(serve) as port, pytest.raises(OSError):
            connect(client_context(ca=ca.file), port)

    def test_a_server_that_says_nothing_is_left_after_the_timeout(self, ca):
        with (
            listening(lambda c: c.recv(1 << 20) and c.recv(1)) as port,
            socket.create_connection(("127.0.0.1", port)) as raw,
        ):
            raw.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client_context(ca=ca.file).wrap_socket(raw, server_hostname="localhost")

    def test_no_name_is_no_connection(self, ca, good):
        with (
            listening(Peer(server_context(good.cert, good.key))) as port,
            socket.create_connection(("127.0.0.1", port)) as raw,
            pytest.raises(ValueError, match="server_hostname"),
        ):
            client_context(ca=ca.file).wrap_socket(raw)


class TestPins:
    @pytest.fixture
    def events(self):
        return CapturedEvents()

    @pytest.fixture
    def wrong(self, ca, events):
        return client_context(ca=ca.file, pins=[BACKUP, ca.issue().pin], events=events)

    @pytest.fixture
    def peer(self, good):
        return Peer(server_context(good.cert, good.key))

    def test_a_pin_is_that_of_rfc_7469(self, good):
        command = f"openssl x509 -in {good.cert} -pubkey -noout | openssl pkey -pubin -outform der"
        spki = subprocess.run(command, shell=True, capture_output=True, check=True).stdout
        assert good.pin == "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()

    def test_a_pin_is_the_same_from_every_form_of_the_key(self, good):
        pem = good.cert.read_text()
        assert pin_of(pem) == pin_of(ssl.PEM_cert_to_DER_cert(pem)) == good.pin
        key = ec.generate_private_key(ec.SECP256R1())
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert pin_of(der) == pin_of(public_pem(key))

    @pytest.mark.parametrize(
        "junk", [b"", "", b"junk", "\ud800", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x82" + b"\0" * (1 << 20), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
    )  # fmt: skip
    def test_what_is_no_certificate_has_no_pin(self, junk):
        with pytest.raises(ValueError, match="takes a certificate or a public key"):
            pin_of(junk)

    def test_a_renewal_that_keeps_the_key_keeps_the_pin(self, ca):
        key = ec.generate_private_key(ec.SECP256R1())
        assert ca.issue(key=key).pin == ca.issue(key=key, end=DAY * 5).pin

    @pytest.mark.parametrize(
        "pins",
        [
            ["sha256/AAAA", BACKUP],
            ["sha1/" + BACKUP[7:], BACKUP],
            [BACKUP[7:], BACKUP],
            [BACKUP + "\n", BACKUP],
            ["", BACKUP],
            [b"x", BACKUP],
            [7, BACKUP],
            ["sha256/é", BACKUP],
        ],
    )
    def test_a_pin_of_another_form_is_refused(self, pins):
        with pytest.raises(Misconfigured, match="pins: each is sha256/"):
            client_context(pins=pins)

    def test_one_pin_without_a_backup_is_refused(self):
        for pins in ([BACKUP], [BACKUP, BACKUP]):
            with pytest.raises(Misconfigured, match="no backup"):
                client_context(pins=pins)
        with pytest.raises(TypeError):
            client_context(pins=BACKUP)

    def test_the_right_key_is_talked_to(self, ca, good, peer):
        context = client_context(ca=ca.file, pins=[BACKUP, good.pin])
        with listening(peer) as port:
            assert connect(context, port).endswith(b"ok")

    def test_a_wrong_key_is_an_ssl_error_before_a_byte_is_sent_and_an_event(self, peer, wrong, events, good):
        with listening(peer) as port, pytest.raises(PinMismatch, match=re.escape(good.pin)) as caught:
            connect(wrong, port, say=b"secret")
        assert isinstance(caught.value, ssl.SSLCertVerificationError)
        assert peer.heard == []
        assert events.only("tls.pin_mismatch").detail == {"host": "localhost", "seen": good.pin}

    def test_a_pin_does_not_replace_the_certificate(self, ca, other_ca, peer, good):
        context = client_context(ca=other_ca.file, pins=[BACKUP, good.pin])
        with listening(peer) as port, pytest.raises(ssl.SSLCertVerificationError, match="issuer"):
            connect(context, port)

    @pytest.mark.parametrize(
        "use",
        [
            lambda s: s.send(b"secret"),
            lambda s: s.sendall(b"secret"),
            lambda s: s.write(b"secret"),
            lambda s: s.read(1),
            lambda s: s.recv(1),
            lambda s: s.recv_into(bytearray(1)),
            lambda s: s.makefile("wb", buffering=0).write(b"secret"),
        ],
        ids=["send", "sendall", "write", "read", "recv", "recv_into", "makefile"],
    )
    def test_a_postponed_handshake_is_checked_on_first_use_and_on_every_later_one(self, peer, wrong, use):
        # OpenSSL shakes hands by itself on the first read or write.
        with listening(peer) as port, socket.create_connection(("127.0.0.1", port), 10) as raw:
            lazy = wrong.wrap_socket(raw, server_hostname="localhost", do_handshake_on_connect=False)
            with lazy:
                for _ in range(2):
                    with pytest.raises(PinMismatch):
                        use(lazy)
        assert peer.heard == []

    def test_a_socket_that_connects_itself_is_checked(self, peer, wrong):
        with (
            listening(peer) as port,
            wrong.wrap_socket(socket.socket(), server_hostname="localhost") as late,
            pytest.raises(PinMismatch),
        ):
            late.connect(("127.0.0.1", port))
        assert peer.heard == []

    @pytest.mark.parametrize("postponed", [False, True])
    def test_an_object_without_a_socket_is_checked(self, good, wrong, postponed):
        # Both ends in memory, as asyncio and anyio do it.
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = wrong.wrap_bio(to_client, to_server, server_hostname="localhost")
        server = server_context(good.cert, good.key).wrap_bio(to_server, to_client, server_side=True)
        step = (lambda: client.write(b"secret")) if postponed else client.do_handshake
        with pytest.raises(PinMismatch):
            for _ in range(9):
                for act in (step, server.do_handshake):
                    try:
                        act()
                    except ssl.SSLWantReadError:
                        continue
        with pytest.raises(PinMismatch):
            client.read(1)
        server.do_handshake()
        with pytest.raises(ssl.SSLWantReadError):
            server.read(1)

    def test_asyncio_gets_a_failed_handshake_in_both_its_ways(self, peer, wrong, ca, good):
        async def talk(context, port):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            writer.write(b"GET")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        async def upgrade(context, port):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await writer.start_tls(context, server_hostname="localhost")
            finally:
                writer.close()

        with listening(peer) as port:
            for way in (talk, upgrade):
                with pytest.raises(PinMismatch):
                    asyncio.run(way(wrong, port))
            assert peer.heard == []
            assert asyncio.run(talk(client_context(ca=ca.file, pins=[good.pin, BACKUP]), port)).endswith(
                b"ok"
            )

    @pytest.mark.parametrize("failure", [Unavailable(), RuntimeError()])
    def test_a_log_that_is_down_does_not_open_the_connection(self, ca, peer, failure):
        class Down:
            def record(self, event):
                raise failure

        context = client_context(ca=ca.file, pins=[BACKUP, ca.issue().pin], events=Down())
        with listening(peer) as port, pytest.raises(PinMismatch):
            connect(context, port, say=b"secret")
        assert peer.heard == []

    def test_http_clients_see_a_failed_connection(self, peer, wrong):
        with listening(peer) as port:
            url = f"https://localhost:{port}/"
            with (
                httpx.Client(verify=wrong, trust_env=False) as client,
                pytest.raises(httpx.ConnectError, match="pinned"),
            ):
                client.get(url)

            async def aget():
                async with httpx.AsyncClient(verify=wrong, trust_env=False) as client:
                    await client.get(url)

            with pytest.raises(httpx.ConnectError, match="pinned"):
                asyncio.run(aget())
            connection = http.client.HTTPSConnection("localhost", port, context=wrong, timeout=10)
            with pytest.raises(PinMismatch):
                connection.request("GET", "/")
            connection.close()
        assert peer.heard == []

    def test_http_clients_talk_to_the_right_server(self, ca, good, peer):
        context = client_context(ca=ca.file, pins=[BACKUP, good.pin])
        with listening(peer) as port:
            url = f"https://localhost:{port}/"
            with httpx.Client(verify=context, trust_env=False) as client:
                assert client.get(url).text == "ok"
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(url, timeout=10) as response:
                assert response.read() == b"ok"


class TestClientCertificates:
    @pytest.fixture
    def peer(self, ca, good):
        return Peer(server_context(good.cert, good.key, client_ca=ca.file))

    def test_a_known_client_is_let_in_and_known(self, ca, me, peer):
        context = client_context(ca=ca.file, certificate=me.cert, key=me.key)
        with listening(peer) as port:
            assert connect(context, port).endswith(b"ok")
        assert dict(pair[0] for pair in peer.subjects[0]["subject"]) == {"commonName": "client-7"}

    def test_certificate_and_key_may_share_a_file(self, ca, me, peer, tmp_path):
        both = tmp_path / "both.pem"
        both.touch(0o600)
        both.write_bytes(me.cert.read_bytes() + me.key.read_bytes())
        with listening(peer) as port:
            assert connect(client_context(ca=ca.file, certificate=both), port).endswith(b"ok")

    @pytest.mark.parametrize("who", ["nobody", "stranger", "server"])
    def test_who_has_no_valid_certificate_is_refused_on_the_first_read(self, ca, other_ca, good, peer, who):
        pair = {"nobody": None, "stranger": other_ca.issue("c", client=True), "server": good}[who]
        own = {} if pair is None else {"certificate": pair.cert, "key": pair.key}
        with listening(peer) as port, pytest.raises(OSError):
            connect(client_context(ca=ca.file, **own), port, say=b"secret")
        assert peer.heard == []
        assert peer.failed

    def test_the_demand_cannot_be_dropped_later(self, peer, other_ca):
        for weaken in (ssl.CERT_NONE, ssl.CERT_OPTIONAL):
            with pytest.raises(Misconfigured):
                peer.context.verify_mode = weaken
        with pytest.raises(Misconfigured):
            peer.context.load_verify_locations(other_ca.file)

    def test_a_key_without_a_certificate_is_a_mistake_in_calling(self, me):
        with pytest.raises(TypeError):
            client_context(key=me.key)


class TestFiles:
    """What is wrong with a file is told at construction, with its name and what to do."""

    def refused(self, *args, **kwargs):
        with pytest.raises(Misconfigured) as caught:
            server_context(*args, **kwargs)
        return caught.value

    def test_a_key_that_others_can_read_is_refused(self, ca):
        pair = ca.issue()
        pair.key.chmod(0o640)
        err = self.refused(pair.cert, pair.key)
        assert err.code == "config.mode"
        assert f"chmod 600 {pair.key}" in err.detail
        with pytest.raises(Misconfigured, match="chmod 600"):
            client_context(certificate=pair.cert, key=pair.key)

    def test_a_key_of_another_certificate_is_refused(self, good, me):
        text = self.refused(good.cert, me.key).detail
        assert str(good.cert) in text
        assert str(me.key) in text
        assert "not the key" in text

    def test_an_expired_and_a_future_certificate_are_refused(self, ca):
        old, new = ca.issue(start=-DAY * 9, end=-DAY), ca.issue(start=DAY)
        assert re.search(r"expired on \d{4}-\d\d-\d\d; renew it", self.refused(old.cert, old.key).detail)
        assert re.search(r"valid only from .* clock", self.refused(new.cert, new.key).detail)

    def test_an_encrypted_key_needs_its_password_and_never_asks_for_it(self, ca):
        pair = ca.issue(password=b"hunter2")
        assert "give its password" in self.refused(pair.cert, pair.key).detail
        err = self.refused(pair.cert, pair.key, password="wrong-one")
        assert "this password opens" in err.detail
        assert err.__cause__ is None
        assert err.__context__ is None
        for password in ("hunter2", b"hunter2"):
            assert server_context(pair.cert, pair.key, password=password).certificate.pin == pair.pin

    def test_a_password_for_a_plain_key_is_refused(self, good):
        assert "leave the password out" in self.refused(good.cert, good.key, password="x").detail

    @pytest.mark.parametrize(
        "content",
        [b"", b"junk", b"\x00" * (1 << 20), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é\n".encode("utf-16")],
        ids=["empty", "junk", "megabyte", "not-a-certificate", "utf-16"],
    )  # fmt: skip
    def test_what_holds_no_certificate_or_key_is_refused(self, ca, good, tmp_path, content):
        file = tmp_path / "bad.pem"
        file.touch(0o600)
        file.write_bytes(content)
        assert str(file) in self.refused(file, good.key).detail
        assert str(file) in self.refused(good.cert, file).detail
        assert str(file) in self.refused(good.cert, good.key, client_ca=file).detail
        with pytest.raises(Misconfigured, match=re.escape(str(file))):
            client_context(ca=file)

    def test_a_truncated_certificate_or_key_is_refused(self, good, tmp_path):
        for source in (good.cert, good.key):
            data = source.read_bytes()
            for cut in (40, len(data) // 2, len(data) - 30):
                file = tmp_path / f"cut-{cut}"
                file.touch(0o600)
                file.write_bytes(data[:cut])
                pair = (file, good.key) if source == good.cert else (good.cert, file)
                assert str(file) in self.refused(*pair).detail

    @pytest.mark.parametrize("path", ["/nonexistent/x.pem", "/", "a\0b", "\ud800", "/dev/null"])
    def test_a_path_that_is_no_file_is_refused(self, good, path):
        self.refused(path, good.key)
        self.refused(good.cert, path)
        self.refused(good.cert, good.key, client_ca=path)

    def test_a_fifo_does_not_hang_the_program(self, good, tmp_path):
        os.mkfifo(tmp_path / "fifo", 0o600)
        self.refused(tmp_path / "fifo", good.key)
        self.refused(good.cert, tmp_path / "fifo")

    def test_a_huge_file_is_refused_unread(self, good, tmp_path):
        huge = tmp_path / "huge"
        with huge.open("wb") as file:
            file.truncate(1 << 40)
        huge.chmod(0o600)
        assert "larger than" in self.refused(huge, good.key).detail

    def test_a_short_key_is_refused(self, ca):
        pair = ca.issue(key=small_rsa())
        assert "OpenSSL refuses it" in self.refused(pair.cert, pair.key).detail

    def test_what_the_certificate_says_can_be_asked(self, ca):
        pair = ca.issue("a.example", "10.0.0.1", "::1", end=DAY * 10)
        facts = server_context(pair.cert, pair.key).certificate
        assert facts.names == ("a.example", "10.0.0.1", "::1")
        assert facts.pin == pair.pin
        assert (facts.key, facts.signature, facts.weaknesses) == ("EC secp256r1", "sha256", ())
        assert facts.days_left(facts.not_after.timestamp() - 86400 * 3) == 3
        assert facts.days_left(facts.not_after.timestamp() + 86400) == -1
        assert facts.to_dict()["not_after"] == facts.not_after.isoformat()


class TestRenewal:
    """A running server follows its certificate's files."""

    @pytest.fixture
    def files(self, ca, tmp_path):
        def put(pair: Pair) -> None:
            # As certbot does it: links are moved to the new files, one after the other.
            for name, file in (("fullchain.pem", pair.cert), ("privkey.pem", pair.key)):
                (tmp_path / "new").unlink(missing_ok=True)
                (tmp_path / "new").symlink_to(file)
                (tmp_path / "new").rename(tmp_path / name)

        put(ca.issue("localhost", "first.example"))
        self.cert, self.key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
        return put

    def serial(self, ca, port):
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            client_context(ca=ca.file).wrap_socket(raw, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"hi")
            secured.recv(9)
            return pin_of(secured.getpeercert(binary_form=True))

    def serving(self, clock=None, events=None, **options):
        sink = {} if events is None else {"events": events}
        context = server_context(self.cert, self.key, clock=clock, **sink, **options)
        return context, Peer(context)

    def test_a_renewed_certificate_is_served_without_a_restart(self, ca, files):
        clock, events = _Clock(), CapturedEvents()
        context, peer = self.serving(clock, events)
        before = context.certificate.pin
        with listening(peer) as port:
            assert self.serial(ca, port) == before
            new = ca.issue()
            files(new)
            assert self.serial(ca, port) == before  # looked a moment ago
            clock.advance(1)
            assert self.serial(ca, port) == new.pin
            assert self.serial(ca, port) == new.pin
        assert context.certificate.pin == new.pin
        assert events.only("tls.certificate_loaded").detail["file"] == str(self.cert)

    @pytest.mark.parametrize("what", ["half", "expired", "mode", "gone", "junk"])
    def test_unusable_files_leave_the_last_good_pair_in_service(self, ca, files, tmp_path, what):
        clock, events = _Clock(), CapturedEvents()
        context, peer = self.serving(clock, events)
        before = context.certificate.pin
        new = ca.issue()
        if what == "half":
            self.cert.unlink()
            self.cert.symlink_to(new.cert)
        elif what == "expired":
            files(ca.issue(start=-DAY * 2, end=-DAY))
        elif what == "mode":
            new.key.chmod(0o644)
            files(new)
        elif what == "gone":
            self.key.unlink()
        else:
            self.cert.unlink()
            self.cert.write_bytes(b"junk")
        with listening(peer) as port:
            for _ in range(3):
                clock.advance(2)
                assert self.serial(ca, port) == before
            assert events.only("tls.certificate_refused").detail["reason"].startswith("config.")
            new.key.chmod(0o600)
            files(new)
            clock.advance(2)
            assert self.serial(ca, port) == new.pin

    def test_reload_says_at_once_what_is_wrong(self, ca, files):
        context, _peer = self.serving()
        before = context.certificate
        self.key.unlink()
        with pytest.raises(Misconfigured, match=r"privkey\.pem"):
            context.reload()
        assert context.certificate == before
        new = ca.issue()
        files(new)
        assert context.reload().pin == new.pin

    def test_settings_stay_after_a_renewal(self, ca, files, me):
        context, peer = self.serving(client_ca=ca.file, alpn=["http/1.1"])
        context.set_alpn_protocols(["h2", "http/1.1"])
        files(ca.issue())
        context.reload()
        with listening(peer) as port:
            with pytest.raises(OSError):
                connect(client_context(ca=ca.file), port)
            known = client_context(ca=ca.file, certificate=me.cert, key=me.key)
            known.set_alpn_protocols(["h2"])
            with (
                socket.create_connection(("127.0.0.1", port), 10) as raw,
                known.wrap_socket(raw, server_hostname="localhost") as secured,
            ):
                secured.sendall(b"hi")
                assert secured.recv(4) == b"HTTP"
                assert secured.selected_alpn_protocol() == "h2"

    def test_threads_shake_hands_while_certificates_change(self, ca, files):
        context, peer = self.serving()
        pairs = [ca.issue() for _ in range(3)]
        known = {context.certificate.pin, *(pair.pin for pair in pairs)}
        over = threading.Event()

        def churn():
            while not over.is_set():
                for pair in pairs:
                    files(pair)
                    context.reload()

        churning = threading.Thread(target=churn)
        with listening(peer) as port, ThreadPoolExecutor(4) as pool:
            churning.start()
            try:
                seen = set(pool.map(lambda _: self.serial(ca, port), range(40)))
            finally:
                over.set()
                churning.join()
        assert seen <= known
        assert len(peer.subjects) == 40

    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_no_ticket_is_issued(self, ca, good, version):
        context = client_context(ca=ca.file, minimum="1.2")
        ssl.SSLContext.maximum_version.__set__(context, ssl.TLSVersion[version])
        with (
            listening(Peer(server_context(good.cert, good.key, minimum="1.2"))) as port,
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"hi")
            assert secured.recv(4) == b"HTTP"
            assert secured.version() == version.replace("_", ".")
            assert not secured.session.has_ticket

    def test_a_client_without_a_server_name_is_served_too(self, good):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        served = server_context(good.cert, good.key)
        served.reload()
        with (
            listening(Peer(served)) as port,
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw) as secured,
        ):
            assert secured.version() == "TLSv1.3"
            secured.sendall(b"hi")
            assert secured.recv(4) == b"HTTP"


class _Clock(FrozenClock):
    """The monotonic reading is the test's; the time is the machine's, since certificates are made with it."""

    def time(self):
        import time

        return time.time()
