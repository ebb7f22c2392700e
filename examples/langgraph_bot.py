"""The demo's support bot as a LangGraph graph that remembers, in checkpoints that nobody else can read.

    python examples/langgraph_bot.py [FOLDER]

starts a real local model, talks with it twice in one thread as Ana, and prints what the checkpointer has stored.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from aisecure import Principal, Shield
from aisecure.adapters.langchain import guard_model
from aisecure.adapters.langgraph import EncryptedSaver
from aisecure.apps.demo.model import serve
from aisecure.apps.demo.stage import write_settings
from aisecure.encryption import FieldCipher
from aisecure.models import ModelPins


def create_graph(shield: Shield, base_url: str, saver: BaseCheckpointSaver[Any], tenant: str) -> Any:
    """Return a graph of one node, whose state is sealed with the keys of the shield before it is stored."""
    model = ChatOpenAI(
        model=shield.part(ModelPins)["support-bot"].id,
        base_url=base_url,
        api_key="local",
        temperature=0,
        seed=1,
        max_tokens=24,
    )
    guarded = guard_model(model, shield, "model:support-bot")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [guarded.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=EncryptedSaver(saver, shield.part(FieldCipher), tenant=tenant))


def main(folder: Path) -> None:
    """Ask twice in one thread, and show what is kept."""
    with serve() as model:
        write_settings(folder, model.weights)
        with Shield.from_config(folder / "aisecure.toml") as shield:
            saver = InMemorySaver()  # in production: PostgresSaver
            graph = create_graph(shield, model.base_url, saver, "shop")
            config = {"configurable": {"thread_id": "t-1"}}
            with shield.acting_as(Principal("ana", tenant="shop", roles=["member"])):
                for text in ("Hello, my order is late.", "What did I ask about?"):
                    said = graph.invoke({"messages": [("user", text)]}, config)
                    print(f"> {text}\n{said['messages'][-1].text}")
            kind, stored = next(iter(saver.blobs.values()))
            print(f"\nThe checkpointer holds {len(saver.blobs)} values such as {kind} {stored[:24].hex()}...")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".demo"))
