"""A KMS over HTTP on loopback: moto, and in front of it what moto 5 leaves out and the service's reference promises.

moto keeps the states of keys and encrypts for real, but encrypts also under a disabled key, and tells a blob of
another key and a damaged one as AccessDeniedException. `answers` are given instead, one a request.
"""

from __future__ import annotations

import base64
import io
import json
import socket
from threading import Thread
from typing import NamedTuple

import boto3
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.kms.models import kms_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-central-1"
_CALLS = {"TrentService.Encrypt", "TrentService.Decrypt"}
_STATES = {"Disabled": "DisabledException", "PendingDeletion": "KMSInvalidStateException"}


class Given(NamedTuple):
    """An answer that the service might give; status 0 ends the connection without one."""

    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


class _Silent(WSGIRequestHandler):
    def log(self, type, message, *args) -> None:
        pass


class KmsServer:
    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        #: One for all, since making a client takes longer than all of its calls.
        self.client = boto3.session.Session().client(
            "kms",
            region_name=REGION,
            endpoint_url=self.url,
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
        )
        self.answers: list[Given] = []
        self.bodies: list[bytes] = []

    def stop(self) -> None:
        self.client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def create_key(self) -> str:
        """Return the ARN of a new key."""
        return self.client.create_key()["KeyMetadata"]["Arn"]

    @property
    def _backend(self):
        return kms_backends[DEFAULT_ACCOUNT_ID][REGION]

    def _answer(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ.get("HTTP_X_AMZ_TARGET") in _CALLS:
            self.bodies.append(body)
        given = (
            self.answers.pop(0) if self.answers else self._refusal(environ.get("HTTP_X_AMZ_TARGET", ""), body)
        )
        if given is None:
            return self._moto({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        if not given.status:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError
        text = (
            given.body
            if given.body is not None
            else json.dumps({"__type": given.code, "message": "no"}).encode()
        )
        headers = [
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Content-Length", str(len(text))),
            *given.headers,
        ]
        start_response(f"{given.status} x", headers)
        return [text]

    def _refusal(self, target: str, body: bytes) -> Given | None:
        if target not in _CALLS:
            return None
        asked = json.loads(body)
        keys = self._backend.keys
        key_id = self._backend.any_id_to_key_id(asked["KeyId"])
        if key_id in keys and keys[key_id].key_state in _STATES:
            return Given(400, _STATES[keys[key_id].key_state])
        if "CiphertextBlob" in asked:
            maker = base64.b64decode(asked["CiphertextBlob"])[:36].decode("utf-8", "replace")
            if maker not in keys:
                return Given(400, "InvalidCiphertextException")
            if maker != key_id:
                return Given(400, "IncorrectKeyException")
        return None
