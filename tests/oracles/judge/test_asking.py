"""Questions to a model: what is sent, and what counts as an answer."""

import asyncio

import numpy as np
import pytest

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.judge.asking import Asker, Logprobs, yes_no_question
from guardrail.types import image_placeholder
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server

QUESTION = ({"role": "user", "content": "SECRET question"},)


def with_logprobs(text, *places):
    """A response whose tokens are the places' first entries; each is token to log probability."""
    content = [
        {
            "token": next(iter(place)),
            "logprob": next(iter(place.values())),
            "top_logprobs": [{"token": t, "logprob": p} for t, p in place.items()],
        }
        for place in places
    ]
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Step(response={"choices": [{**choice, "logprobs": {"content": content}}]})


def asked(script, **options):
    upstream = Scripted(script)
    return upstream, asyncio.run(Asker(upstream, **options).ask(QUESTION))


def certainty(script, **options):
    asker = Asker(Scripted(script), **options)
    return asyncio.run(asker.yes_no("Same meaning?", {"first": "a", "second": "b"}))


def test_settings_are_deterministic_and_small():
    upstream, reply = asked(["No"], max_tokens=4, model="judge")
    body = upstream.calls[0].body
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 4, "judge")
    assert (body["logprobs"], body["top_logprobs"]) == (True, 10)
    assert upstream.calls[0].seed == 0
    assert (reply.text, reply.complete, reply.tokens) == ("No", True, ())


def test_probabilities_are_left_out_where_the_upstream_cannot():
    upstream, _ = asked(["No"], logprobs=Logprobs.OFF)
    assert not {"logprobs", "top_logprobs"} & upstream.calls[0].body.keys()


def test_nothing_turns_the_settings_around():
    upstream, _ = asked(["No"], parameters={"temperature": 1.5, "top_k": 1})
    assert (upstream.calls[0].body["temperature"], upstream.calls[0].body["top_k"]) == (0, 1)


def test_pictures_travel_with_the_question():
    upstream = Scripted(["No"])
    part = {"type": "image_url", "image_url": {"url": image_placeholder(0)}}
    picture = np.zeros((2, 3, 3), np.uint8)
    asyncio.run(Asker(upstream).ask([{"role": "user", "content": [part]}], [picture]))
    assert upstream.calls[0].pictures[0] is picture


@pytest.mark.parametrize("text", ["Yes", "yes", "YES.", "**Yes**", " Yes\n", '"Yes".'])
def test_a_clear_yes(text):
    assert certainty([text]) == 1.0


@pytest.mark.parametrize("text", ["No", "no.", "`No`"])
def test_a_clear_no(text):
    assert certainty([text]) == 0.0


@pytest.mark.parametrize(
    "text",
    ["Maybe", "Yes and no", "No, wait: yes", "Nope", "Not sure", "Y", "N/A", "Yes\nNo", "I can't."],
)
def test_anything_else_is_an_error_that_does_not_quote(text):
    with pytest.raises(OracleError, match="not a clear verdict") as raised:
        certainty([text])
    assert text not in str(raised.value)


def test_a_reply_that_was_cut_off_is_no_verdict():
    with pytest.raises(OracleError, match="cut off"):
        certainty([Step("No", finish_reason="length")])


def test_probabilities_of_the_two_words_make_the_score():
    place = {"No": np.log(0.6), "Yes": np.log(0.2), " yes": np.log(0.1), "Perhaps": np.log(0.1)}
    assert certainty([with_logprobs("No", place)]) == pytest.approx(0.3 / 0.9)


def test_blanks_before_the_verdict_are_no_place_of_it():
    blank, word = {"\n": -0.1, "Yes": -3.0}, {"\u0120No": np.log(0.75), "Yes": np.log(0.25)}
    assert certainty([with_logprobs(" No", blank, word)]) == pytest.approx(0.25)


def test_a_yes_stays_one_whatever_the_probabilities_say():
    assert certainty([with_logprobs("Yes", {"Yes": -5.0, "No": -0.1})]) == 0.5


def test_a_no_with_a_likelier_yes_counts_as_that():
    assert certainty([with_logprobs("No", {"No": -5.0, "Yes": -0.1})]) > 0.99


WRONG = {
    "another text": {"Maybe": -0.1},
    "a probability beyond 1": {"No": 0.5},
    "not a number": {"No": True},
}


