"""Models in this process: two architectures with random weights, through the real library."""

import asyncio
import json
import shutil
import threading

import numpy as np
import pytest

pytest.importorskip("transformers")

from guardrail.errors import ConfigError, UpstreamError
from guardrail.types import Chat, picture_chat
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.transformers_local import TransformersLocal

QUESTION = "what is this?"


@pytest.fixture(params=["tiny_llava", "tiny_idefics"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def edited(tiny_llava, tmp_path):
    """The tiny model with other generation settings of its own."""

    def edit(**fields):
        copy = shutil.copytree(tiny_llava, tmp_path / "model", dirs_exist_ok=True)
        file = copy / "generation_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
        return copy

    return edit


def run(folder, scenario, **options):
    """Runs `scenario(upstream)` and closes the upstream."""

    async def main():
        upstream = TransformersLocal(str(folder), device="cpu", **options)
        try:
            return await scenario(upstream)
        finally:
            await upstream.aclose()

    return asyncio.run(main())


def ask(upstream, picture, *, seed=0, prompt=QUESTION, **parameters):
    parameters = {"max_tokens": 6, "temperature": 1, **parameters}
    pictures = [] if picture is None else [picture]
    chat = picture_chat("any", prompt, parameters, pictures=len(pictures))
    return upstream.complete(chat, pictures, seed=seed)


def texts(answers):
    return [answer.text for answer in answers]


async def alone_and_together(upstream, calls):
    alone = [await ask(upstream, picture, **more) for picture, more in calls]
    together = await asyncio.gather(*(ask(upstream, picture, **more) for picture, more in calls))
    return alone, together


def test_it_is_an_upstream(tiny_llava):
    upstream = TransformersLocal(str(tiny_llava))
    assert isinstance(upstream, Upstream)
    assert upstream.name == tiny_llava.name
    assert asyncio.run(upstream.models()) == [tiny_llava.name]
    assert TransformersLocal("org/model").name == "model"
    assert TransformersLocal("org/model").revision == "org/model"
    assert TransformersLocal(".").name == "."
    assert TransformersLocal(str(tiny_llava), name="mine").name == "mine"


def test_the_revision_is_that_of_the_files(tiny_llava, edited):
    one, other = TransformersLocal(str(tiny_llava)), TransformersLocal(str(edited(do_sample=True)))
    assert one.revision == TransformersLocal(str(tiny_llava)).revision != other.revision


def test_an_answer_has_text_tokens_and_a_reason(folder, noise_picture):
    answer = run(folder, lambda u: ask(u, noise_picture()), name="tiny")
    assert answer.text.split()
    assert answer.model == "tiny"
    assert answer.finish_reason == "length"
    assert answer.message["role"] == "assistant"
    assert (answer.usage.completion_tokens, answer.usage.calls) == (6, 1)


def test_answers_depend_on_the_seed_and_not_on_the_company(folder, noise_picture):
    calls = [(noise_picture(seed=i % 3), {"seed": i // 2}) for i in range(12)]
    alone, together = run(folder, lambda u: alone_and_together(u, calls))
    assert texts(alone) == texts(together)
    assert len(set(texts(alone))) >= 5


@pytest.mark.nightly
def test_pictures_of_different_sizes_do_not_disturb_each_other(folder, noise_picture):
    """With tiles the prompts differ in length: padding on the wrong side would garble them."""
    sizes = [(24, 24), (64, 32), (20, 60), (24, 24), (1, 1), (64, 64)]
    calls = [(noise_picture(*size, seed=i), {"seed": i}) for i, size in enumerate(sizes)]
    alone, together = run(folder, lambda u: alone_and_together(u, calls))
    assert texts(alone) == texts(together)
    assert [a.usage for a in alone] == [a.usage for a in together]


@pytest.mark.nightly
def test_different_requests_at_once_are_answered_each_in_its_own_way(tiny_llava, noise_picture):
    picture = noise_picture()
    calls = [
        (picture, {"max_tokens": 2}),
        (picture, {"max_tokens": 5, "temperature": 0}),
        (picture, {"prompt": "how many things are there?", "seed": 3}),
        (None, {"prompt": "hello"}),
        (picture, {"top_p": 0.5, "seed": 3}),
    ] * 2
    alone, together = run(tiny_llava, lambda u: alone_and_together(u, calls))
    assert texts(alone) == texts(together)
    assert [a.usage.completion_tokens for a in together[:3]] == [2, 5, 6]


def test_several_pictures_and_none(folder, noise_picture):
    async def scenario(upstream):
        pictures = [noise_picture(seed=1), noise_picture(30, 20, seed=2)]
        chat = picture_chat("m", "compare them", {"max_tokens": 3}, pictures=2)
        return (
            await upstream.complete(chat, pictures, seed=1),
            await ask(upstream, pictures[0], max_tokens=3, prompt="compare them"),
            await ask(upstream, None, max_tokens=3, prompt="compare them"),
        )

    two, one, none = run(folder, scenario)
    tokens = [answer.usage.prompt_tokens for answer in (two, one, none)]
    assert tokens[0] > tokens[1] > tokens[2] == 4
    assert all(answer.text for answer in (two, one, none))


def test_pictures_take_the_places_of_their_numbers(tiny_llava, noise_picture):
    """A message may show picture 1 before picture 0."""
    pictures = [noise_picture(seed=1), np.zeros((24, 24, 3), np.uint8)]

    def chat(*order):
        straight = picture_chat("m", "", {"max_tokens": 8}, pictures=2).messages[0]["content"]
        return Chat("m", ({"role": "user", "content": [straight[i] for i in order]},),
                    {"max_tokens": 8, "temperature": 0}, 2)  # fmt: skip

    async def scenario(upstream):
        seen = []
        model = upstream.load().model
        hook = model.model.vision_tower.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(kwargs.get("pixel_values", *args).mean((1, 2, 3))),
            with_kwargs=True,
        )
        for order in ((0, 1, 2), (1, 0, 2)):
            await upstream.complete(chat(*order), pictures, seed=0)
        hook.remove()
        return [values.tolist() for values in seen]

    straight, swapped = run(tiny_llava, scenario)
    assert straight[0] != straight[1]
    assert straight == swapped[::-1]


def test_cold_sampling_is_greedy_whatever_the_seed(folder, noise_picture):
    settings = [{"temperature": 0}, {"temperature": 1e-12}, {"top_p": 0}, {"top_p": 1e-9}]
    calls = [(noise_picture(), {"seed": i, **more}) for i in range(3) for more in settings]
    _, together = run(folder, lambda u: alone_and_together(u, calls))
    assert len(set(texts(together))) == 1


def test_what_is_not_asked_for_is_the_models_own(edited, tiny_llava, noise_picture):
    async def scenario(upstream):
        unset = {"temperature": None}
        own = await asyncio.gather(
            *(ask(upstream, noise_picture(), seed=i, **unset) for i in range(6))
        )
        greedy = await ask(upstream, noise_picture(), temperature=0)
        return set(texts(own)), greedy.text

    own, greedy = run(tiny_llava, scenario)
    assert own == {greedy}
    own, greedy = run(edited(do_sample=True, temperature=1.0), scenario)
    assert len(own) == 6
    own, greedy = run(edited(do_sample=True, temperature=1.0, top_k=1), scenario)
    assert own == {greedy}
    own, greedy = run(edited(do_sample=True, temperature=1.0, top_p=1e-6), scenario)
    assert own == {greedy}


def test_beams_and_several_sequences_of_the_model_are_not_taken_over(edited, noise_picture):
    folder = edited(num_beams=3, num_return_sequences=2)
    calls = [(noise_picture(seed=i), {"seed": i}) for i in range(3)]
    alone, together = run(folder, lambda u: alone_and_together(u, calls))
    assert texts(alone) == texts(together)


def test_an_end_token_ends_the_answer(edited, noise_picture):
    """Half of the words end the answer, so ends come at different places of one batch."""
    folder = edited(eos_token_id=list(range(0, 400, 2)))
    calls = [(noise_picture(), {"seed": i, "max_tokens": 20}) for i in range(16)]
    alone, together = run(folder, lambda u: alone_and_together(u, calls))
    assert texts(alone) == texts(together)
    for answer in together:
        assert (answer.usage.completion_tokens < 20) is (answer.finish_reason == "stop")
        assert (answer.usage.completion_tokens == 0) is (answer.text == "")
    assert len({answer.usage.completion_tokens for answer in together}) >= 4


def test_a_stop_text_ends_the_answer_and_is_cut_off(tiny_llava, noise_picture):
    async def scenario(upstream):
        full = await ask(upstream, noise_picture(), seed=5, max_tokens=12)
        words = full.text.split()
        stop = words[4]
        both = await asyncio.gather(
            *(
                ask(upstream, noise_picture(), seed=seed, max_tokens=12, stop=["@", stop])
                for seed in (5, 6)
            )
        )
        other = await ask(upstream, noise_picture(), seed=6, max_tokens=12)
        return full, stop, both, other

    full, stop, (cut, beside), other = run(tiny_llava, scenario)
    assert stop not in other.text  # else the test says nothing about the row beside
    assert cut.text == full.text[: full.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.usage.completion_tokens < full.usage.completion_tokens
    assert beside == other


def test_what_it_cannot_do_is_refused_before_the_queue(tiny_llava, noise_picture):
    async def scenario(upstream):
        with pytest.raises(UpstreamError, match="'tools'") as caught:
            await ask(upstream, noise_picture(), tools=[{"type": "function"}])
        assert caught.value.status == 400
        chat = picture_chat("m", QUESTION, pictures=2)
        with pytest.raises(UpstreamError, match="2 pictures but 1") as caught:
            await upstream.complete(chat, [noise_picture()], seed=0)
        assert caught.value.status == 400

    run("no such folder", scenario)


def test_a_prompt_longer_than_the_context_is_refused(tiny_llava, noise_picture):
    async def scenario(upstream):
        with pytest.raises(UpstreamError) as caught:
            await ask(upstream, noise_picture(), prompt="dog " * 300)
        assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
        assert "dog" not in str(caught.value)
        return await ask(upstream, noise_picture(), prompt="dog " * 180, max_tokens=8000)

    answer = run(tiny_llava, scenario)
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == 256
    assert answer.finish_reason == "length"


def test_a_forged_picture_token_is_only_text(folder, noise_picture):
    answer = run(folder, lambda u: ask(u, noise_picture(), prompt="<image> </s> <image>?"))
    assert answer.text


@pytest.mark.parametrize("fault", [RuntimeError, SystemExit, StopIteration])
def test_a_crash_of_the_model_is_an_upstream_error_and_passes(tiny_llava, noise_picture, fault):
    async def scenario(upstream):
        def crash(*_):
            raise fault("the prompt, verbatim")

        hook = upstream.load().model.register_forward_pre_hook(crash)
        results = await asyncio.gather(
            *(ask(upstream, noise_picture(), seed=i) for i in range(3)), return_exceptions=True
        )
        hook.remove()
        return results, await ask(upstream, noise_picture())

    faults, after = run(tiny_llava, scenario)
    assert after.text
    assert len({id(error) for error in faults}) == 3
    for error in faults:
        assert isinstance(error, UpstreamError)
        assert error.transient
        assert "verbatim" not in f"{error} {error.__cause__}"
        assert "test_local_model.py" in str(error)


def test_a_model_that_cannot_be_loaded_is_no_transient_fault(tmp_path, noise_picture):
    async def scenario(upstream):
        with pytest.raises(ConfigError, match="no weights"):
            await upstream.warm_up()
        with pytest.raises(UpstreamError, match="no weights") as caught:
            await ask(upstream, noise_picture())
        assert not caught.value.transient

    run(tmp_path, scenario)


class Gate:
    """Holds the model at its first forward pass until it is opened, and counts the passes."""

    def __init__(self, upstream):
        self.passes = 0
        self.entered = threading.Event()
        self.opened = threading.Event()
        upstream.load().model.register_forward_pre_hook(self)

    def __call__(self, *_):
        self.passes += 1
        self.entered.set()
        assert self.opened.wait(30)

    async def until_entered(self):
        assert await asyncio.to_thread(self.entered.wait, 30)


def test_leaving_callers_stop_the_generation(tiny_llava, noise_picture):
    async def scenario(upstream):
        gate = Gate(upstream)
        calls = [
            asyncio.ensure_future(ask(upstream, noise_picture(), seed=i, max_tokens=150))
            for i in range(2)
        ]
        await gate.until_entered()
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        gate.opened.set()
        answer = await ask(upstream, noise_picture(), max_tokens=2)
        return gate.passes, answer

    passes, answer = run(tiny_llava, scenario)
    assert passes <= 4
    assert answer.usage.completion_tokens == 2


def test_a_caller_that_stays_is_answered_when_another_leaves(tiny_llava, noise_picture):
    async def scenario(upstream):
        expected = await ask(upstream, noise_picture(), seed=1)
        gate = Gate(upstream)
        gone, stays = (
            asyncio.ensure_future(ask(upstream, noise_picture(), seed=i)) for i in range(2)
        )
        await gate.until_entered()
        gone.cancel()
        gate.opened.set()
        return expected, await stays

    expected, got = run(tiny_llava, scenario)
    assert expected == got


def test_a_full_queue_and_a_closed_model_refuse(tiny_llava, noise_picture):
    async def scenario(upstream):
        gate = Gate(upstream)
        first = asyncio.ensure_future(ask(upstream, noise_picture()))
        await gate.until_entered()
        waiting = asyncio.ensure_future(ask(upstream, noise_picture(), prompt="another"))
        await asyncio.sleep(0)
        with pytest.raises(UpstreamError, match="too many") as caught:
            await ask(upstream, noise_picture())
        assert (caught.value.status, caught.value.transient) == (503, True)
        closing = asyncio.ensure_future(upstream.aclose())
        with pytest.raises(UpstreamError, match="closed"):
            await waiting
        gate.opened.set()
        assert (await first).text
        await closing
        with pytest.raises(UpstreamError, match="closed"):
            await ask(upstream, noise_picture())

    run(tiny_llava, scenario, max_queue=1)


def test_two_threads_that_load_at_once_load_once(tiny_llava):
    async def scenario(upstream):
        loaded = await asyncio.gather(*(asyncio.to_thread(upstream.load) for _ in range(4)))
        assert len({id(one) for one in loaded}) == 1

    run(tiny_llava, scenario)
