"""Sanitising HTML, beside a reused nh3 cleaner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks._harness import Goal, Table, compare

HOSTILE = """<h2>Refunds</h2><p>Write to <a href="https://shop.example/help" title="help">the help desk</a>,
<strong>within 14 days</strong>. <script>steal(document.cookie)</script><img src=x onerror=alert(1)></p>
<ul><li>name</li><li>order <code>#4711</code></li></ul><a href="javascript:alert(1)">here</a>
"""


ORDINARY = """<h2>Refunds</h2>
<p>Write to the help desk <strong>within 14 days</strong>, and send the parcel back unopened.</p>
<ul><li>name</li><li>order <code>#4711</code></li><li>the reason, in a sentence</li></ul>
<p>The money is with you a week after the parcel is with us; ask us when it is not.</p>
"""


def run() -> bool:
    from aisecure.sanitize import CHAT, HtmlSanitizer

    good = True
    texts = {
        "0.4 KB of ordinary HTML": ORDINARY,
        "40 KB of ordinary HTML": ORDINARY * 100,
        "0.4 KB of hostile HTML": HOSTILE,
        "40 KB of hostile HTML": HOSTILE * 100,
    }
    for label, text in texts.items():
        ours = HtmlSanitizer(CHAT)
        # The engine inside, with the same policy: what a caller would write who wants nh3 and nothing else.
        cleaner = ours._once
        table = Table(f"Sanitise {label}")
        table.add("nh3.Cleaner, reused (the limit)", partial(cleaner, text))
        table.peer("nh3.clean", partial(_nh3, text))
        table.peer("bleach Cleaner, reused", partial(_bleach, text))
        table.add("aisecure sanitize_html", partial(ours.clean, text), Goal(1.05))
        good &= compare(table)
    return good


def _nh3(text: str) -> Callable[[], object]:
    import nh3

    return partial(nh3.clean, text)


def _bleach(text: str) -> Callable[[], object]:
    from bleach.sanitizer import Cleaner

    return partial(Cleaner().clean, text)
