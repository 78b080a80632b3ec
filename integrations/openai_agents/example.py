"""An agent on a guarded model; `python example.py` runs it once, without a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from guardrail_openai_agents import GuardedModel
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from guardrail import Guard
from guardrail.testing.scenarios import picture_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Mine(Model):
    """Stands for your own model, such as `OpenAIChatCompletionsModel("gpt-4o", client)`."""

    async def get_response(self, *_args: Any, **_given: Any) -> ModelResponse:
        words = "A picture of two people in a park."
        text = ResponseOutputText(annotations=[], text=words, type="output_text", logprobs=[])
        message = ResponseOutputMessage(
            id="1", content=[text], role="assistant", status="completed", type="message"
        )
        return ModelResponse([message], Usage(), None)

    def stream_response(self, *_args: Any, **_given: Any) -> AsyncIterator[Any]:
        raise NotImplementedError  # never asked for: streams are made of decided answers


async def main() -> None:
    """Asks about a picture and prints the answer with what it proves."""
    set_tracing_disabled(True)
    content = [
        {"type": "input_text", "text": "What is in the picture?"},
        {"type": "input_image", "image_url": picture_url(), "detail": "auto"},
    ]
    # The two lines:
    with Guard("default") as guard:
        agent = Agent(name="sees", model=GuardedModel(Mine(), guard))
        result = await Runner.run(agent, [{"role": "user", "content": content}])
    print(result.final_output)
    print(result.raw_responses[0].guardrail["certificate"]["statement"])


if __name__ == "__main__":
    asyncio.run(main())
