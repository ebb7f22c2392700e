"""The hashes of RFC 6962, against its known answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.audit.merkle import EMPTY_ROOT, CompactRange, leaf_hash, node_hash

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rfc6962_tree.json").read_text())


def plain_root(leaves):
    """Return the root by the recursive definition of RFC 6962 section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(plain_root(leaves[:half]), plain_root(leaves[half:]))


@pytest.mark.parametrize("case", VECTORS["leaf_hashes"], ids=lambda case: case["id"])
def test_leaf_hashes_are_those_of_the_vectors(case):
    assert leaf_hash(bytes.fromhex(case["data"])).hex() == case["hash"]


@pytest.mark.parametrize("case", VECTORS["node_hashes"], ids=lambda case: case["id"])
def test_node_hashes_are_those_of_the_vectors(case):
    assert node_hash(bytes.fromhex(case["left"]), bytes.fromhex(case["right"])).hex() == case["hash"]


def test_the_roots_of_the_growing_tree_are_those_of_the_vectors():
    tree = CompactRange()
    assert tree.root() == EMPTY_ROOT == bytes.fromhex(VECTORS["empty_root"])
    for leaf, root in zip(VECTORS["leaves"], VECTORS["roots"], strict=True):
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        assert tree.root().hex() == root


@given(st.integers(1, 300))
def test_the_compact_range_has_the_root_of_the_definition(size):
    tree, leaves = CompactRange(), [leaf_hash(b"%d" % number) for number in range(size)]
    for leaf in leaves:
        tree.append(leaf)
    assert tree.root() == plain_root(leaves)
    assert len(tree.hashes) == size.bit_count()


@pytest.mark.parametrize(("size", "hashes"), [(-1, []), (0, [bytes(32)]), (3, [bytes(32)]), (1, [b"short"])])
def test_hashes_that_do_not_fit_the_size_are_refused(size, hashes):
    with pytest.raises(ValueError, match="compact range"):
        CompactRange(size, hashes)
