"""Whatever happens to keys, and in whatever order: every store ends up with the same ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from aisecure.adapters.sqlalchemy_keys import SqlKeyStore
from aisecure.authn import MemoryKeyStore, SqliteKeyStore, StoredKey
from aisecure.storage import Storage

IDS = st.sampled_from(["A" * 12, "a" * 12, "B" * 12, "C" * 12])
NAMES = st.sampled_from(["ana", "Ana", "ünï", "%", "a_b", "'"])
TIMES = st.floats(0, 1e12, allow_nan=False)


@st.composite
def keys(draw, fresh):
    return StoredKey(
        draw(NAMES), fresh, draw(NAMES), draw(st.sampled_from(["[]", '["a"]'])), "[]", 1, draw(st.binary(min_size=4, max_size=4)),
        draw(st.binary(min_size=32, max_size=32)), draw(TIMES), draw(st.none() | TIMES), None, draw(NAMES),
    )  # fmt: skip


@st.composite
def histories(draw):
    steps = []
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["add", "replace", "revoke", "note_use", "erase"]))
        fresh = f"{number:012}"
        known = IDS if not steps else IDS | st.sampled_from([f"{other:012}" for other in range(number + 1)])
        if kind == "add":
            steps.append((kind, (draw(keys(fresh)),), {}))
        elif kind == "replace":
            steps.append((kind, (draw(known), draw(keys(fresh)), draw(TIMES)), {}))
        elif kind == "revoke":
            steps.append((kind, (draw(known), draw(TIMES)), {}))
        elif kind == "note_use":
            steps.append((kind, (draw(known), draw(TIMES)), {"unless_since": draw(TIMES)}))
        else:
            steps.append((kind, (draw(NAMES), draw(NAMES)), {}))
    return steps


@settings(max_examples=50)
@given(history=histories(), now=TIMES)
def test_all_stores_agree_on_every_history(history, now):
    storage = Storage(":memory:")
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    stores = [MemoryKeyStore(), SqliteKeyStore(storage), SqlKeyStore(engine)]
    try:
        for name, arguments, options in history:
            answers = [getattr(store, name)(*arguments, **options) for store in stores]
            assert answers[1:] == answers[:-1], name
        rows = [store.select(tenant=None, principal=None) for store in stores]
        assert rows[1:] == rows[:-1]
        assert all(row == stores[0].find(row.key_id) == stores[1].find(row.key_id) for row in rows[0])
        assert stores[0].peppers(now) == stores[1].peppers(now) == stores[2].peppers(now)
    finally:
        storage.close()
        engine.dispose()
