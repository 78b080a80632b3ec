"""The official Python client."""

import asyncio

import openai
import pytest

CLIENT = "openai (Python)"


def test_what_the_user_sees(kit, world, check, ask):
    begun = len(world.upstream.calls)
    check(CLIENT, ask, observed(kit, world.url(ask), ask))
    if ask.leave:
        assert set(kit.gone(world, begun)) == {kit.State.CANCELLED}


def observed(kit, url, ask):
    if ask.api == "messages":
        return None
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
    if ask.again:
        output = client.responses.create(**asked).model_dump(exclude_none=True)["output"]
        turns = [{"role": "user", "content": words} for words in (ask.prompt, ask.again)]
        asked["input"] = [turns[0], *output, turns[1]]
    if ask.stream:
        *_, end = client.responses.create(**asked, stream=True)
        return kit.responded(end.response)
    return kit.responded(client.responses.create(**asked))


@pytest.mark.parametrize(
    ("prompt", "proxy", "tries", "waits"),
    [
        ("Fail with 429.", "refusal", 3, [7, 7]),
        ("What is this?", "no oracle", 3, [5, 5]),
        ("Hang.", "impatient", 3, None),
        ("Fail with 500.", "refusal", 1, []),
        ("Fail with 401.", "refusal", 1, []),
        ("Say something bad.", "error", 1, []),
    ],
)
def test_what_it_repeats_by_itself(kit, world, monkeypatch, prompt, proxy, tries, waits):
    slept, begun = [], len(world.upstream.calls)
    calculated = openai.OpenAI._calculate_retry_timeout

    def at_once(*args):
        slept.append(calculated(*args))
        return 0

    monkeypatch.setattr(openai.OpenAI, "_calculate_retry_timeout", at_once)
    messages = [{"role": "user", "content": prompt}]
    with (
        openai.OpenAI(base_url=world.urls[proxy], api_key="k") as client,
        pytest.raises(openai.APIStatusError),
    ):
        client.chat.completions.create(model=kit.MODEL, messages=messages)
    assert len(world.upstream.calls) - begun == tries
    assert waits is None or slept == waits


@pytest.mark.parametrize("proxy", ["refusal", "refusal held"])
@pytest.mark.parametrize(("picture", "calls"), [(False, 1), (True, 32)])
def test_a_user_who_stops_reading_a_stream(kit, world, proxy, picture, calls):
    ask = kit.Ask("leave", "Hang.", proxy, picture=picture)
    begun = len(world.upstream.calls)

    async def left():
        async with openai.AsyncOpenAI(base_url=world.url(ask), api_key="k") as client:
            reading = asyncio.create_task(_read(kit, client, ask))
            while len(world.upstream.calls) < begun + calls:  # noqa: ASYNC110 (calls have no event)
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait({reading})

    asyncio.run(asyncio.wait_for(left(), 60))
    assert kit.gone(world, begun) == [kit.State.CANCELLED] * calls


async def _read(kit, client, ask):
    messages = [{"role": "user", "content": kit.content(ask)}]
    create = client.chat.completions.create
    stream = await create(model=kit.MODEL, messages=messages, stream=True)
    return [chunk async for chunk in stream]
