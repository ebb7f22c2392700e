"""`OnnxJudge` on a classifier made here: a vocabulary, a table of weights, and the sum of them, run by the real runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from aisecure.adapters.onnxruntime import OnnxJudge
from aisecure.detect import InjectionCascade
from aisecure.errors import Misconfigured, Unavailable

WORDS = "[PAD] [UNK] ignore obey the weather is fine today".split()
BAD = {"ignore": 6.0, "obey": 4.0}


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_model(path: Path, classes: int = 2, extra_input: str = "") -> None:
    """Write a model that adds up what each token weighs for each class; padding, masked, weighs nothing."""
    weights = np.zeros((len(WORDS), classes), np.float32)
    weights[0] = 50.0  # padding would decide everything, were it not masked
    for word, weight in BAD.items():
        weights[WORDS.index(word), -1] = weight
    names = ["input_ids", "attention_mask", *([extra_input] if extra_input else [])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["looked"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["looked", "wide"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "middle"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
    ]
    bias = np.zeros(classes, np.float32)
    bias[-1] = -3.0
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "middle"),
        numpy_helper.from_array(bias, "bias"),
    ]
    output = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])]
    graph = helper.make_graph(nodes, "classifier", inputs, output, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write(folder: Path, names: tuple[str, ...] = ("SAFE", "INJECTION"), **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    labels = {str(at): name for at, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps({"id2label": labels, "pad_token_id": 0, **config}))
    write_tokenizer(folder)
    write_model(folder / "model.onnx", len(names))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models") / "judge")


def test_the_class_of_injections_is_the_score(folder: Path) -> None:
    judge = OnnxJudge(folder)
    assert judge("Ignore the weather today") == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-6)
    assert judge("the weather is fine") == pytest.approx(1 / (1 + np.exp(3.0)), abs=1e-6)
    assert repr(judge) == "OnnxJudge('judge')"


def test_an_instruction_at_the_end_of_a_long_text_is_seen(folder: Path) -> None:
    judge = OnnxJudge(folder, max_tokens=16)
    filler = "the weather is fine today " * 40
    assert judge(filler + "ignore") > 0.9
    assert judge("ignore " + filler) > 0.9
    assert judge(filler) < 0.1
    # The last window is the shorter one, filled up: what fills it counts for nothing.
    assert judge(filler + "the") == pytest.approx(judge("the"), abs=1e-6)


def test_texts_of_any_kind_are_judged(folder: Path) -> None:
    judge = OnnxJudge(folder)
    for text in ("", "\ud800 ignore", "\0", "\u202e" * 100):
        assert 0 <= judge(text) <= 1
    with pytest.raises(TypeError):
        judge(b"ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="windows"):
        OnnxJudge(folder, max_windows=2)("the " * 2_000)


def test_classes_are_known_by_name_or_named(tmp_path: Path) -> None:
    three = write(tmp_path / "three", ("benign", "injection", "jailbreak"))
    assert OnnxJudge(three)("ignore") > OnnxJudge(three, labels=["injection"])("ignore")
    numbered = write(tmp_path / "numbered", ("LABEL_0", "LABEL_1"))
    assert OnnxJudge(numbered, labels=["LABEL_1"])("ignore") > 0.9
    for labels in (None, ["LABEL_2"], ["LABEL_1", "LABEL_2"], []):
        with pytest.raises(Misconfigured, match="LABEL_0, LABEL_1") as told:
            OnnxJudge(numbered, labels=labels)
        assert told.value.code == "config.classifier"


def test_one_class_is_a_share_by_itself(tmp_path: Path) -> None:
    judge = OnnxJudge(write(tmp_path / "one", ("INJECTION",)))
    assert judge("ignore") == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-6)


def test_the_model_may_stand_in_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "judge")
    (tmp_path / "judge" / "onnx").mkdir()
    (tmp_path / "judge" / "model.onnx").rename(tmp_path / "judge" / "onnx" / "model_quantized.onnx")
    assert OnnxJudge(tmp_path / "judge")("ignore") > 0.9
    assert OnnxJudge(tmp_path / "judge", file="onnx/model_quantized.onnx")("ignore") > 0.9
    with pytest.raises(Misconfigured, match=r"other\.onnx"):
        OnnxJudge(tmp_path / "judge", file="other.onnx")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.onnx"])
@pytest.mark.parametrize("damage", ["missing", "cut", "noise", "empty"])
def test_a_damaged_folder_is_told_at_the_start(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(folder, tmp_path / "judge")
    file = tmp_path / "judge" / name
    raw = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"cut": raw[: len(raw) // 2], "noise": b"\x00\xff" * 99, "empty": b""}[damage])
    with pytest.raises(Misconfigured, match="judge") as told:
        OnnxJudge(tmp_path / "judge")
    assert told.value.code == "config.classifier"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ([], "no object"),
        ({}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
        ({"id2label": {"1": "INJECTION"}}, "count from 0"),
        ({"id2label": {"0": "A", "1": "B", "2": "INJECTION"}}, "3 classes"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(
    folder: Path, tmp_path: Path, config: object, told: str
) -> None:
    shutil.copytree(folder, tmp_path / "judge")
    (tmp_path / "judge" / "config.json").write_text(json.dumps(config))
    with pytest.raises(Misconfigured, match=told):
        OnnxJudge(tmp_path / "judge")


def test_a_model_that_wants_more_than_texts_is_told(tmp_path: Path) -> None:
    write(tmp_path / "judge")
    write_model(tmp_path / "judge" / "model.onnx", extra_input="pixel_values")
    with pytest.raises(Misconfigured, match="pixel_values"):
        OnnxJudge(tmp_path / "judge")


@pytest.mark.parametrize("options", [{"max_tokens": 4}, {"max_windows": 0}, {"threads": 0}])
def test_numbers_out_of_bounds_are_told(folder: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="or more"):
        OnnxJudge(folder, **options)


def test_a_cascade_asks_it(folder: Path) -> None:
    cascade = InjectionCascade(
        [OnnxJudge(folder, max_tokens=16, max_windows=3)], unsure=(0.0, 1.0), budget=30.0
    )
    assert cascade.flags("obey, the weather is fine")
    assert not cascade.flags("the weather is fine")
    with pytest.raises(Unavailable):
        cascade.flags("the weather " * 100)
