"""Eighty thousand texts put together from the pieces of Markdown: no renderer may make anything harmful of what is left."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.sanitize.renderers import ALLOWED, PIECES, harm, renderers

from aisecure.sanitize import CHAT, MarkdownFilter, sanitize_markdown

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

STRICT = replace(CHAT, link_hosts=frozenset({ALLOWED}), image_hosts=frozenset({ALLOWED}))
# Most lines of a text begin or end a block when these are drawn more often.
BLOCKS = [piece for piece in PIECES if "\n" in piece or "`" in piece]


@pytest.mark.parametrize(("seed", "longest"), [(seed, longest) for seed in range(4) for longest in (12, 40)])
def test_texts_of_every_kind(seed: int, longest: int) -> None:
    choose = random.Random(f"{seed} {longest}")
    judges = renderers()
    for _ in range(1_500_000 // (longest * 8)):
        pieces = choose.choices(PIECES + BLOCKS * (longest // 12), k=choose.randint(2, longest))
        text = "".join(pieces)
        cleaned = sanitize_markdown(text, policy=STRICT)
        stream = MarkdownFilter(policy=STRICT)
        assert "".join(map(stream.feed, pieces)) + stream.finish() == cleaned, text
        for name, render in judges.items():
            assert harm(render(cleaned)) == [], (name, text, cleaned)
