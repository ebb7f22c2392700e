"""The demo's support bot as a LangChain chain.

    python examples/langchain_bot.py [FOLDER]

starts a real local model, asks it one question as Ana through a protected chain, and prints the answer as it streams.
"""

from __future__ import annotations

import sys
from pathlib import Path

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI

from aisecure import Principal, Shield
from aisecure.adapters.langchain import guard_model
from aisecure.apps.demo.bot import PERSONAS
from aisecure.apps.demo.model import MODEL_ID, serve
from aisecure.apps.demo.stage import write_settings
from aisecure.models import ModelPins


def create_chain(shield: Shield, base_url: str, persona: str = "contact") -> Runnable[dict[str, str], str]:
    """Return prompt | protected model | text."""
    model = ChatOpenAI(
        model=shield.part(ModelPins)["support-bot"].id,
        base_url=base_url,
        api_key="local",
        temperature=0,
        seed=1,
        max_tokens=48,
    )
    prompt = ChatPromptTemplate.from_messages([*PERSONAS[persona], ("user", "{text}")])
    return prompt | guard_model(model, shield, "model:support-bot") | StrOutputParser()


def main(folder: Path) -> None:
    """Ask one question and print the answer piece by piece."""
    with serve() as model:
        write_settings(folder, model.weights)
        with Shield.from_config(folder / "aisecure.toml") as shield:
            chain = create_chain(shield, model.base_url)
            question = {"text": "My card 4111 1111 1111 1111 was charged twice, write to ana@example.org."}
            with shield.acting_as(Principal("ana", tenant="shop", roles=["member"])):
                for piece in chain.stream(question):
                    print(piece, end="", flush=True)
            print(f"\n(answered by {MODEL_ID}; the log is in {folder}/data/audit)")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".demo"))
