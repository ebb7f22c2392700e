"""What a key derivation costs: the two functions, their presets, and how much of it a file may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

__all__ = ["ARGON2ID", "SCRYPT", "Argon2idCost", "ScryptCost"]

#: What a derivation may cost; stored costs are read from a file that somebody may have changed. 1 GiB is what
#: scrypt's author chose for files (Percival 2009: N=2**20, r=8); the passes bound the time to some seconds.
MAX_MEMORY_BYTES = 1 << 30
MAX_MEMORY_PASSES = 4 << 30


def _check_numbers(*numbers: int) -> None:
    if not all(type(number) is int and 0 < number < 1 << 32 for number in numbers):
        raise ValueError("costs are whole numbers from 1 to 2**32 - 1")


def _check_bounds(memory: int, passes: int) -> None:
    if memory > MAX_MEMORY_BYTES or memory * passes > MAX_MEMORY_PASSES or passes > 1 << 10:
        raise ValueError(
            f"a derivation takes at most {MAX_MEMORY_BYTES} bytes, and memory times passes {MAX_MEMORY_PASSES}"
        )


@dataclass(frozen=True, slots=True)
class Argon2idCost:
    """Costs of Argon2id (RFC 9106).

    Attributes:
        memory_kib: Memory in KiB, at least 8 a lane.
        iterations: Passes over it.
        lanes: Threads.

    Raises:
        ValueError: They are outside of what the RFC allows, or cost more than this module's bounds.
    """

    memory_kib: int
    iterations: int
    lanes: int

    function: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_numbers(self.memory_kib, self.iterations, self.lanes)
        if self.lanes > 64 or self.memory_kib < 8 * self.lanes:
            raise ValueError("Argon2id takes 1 to 64 lanes here, and 8 KiB or more for each")
        _check_bounds(self.memory_kib << 10, self.iterations)

    def numbers(self) -> tuple[int, int, int]:
        """Return the costs in the order in which they are stored."""
        return self.memory_kib, self.iterations, self.lanes

    def derive(self, passphrase: bytes, salt: bytes) -> bytes:
        """Return the 32 bytes of a wrapping key."""
        kdf = Argon2id(
            salt=salt,
            length=32,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return kdf.derive(passphrase)


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """Costs of scrypt (RFC 7914); memory is 128 * ``n`` * ``r`` bytes.

    Attributes:
        n: Cost, a power of two.
        r: Block size.
        p: Parallelism.

    Raises:
        ValueError: They are outside of what the RFC allows, or cost more than this module's bounds.
    """

    n: int
    r: int
    p: int

    function: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check_numbers(self.n, self.r, self.p)
        if self.n < 2 or self.n & (self.n - 1) or self.r > 64:
            raise ValueError("scrypt takes a power of two, 2 or more, as n, and here at most 64 as r")
        _check_bounds(128 * self.n * self.r, self.p)

    def numbers(self) -> tuple[int, int, int]:
        """Return the costs in the order in which they are stored."""
        return self.n, self.r, self.p

    def derive(self, passphrase: bytes, salt: bytes) -> bytes:
        """Return the 32 bytes of a wrapping key."""
        return Scrypt(salt=salt, length=32, n=self.n, r=self.r, p=self.p).derive(passphrase)


#: RFC 9106 section 4, the second recommended option, for memory-constrained environments: 64 MiB.
ARGON2ID = Argon2idCost(memory_kib=1 << 16, iterations=3, lanes=4)
#: OWASP Password Storage Cheat Sheet, the first of its configurations of scrypt: 128 MiB.
SCRYPT = ScryptCost(n=1 << 17, r=8, p=1)
