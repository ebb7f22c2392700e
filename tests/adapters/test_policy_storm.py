"""Several processes change one policy while others ask it: nothing is lost, and no answer is of two versions."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, text

from aisecure.access import Authorizer
from aisecure.adapters.sqlalchemy_policy import SqlPolicy

_SHARED = """
import json, sys
from sqlalchemy import create_engine
from aisecure.access import Authorizer
from aisecure.adapters.sqlalchemy_policy import SqlPolicy
from aisecure.errors import Unavailable
from aisecure.principal import Principal

kind, place, name, steps = sys.argv[1:]
READ, WRITE = (("p", "editor", "*", "document:*", action, "allow") for action in ("read", "write"))
if kind == "file":
    authorizer = Authorizer.from_files(None, place, reload_seconds=0)
else:
    authorizer = Authorizer(SqlPolicy(create_engine(place)), reload_seconds=0)
"""

#: Each change puts both rules there, or takes both away, and adds one link that stays.
_WRITER = (
    _SHARED
    + """
for step in range(int(steps)):
    pair = {"add" if step % 2 else "remove": [READ, WRITE]}
    link = ("g", f"{name}-{step}", "editor", "acme")
    while True:
        try:
            authorizer.change(add=[link, *pair.get("add", ())], remove=pair.get("remove", ()))
            break
        except Unavailable:
            continue
"""
)

_READER = (
    _SHARED
    + """
ann, seen, versions = Principal("ann", tenant="acme"), set(), set()
print("ready", flush=True)
while True:
    now = authorizer.snapshot
    seen.add((now.decide(ann, "read", "document:1").allowed, now.decide(ann, "write", "document:1").allowed))
    versions.add(now.version)
    if now.decide(Principal("end", tenant="acme"), "stop", "document:1").allowed:
        break
print(json.dumps([sorted(seen), len(versions)]), flush=True)
"""
)


LINES = [
    ("p", "editor", "*", "document:*", "read", "allow"),
    ("p", "editor", "*", "document:*", "write", "allow"),
    ("g", "ann", "editor", "acme"),
]
STOP = [("p", "stopper", "*", "document:*", "stop", "allow"), ("g", "end", "stopper", "acme")]


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def place(request, tmp_path):
    """Kind and place of an empty policy."""
    if request.param == "file":
        path = tmp_path / "policy.csv"
        path.touch()
        yield "file", str(path)
    elif request.param == "sqlite":
        yield "sqlite", f"sqlite:///{tmp_path / 'app.db'}"
    else:
        url = request.getfixturevalue("postgres")
        yield "postgresql", url
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()


@pytest.fixture
def authorizer(place):
    kind, where = place
    if kind == "file":
        yield Authorizer.from_files(None, where)
    else:
        engine = create_engine(where)
        yield Authorizer(SqlPolicy(engine))
        engine.dispose()


def run(script: str, place: tuple[str, str], name: str, steps: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *place, name, str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.proof
def test_processes_that_change_and_ask_at_once(place, authorizer):
    authorizer.change(add=LINES)
    readers = [run(_READER, place, "reader") for _ in range(2)]
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    writers = [run(_WRITER, place, f"writer-{number}", 50) for number in range(3)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    authorizer.change(add=STOP)
    for reader in readers:
        seen, versions = json.loads(reader.communicate(timeout=60)[0])
        assert {tuple(pair) for pair in seen} <= {(False, False), (True, True)}
        assert versions > 2
        assert reader.returncode == 0
    links = {line[1] for line in authorizer.lines() if line[0] == "g"}
    assert links == {"ann", "end", *(f"writer-{number}-{step}" for number in range(3) for step in range(50))}
