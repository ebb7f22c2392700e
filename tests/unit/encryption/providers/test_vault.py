"""The Transit engine as master key, against a server of our own over real sockets (vault_server.py says what it is)."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.encryption.providers.contract import KEY, PLACE, Contract, is_refused
from tests.unit.encryption.providers.vault_server import TOKEN, VaultServer, answer

from aisecure.encryption.providers import VaultTransit
from aisecure.errors import DecryptionError, Misconfigured, Unavailable


@pytest.fixture(scope="module")
def running():
    server = VaultServer()
    yield server
    server.stop()


@pytest.fixture
def server(running: VaultServer):
    running.answers.clear()
    running.seen.clear()
    running.knows_associated_data = True
    return running


def _provider(server: VaultServer, key: str = "fields", **settings) -> VaultTransit:
    return VaultTransit(server.url, key, **{"token": TOKEN, **settings})


class TestVaultTransit(Contract):
    @pytest.fixture
    def provider(self, server: VaultServer):
        return _provider(server)

    @pytest.fixture
    def other(self, server: VaultServer):
        return _provider(server, "other")


class TestVaultThatIgnoresAssociatedData(Contract):
    @pytest.fixture
    def provider(self, server: VaultServer):
        server.knows_associated_data = False
        return _provider(server)

    @pytest.fixture
    def other(self, server: VaultServer):
        return _provider(server, "other")


def test_a_changed_character_anywhere_is_refused(server: VaultServer) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    for place in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[place] ^= 1
        is_refused(provider, bytes(changed), PLACE)


def test_keys_wrapped_before_a_rotation_still_open(server: VaultServer) -> None:
    provider = _provider(server)
    before = provider.wrap(KEY, associated_data=PLACE)
    server.rotate("fields")
    after = provider.wrap(KEY, associated_data=PLACE)
    assert before.split(b":")[1] != after.split(b":")[1]
    for wrapped in (before, after):
        assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_request_is_what_the_interface_documents(server: VaultServer) -> None:
    _provider(server, namespace="team/a").wrap(KEY, associated_data=PLACE)
    ((path, headers),) = server.seen
    assert path == "/v1/transit/encrypt/fields"
    expected = {"X-Vault-Token": TOKEN, "X-Vault-Request": "true", "X-Vault-Namespace": "team/a"}
    assert expected.items() <= headers.items()


def test_a_mount_of_several_parts_is_a_path(server: VaultServer) -> None:
    with pytest.raises(Misconfigured, match="status 404; check address, mount and namespace"):
        _provider(server, mount="teams/a/transit").wrap(KEY, associated_data=PLACE)
    assert server.seen[0][0] == "/v1/teams/a/transit/encrypt/fields"


def test_a_token_comes_from_a_file_or_a_callable_anew_each_time(server: VaultServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("stale\n")
    file.chmod(0o600)
    tokens = ["stale", TOKEN]
    for provider in (_provider(server, token=file), _provider(server, token=lambda: tokens.pop(0))):
        with pytest.raises(Misconfigured, match="status 403; the token is invalid or expired"):
            provider.wrap(KEY, associated_data=PLACE)
        file.write_text(TOKEN + "\n")
        wrapped = provider.wrap(KEY, associated_data=PLACE)
        assert _provider(server).unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_token_file_that_others_can_read_is_refused(server: VaultServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        _provider(server, token=tmp_path / "token").wrap(KEY, associated_data=PLACE)
    assert server.seen == []


@pytest.mark.parametrize(
    "text", ["", "a b", "a\r\nX-Evil: 1", "tökén", "x" * 5_000, None, b"bytes"], ids=repr
)
def test_a_token_that_is_none_is_refused_before_it_is_sent_and_not_shown(server: VaultServer, text) -> None:
    with pytest.raises(Misconfigured, match="no token") as caught:
        _provider(server, token=lambda: text).wrap(KEY, associated_data=PLACE)
    assert not text or str(text) not in str(caught.value)
    assert server.seen == []
    with pytest.raises((TypeError, ValueError)) as refused:
        _provider(server, token=text)
    assert not text or str(text) not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "errors", "kind"),
    [
        (400, ["cipher: message authentication failed"], DecryptionError),
        (400, ["invalid ciphertext: no prefix"], DecryptionError),
        (400, ["ciphertext or signature version is disallowed by policy (too old)"], DecryptionError),
        (400, ["encryption key not found"], Misconfigured),
        (400, ["associated data provided for a key type without it"], Misconfigured),
        (403, ["permission denied"], Misconfigured),
        (404, [], Misconfigured),
        (405, [], Misconfigured),
        (412, ["required index state not present"], Unavailable),
        (429, ["rate limit quota exceeded"], Unavailable),
        (472, [], Unavailable),
        (500, ["internal error"], Unavailable),
        (502, [], Unavailable),
        (503, ["Vault is sealed"], Unavailable),
        (307, [], Unavailable),
        (301, [], Unavailable),
        (204, [], Unavailable),
    ],
)
def test_each_status_has_its_meaning(server: VaultServer, status: int, errors: list[str], kind) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    server.answers.append(
        lambda handler: answer(handler, status, {"errors": errors}, Location=server.url + "/v1/x")
    )
    with pytest.raises(kind) as caught:
        provider.unwrap(wrapped, associated_data=PLACE)
    code = {Misconfigured: "config.key_refused", Unavailable: "unavailable.key_provider"}.get(kind)
    assert caught.value.code == (code or "encryption.failed")
    assert caught.value.__context__ is None
    assert len(server.seen) == 2  # no redirect was followed
    assert not errors or errors[0] not in str(caught.value)


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("soon", None), ("-1", None), ("9" * 400, None)])
def test_a_rate_limit_says_when_to_come_back(server: VaultServer, header: str, seconds: float | None) -> None:
    server.answers.append(lambda handler: answer(handler, 429, {"errors": []}, Retry_After=header))
    with pytest.raises(Unavailable) as caught:
        _provider(server).wrap(KEY, associated_data=PLACE)
    assert caught.value.retry_after == seconds


_NESTED = b'{"data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"data": null}',
        b'{"data": {}}',
        b'{"data": {"ciphertext": 7, "plaintext": 7}}',
        b'{"data": {"ciphertext": "text", "plaintext": "%%%"}}',
        b'{"data": {"ciphertext": "vault:v0:AAAA", "plaintext": "\xc3\xbc"}}',
        b"\xff\xfe",
        _NESTED,
        b'{"data": "' + b"x" * (1 << 20) + b'"}',
    ],
    ids=[
        "empty",
        "html",
        "list",
        "null",
        "no field",
        "number",
        "no base64",
        "no ASCII",
        "no text",
        "nested",
        "1 MiB",
    ],
)
def test_an_answer_that_is_none_of_vaults_is_unavailable(server: VaultServer, body: bytes) -> None:
    provider = _provider(server)
    for call in (provider.wrap, provider.unwrap):
        server.answers.append(lambda handler: answer(handler, 200, body))
        with pytest.raises(Unavailable) as caught:
            call(b"\x01vault:v1:AAAAAAAA", associated_data=PLACE)
        assert caught.value.code == "unavailable.key_provider"
        assert caught.value.__context__ is None


def test_a_plaintext_that_was_never_bound_is_refused(server: VaultServer) -> None:
    for plaintext in ("", "AAAA"):
        server.answers.append(
            lambda handler, text=plaintext: answer(handler, 200, {"data": {"plaintext": text}})
        )
        with pytest.raises(DecryptionError):
            _provider(server).unwrap(b"\x01vault:v1:AAAAAAAA", associated_data=PLACE)


# -- servers that behave worse than any status


@contextlib.contextmanager
def _raw(serve: Callable[[socket.socket], None]):
    """Yield the address of a server that does with each connection what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(OSError):
                        serve(connection)

        thread = Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _drip(start: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(start)
        connection.settimeout(0.02)
        while True:  # a byte well within every timeout of the socket, for ever
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return

    return serve


def _reply(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(data)

    return serve


def _wait(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(_drip(b""), id="drips a status line"),
        pytest.param(_drip(b"HTTP/1.1 200 OK\r\nX-Long: "), id="drips a header"),
        pytest.param(_drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"), id="drips a body"),
        pytest.param(_wait, id="never answers"),
        pytest.param(_reply(b""), id="hangs up"),
        pytest.param(_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"), id="cut short"),
        pytest.param(
            _reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="chunks of no size"
        ),
        pytest.param(_reply(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), id="200 headers"),
        pytest.param(_reply(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20)), id="endless body"),
        pytest.param(_reply(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
        pytest.param(_reply(b"\x16\x03\x01\x00\x00"), id="TLS"),
    ],
)
def test_a_server_that_misbehaves_is_unavailable_in_bounded_time(serve) -> None:
    with _raw(serve) as url, pytest.raises(Unavailable) as caught:
        VaultTransit(url, "fields", token=TOKEN, timeout=0.2).wrap(KEY, associated_data=PLACE)
    assert caught.value.code == "unavailable.key_provider"
    assert caught.value.__context__ is None
    assert TOKEN not in str(caught.value)


def test_a_server_that_is_down_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    provider = VaultTransit(f"http://127.0.0.1:{port}", "fields", token=TOKEN)
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        provider.unwrap(b"\x01vault:v1:AAAAAAAA", associated_data=PLACE)


def test_no_connection_stays_open(server: VaultServer) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    server.answers.append(lambda handler: answer(handler, 500, {}))
    with pytest.raises(Unavailable):
        provider.unwrap(wrapped, associated_data=PLACE)
    gc.collect()  # a socket left open would warn here, and a warning is an error
    assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


# -- TLS


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a self-signed certificate for a name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(name))]
    except ValueError:
        names = [x509.DNSName(name)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


@contextlib.contextmanager
def _tls_server(certificate: Path, key: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = VaultServer(context)
    try:
        yield server
    finally:
        server.stop()


def test_a_verified_server_is_asked_over_tls(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "127.0.0.1")
    with _tls_server(certificate, key) as server:
        for settings in ({"ca": certificate}, {"context": ssl.create_default_context(cafile=certificate)}):
            provider = _provider(server, **settings)
            assert provider.unwrap(provider.wrap(KEY, associated_data=PLACE), associated_data=PLACE) == KEY


def test_a_server_that_is_not_verified_gets_neither_token_nor_key(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path, "127.0.0.1")
    wrong, wrong_key = _certificate(tmp_path, "vault.example")
    for shown, trusted in (
        ((certificate, key), None),
        ((wrong, wrong_key), wrong),
        ((certificate, key), wrong),
    ):
        with _tls_server(*shown) as server:
            with pytest.raises(Unavailable, match="SSLCertVerificationError"):
                _provider(server, ca=trusted).wrap(KEY, associated_data=PLACE)
            assert server.seen == []


def test_a_context_that_does_not_verify_is_refused() -> None:
    blind, nameless = ssl.create_default_context(), ssl.create_default_context()
    blind.check_hostname = nameless.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    for context in (blind, nameless):
        with pytest.raises(Misconfigured, match="does not verify"):
            VaultTransit("https://vault.example", "fields", token=TOKEN, context=context)


@pytest.mark.parametrize("content", [None, b"", b"no PEM"], ids=["absent", "empty", "no PEM"])
def test_an_authority_that_cannot_be_read_is_told_at_start_up(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(Misconfigured, match="name a PEM file of the authority"):
        VaultTransit("https://vault.example", "fields", token=TOKEN, ca=tmp_path / "ca.pem")


# -- addresses and names


@pytest.mark.parametrize(
    "address", ["http://vault.example:8200", "http://10.0.0.7:8200", "http://[2001:db8::1]:8200"]
)
def test_plain_http_to_another_machine_needs_a_word_that_says_what_it_is(address: str) -> None:
    with pytest.raises(ValueError, match="use https"):
        VaultTransit(address, "fields", token=TOKEN)
    VaultTransit(address, "fields", token=TOKEN, plain_http_unsafe=True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200/"])
def test_plain_http_to_this_machine_is_taken(address: str) -> None:
    assert (
        repr(VaultTransit(address, "fields", token=TOKEN))
        == f"VaultTransit({address.rstrip('/')!r}, 'vault:transit/fields')"
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        "vault.example",
        "ftp://vault.example",
        "https://",
        f"https://root:{TOKEN}@vault.example",
        "https://vault.example/v1",
        "https://vault.example/?a=b",
        "https://vault.example/#x",
        "https://vault.example:99999",
        "https://vault.example:x",
        "https://[::1",
        "https://vault.example\r\nX: y",
        "https://välut.example",
        "https://vault.example\0",
        "https://\ud800",
        "x" * (1 << 20),
    ],
    ids=lambda text: text[:24].encode("ascii", "backslashreplace").decode(),
)
def test_an_address_that_is_none_is_told_and_not_quoted(address: str) -> None:
    with pytest.raises(ValueError, match="an address is https") as caught:
        VaultTransit(address, "fields", token=TOKEN)
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "changed",
    [
        {"key": ""},
        {"key": "a/b"},
        {"key": ".."},
        {"key": "a?b"},
        {"key": "ü"},
        {"key": "k" * 300},
        {"key": "k\n"},
        {"mount": ""},
        {"mount": "../sys"},
        {"mount": "a//b"},
        {"mount": "/a"},
        {"namespace": ""},
        {"namespace": "a\r\nX: y"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"ca": "x.pem", "context": ssl.create_default_context()},
        {"address": None},
        {"key": None},
        {"mount": 7},
        {"namespace": b"x"},
        {"context": "no context"},
    ],
    ids=repr,
)
def test_settings_that_cannot_be_are_told(changed) -> None:
    settings = {"address": "https://vault.example", "key": "fields", "token": TOKEN, **changed}
    with pytest.raises((TypeError, ValueError)):
        VaultTransit(settings.pop("address"), settings.pop("key"), **settings)


def test_not_even_a_debug_level_of_http_prints_token_or_key(
    server: VaultServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 9)
    provider = _provider(server)
    assert provider.unwrap(provider.wrap(KEY, associated_data=PLACE), associated_data=PLACE) == KEY
    out = capfd.readouterr()
    assert out.out + out.err == ""
    assert TOKEN not in repr(provider) + repr(provider._endpoint) + json.dumps(provider.key_id)
