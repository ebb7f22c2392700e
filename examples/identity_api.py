"""One service that knows its callers by API key, by access token, or by certificate, and asks one policy about all.

    python examples/identity_api.py [FOLDER]

makes what it needs in FOLDER (a certificate of its own, one for a client, an issuer's key), serves on
https://127.0.0.1:8443, and prints a command to try for each way.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI

from aisecure import Shield
from aisecure.adapters.fastapi import CurrentPrincipal, require, secure
from aisecure.authn import ApiKeys

CONFIG = """\
data_dir = "data"

# A program with a key: aisecure keys api create reports --role reader
[authn]

# A person with a token of the company's login.
[[authn.issuers]]
issuer = "{issuer}"
audience = "https://api.example.com"
algorithms = ["ES256"]
{keys}
roles = "groups"
allow_http_loopback = true

# A machine with a certificate.
[authn.certificates]
name = "dns"
principals."batch.example.com" = {{ id = "batch", roles = ["writer"] }}

[access]
policy = "policy.csv"
"""

POLICY = """\
p, reader, *, report:*, read, allow
p, writer, *, report:*, *, allow
p, *, *, report:secret-*, read, deny
g, editor, writer, *
"""


def create_app(shield: Shield) -> FastAPI:
    """Return the app: reports that some may read and others write."""
    app = FastAPI()
    secure(app, shield)
    reports: dict[str, str] = {"q1": "All is well."}

    @app.get("/me")
    def me(principal: CurrentPrincipal) -> dict[str, Any]:
        return {"id": principal.id, "method": principal.method, "roles": sorted(principal.roles)}

    @app.get("/reports/{name}", dependencies=[Depends(require("read", "report:{name}"))])
    def read(name: str) -> dict[str, str]:
        return {"text": reports.get(name, "")}

    @app.put("/reports/{name}", dependencies=[Depends(require("write", "report:{name}"))])
    def write(name: str, report: dict[str, str]) -> dict[str, str]:
        reports[name] = report["text"]
        return report

    return app


def write_settings(folder: Path, *, issuer: str, jwks_file: str | None = None) -> Path:
    """Write configuration and policy, and return the configuration's path.

    Args:
        folder: Where.
        issuer: Whose tokens are accepted.
        jwks_file: Its keys; they are found through the issuer's discovery document when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = "" if jwks_file is None else f'jwks_file = "{jwks_file}"'
    (folder / "aisecure.toml").write_text(CONFIG.format(issuer=issuer, keys=keys))
    (folder / "policy.csv").write_text(POLICY)
    return folder / "aisecure.toml"


def main(folder: Path, port: int = 8443) -> None:
    """Serve until interrupted."""
    import trustme
    import uvicorn
    from joserfc import jwt
    from joserfc.jwk import ECKey

    key = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"})
    config = write_settings(folder, issuer="https://login.example.com/", jwks_file="issuer.json")
    (folder / "issuer.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1", "localhost")),
        ("batch", authority.issue_cert("batch.example.com")),
    ):
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
        (folder / f"{name}.pem").chmod(0o600)
    with Shield.from_config(config) as shield:
        secret = shield.part(ApiKeys).create("reports", roles=["reader"]).secret
        now = int(time.time())
        claims = {
            "iss": "https://login.example.com/",
            "aud": "https://api.example.com",
            "sub": "ann",
            "groups": ["editor"],
        }
        token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims | {"iat": now, "exp": now + 3600}, key)
        curl = f"curl --cacert {folder / 'ca.pem'} https://127.0.0.1:{port}/me"
        print(f'{curl} -H "X-API-Key: {secret}"')
        print(f'{curl} -H "Authorization: Bearer {token}"')
        print(f"{curl} --cert {folder / 'batch.pem'}")
        uvicorn.run(
            create_app(shield),
            port=port,
            proxy_headers=False,
            http="aisecure.adapters.uvicorn:HttpProtocol",
            ssl_certfile=str(folder / "server.pem"),
            ssl_ca_certs=str(folder / "ca.pem"),
            ssl_cert_reqs=ssl.CERT_OPTIONAL,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".identity"))
