"""Rows that were stored before are read for ever: tests/vectors/encrypted_records_v1.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from aisecure.encryption import Encrypted, FieldCipher, FieldPaths, Keyring, Place, SealedModel
from aisecure.encryption.keyring import Key

DATA = json.loads((Path(__file__).parents[2] / "vectors" / "encrypted_records_v1.json").read_text())
KEY = Key(bytes.fromhex(DATA["key"]["id"]), bytes.fromhex(DATA["key"]["key_hex"]), 0)
CIPHER = FieldCipher(Keyring((KEY,), KEY.id))


def _model(annotation: Any) -> Any:
    return type(
        "Row", (BaseModel,), {"__annotations__": {"id": int, "kind": str, "value": annotation}, "kind": ""}
    )


def _sealed(**keywords: str) -> Any:
    space = {"__annotations__": {"id": int, "value": Encrypted[int]}, "__module__": __name__}
    return type(SealedModel)("Row", (SealedModel,), space, **keywords)


MODELS = {
    "Encrypted[str]": _model(Encrypted[str]),
    "Encrypted[int]": _model(Encrypted[int]),
    "Encrypted[list[str]]": _model(Encrypted[list[str]]),
    "Encrypted[str], Place('rows', 'v')": _model(Annotated[Encrypted[str], Place("rows", "v")]),
    "Encrypted[str], Place(record='id')": _model(Annotated[Encrypted[str], Place(record="id")]),
    "Encrypted[int], Place('rows', record=('kind', 'id'))": _model(
        Annotated[Encrypted[int], Place("rows", record=("kind", "id"))]
    ),
    "SealedModel": _sealed(),
    "SealedModel, place='rows', record='id'": _sealed(place="rows", record="id"),
}


@pytest.mark.parametrize("case", DATA["tests"], ids=lambda case: f"{case['id']} {case['form']}")
def test_a_stored_row_is_read(case: dict[str, Any]) -> None:
    if case["form"] == "paths":
        paths = FieldPaths([("value", "a.b", ...)])
        value = paths.decrypt(case["row"], CIPHER, context=("rows", case["row"]["id"]))["value"]
    else:
        model = MODELS[case["form"]]
        value = model.model_validate_json(
            json.dumps(case["row"]), context={"cipher": CIPHER}
        ).value.get_secret_value()
    assert value == case["value"]
    assert type(value) is type(case["value"])
