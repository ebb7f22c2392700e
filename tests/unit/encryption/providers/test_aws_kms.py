"""AWS KMS as master key, against moto's server over a socket (what stands in front of it: kms_server.py)."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import subprocess
import sys

import pytest
from tests.unit.encryption.providers.contract import KEY, PLACE, Contract, in_child, is_refused
from tests.unit.encryption.providers.kms_server import REGION, Given, KmsServer

from aisecure.encryption.providers import AwsKms
from aisecure.errors import DecryptionError, Misconfigured, Unavailable


@pytest.fixture(scope="module")
def running():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret-access-key-canary",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }.items():
            patch.setenv(name, value)
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        server = KmsServer()
        yield server
        server.stop()


@pytest.fixture
def server(running: KmsServer):
    running.answers.clear()
    running.bodies.clear()
    return running


def _provider(server: KmsServer, key_id: str | None = None) -> AwsKms:
    return AwsKms(key_id or server.create_key(), client=server.client)


def _at(url: str, **settings) -> AwsKms:
    """Return a provider that makes its own client."""
    return AwsKms(**{"key_id": "key", "region": REGION, "endpoint_url": url, "attempts": 1, **settings})


@pytest.fixture(scope="module")
def keys(running: KmsServer):
    return running.create_key(), running.create_key()


class TestAwsKms(Contract):
    @pytest.fixture
    def provider(self, server: KmsServer, keys):
        return _provider(server, keys[0])

    @pytest.fixture
    def other(self, server: KmsServer, keys):
        return _provider(server, keys[1])


def test_a_flipped_bit_anywhere_in_the_blob_is_refused(server: KmsServer) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    for place in range(0, len(wrapped), 3):
        changed = bytearray(wrapped)
        changed[place] ^= 1 << place % 8
        is_refused(provider, bytes(changed), PLACE)


def test_the_key_is_pinned_and_the_place_goes_as_a_digest(server: KmsServer) -> None:
    provider = _provider(server)
    provider.unwrap(
        provider.wrap(KEY, associated_data=b"subject:ana@example.org"),
        associated_data=b"subject:ana@example.org",
    )
    encrypt, decrypt = map(json.loads, server.bodies)
    assert encrypt["KeyId"] == decrypt["KeyId"] == provider.key_id
    assert encrypt["EncryptionContext"] == decrypt["EncryptionContext"]
    (value,) = encrypt["EncryptionContext"].values()
    assert len(base64.b64decode(value)) == 32
    assert b"ana@example.org" not in b"".join(server.bodies)
    assert base64.b64encode(b"ana@example.org").rstrip(b"=")[:12] not in b"".join(server.bodies)


def test_an_alias_names_a_key_too(server: KmsServer) -> None:
    arn = server.create_key()
    server.client.create_alias(AliasName="alias/fields", TargetKeyId=arn)
    wrapped = _provider(server, "alias/fields").wrap(KEY, associated_data=PLACE)
    assert _provider(server, arn).unwrap(wrapped, associated_data=PLACE) == KEY


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda client, key: client.disable_key(KeyId=key), "DisabledException; enable it"),
        (
            lambda client, key: client.schedule_key_deletion(KeyId=key, PendingWindowInDays=7),
            "KMSInvalidStateException; it is pending deletion",
        ),
    ],
    ids=["disabled", "pending deletion"],
)
def test_a_key_that_was_switched_off_is_a_matter_of_set_up(server: KmsServer, change, remedy: str) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    change(server.client, provider.key_id.rpartition("/")[2])
    for call in (provider.wrap, provider.unwrap):
        with pytest.raises(Misconfigured, match=remedy) as caught:
            call(wrapped, associated_data=PLACE)
        assert caught.value.code == "config.key_refused"
        assert caught.value.__context__ is None


def test_a_key_that_is_switched_on_again_opens_what_it_wrapped(server: KmsServer) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    key_id = provider.key_id.rpartition("/")[2]  # moto knows no ARN here
    server.client.disable_key(KeyId=key_id)
    with pytest.raises(Misconfigured):
        provider.unwrap(wrapped, associated_data=PLACE)
    server.client.enable_key(KeyId=key_id)
    assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_key_that_is_not_there_is_a_matter_of_set_up(server: KmsServer) -> None:
    absent = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(
        Misconfigured, match="NotFoundException; check the key id, the account and the region"
    ):
        _provider(server, absent).wrap(KEY, associated_data=PLACE)


@pytest.mark.parametrize(
    "code",
    "AccessDeniedException ExpiredTokenException UnrecognizedClientException InvalidSignatureException"
    " InvalidKeyUsageException InvalidGrantTokenException".split(),
)
def test_a_refusal_names_its_remedy(server: KmsServer, code: str) -> None:
    provider = _provider(server)
    server.answers.append(Given(400, code))
    with pytest.raises(Misconfigured, match=code):
        provider.wrap(KEY, associated_data=PLACE)


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_what_the_service_says_of_a_blob_is_one_error(server: KmsServer, code: str) -> None:
    provider = _provider(server)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    server.answers.append(Given(400, code))
    is_refused(provider, wrapped, PLACE)


@pytest.mark.parametrize(
    ("given", "retry_after"),
    [
        (Given(400, "ThrottlingException", (("Retry-After", "7"),)), 7.0),
        (Given(400, "ThrottlingException", (("Retry-After", "soon"),)), None),
        (Given(400, "LimitExceededException"), None),
        (Given(500, "KMSInternalException"), None),
        (Given(503, "DependencyTimeoutException"), None),
        (Given(500, "KeyUnavailableException"), None),
        (Given(502, body=b"<html>bad gateway</html>"), None),
        (Given(200, body=b"not JSON"), None),
        (Given(200, body=b"{}"), None),
        (Given(200, body=b'{"CiphertextBlob": "%%%"}'), None),
        (Given(200, body=b'{"CiphertextBlob": "A"}'), None),
        (Given(200, body=b'{"CiphertextBlob": 7}'), None),
        (Given(200, body=b"[]"), None),
        (Given(400, body=b'{"__type": 7, "message": []}'), None),
        (Given(200, body=b'{"CiphertextBlob": ""}'), None),
        (Given(307, headers=(("Location", "http://127.0.0.1:1/"),), body=b""), None),
        (Given(0), None),
    ],
    ids=lambda value: f"{value.status} {value.code or value.body!r}" if isinstance(value, Given) else "",
)
def test_a_service_in_trouble_is_unavailable(
    server: KmsServer, given: Given, retry_after: float | None
) -> None:
    provider = _provider(server)
    server.answers.append(given)
    with pytest.raises(Unavailable) as caught:
        provider.wrap(KEY, associated_data=PLACE)
    assert (caught.value.code, caught.value.retry_after) == ("unavailable.key_provider", retry_after)
    assert caught.value.__context__ is None
    assert provider.unwrap(provider.wrap(KEY, associated_data=PLACE), associated_data=PLACE) == KEY


def test_a_server_that_is_down_is_unavailable(server: KmsServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    provider = _at(f"http://127.0.0.1:{port}")
    for call in (provider.wrap, provider.unwrap):
        with pytest.raises(Unavailable, match="EndpointConnectionError"):
            call(b"\x01" + KEY, associated_data=PLACE)


def test_a_server_that_does_not_answer_is_unavailable_in_bounded_time(server: KmsServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        provider = _at(f"http://127.0.0.1:{deaf.getsockname()[1]}", read_timeout=0.1)
        with pytest.raises(Unavailable, match="ReadTimeoutError"):
            provider.wrap(KEY, associated_data=PLACE)


def test_timeouts_and_attempts_reach_the_client(server: KmsServer) -> None:
    config = _at(server.url, connect_timeout=1.5, read_timeout=2.5, attempts=4)._client.get().meta.config
    assert (config.connect_timeout, config.read_timeout) == (1.5, 2.5)
    assert config.retries["total_max_attempts"] == 4


def test_a_client_of_our_own_serves_a_forked_child_and_its_parent(server: KmsServer) -> None:
    provider = _at(server.url, key_id=server.create_key())
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    assert in_child(lambda: provider.unwrap(wrapped, associated_data=PLACE)) == KEY
    assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


def test_no_credentials_are_a_matter_of_set_up(server: KmsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Misconfigured, match="NoCredentialsError; check credentials"):
        _at(server.url).wrap(KEY, associated_data=PLACE)


@pytest.mark.parametrize(
    "settings", [{"region": "eu central 1"}, {"region": None}, {"endpoint_url": "nonsense"}]
)
def test_settings_that_make_no_client_are_told_at_start_up(server: KmsServer, settings) -> None:
    with pytest.raises(Misconfigured, match=r"check credentials, region, endpoint|write https://host"):
        AwsKms("key", **{"region": REGION, "endpoint_url": server.url, **settings})


@pytest.mark.parametrize(
    ("key_id", "settings", "error"),
    [
        (None, {}, TypeError),
        ("", {}, ValueError),
        ("k" * 2_049, {}, ValueError),
        ("key\nid", {}, ValueError),
        ("schlüssel", {}, ValueError),
        ("key", {"read_timeout": 0}, ValueError),
        ("key", {"attempts": 0}, ValueError),
        ("key", {"attempts": 1.5}, ValueError),
        ("key", {"connect_timeout": float("inf")}, ValueError),
        ("key", {"read_timeout": float("nan")}, ValueError),
        ("key", {"client": object()}, TypeError),
    ],
)
def test_mistakes_in_calling_are_told(key_id, settings, error: type[Exception]) -> None:
    with pytest.raises(error):
        AwsKms(key_id, **settings)


def test_a_client_has_its_own_region_and_endpoint(server: KmsServer) -> None:
    with pytest.raises(ValueError, match="belong to the client"):
        AwsKms("key", client=server.client, region=REGION)


def test_no_logger_at_any_level_prints_the_key(server: KmsServer) -> None:
    marker = b"MARKER-of-a-data-key-32-bytes-xx"
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(1)
    try:
        provider = _at(server.url, key_id=server.create_key())
        wrapped = provider.wrap(marker, associated_data=PLACE)
        assert provider.unwrap(wrapped, associated_data=PLACE) == marker
        is_refused(provider, wrapped, b"elsewhere")
        server.answers.append(Given(0))
        with pytest.raises(Unavailable):
            provider.wrap(marker, associated_data=PLACE)
        ours = written.getvalue()
        # The same call without us, to know that the capture would have seen it.
        server.client.encrypt(KeyId=provider.key_id, Plaintext=marker)
        theirs = written.getvalue()[len(ours) :]
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    forms = [marker.decode(), repr(marker), marker.hex()]
    forms += [base64.b64encode(b"\0" * shift + marker).decode()[4 if shift else 0 : -4] for shift in range(3)]
    assert not [form for form in forms if form in ours]
    assert "withheld by aisecure" in ours
    assert any(form in theirs for form in forms)


def test_neither_repr_nor_error_shows_credentials(server: KmsServer) -> None:
    provider = _provider(server)
    server.answers.append(Given(400, "AccessDeniedException"))
    with pytest.raises(Misconfigured) as caught:
        provider.wrap(KEY, associated_data=PLACE)
    assert "canary" not in repr(provider) + str(caught.value)
    assert repr(provider) == f"AwsKms({provider.key_id!r})"


def test_without_boto3_the_text_says_what_to_type() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from aisecure.errors import Misconfigured\n"
        "try: from aisecure.encryption.providers import AwsKms\n"
        "except Misconfigured as err: print(err.code, err)\n"
    )
    out = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True)
    assert "config.extra" in out.stdout
    assert "pip install 'aisecure[aws]'" in out.stdout


def test_a_wrong_blob_is_no_misconfiguration(server: KmsServer) -> None:
    with pytest.raises(DecryptionError):
        _provider(server).unwrap(b"\x01" + bytes(7_000), associated_data=PLACE)
    assert server.bodies == []
