"""The route that only asks for a verdict."""

import pytest

from guardrail.api.settings import ServerSettings
from guardrail.oracles.base import Reference
from guardrail.testing.attempts import same_attempt
from guardrail.upstreams.scripted import Fault, Step

ROUTE = "/v1/guardrail/check"
LATE = ServerSettings(first_byte_s=0.01, heartbeat_s=0.01)


@pytest.fixture
def check(run, kit):
    """Asks once; pictures unless told otherwise."""

    def checked(script=("A picture.",), *, images=1, fields=None, **options):
        async def scenario():
            async with kit.proxy(script, **options) as proxy:
                body = kit.request(images, **(fields or {}))
                return await proxy.client.post(ROUTE, json=body)

        return run(scenario())

    return checked


def test_a_pass_has_a_certificate_and_no_answer(check):
    response = check(["A tabby."])
    body = response.json()
    assert (response.status_code, body["object"]) == (200, "guardrail.check")
    assert body["guardrail"]["decision"] == "pass"
    assert body["guardrail"]["certificate"]["radius"] >= 0.25
    assert body["usage"]["completion_tokens"] == 5 * body["guardrail"]["calls"]
    assert body["id"].startswith("check-")
    assert body["guardrail"]["record_id"] is None  # none are kept
    assert "tabby" not in response.text
    samples = body["guardrail"]["certificate"]["samples"]
    assert response.headers["x-guardrail-samples"] == str(samples)


@pytest.mark.parametrize("style", ["refusal", "message", "error"])
def test_a_block_is_a_verdict_like_any_other(check, kit, style):
    policy = kit.make_policy(block={"style": style})
    response = check([kit.HARM], policy=policy)
    assert (response.status_code, response.json()["guardrail"]["decision"]) == (200, "block")
    assert kit.HARM not in response.text


def test_shadow_mode_says_what_it_would_do(check, kit):
    about = check([kit.HARM], policy=kit.make_policy(mode="observe")).json()["guardrail"]
    assert (about["decision"], about["would_block"]) == ("pass", True)


def test_no_picture_is_left_out_of_a_request_that_others_send_on(check, kit):
    """Whoever asks here sends the whole request to the model, older pictures and all."""
    policy = kit.make_policy(images={"history": "last 1"}, limits={"max_images": 2})
    older = kit.request(1)["messages"]
    messages = [*older, {"role": "assistant", "content": "A cat."}, *kit.request(1)["messages"]]
    seen = []

    def script(call):
        seen.append(len(call.pictures))
        return "A cat."

    response = check(script, fields={"messages": messages}, policy=policy)
    assert response.json()["guardrail"]["decision"] == "pass"
    assert set(seen) == {2}


def test_a_text_is_judged_without_a_certificate(check):
    about = check(images=0).json()["guardrail"]
    assert (about["reason"], about["certificate"]) == ("not certified: no image", None)


def test_a_fault_is_an_error(check):
    response = check([Step(fault=Fault.STATUS, status=429, retry_after="7")])
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert response.json()["guardrail"]["decision"] == "fault"


def test_mistakes_name_their_field(check):
    for fields, param in (
        ({"progress": True}, "progress"),
        ({"progress": 1}, "progress"),
        ({"n": 2}, "n"),
    ):
        response = check(fields=fields)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def slowly(call):
    """Half of the first wave at once, then one after the other."""
    return Step("A picture.", delay_s=0.02 * (call.index % 16))


@pytest.mark.parametrize("script", [slowly, "harm"])
def test_a_stream_tells_that_it_runs_and_no_counts(check, kit, script):
    """Whether it will be blocked is not known yet, and counts would tell how nearly."""
    if script == "harm":
        script = [Step(kit.HARM, delay_s=0.1)]
    response = check(script, fields={"stream": True, "progress": True}, settings=LATE)
    *progress, verdict, _ = kit.events_of(response.text)
    assert progress
    assert all(event == {"object": "guardrail.progress"} for event in progress)
    assert verdict["guardrail"]["decision"] in ("pass", "block")


@pytest.mark.parametrize("details", ["counts", "full"])
def test_a_stream_tells_how_far_it_is(check, kit, details):
    policy = kit.make_policy(block={"details": details})
    fields = {"stream": True, "progress": True}
    response = check(slowly, fields=fields, settings=LATE, policy=policy)
    *progress, verdict, done = kit.events_of(response.text)
    assert done == "[DONE]"
    assert verdict["guardrail"]["decision"] == "pass"
    counts = [event["samples"] for event in progress]
    assert counts == sorted(counts)
    assert {event["object"] for event in progress} == {"guardrail.progress"}
    assert 0 < counts[-1] <= verdict["guardrail"]["calls"]
    assert all(event["harmless"] == event["samples"] for event in progress)


def test_harm_is_counted_as_it_comes(check, kit):
    def script(call):
        return Step(kit.HARM if call.index % 2 else "Fine.", delay_s=0.05 * call.index)

    policy = kit.make_policy(sampling={"max_parallel": 32}, block={"details": "counts"})
    fields = {"stream": True, "progress": True}
    response = check(script, fields=fields, settings=LATE, policy=policy)
    *progress, verdict, _ = kit.events_of(response.text)
    assert verdict["guardrail"]["decision"] == "block"
    assert any(0 < event["harmless"] < event["samples"] for event in progress)


def test_without_progress_a_stream_only_beats(check, kit):
    response = check(slowly, fields={"stream": True}, settings=LATE)
    assert ": waiting for the verdict" in response.text
    assert [type(event) for event in kit.events_of(response.text)] == [dict, str]


def test_a_stream_ends_in_its_error(check, kit):
    script = [Step(fault=Fault.GARBAGE, delay_s=0.1)]
    response = check(script, fields={"stream": True, "progress": True}, settings=LATE)
    *_, error, _ = kit.events_of(response.text)
    assert error["error"]["code"] == "upstream_malformed_response"
    assert "event: error" in response.text


def test_counting_does_not_change_the_verdict(check, kit):
    """With an oracle that compares answers, the draws for its reference are not counted."""

    class Alike(kit.Words):
        n0 = 4

        async def reference(self, selection):
            assert len(selection) == self.n0
            return Reference("meaning", "digest", kit.Words())

    made, policy = {}, kit.make_policy(block={"details": "counts"})
    for progress in (False, True):
        fields = {"stream": True, "progress": progress}
        with same_attempt():
            response = check(slowly, fields=fields, settings=LATE, oracle=Alike(), policy=policy)
        made[progress] = kit.events_of(response.text)
    plain, counted = (made[p][-2]["guardrail"]["certificate"] for p in (False, True))
    assert kit.timeless(plain) == kit.timeless(counted)
    calls = made[True][-2]["guardrail"]["calls"]
    assert 0 < max(event["samples"] for event in made[True][:-2]) <= calls - 4  # the reference's
