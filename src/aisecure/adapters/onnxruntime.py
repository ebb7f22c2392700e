"""A text classifier in ONNX form as a judge of injected instructions, on the machine itself.

::

    judge = OnnxJudge("models/prompt-guard-2")              # a folder as transformers saves it, with model.onnx
    guard = InjectionGuard(InjectionCascade([judge]))
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from aisecure.errors import Misconfigured

try:
    import numpy as np
    import onnxruntime
    from tokenizers import Encoding, Tokenizer
except ImportError as err:
    raise Misconfigured(
        "OnnxJudge needs onnxruntime and tokenizers; run: pip install 'aisecure[onnx]'", code="config.extra"
    ) from err

__all__ = ["OnnxJudge"]

#: What classifiers for this call the class that is looked for.
_NAMES: Final = frozenset({"INJECTION", "JAILBREAK", "MALICIOUS", "UNSAFE", "PROMPT_INJECTION", "ATTACK"})
_FILES: Final = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
#: What a tokenizer makes, by the names under which models take it.
_COLUMNS: Final = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
#: Windows that are judged in one run.
_BATCH: Final = 8
_ERRORS_ONLY: Final = 3
#: Tokens of a window: the fewest that hold a thought, and what most classifiers were trained with.
_SHORTEST: Final = 16
_USUAL: Final = 512


class OnnxJudge:
    """A judge for an `aisecure.detect.InjectionCascade`: any sequence classifier of transformers, exported to ONNX.

    ``optimum-cli export onnx --model FOLDER OUT`` exports one. Reads ``config.json``, ``tokenizer.json`` and the model of
    a folder; nothing is downloaded, and no code of the folder runs. Pin the folder's files as you pin other models. Threads may share
    a judge.

    A text longer than the model's window is judged window by window, each overlapping the next by a quarter, and the highest
    score counts: an instruction at the end of a text is seen as well as one at its beginning.

    Args:
        folder: Where the classifier is.
        labels: Names of its classes that mean an injection, as in ``id2label``; when None those that are called so
            (``INJECTION``, ``JAILBREAK``, ``MALICIOUS`` ...). Classes that are called ``LABEL_1`` have to be named.
        file: The model's file within the folder; when None the first of ``model.onnx`` and ``onnx/model.onnx``, and their
            quantised forms.
        max_tokens: Tokens of a window; when None what ``config.json`` says, at most 512.
        max_windows: Texts with more windows are not judged.
        threads: Threads that one run may use.

    Raises:
        Misconfigured: Something is missing or damaged (``config.classifier``), or no class is known.
        ValueError: A number is out of its bounds.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        labels: Collection[str] | None = None,
        file: str | None = None,
        max_tokens: int | None = None,
        max_windows: int = 64,
        threads: int = 1,
    ) -> None:
        if (max_tokens is not None and max_tokens < _SHORTEST) or max_windows < 1 or threads < 1:
            raise ValueError("max_tokens is 16 or more; max_windows and threads are 1 or more")
        root = Path(folder)
        config = _config(root)
        names = _names(config, root)
        wanted = _NAMES if labels is None else frozenset(labels)
        found = [name for name in names if (name.upper() if labels is None else name) in wanted]
        if not found or (labels is not None and set(found) != wanted):
            raise _unusable(
                root, f"its classes are {', '.join(names)}; name those that mean an injection: labels=[...]"
            )
        self._columns = [names.index(name) for name in found]
        self._tokenizer = _tokenizer(root, _window(config, max_tokens))
        self._padding = config.get("pad_token_id") or 0
        self._session = _session(root, file, threads)
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._max_windows = max_windows
        self._folder = root
        self._try(len(names))

    def __repr__(self) -> str:
        return f"OnnxJudge({self._folder.name!r})"

    def __call__(self, text: str, context: str = "user") -> float:
        """Return how sure the classifier is that the text holds an injection, 0 to 1.

        Args:
            text: Any str.
            context: Not used: such classifiers know of none.

        Raises:
            TypeError: ``text`` is no str.
            ValueError: It has more windows than ``max_windows``; a cascade then calls the check unavailable.
        """
        if not isinstance(text, str):
            raise TypeError("a judge takes a str; decode bytes first")
        # Half of a surrogate pair is no text to the tokenizer.
        whole = self._tokenizer.encode(_SURROGATE.sub("\ufffd", text))
        windows = [whole, *whole.overflowing]
        if len(windows) > self._max_windows:
            raise ValueError(
                f"the text has {len(windows)} windows, more than max_windows={self._max_windows}"
            )
        return max(map(self._score, self._run(windows)))

    def _run(self, windows: list[Encoding]) -> Iterator[Any]:
        """Yield the logits of each window."""
        for start in range(0, len(windows), _BATCH):
            batch = windows[start : start + _BATCH]
            longest = max(len(window.ids) for window in batch)
            for window in batch:
                window.pad(longest, pad_id=self._padding)
            feed = {
                name: np.array([getattr(window, _COLUMNS[name]) for window in batch], np.int64)
                for name in self._inputs
            }
            yield from self._session.run(None, feed)[0]

    def _score(self, logits: Any) -> float:
        if len(logits) == 1:
            return float(1 / (1 + np.exp(-np.float64(logits[0]))))
        shares = np.exp(np.float64(logits) - np.max(logits))
        return float(shares[self._columns].sum() / shares.sum())

    def _try(self, classes: int) -> None:
        """Judge one word, so that a folder whose parts do not fit is told at start-up."""
        unknown = set(self._inputs) - set(_COLUMNS)
        if unknown:
            raise _unusable(
                self._folder, f"the model wants {', '.join(sorted(unknown))}, which a text has not"
            )
        try:
            (logits,) = self._run([self._tokenizer.encode("word")])
        except Exception as err:  # whatever the runtime raises of a model that does not fit
            raise _unusable(self._folder, "the model does not take what its tokenizer makes") from err
        if np.shape(logits) != (classes,):
            raise _unusable(self._folder, f"the model does not tell {classes} classes, as config.json says")


