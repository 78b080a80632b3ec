"""LiteLLM's own client for guardrails against the running proxy, and the route by itself."""

import asyncio
import json
import os

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Fault, Scripted, Step

# What litellm and the libraries it loads warn of is their own affair.
pytestmark = pytest.mark.filterwarnings("ignore")

ROUTE = "/beta/litellm_basic_guardrail_api"
SECRET = "secret words"


@pytest.fixture(scope="module")
def hook():
    """The module with LiteLLM's client; its list of prices is not fetched."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return pytest.importorskip(
        "litellm.proxy.guardrails.guardrail_hooks.generic_guardrail_api.generic_guardrail_api",
        exc_type=ImportError,
    )


@pytest.fixture
def guarded(run, kit, hook):
    """Asks through LiteLLM's client: `passed`, or what it raised."""

    def asked(inputs, input_type, *, script=("A picture.",), key=None, **options):
        async def scenario():
            async with kit.proxy(script, **options) as proxy:
                client = hook.GenericGuardrailAPI(
                    api_base=proxy.base_url.removesuffix("/v1"),
                    api_key=key,
                    guardrail_name="g",
                    event_hook="pre_call",
                )
                client.async_handler = proxy.client  # the shared one would outlive its loop
                client.timeout = 30
                try:
                    await client.apply_guardrail(inputs, {}, input_type)
                except Exception as error:  # noqa: BLE001 (what it raises is the answer)
                    return proxy, error
                return proxy, "passed"

        return run(scenario())

    return asked


def asking(kit, *, images=1, prompt=SECRET):
    """What LiteLLM makes of a chat with pictures."""
    (message,) = kit.request(images, prompt=prompt)["messages"]
    parts = message["content"] if images else []
    urls = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
    made = {"texts": [prompt], "structured_messages": [message], "model": "scripted"}
    return made | ({"images": urls} if urls else {})


def blocked(outcome):
    assert type(outcome).__name__ == "GuardrailRaisedException", outcome
    assert SECRET not in str(outcome)
    return str(outcome)


def test_a_picture_that_is_certified_passes(guarded, kit):
    tool = {"type": "function", "function": {"name": "f"}}
    proxy, outcome = guarded(asking(kit) | {"tools": [tool]}, "request")
    assert outcome == "passed"
    assert len(proxy.calls) == 32
    assert proxy.calls[0].body["tools"] == [tool]
    assert proxy.calls[0].pictures[0].shape == (28, 28, 3)


@pytest.mark.parametrize("history", ["all", "last 1"])
def test_no_picture_is_left_out_of_a_request_that_litellm_sends_on(guarded, kit, history):
    policy = kit.make_policy(images={"history": history}, limits={"max_images": 3})
    turns = [asking(kit)["structured_messages"][0] for _ in "ab"]
    inputs = asking(kit) | {
        "structured_messages": [turns[0], {"role": "assistant", "content": "A cat."}, turns[1]],
        "images": asking(kit)["images"] * 2,
    }
    proxy, outcome = guarded(inputs, "request", policy=policy)
    assert outcome == "passed"
    assert all(len(call.pictures) == 2 for call in proxy.calls)


def test_a_picture_that_draws_harm_is_blocked(guarded, kit):
    _, outcome = guarded(asking(kit), "request", script=[kit.HARM])
    assert "harmful" in blocked(outcome)
    assert kit.HARM not in str(outcome)


def test_a_request_without_pictures_says_nothing_yet(guarded, kit):
    proxy, outcome = guarded(asking(kit, images=0), "request")
    assert (outcome, proxy.calls, proxy.oracle.seen) == ("passed", [], [])


def suffix_policy(kit):
    return kit.make_policy(threats={"suffix": {"words": 1}}, smoothing={"claim": "verdict"})


