"""Untrusted text as data in a place with a grammar: one function a sink, named for the sink.

Pick by where the text goes, not by where it came from. Each function returns text that the sink reads as data and
as nothing else; none of them makes a sink safe that was built by joining commands with text elsewhere. All take any
``str``: lone surrogates become U+FFFD; NUL does too or goes, where the sink cannot hold it.
"""

from __future__ import annotations

import html as _stdlib_html
import json
import re
import shlex
from typing import Any
from urllib.parse import quote

from aisecure.sanitize._names import content_disposition, file_name, header
from aisecure.sanitize._queries import ldap_dn, ldap_filter, sql_identifier, xpath
from aisecure.sanitize.surrogates import checked as _text

__all__ = [
    "attribute", "content_disposition", "css", "csv", "file_name", "header", "html", "js", "json_script", "ldap_dn",
    "ldap_filter", "log", "markdown", "shell", "sql_identifier", "sql_like", "terminal", "url", "xpath",
]  # fmt: skip

_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Za-z]")

# Code points that move the cursor, change the direction of the line or end it, in terminals and log viewers:
# C0, DEL, C1, line and paragraph separator, the controls of the bidirectional algorithm that embed or override.
_CONTROLS = "\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_TERMINAL = re.compile(f"[{_CONTROLS}]")
_LOG = re.compile(f"[\\t\\n\\\\{_CONTROLS}]")
_LOG_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}

# What Excel, LibreOffice and Google Sheets take for the start of a formula, also in full width, and what they skip
# before looking: white space, byte order mark, quotes.
_FORMULA = re.compile("[\\s\ufeff\u200b\0\"']*[=+@|%\\-\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]+)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,3})?%?\Z", re.ASCII)


def html(text: str) -> str:
    """Return the text for the content of an HTML element, or for a quoted attribute that is no address or script.

    Works character by character, so pieces of a stream may be encoded one by one.

    >>> html('<b>"5" & 6</b>')
    '&lt;b&gt;&quot;5&quot; &amp; 6&lt;/b&gt;'
    """
    return _stdlib_html.escape(_text(text)).replace("\0", "\ufffd")


def attribute(text: str) -> str:
    """Return the text for the value of an HTML attribute, even one that someone forgot to quote.

    Not for ``href``, ``src`` and other addresses (check the scheme first, then use this), nor for ``style`` and
    event handlers (use `css` or `js` first, then this).

    >>> attribute('x onclick=alert(1)')
    'x&#x20;onclick&#x3d;alert&#x28;1&#x29;'
    """
    return _NOT_ALPHANUMERIC.sub(_numeric_reference, _text(text))


def _numeric_reference(match: re.Match[str]) -> str:
    point = ord(match[0])
    # Browsers end an unquoted value at ASCII blanks alone; other parsers of HTML end it at any.
    if point > 0xFF and not match[0].isspace():
        return match[0]
    # A reference to NUL or to a C1 control means something else in HTML (windows-1252), or nothing.
    return "\ufffd" if point == 0 or 0x7F <= point <= 0x9F else f"&#x{point:x};"


def url(text: str) -> str:
    """Return the text as one component of a URL: a query value, or one segment of a path (RFC 3986 section 2.1).

    Everything but unreserved characters is percent-encoded as UTF-8. A segment of ``.`` or ``..`` keeps its
    meaning: refuse those before. A whole address is not a component: check its scheme instead.

    >>> url("a b&c=/d?")
    'a%20b%26c%3D%2Fd%3F'
    """
    return quote(_text(text), safe="")


def js(text: str) -> str:
    r"""Return the text for the inside of a quoted JavaScript string, in a script element or an event handler.

    The quotes around it are yours. Line ends, ``</script>``, template placeholders and quotes are all escaped.

    >>> js("'</script>")
    '\\x27\\x3c\\x2fscript\\x3e'
    """
    return _NOT_ALPHANUMERIC.sub(_js_escape, _text(text))


def _js_escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point <= 0xFF:
        return f"\\x{point:02x}"
    if point <= 0xFFFF:
        return f"\\u{point:04x}"
    point -= 0x10000
    return f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}"


