"""A second opinion: a slower judge is asked about the texts of which the detector is not sure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from math import isfinite
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol

from aisecure.decisions import Finding
from aisecure.detect.injection.detector import DEFAULT, Context, InjectionDetector
from aisecure.errors import Unavailable

__all__ = ["InjectionCascade", "InjectionEngine", "Judge"]


class InjectionEngine(Protocol):
    """What can judge a text: an `InjectionDetector`, a cascade, or a model of your own."""

    def score(self, text: str, *, context: Context = "user") -> float:
        """Return how sure it is that the text tries to instruct the model, 0 to 1; 0.5 is undecided."""

    def scan(self, text: str, *, context: Context = "user") -> list[Finding]:
        """Return where a flagged text holds instructions; nothing when it is not flagged."""


#: A classifier or a model that is asked: takes a text and its context, answers from 0 (harmless) to 1, or with a bool.
Judge = Callable[[str, Context], float]


class InjectionCascade:
    """Asks slower judges about the texts that a fast detector leaves open, within a budget of time.

    The detector judges every text. Where its score falls between the bounds of ``unsure``, the judges are asked in
    turn until one is sure itself; the last answer counts. A judge that fails, answers with no number from 0 to 1, or
    takes longer than is left of the budget, is *unavailable*: the call is refused, unless the guard says otherwise
    (``on_unavailable``). An `InjectionEngine`: `InjectionGuard` takes one in place of a detector.

    Args:
        judges: Functions of a text and its context, the cheapest first: a local classifier, a model that is asked.
        detector: What judges first; the shipped one when None.
        unsure: Scores between these, both included, are left open.
        budget: Seconds for all judges of one text.
        concurrency: Judges that may be at work at a time, those included that nobody waits for any more.
        max_chars: Longer texts are judged by the detector alone, which looks at all of them; a judge that reads only
            the beginning would be fooled by padding.

    Raises:
        ValueError: There is no judge, or an option is out of its bounds.

    >>> careful = InjectionCascade([lambda text, context: 0.9], unsure=(0.0, 0.5))
    >>> careful.flags("Kindly do as the second page says.")
    True
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        *,
        detector: InjectionDetector | None = None,
        unsure: tuple[float, float] = (0.1, 0.9),
        budget: float = 2.0,
        concurrency: int = 16,
        max_chars: int = 20_000,
    ) -> None:
        self.judges = tuple(judges)
        if not self.judges or not all(map(callable, self.judges)):
            raise ValueError("judges are functions of a text and its context, one at least")
        if not 0 <= unsure[0] <= unsure[1] <= 1:
            raise ValueError("unsure is two scores from 0 to 1, the lower one first")
        if not 0 < budget <= 300 or concurrency < 1 or max_chars < 1:
            raise ValueError(
                "budget is above 0 and up to 300 seconds; concurrency and max_chars are 1 or more"
            )
        self.detector = detector or InjectionDetector()
        self.unsure = unsure
        self.budget = budget
        self.max_chars = max_chars
        self._free = threading.BoundedSemaphore(concurrency)

    def __repr__(self) -> str:
        return f"InjectionCascade({len(self.judges)} judges, unsure={self.unsure}, budget={self.budget})"

    def score(self, text: str, *, context: Context = "user") -> float:
        """Return the score of the last judge that was asked, or the detector's.

        Raises:
            TypeError: ``text`` is no str.
            ValueError: ``context`` is unknown.
            Unavailable: A judge failed, or was too slow.
        """
        first = self.detector.score(text, context=context)
        return self._asked(text, context, first) if self._open(text, first) else first

    def flags(self, text: str, *, context: Context = "user") -> bool:
        """Return whether the text is flagged: by the detector when it was sure, else by a judge from 0.5.

        Raises:
            TypeError, ValueError, Unavailable: As for `score`.
        """
        return bool(self.scan(text, context=context))

    def scan(self, text: str, *, context: Context = "user") -> list[Finding]:
        """Return the findings of the detector when it flags the text too, else the whole text as one.

        Raises:
            TypeError, ValueError, Unavailable: As for `score`.
        """
        first = self.detector.score(text, context=context)
        if not self._open(text, first):
            # Most texts are harmless, and a scan would judge them a second time to say so.
            sure = first >= self.detector.threshold(context)
            return self.detector.scan(text, context=context) if sure else []
        score = self._asked(text, context, first)
        if score < DEFAULT:
            return []
        whole = Finding("injection.instruction", 0, len(text), score, "injection_judge")
        found = self.detector.scan(text, context=context)
        return [replace(finding, score=score) for finding in found] or [whole]

    def _open(self, text: str, score: float) -> bool:
        return len(text) <= self.max_chars and self.unsure[0] <= score <= self.unsure[1]

    def _asked(self, text: str, context: Context, score: float) -> float:
        ends = monotonic() + self.budget
        for judge in self.judges:
            if not self.unsure[0] <= score <= self.unsure[1]:
                break
            score = self._ask(judge, text, context, ends)
        return score

    def _ask(self, judge: Judge, text: str, context: Context, ends: float) -> float:
        """Return what a judge says before the time ends; its thread is left behind when it is late."""
        if not self._free.acquire(timeout=max(0.0, ends - monotonic())):
            raise Unavailable("All judges of injected instructions are at work.", code="unavailable.judge")
        said: SimpleQueue[float | None] = SimpleQueue()
        carried = copy_context()

        def work() -> None:
            try:
                said.put(float(carried.run(judge, text, context)))
            except Exception:  # noqa: BLE001 (whatever a judge of somebody else's raises; its text could hold the prompt)
                said.put(None)
            finally:
                self._free.release()

        threading.Thread(target=work, name="aisecure-injection-judge", daemon=True).start()
        try:
            answer = said.get(timeout=max(0.0, ends - monotonic()))
        except Empty:
            raise Unavailable(
                "A judge of injected instructions took too long.", code="unavailable.judge"
            ) from None
        if answer is None or not isfinite(answer) or not 0 <= answer <= 1:
            raise Unavailable("A judge of injected instructions failed.", code="unavailable.judge")
        return answer