def test_a_request_without_pictures_is_tested_where_a_suffix_is_covered(guarded, kit):
    def script(call):
        return kit.HARM if call.body["messages"][-1]["content"] == "secret" else "A cat."

    policy = suffix_policy(kit)
    for prompt, passes in (("secret words", False), ("kind words", True)):
        asked = asking(kit, images=0, prompt=prompt)
        proxy, outcome = guarded(asked, "request", script=script, policy=policy)
        assert (outcome == "passed") is passes
        assert len(proxy.calls) > 2
    unseen = {"texts": ["words"], "model": "scripted"}
    assert "structured_messages" in blocked(guarded(unseen, "request", policy=policy)[1])
    asked = asking(kit, images=0) | {"model": None}
    assert "litellm_model" in blocked(guarded(asked, "request", policy=policy)[1])


@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize(("text", "passes"), [("A cat.", True), ("forbidden", False)])
def test_a_response_is_judged_by_the_oracle(guarded, kit, text, passes, suffix):
    policy = suffix_policy(kit) if suffix else None
    proxy, outcome = guarded({"texts": ["Look:", text]}, "response", policy=policy)
    assert (outcome == "passed") is passes
    assert proxy.calls == []
    assert len({*proxy.oracle.seen}) == len(proxy.oracle.seen)  # once
    assert text in proxy.oracle.seen[0]


def test_words_split_over_two_texts_are_judged_together(guarded):
    blocked(guarded({"texts": ["forb", "idden"]}, "response")[1])


def test_tool_calls_of_a_response_are_judged(guarded):
    function = {"name": "f", "arguments": '{"a": "forbidden"}'}
    calls = [{"id": "c", "type": "function", "function": function}]
    blocked(guarded({"texts": [], "tool_calls": calls}, "response")[1])


@pytest.mark.parametrize("opens", [False, True])
def test_pictures_of_a_response_are_blocked_unless_the_policy_says_otherwise(guarded, kit, opens):
    sections = {"failures": {"unscanned": "pass_unscanned"}, "smoothing": {"claim": "verdict"}}
    policy = kit.make_policy(**(sections if opens else {}))
    inputs = {"texts": ["Look:"], "images": [kit.data_url()]}
    proxy, outcome = guarded(inputs, "response", policy=policy)
    if opens:
        assert outcome == "passed"
        assert "base64" not in "".join(proxy.oracle.seen)
    else:
        assert "unscanned" in blocked(outcome)


@pytest.mark.parametrize(
    "fault", [RuntimeError(SECRET), "missing", "nothing", "none", "hang"], ids=str
)
def test_an_oracle_that_fails_blocks(guarded, kit, fault):
    limits = {"call_timeout_s": 0.2, "deadline_s": 0.3}
    policy = kit.make_policy(limits=limits)
    inputs = {"texts": ["A cat."]}
    blocked(guarded(inputs, "response", oracle=kit.Words(fault), policy=policy)[1])


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.STATUS, Fault.GARBAGE, Fault.EMPTY])
def test_a_model_that_fails_blocks(guarded, kit, fault):
    outcome = guarded(asking(kit), "request", script=[Step(fault=fault)])[1]
    assert "could not decide" in blocked(outcome)


def test_a_record_that_fails_blocks(guarded):
    def record(_verdict, _chat):
        raise OSError(SECRET)

    assert "its log" in blocked(guarded({"texts": ["A cat."]}, "response", record=record)[1])


def test_shadow_mode_lets_pass(guarded, kit):
    policy = kit.make_policy(mode="observe")
    assert guarded({"texts": ["forbidden"]}, "response", policy=policy)[1] == "passed"


def test_the_model_for_pictures_may_be_fixed(guarded, kit):
    settings = ServerSettings(litellm_model="ours")
    proxy, outcome = guarded(asking(kit), "request", settings=settings)
    assert (outcome, proxy.calls[0].body["model"]) == ("passed", "ours")
    proxy, outcome = guarded(asking(kit) | {"model": None}, "request")
    assert "litellm_model" in blocked(outcome)
    settings = ServerSettings(litellm_model="ours", known_models_only=True)
    assert "no such model" in blocked(guarded(asking(kit), "request", settings=settings)[1])


