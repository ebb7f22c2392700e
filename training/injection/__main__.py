"""``python -m training.injection FOLDER``: learn, judge by sources left out, and write the weights file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from aisecure.detect.injection.scale import Scale
from training.injection.corpus import Row, corpus, invented
from training.injection.features import windows
from training.injection.judge import combined, knots, rates, table, threshold
from training.injection.train import learn, looks, packed

_WEIGHTS = Path(__file__).parents[2] / "src/aisecure/detect/injection/weights.bin"
_CONTEXTS = ("user", "document", "tool_output")
_FOLDS = 4
#: Sources that hold the same texts under several names are left out together.
_TOGETHER = {"GPTFuzzer": "garak", "Self": "garak", "Giskard": "garak"}
_ORDINARY = {"Banking77", "CLINC150", "OASST", "mt_bench", "vicuna_bench", "self-instruct"}
_SAFETY = {"CyberSecEval-FRR", "neuralchemy/wildguard_judgecomp", "neuralchemy/harmbench_benign"}


def _folds(rows: Sequence[Row]) -> np.ndarray:
    """Return the number of each row's fold; invented rows are in none and so always learned from."""
    families = [_TOGETHER.get(name, name) for name in (re.split(r"[-/:]", row.source)[0] for row in rows)]
    sizes: dict[str, float] = {}
    for family, row in zip(families, rows, strict=True):
        sizes[family] = sizes.get(family, 0) + (3 if row.label else 1)
    loads, fold_of = [0.0] * _FOLDS, {"grammar": -1}
    for family in sorted(sizes, key=lambda name: -sizes[name]):
        if family not in fold_of:
            fold_of[family] = loads.index(min(loads))
            loads[fold_of[family]] += sizes[family]
    return np.array([fold_of[family] for family in families])


def _groups(rows: Sequence[Row], context: str) -> dict[str, np.ndarray]:
    def marked(test: Callable[[Row], bool]) -> np.ndarray:
        return np.array([not row.label and test(row) for row in rows])

    if context != "user":
        return {"documents": marked(lambda row: row.context == context and row.kind != "benign_multilingual")}
    return {
        "ordinary": marked(lambda row: row.source in _ORDINARY),
        "languages": marked(lambda row: row.kind == "benign_multilingual"),
        "triggers": marked(
            lambda row: row.kind in ("benign_hard", "benign_persona") and row.context == "user"
        ),
        "safety": marked(lambda row: row.source in _SAFETY),
    }


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(prog="python -m training.injection", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds train.jsonl.gz and dev.jsonl.gz")
    parser.add_argument("--out", type=Path, default=_WEIGHTS, help="the weights file to write")
    args = parser.parse_args()

    rows = corpus(args.folder, "train", "dev")
    real = len(rows)
    rows += invented(rows)
    seen = windows(rows)
    print(f"{real} texts, {len(rows) - real} invented, {seen.matrix.shape[0]} windows", file=sys.stderr)

    folds = _folds(rows)
    evidence = np.zeros((real, 5))
    for number in range(_FOLDS):
        out = np.flatnonzero(folds[:real] == number)
        raw = packed(learn(seen, rows, folds != number))
        evidence[out] = looks(raw, [rows[place].text for place in out])
        print(f"left out: {', '.join(sorted({rows[place].source for place in out}))}", file=sys.stderr)

    meta = _judged(rows[:real], evidence)
    args.out.write_bytes(packed(learn(seen, rows, np.ones(len(rows), bool)), **meta))
    print(f"{args.out}: {args.out.stat().st_size} bytes", file=sys.stderr)


def _judged(rows: list[Row], evidence: np.ndarray) -> dict[str, object]:
    """Return the contexts' weights and knots, and print what was left out and found all the same."""
    scores, flagged = np.zeros(len(rows)), np.zeros(len(rows), bool)
    contexts: dict[str, object] = {}
    context_of = np.array([row.context for row in rows])
    for context in _CONTEXTS:
        which = (context_of == "user") if context == "user" else (context_of != "user")
        marked = which & np.array([row.kind != "indirect_unmarked" for row in rows])
        mix = combined(evidence[marked], [row for row, one in zip(rows, marked, strict=True) if one])
        logits = evidence @ np.array(mix[:-1]) + mix[-1]
        default = threshold(logits, _groups(rows, context))
        mine = context_of == context
        harmless = mine & np.array([not row.label for row in rows])
        lines = knots(context, logits[harmless], default)
        flagged[mine] = logits[mine] >= default
        scores[mine] = _scored(logits[mine], lines)
        contexts[context] = {"mix": mix, "knots": lines, "rates": rates(scores[harmless])}
    ordinary = np.array([row.source in _ORDINARY for row in rows])
    attacks = np.array([row.label == 1 for row in rows])
    found = table(rows, scores, flagged, ordinary)
    for line in found:
        print(
            f"{line['source']:40} {'attacks' if line['attacks'] else 'harmless':9} {line['texts']:6} flagged {line['flagged']:.3f} above 99% of ordinary {line['above_ordinary']:.3f}"
        )
    recall = [
        line["above_ordinary"]
        for line in found
        if line["attacks"] and line["texts"] >= 10 and "naive" not in line["source"]
    ]
    order = np.argsort(np.argsort(scores))
    area = (order[attacks].sum() - attacks.sum() * (attacks.sum() - 1) / 2) / (
        attacks.sum() * (~attacks).sum()
    )
    print(f"macro recall at 1 % of ordinary texts {np.mean(recall):.3f}, pooled AUROC {area:.3f}")
    return {"contexts": contexts}


def _scored(logits: np.ndarray, lines: Sequence[tuple[float, float]]) -> np.ndarray:
    scale = Scale((), lines)
    return np.array([scale.score(float(logit)) for logit in logits])


if __name__ == "__main__":
    main()
