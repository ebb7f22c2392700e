"""From evidence to a score: the small model over windows, and where a score stands among harmless texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from training.injection.corpus import Row, weights

__all__ = ["GOALS", "combined", "knots", "rates", "table", "threshold"]

#: Share of harmless texts of a group that the shipped default may flag.
GOALS: Mapping[str, float] = {
    "ordinary": 0.005,
    "languages": 0.005,
    "documents": 0.01,
    "triggers": 0.05,
    "safety": 0.03,
}
#: By context, scores and the share of harmless texts that score higher; between them the score is read off a line. 0.5
#: is the shipped default. What a document or a tool brings is suspicious sooner.
_SCORES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "user": ((0.02, 0.5), (0.1, 0.1), (0.2, 0.05), (0.3, 0.02)),
    "document": ((0.02, 0.5), (0.2, 0.1), (0.3, 0.05), (0.42, 0.02)),
    "tool_output": ((0.02, 0.5), (0.2, 0.1), (0.3, 0.05), (0.42, 0.02)),
}
#: Scores on the way from the default to the harmless text that scores highest.
_ABOVE = ((0.7, 0.5), (0.9, 1.0))
#: Shares of harmless texts at which a detector may be made to flag.
_RATES = {"5%": 0.05, "1%": 0.01, "0.1%": 0.001}


def combined(evidence: np.ndarray, rows: Sequence[Row]) -> list[float]:
    """Return the weights of the evidence, and last the bias, that part attacks from harmless texts best."""
    sign = np.array([1 if row.label else -1 for row in rows])
    share = np.array(weights(rows))
    for side in (sign > 0, sign < 0):
        share[side] *= 0.5 / share[side].sum()
    wide = np.column_stack([evidence, np.ones(len(evidence))])

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = wide @ values * sign
        pull = -(share * sign) / (1 + np.exp(np.clip(margin, -50, 50)))
        return float((share * np.logaddexp(0, -margin)).sum()) + 1e-4 * float(
            values @ values
        ), wide.T @ pull + 2e-4 * values

    found = minimize(loss, np.zeros(wide.shape[1]), jac=True, method="L-BFGS-B").x
    return [float(value) for value in found]


def threshold(logits: np.ndarray, groups: Mapping[str, np.ndarray]) -> float:
    """Return the lowest logit at which no group of harmless texts has more flagged than its goal."""
    return max(
        float(np.quantile(logits[which], 1 - GOALS[name]))
        for name, which in groups.items()
        if which.sum() >= 50
    )


def knots(context: str, harmless: np.ndarray, default: float) -> list[tuple[float, float]]:
    """Return ``(logit, score)`` in rising order: the score of a logit is read off the lines between them.

    Args:
        context: Whose scores.
        harmless: Logits of harmless texts of the context.
        default: The logit of the shipped default.
    """
    below = [(float(np.quantile(harmless, 1 - share)), score) for score, share in _SCORES[context]]
    top = max(float(harmless.max()), default + 1)
    above = [(default + (top - default) * part, score) for score, part in _ABOVE]
    return [*((logit, score) for logit, score in below if logit < default), (default, 0.5), *above]


def rates(harmless: np.ndarray) -> dict[str, float]:
    """Return the score that each rate of false positives stands for, given the scores of harmless texts."""
    return {name: float(np.quantile(harmless, 1 - share)) for name, share in _RATES.items()}


def table(
    rows: Sequence[Row], scores: np.ndarray, flagged: np.ndarray, ordinary: np.ndarray
) -> list[dict[str, Any]]:
    """Return by source how many were flagged, and how many attacks score above 99 of 100 ordinary texts."""
    bar = float(np.quantile(scores[ordinary], 0.99))
    lines = []
    for source in sorted({row.source for row in rows}):
        for label in (1, 0):
            which = np.array([row.source == source and row.label == label for row in rows])
            if which.any():
                lines.append(
                    {
                        "source": source,
                        "attacks": bool(label),
                        "texts": int(which.sum()),
                        "flagged": float(flagged[which].mean()),
                        "above_ordinary": float((scores[which] > bar).mean()),
                    }
                )
    return lines
