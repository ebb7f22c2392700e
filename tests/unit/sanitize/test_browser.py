"""Sanitised output in a real Chromium: nothing may run, nothing may be fetched."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from aisecure.sanitize import HtmlPolicy, encode, escape_tags, sanitize_html

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "chromium"
)
pytestmark = pytest.mark.browser

# What a payload does when it runs: leaves a mark that the page dumps.
RUN = "document.title='RAN'"
EVENTS = ["onerror", "onload", "ontoggle", "onfocus", "onanimationstart", "onbegin"]
CARRIERS = [
    "<img src=x {event}={run}>",
    "<svg {event}={run}>",
    "<svg><animate attributeName=x dur=1s {event}={run}></svg>",
    "<details open {event}={run}>x</details>",
    "<input autofocus {event}={run}>",
    "<p tabindex=1 autofocus {event}={run}>x</p>",
    "<video><source {event}={run}></video>",
    "<body {event}={run}>",
    "<iframe {event}={run} srcdoc=x></iframe>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x {event}={run}&gt;'>",
    "<svg><style><img src=x {event}={run}></style></svg>",
    "<noscript><p title='</noscript><img src=x {event}={run}>'>",
    "<template><img src=x {event}={run}></template>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x {event}={run}>",
    "<!--><img src=x {event}={run}>-->",
    "<![CDATA[<img src=x {event}={run}>]]>",
    "<xmp><img src=x {event}={run}></xmp>",
    "<title></title><img src=x {event}={run}>",
    "<p title=`x`{event}={run}>x</p>",
    "<img/src='x'/{event}={run}>",
    "<img src=x\n{event}\n=\n'{run}'>",
    "<img src=x {event}\x0c={run}>",
]
SCRIPTS = [
    "<script>{run}</script>",
    "<scr<script>ipt>{run}</scr</script>ipt>",
    "<svg><script>{run}</script></svg>",
    "<math><script>{run}</script></math>",
    "<script src='data:text/javascript,{run}'></script>",
    "<iframe srcdoc='<script>parent.{run}</script>'></iframe>",
    "<object data='data:text/html,<script>parent.{run}</script>'></object>",
    "<meta http-equiv=refresh content='0;url=javascript:{run}'>",
    "<link rel=stylesheet href='data:text/css,*{{}}' onload={run}>",
    "<table background='javascript:{run}'>",
    "<base href='javascript:{run}//'>",
]
PAYLOADS = [c.format(event=e, run=RUN) for c, e in itertools.product(CARRIERS, EVENTS)] + [
    script.format(run=RUN) for script in SCRIPTS
]
SCHEMES = [
    "javascript:{run}", "JAVASCRIPT:{run}", "&#1;javascript:{run}", "java&#10;script:{run}", "java&Tab;script:{run}",
    "javascript&colon;{run}", " javascript:{run}", "data:text/html,<script>{run}</script>", "javascript://%0a{run}",
]  # fmt: skip


def dump(page: Path) -> str:
    """Return the document that Chromium holds after it loaded a page and ran what there was to run."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
        "--disable-background-networking", "--no-first-run", f"--user-data-dir={page.parent / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def show(folder: Path, body: str, script: str = "") -> str:
    page = folder / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><title>quiet</title><body>{body}"
        # Clicking every link is what an address has to survive.
        "<pre id=result></pre><script>for (const a of document.links) "
        "{ a.target = ''; if (!/^https?:|^mailto:|^file:/.test(a.protocol)) a.click() }"
        f"\n{script}</script></body>",
        encoding="utf-8",
    )
    return dump(page)


def test_the_payloads_do_run_when_nobody_sanitises_them(tmp_path: Path) -> None:
    assert "<title>RAN</title>" in show(tmp_path, f"<img src=x onerror={RUN}>")


def test_no_payload_runs_after_sanitising(tmp_path: Path) -> None:
    links = [f'<a href="{scheme.format(run=RUN)}">x</a>' for scheme in SCHEMES]
    body = "".join(f"<div>{sanitize_html(payload)}</div>\n" for payload in [*PAYLOADS, *links])
    assert "<title>quiet</title>" in show(tmp_path, body)


def test_no_payload_runs_after_escaping_its_tags(tmp_path: Path) -> None:
    body = "".join(f"<div>{escape_tags(payload)}</div>\n" for payload in PAYLOADS)
    assert "<title>quiet</title>" in show(tmp_path, body)


def test_chromium_parses_the_output_into_the_very_same_markup(tmp_path: Path) -> None:
    outputs = [sanitize_html(payload) for payload in PAYLOADS]
    script = (
        "result.textContent = JSON.stringify([...document.querySelectorAll('.out')].map(e => e.innerHTML))"
    )
    document = show(tmp_path, "".join(f'<div class="out">{output}</div>' for output in outputs), script)
    found = re.search(r'<pre id="result">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    assert [unescape(html) for html in json.loads(unescape(found[1]))] == [unescape(html) for html in outputs]


def test_only_images_of_listed_hosts_are_asked_for(tmp_path: Path) -> None:
    policy = HtmlPolicy(tags=frozenset({"img", "p"}), image_hosts=frozenset({"cdn.example"}))
    sources = [
        "https://cdn.example/a", "https://evil.example/b", "//evil.example/c", "https:\\\\evil.example/d", "/\\evil.example/e",
        "https://cdn.example@evil.example/f", "https://evil.example\\@cdn.example/g", "http:evil.example/h", "data:,x",
    ]  # fmt: skip
    body = sanitize_html("".join(f'<p><img src="{source}"></p>' for source in sources), policy=policy)
    script = "result.textContent = JSON.stringify([...document.images].map(i => i.currentSrc || i.src).filter(Boolean))"
    document = show(tmp_path, body, script)
    found = re.search(r'<pre id="result">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    assert json.loads(unescape(found[1])) == ["https://cdn.example/a"]


def test_encoders_are_read_back_by_the_browser(tmp_path: Path) -> None:
    texts = [
        "plain",
        "</script><img src=x onerror=" + RUN + ">",
        "'\"`${1}\\",
        "a\nb\u2028c",
        "\u00e9\U0001f600",
        "x{}:;/*",
        "]]>-->",
    ]
    body = "".join(
        f'<p class=t>{encode.html(text)}</p><p class=a title="{encode.attribute(text)}"></p>'
        f"<p class=c style=\"--x: '{encode.attribute(encode.css(text))}'\"></p>"
        f'<a class=u href="https://h.example/?q={encode.url(text)}"></a>'
        for text in texts
    )
    strings = ",".join(f"'{encode.js(text)}'" for text in texts)
    script = f"""
      const all = name => [...document.querySelectorAll(name)];
      result.textContent = encodeURIComponent(JSON.stringify({{
        html: all('.t').map(e => e.textContent), attribute: all('.a').map(e => e.title), js: [{strings}],
        url: all('.u').map(e => new URL(e.href).searchParams.get('q')),
        css: all('.c').map(e => {{
          const s = document.createElement('style');
          s.textContent = 'p::before {{ content: ' + e.style.getPropertyValue('--x') + ' }}';
          document.head.append(s);
          return s.sheet.cssRules.length;
        }}),
      }}));"""
    document = show(tmp_path, body, script)
    found = re.search(r'<pre id="result">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    seen = json.loads(unquote(found[1]))
    assert "<title>quiet</title>" in document
    for sink in ("html", "attribute", "js", "url"):
        assert seen[sink] == texts, sink
    assert seen["css"] == [1] * len(texts)
