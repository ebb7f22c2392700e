"""The steps of the demo; each acts over real HTTP, shows what it saw, and says what it expects."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from aisecure.apps.demo.stage import Stage
from aisecure.audit import verify

__all__ = ["STEPS", "Evidence"]


@dataclass
class Evidence:
    """What a step saw, and whether it is what the step says.

    Attributes:
        shown: Pairs of label and text, for people.
        expected: Pairs of sentence and truth; the step holds only if all are true.
    """

    shown: list[tuple[str, str]] = field(default_factory=list)
    expected: list[tuple[str, bool]] = field(default_factory=list)

    def show(self, label: str, text: str) -> None:
        """Add something to look at."""
        self.shown.append((label, text))

    def expect(self, sentence: str, truth: bool) -> None:  # noqa: FBT001  (a sentence and its truth read as one)
        """Add something that has to be true."""
        self.expected.append((sentence, truth))

    @property
    def holds(self) -> bool:
        """Whether everything expected is true, and something was expected."""
        return bool(self.expected) and all(truth for _, truth in self.expected)


CARD, MAIL = "4111 1111 1111 1111", "ana@example.org"


def allowed_and_streamed(stage: Stage, evidence: Evidence) -> None:
    """Ana asks; the answer streams."""
    question = "How can I return a pair of shoes?"
    pieces = []
    headers = {"Authorization": f"Bearer {stage.keys['ana']}"}
    with stage.http.stream("POST", "/chat", json={"text": question}, headers=headers) as response:
        pieces = [piece for piece in response.iter_text() if piece]
    evidence.show("model received", stage.last_question())
    evidence.show("answer", f"{''.join(pieces)!r} in {len(pieces)} pieces")
    evidence.expect("status 200", response.status_code == 200)
    evidence.expect("the model received the question unchanged", stage.last_question() == question)
    evidence.expect("the answer came in several pieces", len(pieces) > 1)


def unknown_callers(stage: Stage, evidence: Evidence) -> None:
    """No key, and a wrong key: 401, and the model hears nothing."""
    before = len(stage.received)
    key = stage.keys["ana"]
    none = stage.post("/chat", None, text="hello")
    wrong = stage.post("/chat", key[:-1] + ("y" if key.endswith("x") else "x"), text="hello")
    for label, response in (("no key", none), ("wrong key", wrong)):
        evidence.show(label, f"{response.status_code} {response.json()['detail']}")
        evidence.expect(f"{label}: status 401", response.status_code == 401)
    evidence.expect("the model heard nothing", len(stage.received) == before)


def no_permission(stage: Stage, evidence: Evidence) -> None:
    """Gus has a key, but no role that may ask the model: 403."""
    before = len(stage.received)
    response = stage.post("/chat", "gus", text="hello")
    evidence.show("gus, role guest", f"{response.status_code} {response.json()['code']}")
    evidence.expect("status 403", response.status_code == 403)
    evidence.expect("the model heard nothing", len(stage.received) == before)


def limit_reached(stage: Stage, evidence: Evidence) -> None:
    """Cyd asks nine times in a minute; the ninth gets 429 and is told when to come back."""
    answers = [stage.post("/chat", "cyd", text="Hi", persona="quote") for _ in range(9)]
    last = answers[-1]
    evidence.show("calls 1 to 8", " ".join(str(answer.status_code) for answer in answers[:-1]))
    evidence.show("call 9", f"{last.status_code}, Retry-After: {last.headers.get('retry-after')} s")
    evidence.expect("eight calls pass", all(answer.status_code == 200 for answer in answers[:-1]))
    evidence.expect("the ninth is refused with 429", last.status_code == 429)
    evidence.expect("Retry-After is within the minute", 1 <= int(last.headers.get("retry-after", 0)) <= 60)


def personal_data(stage: Stage, evidence: Evidence) -> None:
    """A card number and an address: the model sees placeholders, Ana reads her own address in the answer."""
    question = f"My card {CARD} was charged twice, write to {MAIL}."
    response = stage.post("/chat", "ana", text=question, persona="contact")
    everything = str(stage.received[-1])
    evidence.show("ana sent", question)
    evidence.show("model received", stage.last_question())
    evidence.show("ana got", response.text)
    evidence.expect(
        "no card number reached the model", CARD not in everything and CARD.replace(" ", "") not in everything
    )
    evidence.expect("no address reached the model", MAIL not in everything)
    evidence.expect("her address is restored in the answer", MAIL in response.text)


def markup(stage: Stage, evidence: Evidence) -> None:
    """The model repeats script and an event handler; neither leaves the app."""
    question = "<b>Sale</b> <img src=x onerror=alert(1)> <script>alert(1)</script>"
    whole = stage.post("/html", "ana", text=question, persona="quote").json()["html"]
    streamed = stage.post("/chat", "ana", text=question, persona="quote").text
    evidence.show("model was given", stage.last_question())
    evidence.show("as HTML", whole)
    evidence.show("as a stream", streamed)
    evidence.expect("bold text stays bold", "<b>Sale</b>" in whole)
    evidence.expect("no script, no handler in the HTML", "<script" not in whole and "onerror" not in whole)
    evidence.expect("the stream has no tag at all", "<" not in streamed and "Sale" in streamed)


def unpinned_model(stage: Stage, evidence: Evidence) -> None:
    """A model that is not in models.lock is refused, whatever the role."""
    before = len(stage.received)
    response = stage.post("/chat", "lea", text="hello", model="newest-and-best")
    evidence.show("model:newest-and-best", f"{response.status_code} {response.json()['code']}")
    evidence.expect("status 403", response.status_code == 403)
    evidence.expect("the reason is the pin", response.json()["code"] == "model.not_pinned")
    evidence.expect("the model heard nothing", len(stage.received) == before)


def encrypted_note(stage: Stage, evidence: Evidence) -> None:
    """Ana writes a note; the database holds a token; Lea may read it, Ana may not."""
    text = "Prefers calls after six; allergic to latex."
    number = stage.post("/notes", "ana", text=text).json()["number"]
    database = stage.folder / "data" / "notes.db"
    connection = sqlite3.connect(database)
    (stored,) = connection.execute("SELECT body FROM notes WHERE id = ?", (number,)).fetchone()
    connection.close()
    lea, ana = stage.get(f"/notes/{number}", "lea"), stage.get(f"/notes/{number}", "ana")
    evidence.show("in SQLite", stored)
    evidence.show("lea reads", lea.json().get("text", ""))
    evidence.show("ana reads", f"{ana.status_code} {ana.json()['code']}")
    evidence.expect("the database file does not hold the text", text.encode() not in database.read_bytes())
    evidence.expect("lea reads what ana wrote", lea.status_code == 200 and lea.json()["text"] == text)
    evidence.expect("ana is refused", ana.status_code == 403)


def audit_log(stage: Stage, evidence: Evidence) -> None:
    """Every call left a line; the log verifies; one byte changed is found at its line."""
    folder = stage.folder / "data" / "audit"
    report = verify(folder)
    evidence.show("as written", f"{report.entries} entries, {report.verdict}")
    segment = next(iter(sorted(folder.glob("audit-*.jsonl"))))
    good = segment.read_bytes()
    line = 6
    position = good.index(b'"type"', sum(len(part) + 1 for part in good.split(b"\n")[: line - 1])) + 9
    segment.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
    damaged = verify(folder)
    segment.write_bytes(good)
    evidence.show("one bit changed in line 6", f"{damaged.verdict}, {damaged.file} line {damaged.line}")
    evidence.expect("the log verifies", report.ok)
    evidence.expect("the change is found", not damaged.ok)
    evidence.expect("at its line", damaged.line == line)
    evidence.expect("the log verifies again when the bit is put back", verify(folder).ok)
    logged = good.decode()
    secrets = (CARD, MAIL, *stage.keys.values())
    evidence.expect("no key, card or address is in the log", not any(secret in logged for secret in secrets))


#: In the order in which they are shown.
STEPS: tuple[Callable[[Stage, Evidence], None], ...] = (
    allowed_and_streamed,
    unknown_callers,
    no_permission,
    limit_reached,
    personal_data,
    markup,
    unpinned_model,
    encrypted_note,
    audit_log,
)
