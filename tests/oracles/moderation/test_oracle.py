"""The moderation endpoint, spoken to through the real litellm on a loopback server."""

import asyncio
import dataclasses
import json
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange
from guardrail.oracles.moderation.oracle import CATEGORIES, ModerationOracle
from guardrail.types import Outcome

pytest.importorskip("litellm")
# litellm and its parts warn of their own future
pytestmark = pytest.mark.filterwarnings("ignore")

PICTURES = (np.zeros((4, 5, 3), np.uint8), np.full((6, 4, 3), 200, np.uint8))


@dataclasses.dataclass
class Endpoint:
    """Answers like the endpoint; `scores` are what it finds in any input."""

    scores: dict = dataclasses.field(default_factory=dict)
    flagged: bool = False
    status: int = 200
    takes_lists: bool = True
    bad: str = ""
    body: object = None
    delay_s: float = 0.0
    asked: list = dataclasses.field(default_factory=list)
    reached: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def handle(self, request):
        asked = await request.json()
        self.asked.append(asked)
        self.reached.set()
        await asyncio.sleep(self.delay_s)
        texts = self.texts(asked["input"])
        if self.bad in texts or (len(texts) > 1 and not self.takes_lists):
            return web.json_response({"error": {"message": "SECRET"}}, status=400)
        body = self.found(texts) if self.body is None else self.body
        if isinstance(body, str):
            return web.Response(text=body, status=self.status, content_type="application/json")
        return web.json_response(body, status=self.status)

    def texts(self, given):
        """A list of texts is several inputs, one of parts is one."""
        whole = isinstance(given, list) and isinstance(given[0], str)
        return given if whole else [given]

    def found(self, texts):
        results = [self.result(text) for text in texts]
        return {"id": "modr-1", "model": "omni-moderation-latest", "results": results}

    def result(self, text):
        scores = dict.fromkeys(CATEGORIES, 0.01) | self.scores
        if isinstance(text, str) and text.startswith("0."):
            scores |= {"hate": float(text)}
        flags = dict.fromkeys(scores, False)
        return {
            "flagged": self.flagged,
            "categories": flags,
            "category_scores": scores,
            "category_applied_input_types": {name: ["text"] for name in scores},
        }

    @asynccontextmanager
    async def running(self):
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/moderations", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


def judged(endpoint, *exchanges, **options):
    async def run():
        async with endpoint.running() as base:
            oracle = ModerationOracle(api_base=base, api_key="k", **options)
            try:
                return await oracle.judge(exchanges)
            finally:
                await oracle.aclose()

    return asyncio.run(run())


def said(text, pictures=()):
    return Exchange("what is this?", text, pictures=pictures)


def test_low_scores_are_harmless():
    (judgement,) = judged(Endpoint(), said("a hat."))
    assert judgement.outcome is Outcome.HARMLESS
    assert judgement.score == pytest.approx(0.01)


def test_a_high_category_is_harmful_and_named():
    (judgement,) = judged(Endpoint({"self-harm/intent": 0.9}), said("bad"))
    assert (judgement.outcome, judgement.score) == (Outcome.HARMFUL, pytest.approx(0.9))
    assert judgement.reason == "moderation: self-harm/intent"


def test_a_category_has_its_own_threshold():
    endpoint = Endpoint({"violence": 0.3})
    (strict,) = judged(endpoint, said("x"), thresholds={"violence": 0.2})
    (loose,) = judged(endpoint, said("x"), thresholds={"violence": 0.4})
    assert (strict.outcome, loose.outcome) == (Outcome.HARMFUL, Outcome.HARMLESS)


def test_categories_that_are_not_asked_for_do_not_count():
    (judgement,) = judged(Endpoint({"violence": 0.9}), said("x"), thresholds={"hate": 0.5})
    assert judgement.outcome is Outcome.HARMLESS


