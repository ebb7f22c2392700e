"""Encrypted checkpoints in real databases, whose whole content is searched afterwards."""

from __future__ import annotations

import operator
import sqlite3
from contextlib import closing
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from aisecure.adapters.langgraph import EncryptedSaver
from aisecure.encryption import FieldCipher, Keyring
from aisecure.errors import DecryptionError

SECRET = "MARK-77c2"
#: Marks in every place of a state that savers treat in their own way: plain texts, lists, nested values.
INPUT = {"name": SECRET, "notes": [SECRET], "card": {"number": SECRET}}


class State(TypedDict):
    """Values of the kinds that the savers keep in different columns."""

    name: str
    notes: Annotated[list[str], operator.add]
    card: dict[str, Any]


class Sqlite:
    """A saver on a file, and all that lies in it."""

    def __init__(self, folder):
        self.path = folder / "checkpoints.db"
        self.connection = sqlite3.connect(self.path, check_same_thread=False)
        self.saver = SqliteSaver(self.connection)
        self.saver.setup()

    def stored(self):
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.path.read_bytes()

    def swap_threads(self):
        with closing(self.connection.cursor()) as cursor:
            for table in ("checkpoints", "writes"):
                cursor.execute(f"UPDATE {table} SET thread_id = 'other' WHERE thread_id = 'one'")
        self.connection.commit()

    def close(self):
        self.connection.close()


class Postgres:
    """A saver on a server, and all that its tables hold."""

    def __init__(self, url):
        self.context = PostgresSaver.from_conn_string(url.replace("+psycopg", ""))
        self.saver = self.context.__enter__()
        self.saver.setup()

    def stored(self):
        with self.saver.conn.cursor() as cursor:
            tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
            rows = [row for table in tables for row in cursor.execute(f"SELECT * FROM {table}").fetchall()]
        assert rows
        return repr(rows).encode()

    def swap_threads(self):
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            self.saver.conn.execute(f"UPDATE {table} SET thread_id = 'other' WHERE thread_id = 'one'")

    def close(self):
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations"):
            self.saver.conn.execute(f"DROP TABLE {table}")
        self.context.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    kind = Sqlite(tmp_path) if request.param == "sqlite" else Postgres(request.getfixturevalue("postgres"))
    yield kind
    kind.close()


def _graph(saver):
    def ask(state):
        return {"notes": [interrupt({"question": SECRET}) + SECRET]}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver)


def _config(thread="one"):
    return {"configurable": {"thread_id": thread}, "metadata": {"who": SECRET}}


class TestSavers:
    def test_a_graph_stops_and_goes_on_and_its_database_holds_no_word(self, database):
        graph = _graph(EncryptedSaver(database.saver, FieldCipher(Keyring.generate()), tenant="acme"))
        stopped = graph.invoke(INPUT, _config())
        assert stopped["__interrupt__"][0].value == {"question": SECRET}
        assert SECRET.encode() not in database.stored()
        done = graph.invoke(Command(resume="yes "), _config())
        assert done["notes"] == [SECRET, f"yes {SECRET}"]
        assert SECRET.encode() not in database.stored()
        assert graph.get_state(_config()).values["card"] == {"number": SECRET}
        assert len([*graph.get_state_history(_config())]) == 3

    def test_the_same_graph_without_it_lies_there_in_clear(self, database):
        _graph(database.saver).invoke(INPUT, _config())
        assert SECRET.encode() in database.stored()

    def test_checkpoints_that_were_moved_to_another_thread_do_not_open(self, database):
        graph = _graph(EncryptedSaver(database.saver, FieldCipher(Keyring.generate()), tenant="acme"))
        graph.invoke(INPUT, _config())
        database.swap_threads()
        with pytest.raises(DecryptionError):
            graph.get_state(_config("other"))