def json_script(value: Any) -> str:
    r"""Return the value as JSON for the inside of a ``<script>`` element, of any type: a script, or ``application/json``.

    Nothing in it can end the element or begin a comment, and scripts of any age read it as the value it is.

    Args:
        value: What JSON can hold.

    Raises:
        TypeError: It holds something else, or a key that is no text.
        ValueError: It holds NaN, an infinity or a cycle, or is nested too deeply.

    >>> print(json_script({"name": "</script>"}))
    {"name": "\u003c/script\u003e"}
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    return _IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


# JSON has these inside strings alone. Beyond ASCII all is escaped already, line separators included.
_IN_SCRIPT = re.compile("[<>&]")


def css(text: str) -> str:
    r"""Return the text for the inside of a quoted CSS string or an identifier (CSS Syntax 3, section 4.3.7).

    Not for ``url(...)``, and not for a property's name: a value of the wrong property can do harm unescaped.

    >>> css('red;"')
    'red\\3b \\22 '
    """
    return _NOT_ALPHANUMERIC.sub(_css_escape, _text(text))


def _css_escape(match: re.Match[str]) -> str:
    # The space ends the escape and is swallowed with it, whatever follows. CSS cannot hold NUL.
    return f"\\{ord(match[0]) or 0xFFFD:x} "


def csv(text: str) -> str:
    """Return the text as a cell that no spreadsheet takes for a formula (CWE-1236).

    A cell that looks like one gets an apostrophe in front; plain numbers such as ``-5`` stay numbers. Write the
    cell with ``csv.writer(..., quoting=csv.QUOTE_ALL)``: quoting is the writer's work, and only quoted cells keep
    their borders when a program guesses another delimiter.

    >>> csv("=1+1"), csv("-1.25"), csv("a=b")
    ("'=1+1", '-1.25', 'a=b')
    """
    text = _text(text).replace("\0", "")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.match(text) else text


def shell(text: str) -> str:
    """Return the text as one word of a POSIX shell command line.

    Better: pass a list to `subprocess.run` and need no shell. A word that begins with ``-`` is still an option to
    the program: put ``--`` before it.

    Raises:
        ValueError: The text holds NUL, which no argument can.

    >>> shell("a b; rm -rf ~")
    "'a b; rm -rf ~'"
    """
    text = _text(text)
    if "\0" in text:
        raise ValueError("a shell argument cannot hold NUL")
    return shlex.quote(text)


def sql_like(text: str, *, escape: str = "\\") -> str:
    r"""Return the text as a literal inside a LIKE pattern; bind the pattern as a parameter, never join it in.

    Args:
        text: What to look for.
        escape: The character of the query's ``ESCAPE`` clause.

    >>> sql_like("100%_a")
    '100\\%\\_a'
    """
    if len(escape) != 1 or escape in "%_":
        raise ValueError("escape is one character, neither % nor _")
    text = _text(text).replace(escape, escape * 2)
    return text.replace("%", f"{escape}%").replace("_", f"{escape}_")


def markdown(text: str) -> str:
    r"""Return the text as words of Markdown: in a paragraph, a heading, a cell of a table, the text of a link.

    Everything but letters, digits and single spaces becomes a numeric reference, which every renderer shows as the
    character and none takes for syntax. Not for code, where references are shown as they are, and not for addresses.

    >>> print(markdown("![x](y)"))
    &#33;&#91;x&#93;&#40;y&#41;
    """
    return _NOT_WORDS.sub(_decimal_reference, _text(text))


# A space at either end or beside another could mean indentation, or a line break.
_NOT_WORDS = re.compile(r"(?! (?<=\S.)(?=\S))(?:[\0-/:-@\[-`{-\x9f]|\s)")


def _decimal_reference(match: re.Match[str]) -> str:
    point = ord(match[0])
    return "\ufffd" if point == 0 or 0x7F <= point <= 0x9F else f"&#{point};"


def terminal(text: str) -> str:
    r"""Return the text for a terminal: controls, escape sequences and direction changes lose their first character.

    Tab and newline stay; a carriage return goes, since it would let the text overwrite its own line (CWE-150). What
    follows the escape character stays visible. Works character by character, so a stream may be encoded in pieces.

    >>> terminal("\x1b[31mred\x1b[0m")
    '[31mred[0m'
    """
    return _TERMINAL.sub("", _text(text))


def log(text: str) -> str:
    r"""Return the text as part of one line of a log: line ends and controls become visible escapes (CWE-117).

    Backslashes are doubled, so that nobody can fake an escape.

    >>> print(log("ok\r\nadmin logged in"))
    ok\r\nadmin logged in
    """
    return _LOG.sub(_log_escape, _text(text))


def _log_escape(match: re.Match[str]) -> str:
    found = match[0]
    return _LOG_SHORT.get(found) or (f"\\x{ord(found):02x}" if ord(found) <= 0xFF else f"\\u{ord(found):04x}")