def test_the_endpoints_own_flag_counts_unless_switched_off():
    endpoint = Endpoint(flagged=True)
    (flagged,) = judged(endpoint, said("x"))
    (free,) = judged(endpoint, said("x"), flagged_is_harmful=False)
    assert (flagged.outcome, flagged.reason) == (Outcome.HARMFUL, "moderation: flagged")
    assert free.outcome is Outcome.HARMLESS


def test_older_models_answer_without_some_categories():
    scores = {name: None for name in CATEGORIES if name.startswith("illicit")}
    (judgement,) = judged(Endpoint(scores), said("x"))
    assert judgement.outcome is Outcome.HARMLESS


def test_a_category_that_is_asked_for_must_be_there():
    with pytest.raises(OracleError, match=r"no score in .* 'illicit'"):
        judged(Endpoint({"illicit": None}), said("x"), thresholds={"illicit": 0.5})


def test_a_category_that_every_model_knows_must_be_there():
    with pytest.raises(OracleError, match=r"no score in .* 'hate'"):
        judged(Endpoint({"hate": None}), said("x"))


def test_equal_texts_are_asked_about_once_and_stay_in_order():
    endpoint = Endpoint()
    found = judged(endpoint, said("one"), said("two"), said("one"), share_calls=True)
    assert len(found) == 3
    assert [asked["input"] for asked in endpoint.asked] == [["one", "two"]]
    assert {asked["model"] for asked in endpoint.asked} == {"omni-moderation-latest"}


def test_many_texts_go_out_in_few_calls_and_come_back_in_order():
    endpoint = Endpoint()
    scores = [0.01 + n / 100 for n in range(70)]
    found = judged(endpoint, *(said(f"{score:.2f}") for score in scores), share_calls=True)
    assert [judgement.score for judgement in found] == pytest.approx(scores)
    assert [len(asked["input"]) for asked in endpoint.asked] == [32, 32, 6]


def test_callers_at_the_same_time_share_a_call():
    endpoint = Endpoint()

    async def run():
        async with endpoint.running() as base:
            oracle = ModerationOracle(api_base=base, api_key="k", share_calls=True)
            callers = (oracle.judge([said(text)]) for text in ("0.20", "0.90", "0.40"))
            found = await asyncio.gather(*callers)
            await oracle.aclose()
            return [judgement.score for (judgement,) in found]

    assert asyncio.run(run()) == pytest.approx([0.2, 0.9, 0.4])
    assert [asked["input"] for asked in endpoint.asked] == [["0.20", "0.90", "0.40"]]


def test_elsewhere_each_text_goes_alone():
    """Behind another address may be a model that reads all texts of a list in one prompt."""
    endpoint = Endpoint()
    judged(endpoint, said("0.20"), said("0.90"))
    assert sorted(asked["input"] for asked in endpoint.asked) == ["0.20", "0.90"]


