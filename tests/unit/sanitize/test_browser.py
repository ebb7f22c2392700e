"""Sanitised output in a real Chromium: nothing may run, nothing may be fetched."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.unit.sanitize.renderers import renderers

from aisecure.sanitize import HtmlPolicy, encode, escape_tags, sanitize_html, sanitize_markdown

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


def dump(page: Path, *, resolver: str = "MAP * ~NOTFOUND") -> str:
    """Return the document that Chromium holds after it loaded a page and ran what there was to run."""
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
        "--disable-background-networking", "--no-first-run", f"--user-data-dir={page.parent / 'profile'}",
        f"--host-resolver-rules={resolver}", "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
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


def test_queries_and_scripts_are_read_back_by_the_browser(tmp_path: Path) -> None:
    texts = [
        "plain",
        "'",
        '"',
        "a'b\"c'",
        "'] | //*[@secret='",
        "concat(",
        "\u00e9\U0001f600",
        "</script><!--<script>",
    ]
    values = [*texts, {"a'</script>": [1, None, True, "\u2028<!--"]}, ["]]>", "<script>"]]
    body = "".join(f'<p class=x title="{encode.attribute(text)}"></p>' for text in texts) + "".join(
        f'<script type="application/json" class=j>{encode.json_script(value)}</script>' for value in values
    )
    queries = json.dumps([f"count(//p[@title={encode.xpath(text)}])" for text in texts]).replace(
        "<", "\\u003c"
    )
    script = f"""
      const all = name => [...document.querySelectorAll(name)];
      result.textContent = encodeURIComponent(JSON.stringify({{
        xpath: {queries}.map(q => document.evaluate(q, document, null, XPathResult.NUMBER_TYPE).numberValue),
        json: all('.j').map(e => JSON.parse(e.textContent)),
        inline: [{",".join(map(encode.json_script, values))}],
      }}));"""
    document = show(tmp_path, body, script)
    found = re.search(r'<pre id="result">(.*?)</pre>', document, re.DOTALL)
    assert found is not None
    seen = json.loads(unquote(found[1]))
    assert seen["xpath"] == [1] * len(texts)
    assert seen["json"] == seen["inline"] == values


class _Listener:
    """Counts who connects; the hosts of the pages are led here, and those that the browser calls for itself are not."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.rule = f"MAP *.test 127.0.0.1:{self.socket.getsockname()[1]}, MAP * ~NOTFOUND"
        self.connections = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                connection.close()

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[_Listener]:
    listening = _Listener()
    yield listening
    listening.close()


FETCHES = [
    "![a](http://evil.test/1)", "![a][r]\n\n[r]: http://evil.test/2", "<img src=http://evil.test/3>",
    "<div style='background:url(http://evil.test/4)'>x</div>", "<p>\n\n<video src=http://evil.test/5 autoplay>",
    "<link rel=stylesheet href=http://evil.test/6>", "<iframe src=http://evil.test/7></iframe>",
    "- a\n  ```\n![x](http://evil.test/8)\n  ```", "a `b\nc ` ![x](http://evil.test/9) `", "![a](//evil.test/10)",
    "<meta http-equiv=refresh content='0;url=http://evil.test/11'>", "<svg><image href=http://evil.test/12 /></svg>",
    "[![a](http://evil.test/13)](http://evil.test/)", "![a `b` c](http://evil.test/14 'title')", "<script src=http://evil.test/15></script>",
]  # fmt: skip


def test_rendered_markdown_fetches_nothing(tmp_path: Path, listener: _Listener) -> None:
    page = tmp_path / "page.html"
    head = "<!doctype html><meta charset=utf-8><base href='http://base.test/'><body>"
    texts = [*FETCHES, *(payload.replace("\n", " ") for payload in PAYLOADS)]
    for render in renderers().values():
        body = "\n".join(f"<section>{render(sanitize_markdown(text))}</section>" for text in texts)
        page.write_text(head + body, encoding="utf-8")
        document = dump(page, resolver=listener.rule)
        assert "RAN" not in re.findall("<title>(.*?)</title>", document)
        assert listener.connections == 0
    # And each of the renderers makes something of them that is fetched when nobody sanitises.
    for render in renderers().values():
        before = listener.connections
        page.write_text(head + render(FETCHES[0]), encoding="utf-8")
        dump(page, resolver=listener.rule)
        assert listener.connections > before
