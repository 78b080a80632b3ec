"""The official Python client."""

import openai

CLIENT = "openai (Python)"


def test_what_the_user_sees(kit, world, check, ask):
    begun = len(world.upstream.calls)
    check(CLIENT, ask, observed(kit, world.url(ask), ask))
    if ask.leave:
        assert set(kit.gone(world, begun)) == {kit.State.CANCELLED}


def observed(kit, url, ask):
    timeout = kit.LEAVE_S if ask.leave else 30
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0, timeout=timeout) as client:
        try:
            return _chat(kit, client, ask) if ask.api == "chat" else _response(kit, client, ask)
        except openai.OpenAIError as error:
            return kit.raised_by_openai(error)


def _chat(kit, client, ask):
    asked = {"model": kit.MODEL, "messages": [{"role": "user", "content": kit.content(ask)}]}
    if ask.tool:
        asked["tools"] = [kit.TOOL]
    create = client.chat.completions
    if ask.schema:
        return kit.completed(create.parse(**asked, response_format=kit.Animal))
    if ask.stream:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return kit.added_up(list(create.create(**asked, **options)))
    return kit.completed(create.create(**asked))


def _response(kit, client, ask):
    asked = {"model": kit.MODEL, "input": kit.response_input(ask)}
    if ask.tool:
        asked["tools"] = [{"type": "function", **kit.TOOL["function"], "strict": False}]
    if ask.schema:
        return kit.responded(client.responses.parse(**asked, text_format=kit.Animal))
    if ask.stream:
        *_, end = client.responses.create(**asked, stream=True)
        return kit.responded(end.response)
    return kit.responded(client.responses.create(**asked))
