"""A guarded LLM of LlamaIndex; `python example.py` asks it once, without a key."""

from __future__ import annotations

from typing import Any

from guardrail_llama_index import GuardedLLM
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockLLM

from guardrail import Guard
from guardrail.testing.scenarios import picture_url


class Mine(MockLLM):
    """Stands for your own LLM, such as `OpenAI(model="gpt-4o")`."""

    def chat(self, _messages: Any, **_kwargs: Any) -> ChatResponse:
        words = "A picture of two people in a park."
        return ChatResponse(message=ChatMessage(words, role="assistant"))


def main() -> None:
    """Asks about a picture and prints the answer with what it proves."""
    blocks = [TextBlock(text="What is in the picture?"), ImageBlock(url=picture_url())]
    # The two lines:
    with Guard("default") as guard:
        response = GuardedLLM(Mine(), guard).chat([ChatMessage(role="user", blocks=blocks)])
    print(response.message.content)
    print(response.additional_kwargs["guardrail"]["certificate"]["statement"])


if __name__ == "__main__":
    main()
