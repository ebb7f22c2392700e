"""The contract round LangChain models and agents, and what only this adapter does."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from tests.adapters.contract import Contract, Outcome
from tests.adapters.world import ANA, World

from aisecure import Principal
from aisecure.adapters.langchain import guard_model
from aisecure.errors import AISecureError


class Echo(BaseChatModel):
    """A deterministic model: the world's answer to the last message."""

    world: Any

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(self.world.answer(messages[-1].content))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for piece in self.world.pieces(messages[-1].content):
            yield ChatGenerationChunk(message=AIMessageChunk(piece))


def acting(world: World, key: str | None):
    if key is None:
        return nullcontext()
    name, role = ("ana", "member") if key == ANA else ("gus", "guest")
    return world.shield.acting_as(Principal(name, roles=[role]))


class TestLangChain(Contract):
    @pytest.fixture(autouse=True)
    def model(self, world):
        self.world = world
        self.echo = Echo(world=world)

    def guarded(self, resource):
        return guard_model(self.echo, self.world.shield, resource)

    def ask(self, key, resource, text):
        with acting(self.world, key):
            try:
                return Outcome((self.guarded(resource).invoke(text).content,))
            except AISecureError as err:
                return Outcome((), err.code, err.status, err.retry_after)

    def stream(self, key, resource, text):
        pieces = []
        with acting(self.world, key):
            try:
                pieces.extend(chunk.content for chunk in self.guarded(resource).stream(text))
            except AISecureError as err:
                return Outcome(tuple(pieces), err.code, err.status, err.retry_after)
        return Outcome(tuple(piece for piece in pieces if piece))
