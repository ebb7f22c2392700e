"""Why a token, or what an issuer publishes, is not taken. The texts are for the log and quote nothing of either."""

from __future__ import annotations

__all__ = ["BadKeys", "BadToken", "NotFound", "NotStrictJson", "Unreachable"]


class BadToken(Exception):
    """A token is refused; the text is a whole sentence."""


class BadKeys(Exception):
    """A key, a key set or a discovery document cannot be used; the text is what follows after its name."""


class Unreachable(BadKeys):
    """A document could not be fetched."""


class NotFound(BadKeys):
    """A document is not where it was looked for."""


class NotStrictJson(Exception):
    """A text is no JSON object that every parser reads alike; the text is what follows after its name."""
