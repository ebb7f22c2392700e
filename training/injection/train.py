"""Train the weights of the injection detector: ``python -m training.injection FOLDER``.

FOLDER holds ``train.jsonl.gz`` and ``dev.jsonl.gz``; a line is a JSON object with text, label, kind, source and context.
A table of sources that were left out while learning says how well the result carries over to texts from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from aisecure.detect.injection.folding import fold, unsigned
from aisecure.detect.injection.model import DAMPING, MAGIC, Model, evidence
from aisecure.detect.injection.reading import SHAPES, SIZE, WORDS, read
from training.injection.corpus import Row, weights
from training.injection.features import Windows

__all__ = ["Linear", "learn", "looks", "packed"]

#: How strongly words, shapes and pairs are taken before the common regularisation: what is said with any words of a
#: meaning carries over to unseen texts, the words themselves less so.
_TRUST = (0.5, 1.0, 3.0)
_STRENGTH = 1e6
_STEPS = 80
#: Share of the windows of harmless texts that are learned from.
_KEPT = 0.5


class Linear(NamedTuple):
    """A linear model over the tables.

    Attributes:
        weights: One for each place.
        bias: Added to every window.
    """

    weights: np.ndarray
    bias: float


def learn(seen: Windows, rows: Sequence[Row], which: np.ndarray) -> Linear:
    """Return the model learned from the texts whose numbers ``which`` marks.

    Of an attack in a longer text nobody knows which windows hold it. So the model first learns from short attacks, then
    from those windows of the long ones that it finds the most suspicious, and once more.
    """
    labels = np.array([row.label for row in rows])
    chance = np.random.default_rng(0)
    kept = which[seen.owner] & ((labels[seen.owner] == 1) | (chance.random(len(seen.owner)) < _KEPT))
    matrix = _scaled(seen.matrix[kept])
    owner, group = seen.owner[kept], seen.owner[kept] * 2 + seen.scale[kept]
    attack = labels[owner] == 1
    share = np.array(weights(rows))[owner] / np.sqrt(
        np.maximum(np.bincount(owner, minlength=len(rows))[owner], 1)
    )
    alone = np.bincount(group)[group] == 1
    chosen = ~attack | alone
    found: np.ndarray | None = None
    for round_ in range(3):
        found = _fit(matrix, attack, share * chosen, found, _STEPS if round_ == 0 else _STEPS // 2)
        logits = matrix @ found[:-1].astype(np.float32) + found[-1]
        most = np.full(len(rows) * 2, -np.inf)
        np.maximum.at(most, group, logits)
        chosen = (
            ~attack | alone | (logits >= most[group] - 1e-6) | ((logits > 0.7 * most[group]) & (logits > 1))
        )
    assert found is not None
    return Linear(found[:-1] * np.repeat(_TRUST, _SIZES), float(found[-1]))


_SIZES = (WORDS, SHAPES, SIZE - WORDS - SHAPES)


def _scaled(matrix: Any) -> Any:
    counts = np.asarray(matrix.sum(axis=1)).ravel()
    trust = np.repeat(np.array(_TRUST, np.float32), _SIZES)
    scaled = matrix.astype(np.float32)
    scaled.data *= np.repeat((1 / np.sqrt(counts + DAMPING)).astype(np.float32), np.diff(matrix.indptr))
    scaled.data *= trust[matrix.indices]
    return scaled


def _fit(
    matrix: Any, attack: np.ndarray, share: np.ndarray, start: np.ndarray | None, steps: int
) -> np.ndarray:
    """Return weights and bias of a logistic regression in which both classes count the same."""
    weight = share.astype(np.float64)
    for side in (attack, ~attack):
        weight[side] *= 0.5 / weight[side].sum()
    weight = weight.astype(np.float32)
    sign = np.where(attack, 1, -1).astype(np.float32)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = (matrix @ values[:-1].astype(np.float32) + np.float32(values[-1])) * sign
        pull = -(weight * sign) / (1 + np.exp(np.clip(margin, -50, 50)))
        slope = np.append((matrix.T @ pull).astype(np.float64) + values[:-1] / _STRENGTH, float(pull.sum()))
        size = float(values[:-1] @ values[:-1]) / (2 * _STRENGTH)
        return float((weight * np.logaddexp(0, -margin)).sum()) + size, slope

    first = np.zeros(matrix.shape[1] + 1) if start is None else start
    done: np.ndarray = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return done


def packed(linear: Linear, **meta: Any) -> bytes:
    """Return a weights file: eight bits a weight, with one step for each table."""
    steps, tables, start = [], [], 0
    for size in _SIZES:
        part = linear.weights[start : start + size]
        # The largest few would make the step coarse for all; they are cut.
        step = float(np.quantile(np.abs(part), 0.9999)) / 127 or 1.0
        steps.append(step)
        tables.append(np.clip(np.round(part / step), -127, 127).astype(np.int8).tobytes())
        start += size
    header = json.dumps({"steps": steps, "bias": linear.bias, **meta}, sort_keys=True).encode()
    body = struct.pack(">I", len(header)) + header + b"".join(tables)
    return MAGIC + hashlib.sha256(body).digest() + body


_MODEL: Model | None = None


def _use(raw: bytes) -> None:
    global _MODEL  # noqa: PLW0603  # one for each worker process
    _MODEL = Model(raw)


def _look(text: str) -> tuple[float, ...]:
    assert _MODEL is not None
    return evidence(_MODEL.windows(read(unsigned(fold(text)))))


def looks(raw: bytes, texts: Iterable[str]) -> np.ndarray:
    """Return what the windows of each text come to, by the model of a weights file."""
    with ProcessPoolExecutor(initializer=_use, initargs=(raw,)) as pool:
        return np.array(list(pool.map(_look, texts, chunksize=200)))