@pytest.mark.parametrize("place", WRONG.values(), ids=WRONG)
def test_probabilities_that_make_no_sense_are_an_error(place):
    with pytest.raises(OracleError, match="probabilities"):
        certainty([with_logprobs("No", place)])


@pytest.mark.parametrize("logprobs", [{"content": "x"}, {"content": [7]}, {"content": [{}]}])
def test_probabilities_of_another_form_are_an_error(logprobs):
    choice = {"message": {"content": "No"}, "finish_reason": "stop", "logprobs": logprobs}
    with pytest.raises(OracleError, match="OpenAI's form"):
        certainty([Step(response={"choices": [choice]})])


def test_probabilities_that_are_required_must_come():
    assert certainty(["No"], logprobs=Logprobs.WANTED) == 0.0
    with pytest.raises(OracleError, match="no token probabilities"):
        certainty(["No"], logprobs=Logprobs.REQUIRED)


FAILURES = {
    "a refusal": Step(message={"content": None, "refusal": "SECRET"}),
    "a filtered reply": Step("No", finish_reason="content_filter"),
    "a tool call": Step(
        message={
            "content": "No",
            "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }
    ),
    "an empty reply": Step(fault=Fault.EMPTY),
    "an overload": Step(fault=Fault.STATUS, status=429),
    "a wrong key": Step(fault=Fault.STATUS, status=401),
    "a crash": Step(fault=Fault.CRASH),
    "garbage": Step(fault=Fault.GARBAGE),
    "no choice": Step(fault=Fault.NO_CHOICE),
}


@pytest.mark.parametrize("step", FAILURES.values(), ids=FAILURES)
def test_every_failure_is_an_oracle_error_that_quotes_nothing(step):
    with pytest.raises(OracleError, match="the judge") as raised:
        asked([step])
    assert "SECRET" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_late_reply_is_an_error():
    with pytest.raises(OracleError, match=r"within 0\.05 s"):
        asked([Step("No", delay_s=5.0)], deadline_s=0.05)


def test_only_so_many_questions_are_in_flight():
    async def run():
        upstream = Scripted([Step("No", delay_s=0.03)])
        asker = Asker(upstream, max_parallel=2)
        await asyncio.gather(*(asker.ask(QUESTION) for _ in range(7)))
        return upstream.log

    log = asyncio.run(run())
    assert (log.peak_in_flight, log.count(State.ANSWERED)) == (2, 7)


def test_who_goes_away_cancels_the_question():
    async def run():
        begun = asyncio.Event()

        def hang(_call):
            begun.set()
            return Step(fault=Fault.HANG)

        upstream = Scripted(hang)
        task = asyncio.create_task(Asker(upstream).ask(QUESTION))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return upstream.log

    assert asyncio.run(run()).count(State.CANCELLED) == 1


def test_the_upstream_is_closed():
    upstream = Scripted(["No"])
    asyncio.run(Asker(upstream).aclose())
    assert upstream.closed


def test_the_revision_covers_model_and_settings():
    def revision(model="m", **options):
        return Asker(Scripted([], model=model), **options).revision

    others = [
        revision("n"),
        revision(model="m", max_tokens=3),
        revision(logprobs=Logprobs.OFF),
        revision(parameters={"top_k": 1}),
    ]
    assert len({revision(), *others}) == 5
    assert revision() == revision(max_parallel=3, deadline_s=1.0)


@pytest.mark.parametrize("option", ["max_tokens", "max_parallel", "deadline_s"])
def test_options_out_of_range_are_named(option):
    with pytest.raises(ConfigError, match=option):
        Asker(Scripted([]), **{option: 0})


def test_the_question_stands_before_and_after_the_texts():
    system, user = yes_no_question("Same meaning?", {"first": "FIRST", "second": "SECOND"})
    before, first, second = (user["content"].find(x) for x in ("BEGIN", "FIRST", "SECOND"))
    assert "Same meaning?" in system["content"]
    assert before < first < second < user["content"].rfind("Same meaning?")


def test_over_a_real_socket():
    async def run():
        steps = [with_logprobs("No", {"No": np.log(0.9), "Yes": np.log(0.1)})]
        async with scripted_server(steps) as server:
            asker = Asker(OpenAICompatible(server.base_url), model="guard")
            try:
                return await asker.yes_no("Same?", {"text": "a"})
            finally:
                await asker.aclose()

    assert asyncio.run(run()) == pytest.approx(0.1)
