"""Pseudonyms that stay the same through a conversation: encrypted where they are stored, and nobody else's.

A value is found again by a keyed digest, so that it never stands in the database in clear, and decrypted only when an answer names its
placeholder. What a pseudonym means is bound to tenant, conversation, principal, label and number as associated data: a row that is
copied elsewhere does not open.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from aisecure.detect._vault_sqlite import SqlitePseudonyms
from aisecure.detect.placeholders import Placeholders
from aisecure.detect.pseudonym_store import PseudonymStore, ValueDigest
from aisecure.errors import DecryptionError, Unavailable
from aisecure.ports import Cipher, Clock, SystemClock
from aisecure.storage import Storage

__all__ = ["PseudonymVault"]

_LEAST_KEY = 32
#: Token and associated data, by placeholder.
_Tokens = dict[str, tuple[str, tuple[str | int, ...]]]


class PseudonymVault:
    """Keeps what placeholders stand for, by tenant, conversation and principal.

    Any number of threads and processes may share what it is kept in (a `Storage` those of one machine); two that name the
    same value at once agree on its number.

    Args:
        store: Where pseudonyms are kept: a `Storage` (``Storage(":memory:")`` for one that lives as long as the process), or a
            `PseudonymStore` such as `aisecure.adapters.sqlalchemy_vault.SqlPseudonyms`.
        cipher: Encrypts values, such as a `FieldCipher`; or a function of tenant and principal that returns one, such as
            ``lambda tenant, principal: subjects.cipher(principal, tenant=tenant)`` of `SubjectKeys`.
        key: 32 bytes or more, under which values are digested. Other bytes do not find what was named before.
        is_erased: Whether a token's key was erased, such as ``subjects.is_erased``: then its placeholder stays in answers,
            instead of being an error.
        retention_seconds: How long a pseudonym is kept after it was last named.
        clock: Time.

    Raises:
        TypeError: The key is not bytes, or the store is none.
        ValueError: The key is shorter, or the retention is not above 0.
        Unavailable: The table of a `Storage` is absent and cannot be made.
    """

    def __init__(
        self,
        store: Storage | PseudonymStore,
        cipher: Cipher | Callable[[str, str], Cipher],
        *,
        key: bytes,
        is_erased: Callable[[str], bool] = lambda _: False,
        retention_seconds: float = 30 * 86_400,
        clock: Clock | None = None,
    ) -> None:
        self._store: PseudonymStore = SqlitePseudonyms(store) if isinstance(store, Storage) else store
        if not isinstance(self._store, PseudonymStore):
            raise TypeError(
                f"a vault is kept in a Storage or a PseudonymStore, not in a {type(store).__name__}"
            )
        if not isinstance(key, bytes):
            raise TypeError("the key of a vault is bytes")
        if len(key) < _LEAST_KEY or not retention_seconds > 0:
            raise ValueError(
                f"the key of a vault has {_LEAST_KEY} bytes or more, and its retention is above 0"
            )
        self._cipher = cipher
        self._key = key
        self.is_erased = is_erased
        self._retention = retention_seconds
        self._clock = clock or SystemClock()
        self.over_network = self._store.over_network

    def conversation(
        self, tenant: str, conversation: str, principal: str = "", *, reserved: Iterable[str] = ()
    ) -> Placeholders:
        """Return the placeholders of one conversation of one principal, to be given to `Redactor.redact` and `restore`.

        Args:
            tenant: Whose customer it is.
            conversation: Which conversation.
            principal: Who has it; pseudonyms of one are unknown to another.
            reserved: Placeholders that new values do not get, since the text already holds them.

        Raises:
            TypeError: One of the names is no text.
            ValueError: There is no conversation.
            Unavailable: When it is used: the database is locked, full or gone, or what it holds cannot be decrypted.
        """
        for name in (tenant, conversation, principal):
            if not isinstance(name, str):
                raise TypeError(f"tenant, conversation and principal are texts, not {type(name).__name__}")
        if not conversation:
            raise ValueError("a vault keeps what belongs to a conversation; this one has no name")
        cipher = self._cipher(tenant, principal) if callable(self._cipher) else self._cipher
        return _Conversation(
            self, self._scope(tenant, conversation, principal), self._tenant(tenant), cipher, reserved
        )

    def erase(self, tenant: str, conversation: str, principal: str = "") -> int:
        """Forget a conversation; return how many pseudonyms it had.

        Raises:
            Unavailable: The database is locked, full or gone.
        """
        return self._store.erase(self._scope(tenant, conversation, principal))

    def erase_tenant(self, tenant: str) -> int:
        """Forget all conversations of a tenant; return how many pseudonyms they had."""
        return self._store.erase_tenant(self._tenant(tenant))

    def purge(self) -> int:
        """Delete what is past its time; return how many pseudonyms. It also happens by itself, a few at a time."""
        return self._store.purge(self._now())

    def __repr__(self) -> str:
        return f"PseudonymVault({self._store!r})"

    # -- what a conversation asks

    def number_of(
        self, scope: bytes, tenant: bytes, label: str, value: str, reserved: frozenset[str]
    ) -> tuple[ValueDigest, int, bool]:
        """Return the digest of a value, its number, a new one if it has none, and whether its token is stored already."""
        digest = self._digest(b"value", scope, label.encode(), value.encode("utf-8", "surrogatepass"))
        which = ValueDigest(tenant, scope, label, digest)
        now = self._now()
        number, is_kept = self._store.number_of(
            which,
            now=now,
            expires=now + int(self._retention),
            is_reserved=lambda number: f"[{label}_{number}]" in reserved,
        )
        return which, number, is_kept

    def keep(self, value: ValueDigest, number: int, token: str) -> None:
        """Store the token of a number. Not in the transaction that gave the number: a cipher may need the database itself.

        Where a process is killed in between, the next that names the value stores it.
        """
        self._store.keep(value, number, token)

    def rows(self, scope: bytes) -> list[tuple[str, int, str]]:
        """Return label, number and token of what a conversation has."""
        return self._store.rows(scope, self._now())

    def _now(self) -> int:
        return int(self._clock.time())

    def _scope(self, *names: str) -> bytes:
        return self._digest(b"scope", *(name.encode("utf-8", "surrogatepass") for name in names))

    def _tenant(self, tenant: str) -> bytes:
        return self._digest(b"tenant", tenant.encode("utf-8", "surrogatepass"))

    def _digest(self, *parts: bytes) -> bytes:
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, framed, hashlib.sha256).digest()


class _Conversation(Placeholders):
    """Placeholders that live in a vault."""

    __slots__ = ("_cipher", "_known", "_scope", "_tenant", "_vault")

    def __init__(
        self, vault: PseudonymVault, scope: bytes, tenant: bytes, cipher: Cipher, reserved: Iterable[str]
    ) -> None:
        super().__init__(reserved)
        self._vault = vault
        self._scope = scope
        self._tenant = tenant
        self._cipher = cipher
        self._known: dict[tuple[str, str], str] = {}

    def placeholder(self, label: str, value: str) -> str:
        """Return what stands for the value in this conversation."""
        known = self._known.get((label, value))
        if known is None:
            which, number, is_kept = self._vault.number_of(
                self._scope, self._tenant, label, value, self._reserved
            )
            if not is_kept:
                token = self._cipher.encrypt(value, context=self._context(label, number))
                self._vault.keep(which, number, token)
            known = self._known[label, value] = f"[{label}_{number}]"
        return known

    @property
    def mapping(self) -> Mapping[str, str]:
        """Value by placeholder, also of earlier turns; read when it is first used, and decrypted value by value."""
        return _Opened(self._tokens, self._cipher, self._vault.is_erased)

    def _tokens(self) -> _Tokens:
        return {
            f"[{label}_{number}]": (token, self._context(label, number))
            for label, number, token in self._vault.rows(self._scope)
        }

    def _context(self, label: str, number: int) -> tuple[str | int, ...]:
        return "pseudonym", self._scope.hex(), label, number

    def __repr__(self) -> str:
        return "Placeholders(in a vault)"


class _Opened(Mapping[str, str]):
    """Placeholders and their tokens, read as a mapping of values; as they were when it was first used."""

    def __init__(self, read: Callable[[], _Tokens], cipher: Cipher, is_erased: Callable[[str], bool]) -> None:
        self._read = read
        self._cipher = cipher
        self._is_erased = is_erased

    @cached_property
    def _tokens(self) -> _Tokens:
        return self._read()

    def __getitem__(self, name: str) -> str:
        token, context = self._tokens[name]
        try:
            return self._cipher.decrypt(token, context=context)
        except DecryptionError:
            if self._is_erased(token):
                raise KeyError(name) from None  # whose key is gone, and their placeholders stay
            # Another key, or a changed row: nobody gets a placeholder for an answer without being told.
            raise Unavailable(
                "A pseudonym of the vault could not be decrypted.", code="unavailable.vault"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return "<pseudonyms of a conversation>"
