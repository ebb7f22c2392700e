"""What a call is charged for, by how it ended and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aisecure.events import Usage
from aisecure.guard import Ending
from aisecure.quotas.budgets.tariff import Estimate

__all__ = ["Basis", "Failed", "Outcome", "Seen", "outcome"]

#: Where the numbers of a charge are from: the provider's report, our own count, or the reservation as a whole.
Basis = Literal["reported", "counted", "reserved", "nothing"]

Failed = Literal["refund", "charge"]


@dataclass(slots=True)
class Seen:
    """What was seen of an output so far.

    Attributes:
        whole: Tokens of a whole output; None when it was not seen, or cannot be counted.
        streamed: Tokens of the pieces of a stream.
    """

    whole: int | None = None
    streamed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call is charged for.

    Attributes:
        basis: Where the numbers are from.
        usage: The tokens; None for the whole reservation, or nothing.
    """

    basis: Basis
    usage: Usage | None = None


_NOTHING, _RESERVED = Outcome("nothing"), Outcome("reserved")


def outcome(estimate: Estimate, seen: Seen, ending: Ending, failed: Failed) -> Outcome:
    """Return what a call is charged for.

    Whatever the provider may have produced unseen is taken for produced: that nothing came back does not say that
    nothing was spent.
    """
    if not ending.entered:
        return _NOTHING
    reported = ending.usage
    if reported is not None and not (reported.input_tokens or reported.output_tokens):
        reported = None
    is_whole = ending.chunks is None
    completed = ending.type == "call.allowed"
    if reported is not None:
        if completed or is_whole:
            return Outcome("reported", reported)
        return _cut_short(estimate, seen, ending, reported)
    if ending.type == "call.failed" and (is_whole or not ending.chunks or _timed_out(ending)):
        return _RESERVED if _timed_out(ending) or failed == "charge" else _NOTHING
    if is_whole:
        # Cancelled or withheld before it was seen: the provider may have finished it.
        return _RESERVED if seen.whole is None else _counted(estimate, seen.whole)
    if completed and ending.chunks and not seen.streamed:
        return _RESERVED  # chunks of a kind that nobody can read
    return _counted(estimate, _so_far(seen, ending))


def _cut_short(estimate: Estimate, seen: Seen, ending: Ending, reported: Usage) -> Outcome:
    """Return what a stream is charged for that told its usage, perhaps only that at its beginning, and broke off."""
    so_far = min(_so_far(seen, ending), estimate.output_tokens)
    if reported.input_tokens and reported.output_tokens >= so_far:
        return Outcome("reported", reported)
    told = Usage(
        reported.input_tokens or estimate.input_tokens,
        max(reported.output_tokens, so_far),
        reported.cache_read_tokens,
        reported.cache_write_tokens,
        reported.reasoning_tokens,
    )
    return Outcome("counted", told)


def _so_far(seen: Seen, ending: Ending) -> int:
    # A chunk is one token or more; of one that nobody can read it is all that is known.
    return max(seen.streamed, ending.chunks or 0)


def _counted(estimate: Estimate, output_tokens: int) -> Outcome:
    # The bound of a text may exceed what the request allowed; the answer did not.
    return Outcome("counted", Usage(estimate.input_tokens, min(output_tokens, estimate.output_tokens)))


def _timed_out(ending: Ending) -> bool:
    return "Timeout" in ending.error_type or "Deadline" in ending.error_type
