"""The texts to learn from: a corpus folder, and sentences of the grammars beside it."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from training.injection.grammar import Grammar, languages

__all__ = ["Row", "corpus", "invented", "weights"]

_HERE = Path(__file__).parent
#: Invented sentences count this much less than a source of the same size.
_INVENTED_SHARE = 0.25


class Row(NamedTuple):
    """One text.

    Attributes:
        text: The text.
        label: 1 for an attack.
        kind: What kind of attack, or of harmless text.
        source: Where it is from.
        context: ``user``, ``document`` or ``tool_output``.
    """

    text: str
    label: int
    kind: str
    source: str
    context: str


def corpus(folder: Path, *names: str) -> list[Row]:
    """Return the rows of ``NAME.jsonl.gz`` of a folder; each line has the fields of a `Row`."""
    rows = []
    for name in names:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [Row(*(json.loads(line)[field] for field in Row._fields)) for line in lines]
    return rows


def invented(rows: list[Row], per_family: int = 1500, seed: int = 5) -> list[Row]:
    """Return sentences of the grammars, some of the attacks set between pieces of harmless rows."""
    chance = random.Random(seed)  # noqa: S311
    documents = [row.text for row in rows if not row.label and len(row.text) > 150 and row.text.isascii()]

    def piece() -> str:
        words = chance.choice(documents).split(" ")
        size = chance.randint(4, 16)
        start = chance.randrange(max(1, len(words) - size))
        return " ".join(words[start : start + size])

    found: dict[tuple[str, int], Row] = {}
    attacks, harmless = Grammar(_HERE / "attacks.txt"), Grammar(_HERE / "benign.txt")
    for family, sentence in attacks.draw(per_family * 8, seed):
        roll = chance.random()
        text = sentence.upper() if roll < 0.15 else sentence.lower() if roll < 0.25 else sentence
        if family in ("indirect", "hijack", "override") and chance.random() < 0.5:
            gaps = ("\n", " ", ". ", "\n\n")
            if chance.random() < 0.6:
                text = piece() + chance.choice(gaps) + text
            if chance.random() < 0.6:
                text += chance.choice(gaps) + piece()
        found.setdefault((text, 1), Row(text, 1, family, f"grammar:{family}", "user"))
    for family, text in harmless.draw(per_family * 6, seed + 1):
        found.setdefault((text, 0), Row(text, 0, family, f"grammar:harmless:{family}", "user"))
    for label, _, text in languages(_HERE / "languages.txt", per_family * 6, seed + 2):
        found.setdefault((text, label), Row(text, label, "language", "grammar:languages", "user"))
    return list(found.values())


def weights(rows: list[Row]) -> list[float]:
    """Return how much each row counts: a source by the root of its size, so that none drowns the others."""
    sizes = Counter((row.source, row.label) for row in rows)
    return [
        sizes[row.source, row.label] ** -0.5 * (_INVENTED_SHARE if row.source.startswith("grammar:") else 1)
        for row in rows
    ]