def test_a_key(guarded, kit, book):
    """LiteLLM sends its `api_key` as x-api-key."""
    secret = book.create()
    inputs = {"texts": ["A cat."]}

    def outcome(key):
        return guarded(inputs, "response", keys=book.authenticator(), key=key)[1]

    assert outcome(secret) == "passed"
    for wrong in (None, "other"):
        assert "401" in str(outcome(wrong))


def test_a_limit_blocks_and_is_told_as_one(guarded, kit, book):
    """An error might be let through by LiteLLM."""
    secret = book.create(limits={"usd_per_day": 5.0, "calls_per_minute": 1})
    _, outcome = guarded(asking(kit), "request", keys=book.authenticator(), key=secret)
    assert "1 a minute" in blocked(outcome)


# The route by itself


@pytest.fixture(scope="module")
def post(kit):
    """Posts a body to one proxy and returns the action and its reason."""
    policy = kit.make_policy(limits={"max_body_bytes": 1 << 16, "max_images": 2})
    engine = Engine(compile_policy(policy), Scripted(["x"]), kit.Words(), NoiseKey(bytes(32)))
    with (
        running_server(policy, engine) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):

        def posted(body):
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            response = client.post(ROUTE, content=raw, headers={"content-type": "application/json"})
            assert response.status_code == 200
            assert SECRET not in response.text
            made = response.json()
            return made["action"], made.get("blocked_reason")

        yield posted


PICTURED = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "not valid JSON"),
        (b"x" * (1 << 17), "bytes"),
        ({}, "input_type"),
        ({"input_type": SECRET}, "input_type"),
        ({"input_type": ["request"]}, "input_type"),
        ({"input_type": "response"}, "nothing to judge"),
        ({"input_type": "response", "texts": ["", " "]}, "nothing to judge"),
        ({"input_type": "response", "texts": SECRET}, "texts"),
        ({"input_type": "response", "texts": [None]}, "texts"),
        ({"input_type": "response", "texts": ["x"], "tool_calls": [SECRET]}, "tool_calls"),
        ({"input_type": "response", "texts": ["x"], "audio": SECRET}, "audio"),
        ({"input_type": "request", "images": [SECRET]}, "structured_messages"),
        ({"input_type": "request", "structured_messages": [SECRET]}, "messages[0]"),
        (
            {"input_type": "request", "structured_messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": SECRET}]}
            ]},
            "messages[0].content[0].type",
        ),
        (
            {"input_type": "request", "images": [SECRET], "structured_messages": [
                {"role": "user", "content": SECRET}
            ]},
            "images",
        ),
        (
            {"input_type": "request", "model": "m", "structured_messages": [
                {"role": "user", "content": [PICTURED]}
            ]},
            "messages[0].content[0].image_url.url",
        ),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_blocked(post, body, word):
    action, reason = post(body)
    assert action == "BLOCKED"
    assert word in reason


def test_a_picture_that_is_extracted_but_not_shown_is_blocked(post, kit):
    shown, other = kit.data_url(kit.png(seed=1)), kit.data_url(kit.png(seed=2))
    message = {"role": "user", "content": [kit.image_part(shown)]}
    body = {"input_type": "request", "model": "m", "structured_messages": [message]}
    assert post(body | {"images": [other]})[0] == "BLOCKED"
    assert post(body | {"images": [shown, shown]})[0] == "BLOCKED"
    assert post(body | {"images": [shown]}) == ("NONE", None)


def test_a_full_house_blocks(run, kit):
    async def scenario():
        policy = kit.make_policy(
            limits={"max_concurrent_requests": 1, "max_waiting_requests": 0, "deadline_s": 1}
        )
        body = {"input_type": "response", "texts": ["x"]}
        async with kit.proxy(oracle=kit.Words("hang"), policy=policy) as proxy:
            asked = [proxy.client.post(ROUTE, json=body) for _ in range(2)]
            return await asyncio.gather(*asked)

    responses = run(scenario())
    assert [response.status_code for response in responses] == [200, 200]
    made = [response.json() for response in responses]
    assert [one["action"] for one in made] == ["BLOCKED", "BLOCKED"]
    assert sum("too many requests" in one["blocked_reason"] for one in made) == 1