def _unusable(folder: Path, what: str) -> Misconfigured:
    return Misconfigured(f"{folder}: {what}", code="config.classifier")


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError) as err:
        raise _unusable(
            folder, "config.json is missing or damaged; export the classifier with its configuration"
        ) from err
    if not isinstance(config, dict):
        raise _unusable(folder, "config.json is no object")
    return config


def _names(config: dict[str, Any], folder: Path) -> list[str]:
    """Return the names of the classes, in their order."""
    names = config.get("id2label")
    try:
        ordered = sorted((int(number), str(name)) for number, name in names.items())  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError) as err:
        raise _unusable(folder, "config.json has no id2label: no classifier of texts") from err
    if not ordered or [number for number, _ in ordered] != list(range(len(ordered))):
        raise _unusable(folder, "id2label in config.json does not count from 0")
    return [name for _, name in ordered]


def _window(config: dict[str, Any], asked: int | None) -> int:
    longest = config.get("max_position_embeddings")
    # Models count positions from 1 or 2, some leave room for that and some do not.
    bound = longest - 2 if isinstance(longest, int) and longest > _SHORTEST else _USUAL
    return max(_SHORTEST, min(bound, asked or _USUAL))


def _tokenizer(folder: Path, window: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(window, stride=window // 4)
    except Exception as err:  # tokenizers raises bare Exception
        raise _unusable(
            folder, "tokenizer.json is missing or damaged; export the classifier with its tokenizer"
        ) from err
    return tokenizer


def _session(folder: Path, file: str | None, threads: int) -> Any:
    names = _FILES if file is None else (file,)
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise _unusable(folder, f"has no {' or '.join(names)}; export the classifier to ONNX")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as err:  # whatever the runtime raises of a damaged file
        raise _unusable(folder, f"{path.name} is damaged, or wants what this runtime has not") from err