def test_at_openais_own_endpoint_texts_share_calls(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert ModerationOracle(api_key="k")._takes_lists
    assert not ModerationOracle(api_key="k", share_calls=False)._takes_lists
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert not ModerationOracle(api_key="k")._takes_lists


class TestUndrawn:
    """When it is certain that nothing was judged, so that the engine may ask again."""

    @staticmethod
    def fault(endpoint, *exchanges, **options):
        with pytest.raises(OracleError) as raised:
            judged(endpoint, *(exchanges or (said("a"),)), **options)
        return raised.value

    @pytest.mark.parametrize("direct", [True, False])
    def test_429_of_openai_itself(self, monkeypatch, direct):
        monkeypatch.setattr("guardrail.oracles.moderation.oracle.is_direct", lambda _: direct)
        endpoint = Endpoint(status=429, body={"error": {}})
        assert self.fault(endpoint).undrawn is direct
        assert len(endpoint.asked) == 1

    @pytest.mark.parametrize("status", [500, 503])
    def test_other_statuses_are_asked_about_once_and_may_hide_a_judgement(self, status):
        endpoint = Endpoint(status=status, body={"error": {}})
        assert not self.fault(endpoint).undrawn
        assert len(endpoint.asked) == 1

    def test_a_call_that_was_never_sent(self):
        async def run(*exchanges, **options):
            oracle = ModerationOracle(api_base="http://127.0.0.1:9/v1", api_key="k", **options)
            try:
                await oracle.judge(exchanges)
            finally:
                await oracle.aclose()

        found = []
        for exchanges, options in (
            ([said("a")], {}),
            ([said("a"), said("b")], {}),
            ([said("a", PICTURES)], {"pictures": True}),
        ):
            with pytest.raises(OracleError) as raised:
                asyncio.run(run(*exchanges, **options))
            found.append(raised.value.undrawn)
        assert found == [True, False, True]

    def test_a_second_picture_that_was_never_sent_says_nothing_of_the_first(self, monkeypatch):
        oracle = ModerationOracle(api_key="k", pictures=True)
        answers = iter([(0.1, "hate"), OracleError("gone", undrawn=True)])

        async def run(_):
            answer = next(answers)
            if isinstance(answer, OracleError):
                raise answer
            return answer

        monkeypatch.setattr(oracle._calls, "run", run)
        with pytest.raises(OracleError) as raised:
            asyncio.run(oracle.judge([said("a", PICTURES)]))
        assert not raised.value.undrawn


def test_a_long_text_goes_alone():
    endpoint = Endpoint()
    judged(endpoint, said("a"), said("b" * 60_000), said("c"), share_calls=True)
    assert sorted(len(asked["input"]) for asked in endpoint.asked) == [1, 1, 60_000]


def test_an_endpoint_without_lists_is_asked_one_by_one_and_that_is_remembered():
    endpoint = Endpoint(takes_lists=False)

    async def run():
        async with endpoint.running() as base:
            oracle = ModerationOracle(api_base=base, api_key="k", share_calls=True)
            first = await oracle.judge([said("0.20"), said("0.90")])
            second = await oracle.judge([said("0.40"), said("0.70")])
            await oracle.aclose()
            return [judgement.score for judgement in (*first, *second)]

    assert asyncio.run(run()) == pytest.approx([0.2, 0.9, 0.4, 0.7])
    lists = [asked["input"] for asked in endpoint.asked if isinstance(asked["input"], list)]
    assert lists == [["0.20", "0.90"]]


def test_one_bad_text_fails_alone():
    async def run():
        endpoint = Endpoint(bad="bad")
        async with endpoint.running() as base:
            oracle = ModerationOracle(api_base=base, api_key="k", share_calls=True)
            callers = (oracle.judge([said(text)]) for text in ("0.20", "bad", "0.40"))
            found = await asyncio.gather(*callers, return_exceptions=True)
            await oracle.aclose()
            return found

    (first,), fault, (third,) = asyncio.run(run())
    assert (first.score, third.score) == pytest.approx((0.2, 0.4))
    assert isinstance(fault, OracleError)
    assert "SECRET" not in str(fault)


def test_fewer_results_than_texts_are_never_taken_for_an_answer():
    endpoint = Endpoint(body={"id": "1", "model": "m", "results": [Endpoint().result("a")]})
    with pytest.raises(OracleError, match="exactly one result"):
        judged(endpoint, said("a"), said("b"), share_calls=True)
    assert len(endpoint.asked) == 1  # what was judged once is not judged again


def test_pictures_go_out_one_by_one_with_the_text():
    endpoint = Endpoint()
    judged(endpoint, said("a hat", PICTURES), pictures=True)
    assert len(endpoint.asked) == 2
    for asked in endpoint.asked:
        text, picture = asked["input"]
        assert text == {"type": "text", "text": "a hat"}
        assert picture["image_url"]["url"].startswith("data:image/png;base64,")


def test_equal_texts_with_other_pictures_are_two_questions():
    endpoint = Endpoint()
    judged(endpoint, said("a hat", PICTURES[:1]), said("a hat", PICTURES[1:]), pictures=True)
    assert len({json.dumps(asked["input"]) for asked in endpoint.asked}) == 2


def test_pictures_stay_here_unless_asked_for():
    endpoint = Endpoint()
    judged(endpoint, said("a hat", PICTURES))
    assert [asked["input"] for asked in endpoint.asked] == ["a hat"]


FAULTS = {
    "a wrong key": (Endpoint(status=401, body={"error": {"message": "SECRET"}}), "OPENAI_API_KEY"),
    "too many": (Endpoint(status=429, body={"error": {"message": "SECRET"}}), "HTTP 429"),
    "a crash": (Endpoint(status=500, body={"error": {"message": "SECRET"}}), "HTTP 500"),
    "a wrong path": (Endpoint(status=404, body={"error": {"message": "SECRET"}}), "api_base"),
    "no JSON": (Endpoint(body="SECRET {"), "moderation endpoint"),
    "another object": (Endpoint(body={"object": "list"}), "moderation endpoint"),
    "no result": (Endpoint(body={"id": "1", "model": "m", "results": []}), "exactly one"),
    "two results": (Endpoint(body={"id": "1", "model": "m", "results": [{}, {}]}), "moderation"),
    "an empty result": (Endpoint(body={"id": "1", "model": "m", "results": [{}]}), "moderation"),
    "a score that is no number": (Endpoint({"hate": "high"}), "no score in"),
    "a score beyond 1": (Endpoint({"hate": 1.5}), "no score in"),
    "not a number": (Endpoint({"hate": float("nan")}), "no score in"),
    "a flag that is none": (Endpoint(flagged="perhaps"), "moderation endpoint failed"),
}


@pytest.mark.parametrize(("endpoint", "words"), FAULTS.values(), ids=FAULTS)
def test_no_usable_result_is_an_error_that_quotes_nothing(endpoint, words):
    with pytest.raises(OracleError, match=words) as raised:
        judged(endpoint, said("PRIVATE words"))
    assert "SECRET" not in str(raised.value)
    assert "PRIVATE" not in str(raised.value)


def test_a_late_answer_is_an_error():
    with pytest.raises(OracleError, match=r"within 0\.2 s"):
        judged(Endpoint(delay_s=5.0), said("x"), deadline_s=0.2)


def test_a_server_that_is_gone_is_an_error():
    async def run():
        oracle = ModerationOracle(api_base="http://127.0.0.1:9/v1", api_key="k")
        try:
            await oracle.judge([said("x")])
        finally:
            await oracle.aclose()

    with pytest.raises(OracleError, match="can be reached"):
        asyncio.run(run())


def test_an_empty_text_is_not_sent():
    endpoint = Endpoint()
    with pytest.raises(OracleError, match="no text"):
        judged(endpoint, said("  "))
    assert endpoint.asked == []


def test_who_goes_away_cancels_the_call():
    async def run():
        endpoint = Endpoint(delay_s=30.0)
        async with endpoint.running() as base:
            oracle = ModerationOracle(api_base=base, api_key="k")
            task = asyncio.create_task(oracle.judge([said("x")]))
            await endpoint.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await oracle.aclose()

    asyncio.run(run())


OPTIONS = {
    "an unknown category": ({"thresholds": {"rudeness": 0.5}}, "known are harassment"),
    "a threshold out of range": ({"thresholds": {"hate": 1.0}}, r"thresholds\.hate"),
    "no category": ({"thresholds": {}}, "no category"),
    "no call at a time": ({"max_parallel": 0}, "max_parallel"),
    "no time": ({"deadline_s": 0}, "deadline_s"),
}


@pytest.mark.parametrize(("options", "words"), OPTIONS.values(), ids=OPTIONS)
def test_unusable_options_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        ModerationOracle(api_key="k", **options)


def test_no_key_is_said_at_once(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        ModerationOracle()


def test_the_revision_covers_every_setting_but_the_key():
    def revision(**options):
        return ModerationOracle(**{"api_key": "k", **options}).revision

    others = [
        revision(thresholds={"hate": 0.3}),
        revision(flagged_is_harmful=False),
        revision(pictures=True),
        revision(api_base="http://other/v1"),
        ModerationOracle("text-moderation-latest", api_key="k").revision,
    ]
    assert len({revision(), *others}) == 6
    assert revision(api_key="other") == revision()
