"""A server of the Transit engine's HTTP interface, written after its public documentation, that really encrypts.

No server of HashiCorp or OpenBao takes part in these tests. What this one does: ``encrypt`` and ``decrypt`` of named
keys with versions, AES-256-GCM with associated data, tokens, namespaces, the statuses and the form of errors.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.token-canary"


class VaultServer:
    """Starts at once, on loopback.

    Attributes:
        keys: Versions of each key, the oldest first.
        answers: Given instead of the engine's own, one a request: a callable that takes the handler.
        seen: Path and headers of each request.
        knows_associated_data: False for a server from before it was introduced, which ignores it.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.keys: dict[str, list[bytes]] = {"fields": [os.urandom(32)], "other": [os.urandom(32)]}
        self.answers: list[Any] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.knows_associated_data = True
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                vault.seen.append((self.path, dict(self.headers)))
                if vault.answers:
                    vault.answers.pop(0)(self)
                else:
                    answer(self, *vault._respond(self.path, self.headers, json.loads(body)))

            def log_message(self, *_) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64  # five, the default, makes the sixth client wait for a second

            def handle_error(self, *_) -> None:
                pass  # clients that hang up are the tests' own

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rotate(self, name: str) -> None:
        self.keys[name].append(os.urandom(32))

    def _respond(self, path: str, headers, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if headers.get("X-Vault-Token") != TOKEN or headers.get("X-Vault-Request") != "true":
            return 403, {"errors": ["permission denied"]}
        prefix, mount, action, name = path.rsplit("/", 3)
        if prefix != "/v1" or mount != "transit" or action not in {"encrypt", "decrypt"}:
            return 404, {"errors": []}
        versions = self.keys.get(name)
        if versions is None:
            return 400, {"errors": ["encryption key not found"]}
        place = base64.b64decode(body["associated_data"]) if self.knows_associated_data else b""
        if action == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), place)
            return 200, {
                "data": {"ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"}
            }
        return self._decrypt(versions, body["ciphertext"], place)

    def _decrypt(self, versions: list[bytes], text: str, place: bytes) -> tuple[int, dict[str, Any]]:
        try:
            prefix, version, sealed = text.split(":")
            number, data = int(version.removeprefix("v")), base64.b64decode(sealed, validate=True)
            if prefix != "vault" or not 0 < number <= len(versions):
                return 400, {"errors": ["invalid ciphertext: version is too new"]}
            plaintext = AESGCM(versions[number - 1]).decrypt(data[:12], data[12:], place)
        except ValueError:
            return 400, {"errors": ["invalid ciphertext: could not decode"]}
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}


def answer(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    """Send an answer; bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
