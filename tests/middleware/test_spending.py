"""Spending in process: principals of a guard, of a call and of a wrapped client."""

import asyncio

import openai
import pytest

from guardrail import ConfigError, ContentBlocked, LocalLedger, RequestError
from guardrail.canonical import parse_strict
from guardrail.engine.plan import UNSCALED, required_rate
from guardrail.engine.verdict import Reason
from guardrail.policy.compile import compile_policy
from guardrail.records.lines import read_lines
from guardrail.records.record import Record
from guardrail.stats import spent_alpha
from guardrail.stats.fixed import smallest_fixed


def harmful(kit, **options):
    return kit.make_guard(lambda _: kit.completion(kit.HARM), **options)


def alpha(result):
    return result.verdict.alpha


def ask(kit, guard, index=0, **options):
    return guard.decide_sync(kit.request(1, prompt=f"question {index}"), **options)


def test_the_tries_of_a_named_principal_share_alpha(kit):
    with harmful(kit, principal="mallory") as guard:
        result = [ask(kit, guard, index) for index in range(3)]
        assert [alpha(made) for made in result] == [spent_alpha(0.001, k) for k in (1, 2, 3)]
        assert [made.verdict.spending_number for made in result] == [1, 2, 3]
        assert alpha(ask(kit, guard, principal="alice")) == spent_alpha(0.001, 1)


def test_nobody_named_is_judged_at_alpha(kit):
    with harmful(kit) as guard:
        assert [alpha(ask(kit, guard, index)) for index in range(2)] == [0.001, 0.001]


def test_every_way_in_takes_a_principal(kit):
    def request(index):
        return kit.request(1, prompt=f"question {index}")

    async def scene(guard):
        name = {"principal": "mallory"}
        numbers = [(await guard.decide(request(1), **name)).verdict.spending_number]
        with pytest.raises(ContentBlocked) as blocked:
            await guard.complete(request(2), **name)
        numbers.append(blocked.value.verdict.spending_number)
        with pytest.raises(ContentBlocked) as blocked:
            await anext(guard.stream(request(3), **name))
        numbers.append(blocked.value.verdict.spending_number)
        answer = await guard.respond(request(4), **name)
        assert float(answer.headers["x-guardrail-alpha"]) == spent_alpha(0.001, 4)
        return numbers

    with harmful(kit) as guard:
        assert asyncio.run(scene(guard)) == [1, 2, 3]
        for number, call in ((5, guard.complete_sync), (6, guard.stream_sync)):
            with pytest.raises(ContentBlocked) as blocked:
                list(call(request(number), principal="mallory"))
            assert blocked.value.verdict.spending_number == number


def test_a_wrapped_client_spends_for_its_principal(kit):
    with kit.model([kit.HARM]) as model, kit.make_guard(principal="guard") as guard:
        options = {"base_url": model.base_url, "api_key": "sk-original", "max_retries": 0}
        with openai.OpenAI(**options) as original:
            own, named = guard.wrap(original), guard.wrap(original, principal="mallory")
            numbers = []
            for index, client in enumerate((own, named, own, named)):
                with pytest.raises(ContentBlocked) as blocked:
                    client.chat.completions.create(**kit.request(1, prompt=f"question {index}"))
                numbers.append(blocked.value.verdict.spending_number)
        assert numbers == [1, 1, 2, 2]

        async def scene():
            async with openai.AsyncOpenAI(**options) as plain:
                client = guard.wrap(plain, principal="mallory")
                with pytest.raises(ContentBlocked) as blocked:
                    await client.chat.completions.create(**kit.request(1))
                return blocked.value.verdict.spending_number

        assert asyncio.run(scene()) == 3


def test_guards_of_two_policies_share_a_ledger(kit):
    """What a user tried under one of them counts under the other."""
    ledger = LocalLedger()
    other = kit.make_policy(name="other", smoothing={"alpha": 0.01})
    with (
        harmful(kit, ledger=ledger, principal="mallory") as first,
        harmful(kit, ledger=ledger, principal="mallory", policy=other) as second,
    ):
        assert alpha(ask(kit, first, 1)) == spent_alpha(0.001, 1)
        assert alpha(ask(kit, second, 1)) == spent_alpha(0.01, 2)
        assert alpha(ask(kit, first, 2)) == spent_alpha(0.001, 3)


def test_a_ledger_with_too_short_a_window_is_refused(kit):
    with pytest.raises(ConfigError, match="its window of 60 s is shorter"):
        harmful(kit, ledger=LocalLedger(60.0))


@pytest.mark.parametrize("name", ["", "x" * 2000])
def test_an_impossible_principal_is_refused(kit, name):
    with harmful(kit) as guard, pytest.raises(ConfigError, match="principal"):
        ask(kit, guard, principal=name)


def test_spent_attempts_are_an_error_and_no_block(kit):
    rules = compile_policy(kit.make_policy())
    asked = rules.q1, rules.power
    first, _ = smallest_fixed(required_rate(rules, UNSCALED), spent_alpha(rules.alpha, 1), *asked)
    policy = kit.make_policy(sampling={"max_samples": first, "plan": "fixed"})
    with harmful(kit, policy=policy, principal="mallory") as guard:
        with pytest.raises(ContentBlocked):
            guard.complete_sync(kit.request(1))
        with pytest.raises(RequestError) as raised:
            guard.complete_sync(kit.request(1, prompt="another question"))
        assert (raised.value.status, raised.value.code) == (429, "attempts_spent")
        assert 86_000 < raised.value.retry_after_s <= 86_400
        result = ask(kit, guard, 2)
        assert (result.verdict.reason, result.reply.status) == (Reason.ATTEMPTS_SPENT, 429)


def test_a_developer_sees_all_of_a_block_and_a_client_what_the_policy_says(kit):
    """The verdict stays in this process; `body` and `guardrail` are what the proxy would send."""
    with harmful(kit) as guard, pytest.raises(ContentBlocked) as blocked:
        guard.complete_sync(kit.request(1))
    assert blocked.value.certificate.samples > 0
    assert blocked.value.verdict.usage.calls > 0
    assert not {"samples", "calls", "certificate"} & {*blocked.value.guardrail}
    assert blocked.value.body["usage"]["total_tokens"] == 0


def test_a_record_names_the_number_and_alpha(kit, tmp_path):
    file = tmp_path / "records.jsonl"
    with harmful(kit, records=file, principal="mallory") as guard:
        for index in range(2):
            ask(kit, guard, index)
        ask(kit, guard, 2, principal="alice")
    records = [Record.from_dict(parse_strict(line)) for line in read_lines(file)]
    assert [record.spending_number for record in records] == [1, 2, 1]
    assert [record.alpha for record in records] == [spent_alpha(0.001, k) for k in (1, 2, 1)]
    assert "mallory" not in file.read_text()
