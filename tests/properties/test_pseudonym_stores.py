"""Whatever is named, forgotten and erased, and in whatever order: every store gives the same numbers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from aisecure.adapters.sqlalchemy_vault import SqlPseudonyms
from aisecure.detect import ValueDigest
from aisecure.detect._vault_sqlite import SqlitePseudonyms
from aisecure.storage import Storage

DIGESTS = st.sampled_from([b"\0" * 32, b"a" * 32, b"b" * 32])
VALUES = st.builds(ValueDigest, DIGESTS, DIGESTS, st.sampled_from(["EMAIL", "X"]), DIGESTS)
SECONDS = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("number_of"), st.tuples(VALUES), SECONDS),
    st.tuples(
        st.just("keep"), st.tuples(VALUES, st.integers(1, 3), st.sampled_from(["one", "two"])), SECONDS
    ),
    st.tuples(st.sampled_from(["erase", "erase_tenant"]), st.tuples(DIGESTS), SECONDS),
    st.tuples(st.sampled_from(["purge"]), st.just(()), SECONDS),
    st.tuples(st.just("rows"), st.tuples(DIGESTS), SECONDS),
)


@settings(max_examples=50)
@given(steps=st.lists(STEPS, max_size=30), reserved=st.sets(st.integers(1, 3)))
def test_all_stores_agree_on_every_history(steps, reserved):
    storage = Storage(":memory:")
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    stores = [SqlitePseudonyms(storage), SqlPseudonyms(engine)]
    now = 0
    try:
        for name, arguments, seconds in steps:
            now += seconds
            options = {"now": now} if name in {"purge", "rows", "number_of"} else {}
            if name == "number_of":
                options |= {"expires": now + 5, "is_reserved": reserved.__contains__}
            one, other = (getattr(store, name)(*arguments, **options) for store in stores)
            assert (sorted(one), sorted(other)) == (sorted(other),) * 2 if name == "rows" else one == other
    finally:
        storage.close()
        engine.dispose()
