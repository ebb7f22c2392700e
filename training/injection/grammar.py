"""Sentences drawn from a grammar of slots and choices, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Grammar", "languages"]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Grammar:
    r"""Families of templates: ``{slot}`` stands for one of the slot's lines, ``(a|b)`` for one of the two.

    ``[.!?]`` is one of the signs, ``[a-z0-9]+`` a random word, a backslash takes the next character as it is, and
    ``\n`` is a line end.
    """

    def __init__(self, path: Path) -> None:
        self.slots: dict[str, list[str]] = {}
        self.families: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in path.read_text("utf-8").splitlines():
            if not line.strip() or line.startswith("# "):
                continue
            if line.startswith("@") and " " not in line:
                lines = self.slots.setdefault(line[1:], [])
            elif line.startswith("[") and line.endswith("]") and line[1:-1].isalpha():
                lines = self.families.setdefault(line[1:-1], [])
            else:
                lines.append(line)

    def draw(self, count: int, seed: int) -> Iterator[tuple[str, str]]:
        """Return ``(family, sentence)``, the families in turn."""
        chance = random.Random(seed)  # noqa: S311  # nothing secret
        families = sorted(self.families)
        for number in range(count):
            family = families[number % len(families)]
            yield family, self.expand(chance.choice(self.families[family]), chance)

    def expand(self, template: str, chance: random.Random) -> str:
        """Return one sentence of a template."""
        out: list[str] = []
        at = 0
        while at < len(template):
            sign = template[at]
            if sign == "\\" and at + 1 < len(template):
                out.append("\n" if template[at + 1] == "n" else template[at + 1])
                at += 2
            elif sign == "{" and (end := template.find("}", at)) > 0 and template[at + 1 : end] in self.slots:
                out.append(self.expand(chance.choice(self.slots[template[at + 1 : end]]), chance))
                at = end + 1
            elif sign == "(":
                choices, at = _choices(template, at)
                out.append(self.expand(chance.choice(choices), chance))
                if template[at : at + 1] == "?":
                    at += 1
                    if chance.random() < 0.5:
                        out.pop()
            elif (
                sign == "["
                and (end := template.find("]", at)) > 0
                and set(template[at + 1 : end]) <= set(".,;:!?")
            ):
                out.append(chance.choice(template[at + 1 : end]))
                at = end + 1
            elif sign == "[" and (end := template.find("]", at)) > 0 and "-" in template[at + 1 : end]:
                out.append("".join(chance.choices(_ALPHABET, k=chance.randint(3, 9))))
                at = end + 1 + (template[end + 1 : end + 2] == "+")
            else:
                out.append(sign)
                at += 1
        return "".join(out)


def _choices(template: str, at: int) -> tuple[list[str], int]:
    """Return the choices of the parenthesis that opens at a place, and the place after it."""
    depth, start, found, place = 0, at + 1, [], at
    while place < len(template):
        sign = template[place]
        if sign == "\\":
            place += 2
            continue
        if sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                break
        elif sign == "|" and depth == 1:
            found.append(template[start:place])
            start = place + 1
        place += 1
    return [*found, template[start:place]], place + 1


def languages(path: Path, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Return ``(label, language, sentence)``, attacks and harmless ones in turn."""
    grammar = Grammar(path)
    chance = random.Random(seed)  # noqa: S311
    by_sign: dict[str, list[tuple[str, str]]] = {"+": [], "-": []}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            language, sign, template = line.split(" ", 2)
            by_sign[sign].append((language, template))
    for number in range(count):
        sign = "+-"[number % 2]
        language, template = chance.choice(by_sign[sign])
        yield int(sign == "+"), language, grammar.expand(template, chance)
