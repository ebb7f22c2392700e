"""What is refused for its form alone, before any guard looks: too large, unreadable."""

from __future__ import annotations

from aisecure._flow import Passage, decision_of
from aisecure.errors import Denied, InputRejected
from aisecure.guard import Guard

__all__ = ["FORM", "refused", "too_large"]

#: The adapter's own checks of form and size, named in events like any guard.
FORM = Guard(name="form")


def too_large(max_bytes: int) -> InputRejected:
    """Return the error for a body over the limit."""
    return InputRejected(f"The body is larger than {max_bytes} bytes.", code="input.too_large")


def refused(passage: Passage, err: Denied) -> Denied:
    """Record that a request was refused for its form before it became a call; return the error to raise."""
    try:
        passage.judge(FORM, decision_of(err))
    except Denied as judged:
        passage.fail(judged)
        passage.close()
        return judged
    return err
