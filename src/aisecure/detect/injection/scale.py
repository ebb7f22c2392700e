"""From what the windows of a text come to, to one score."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["Scale"]


class Scale:
    """The weights of the evidence in one context, and the scores that logits stand for."""

    def __init__(self, mix: Sequence[float], knots: Sequence[Sequence[float]]) -> None:
        self._mix = tuple(mix)
        self._logits = [logit for logit, _ in knots]
        self._scores = [score for _, score in knots]

    def logit(self, found: Sequence[float]) -> float:
        """Return the evidence of `aisecure.detect.injection.model.evidence` as one logit."""
        return sum(weight * value for weight, value in zip(self._mix, (*found, 1.0), strict=True))

    def score(self, logit: float) -> float:
        """Return a score that rises with the logit everywhere, so that the highest ones still have an order."""
        logits, scores = self._logits, self._scores
        at = bisect_right(logits, logit)
        if at == 0:
            return scores[0] / (1 + logits[0] - logit)
        if at == len(logits):
            return 1 - (1 - scores[-1]) / (1 + logit - logits[-1])
        share = (logit - logits[at - 1]) / (logits[at] - logits[at - 1])
        return scores[at - 1] + share * (scores[at] - scores[at - 1])
