"""litellm's SDK, as an OpenAI-compatible provider and as Anthropic."""

import litellm
import openai
import pytest

CLIENT = "litellm"

# litellm and the libraries it loads warn of their own affairs, leave cached connections to the
# end of the process, and start a logging worker for each event loop.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_loop")]


def test_what_the_user_sees(kit, world, check, ask):
    begun = len(world.upstream.calls)
    check(CLIENT, ask, observed(kit, world.url(ask), ask))
    if ask.leave:
        assert set(kit.gone(world, begun)) == {kit.State.CANCELLED}


def observed(kit, url, ask):
    asked = {
        "model": f"openai/{kit.MODEL}",
        "api_base": url,
        "api_key": "k",
        "max_retries": 0,
        "_skip_mcp_handler": True,  # else calls with tools need the extra `litellm[mcp]`
        "timeout": kit.LEAVE_S if ask.leave else 30,
    }
    if ask.api == "responses":
        return None  # cannot be imported without the extra `litellm[mcp]`
    if ask.api == "messages":
        asked |= {"model": f"anthropic/{kit.MODEL}", "api_base": url.removesuffix("/v1")}
    try:
        return _chat(kit, asked, ask)
    except openai.OpenAIError as error:  # litellm's errors are of the official client's classes
        return kit.raised_by_openai(error)


def _chat(kit, asked, ask):
    asked["messages"] = [{"role": "user", "content": kit.content(ask)}]
    if ask.again:
        first = litellm.completion(**asked).choices[0].message.model_dump()
        asked["messages"] += [first, {"role": "user", "content": ask.again}]
    if ask.tool:
        asked["tools"] = [kit.TOOL]
    if ask.schema:
        asked["response_format"] = kit.Animal
    if ask.stream:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return kit.added_up(list(litellm.completion(**asked, **options)))
    return kit.completed(litellm.completion(**asked))
