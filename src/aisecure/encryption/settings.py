"""Settings of the section ``[encryption]``: where the keys are, and what wraps them.

::

    [encryption.provider]
    kind = "aws_kms"
    key_id = "alias/aisecure"

A secret that a provider needs is named, never written here: by a file (mode 0600) or an environment variable.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aisecure.encryption import providers
from aisecure.encryption.keyfile import CACHE_SECONDS
from aisecure.errors import Misconfigured
from aisecure.storage import read_private

__all__ = [
    "AwsKmsSettings",
    "EnvironmentSettings",
    "FileSettings",
    "PassphraseSettings",
    "Pkcs11Settings",
    "ProviderSettings",
    "Settings",
    "VaultSettings",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Secret(_Model):
    """Where a secret is found; one of the two.

    Attributes:
        secret_file: A file with mode 0600; one line feed at its end is not counted.
        secret_variable: An environment variable.
    """

    secret_file: Path | None = None
    secret_variable: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_file is None) == (self.secret_variable is None):
            raise ValueError("name one of secret_file and secret_variable")
        return self

    def secret(self, base_dir: Path) -> str:
        """Return the secret.

        Raises:
            Misconfigured: It is not there, is empty, or is no text.
        """
        if self.secret_variable is not None:
            value = os.environ.get(self.secret_variable, "")
            where = f"environment variable {self.secret_variable}"
        else:
            path = base_dir / str(self.secret_file)
            # Replaced, so that no error quotes the bytes; such a secret is refused where it is used.
            value, where = read_private(path).decode("utf-8", "surrogateescape").removesuffix("\n"), str(path)
        if not value:
            raise Misconfigured(f"{where}: is empty or not set; put the secret of the key provider there")
        return value


class PassphraseSettings(_Secret):
    """A passphrase, stretched by Argon2id."""

    kind: Literal["passphrase"]

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        return providers.Passphrase(self.secret(base_dir))


class EnvironmentSettings(_Model):
    """A master key in an environment variable."""

    kind: Literal["environment"]
    variable: str = "AISECURE_MASTER_KEY"

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        return providers.EnvironmentKey(self.variable)


class FileSettings(_Model):
    """A master key in a file of its own, as orchestrators mount secrets."""

    kind: Literal["file"]
    path: Path

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        return providers.MasterKeyFile(base_dir / self.path)


class AwsKmsSettings(_Model):
    """A symmetric key of AWS KMS; credentials come from where boto3 finds them."""

    kind: Literal["aws_kms"]
    key_id: str
    region: str | None = None
    endpoint_url: str | None = None

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        return providers.AwsKms(self.key_id, region=self.region, endpoint_url=self.endpoint_url)


class Pkcs11Settings(_Secret):
    """An AES key in a hardware security module; the secret is the user's PIN."""

    kind: Literal["pkcs11"]
    module: Path
    token_label: str
    key_label: str

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        # Called at each login, so that a PIN that was changed is taken over.
        return providers.Pkcs11(self.module, self.token_label, lambda: self.secret(base_dir), self.key_label)


class VaultSettings(_Secret):
    """A key of the Transit engine of HashiCorp Vault or OpenBao; the secret is the token."""

    kind: Literal["vault"]
    address: str
    key: str
    mount: str = "transit"
    namespace: str | None = None
    ca: Path | None = None

    def open(self, base_dir: Path) -> providers.KeyProvider:
        """Return the provider."""
        return providers.VaultTransit(
            self.address,
            self.key,
            # Called at each request, since agents renew the token in the file.
            token=lambda: self.secret(base_dir),
            mount=self.mount,
            namespace=self.namespace,
            ca=None if self.ca is None else base_dir / self.ca,
        )


ProviderSettings = Annotated[
    PassphraseSettings | EnvironmentSettings | FileSettings | AwsKmsSettings | Pkcs11Settings | VaultSettings,
    Field(discriminator="kind"),
]


class Settings(_Model):
    """Where the keys of encrypted fields are.

    Attributes:
        key_file: The key ring; created when absent. ``keys/fields.json`` in the data folder when None.
        provider: What wraps the key ring; None leaves it in clear, guarded by its mode.
        cache_seconds: How long an unwrapped ring is used before its provider is asked again.
    """

    key_file: Path | None = None
    provider: ProviderSettings | None = None
    cache_seconds: float = Field(default=CACHE_SECONDS, gt=0, le=86_400)
