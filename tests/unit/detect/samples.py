"""Entities for the tests; secrets are put together here so that scanners of this source find none."""

from __future__ import annotations

PII = {
    "pii.email": "ada.byron+1@mail.example.org",
    "pii.credit_card": "4111 1111 1111 1111",
    "pii.iban": "GB82 WEST 1234 5698 7654 32",
    "pii.phone": "+44 20 7946 0958",
    "pii.ip_address": "2001:db8::ff00:42:8329",
    "pii.us_ssn": "536-90-4399",
}

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1LTE3In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
KEY_BLOCK = "\n".join(
    ("-----BEGIN RSA " + "PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn" * 2] * 12, "-----END RSA " + "PRIVATE KEY-----")
)  # fmt: skip

SECRETS = {
    "secret.aws_access_key_id": "AK" + "IAQ4LC7MX2PDTRW5ZB",
    "secret.github_token": "gh" + "p_" + "a1B2c3D4e5" * 3 + "f6G7h8",
    "secret.anthropic_key": "sk-" + "ant-api03-" + "Zx9Kw2Qv7T" * 4,
    "secret.openai_key": "sk-" + "proj-" + "8fK2mQz71L" * 4,
    "secret.slack_token": "xo" + "xb-" + "123456789012-abcDEF456ghi",
    "secret.slack_webhook": "https://hooks." + "slack.com/services/T0A1B2C3D/B0A1B2C3D/a1b2C3d4E5f6",
    "secret.stripe_key": "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "secret.google_api_key": "AI" + "za" + "SyD3x9Kw2Qv7Tb5Nc8Mz1Lr4Hp6Gd0Fs2Ja",
    "secret.google_oauth_token": "ya" + "29." + "a0AfH6SMBx9Kw2Qv7Tb5Nc8",
    "secret.google_client_secret": "GOC" + "SPX-" + "x9Kw2Qv7Tb5Nc8Mz1Lr4Hp6Gd0Fs",
    "secret.aisecure_key": "ai" + "s_" + "x9Kw2Qv7Tb5Nc8Mz1Lr4Hp6Gd0Fs",
    "secret.jwt": JWT,
    "secret.private_key": KEY_BLOCK,
    "secret.url_password": "app:hun" + "ter2",
    "secret.bearer_token": "x9Kw2Qv7Tb5Nc8Mz1Lr4",
    "secret.aws_secret_key": "wJa" + "lrXUtnFEMI9K7MDENGbPxRfiCY3Zq8Lm5Tn2V",
}
#: What has to stand round a value that is no secret by itself.
AROUND = {
    "secret.url_password": ("postgres://", "@db.example.org/main"),
    "secret.bearer_token": ("Authorization: Bearer ", ""),
    "secret.aws_secret_key": ("aws_secret_access_key = ", ""),
}
