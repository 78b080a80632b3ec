"""A job decides each content once, calls no fault a block, and goes on where it was stopped."""

import asyncio
import json

import pytest

from guardrail.bulk.job import MOST_BARREN, BulkJob
from guardrail.bulk.log import DecisionLog
from guardrail.bulk.outcome import UNREADABLE, RowOutcome
from guardrail.bulk.rows import BulkRow
from guardrail.bulk.spending import JobAllowance
from guardrail.bulk.summary import BulkSummary
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import ConfigError, LimitError, StorageError, UpstreamError
from guardrail.upstreams.scripted import Step
from tests.bulk.conftest import POLICY, USD_A_CALL


def run_job(bench, path, rows, *, most=2, allowance=None):
    """(the job, the outcomes that stand, the log's counts) of one run."""

    async def run():
        with DecisionLog(path, bench.settings.to_dict()) as log:
            given = None if allowance is None else JobAllowance(allowance, log.cost_usd)
            job = BulkJob(bench.decider(log=log, allowance=given), log, most)
            await job.run(iter(rows))
            return job, {one.identity: one for one in log.current()}

    return asyncio.run(run())


def picture_rows(pictures, prompt="What?"):
    return [BulkRow(file.name, prompt, str(file)) for file in pictures]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def test_rows_are_decided_with_certificates_that_hold(bench, path, pictures):
    model = bench()
    rows = [*picture_rows(pictures[:2]), *picture_rows(pictures[2:3], "HARM")]
    _, found = run_job(model, path, rows)
    assert [found[row.identity].decision.value for row in rows] == ["pass", "pass", "block"]
    assert found["2.png"].reason == "harmful"
    assert (found["2.png"].stopped_by, found["0.png"].stopped_by) == ("request", "none")
    summary = BulkSummary()
    list(summary.count(found.values()))
    (blocked,) = [one for one in summary.to_dict()["reasons"] if one["decision"] == "block"]
    assert blocked == {
        "decision": "block", "reason": "harmful", "stopped_by": "request", "rows": 1,
    }  # fmt: skip
    certificate = found["0.png"].certificate
    verify_certificate(decode_certificate(certificate), certificate)
    assert found["0.png"].radius >= 0.25
    assert found["2.png"].radius is None
    assert sum(one.calls for one in found.values()) == model.calls


def test_what_is_decided_is_not_paid_for_again(bench, path, pictures):
    first = bench()
    run_job(first, path, picture_rows(pictures[:4]))
    again = bench()
    job, found = run_job(again, path, picture_rows(pictures[:5]))
    assert job.decided_before == 4
    assert len(found) == 5
    assert again.calls == first.calls / 4


@pytest.mark.parametrize("most", [1, 3])
def test_equal_content_is_decided_once(bench, path, pictures, most):
    model = bench()
    one = picture_rows(pictures[:1])[0]
    twins = [BulkRow(f"twin {i}", one.prompt, one.image) for i in range(3)]
    _, found = run_job(model, path, [one, *twins], most=most)
    assert {outcome.decision.value for outcome in found.values()} == {"pass"}
    owners = [outcome for outcome in found.values() if not outcome.same_as]
    assert len(owners) == 1
    assert {outcome.same_as for outcome in found.values()} == {"", owners[0].name}
    assert owners[0].calls == model.calls
    summary = BulkSummary()
    assert len(list(summary.count(found.values()))) == 4
    assert (summary.passed, summary.same_as_others, summary.decisions) == (4, 3, 1)


def test_another_question_or_another_picture_is_another_content(bench, path, pictures):
    model = bench()
    run_job(model, path, picture_rows(pictures[:1]))
    once = model.calls
    run_job(model, path, picture_rows(pictures[:1], "Another?"))
    assert model.calls == 2 * once
    pictures[0].write_bytes(pictures[1].read_bytes())
    _, found = run_job(model, path, picture_rows(pictures[:1]))
    assert model.calls == 3 * once
    assert len(found) == 1  # the row's earlier outcomes stand no more


def test_a_fault_is_no_block_and_is_tried_again(bench, path, pictures):
    bad = pictures[1]
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    rows = [*picture_rows(pictures[:2]), BulkRow("lost", "What?", "nowhere.png"),
            BulkRow("none", "", "", 7, "there is no picture")]  # fmt: skip
    failing = bench([""])  # empty answers are faults
    _, found = run_job(failing, path, rows)
    assert {one.decision.value for one in found.values()} == {"not decided"}
    assert found["0.png"].reason == "upstream failed"
    assert found["0.png"].problem
    for name in ("1.png", "lost", "7:none"):
        assert found[name].reason == UNREADABLE
        assert found[name].problem
    bad.write_bytes(good)
    model = bench()
    _, found = run_job(model, path, rows)
    assert found["0.png"].decision.value == found["1.png"].decision.value == "pass"
    assert found["lost"].decision.value == "not decided"


def test_rows_under_way_are_all_that_a_stop_loses(bench, path, pictures):
    model = bench()
    rows = picture_rows(pictures)

    async def run():
        with DecisionLog(path, model.settings.to_dict()) as log:
            job = BulkJob(model.decider(log=log), log, 2)
            task = asyncio.current_task()
            job.step = lambda: task.cancel() if log.tries >= 3 else None
            await job.run(iter(rows))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    written = len(path.read_text().splitlines()) - 1
    assert 3 <= written < 10
    again = bench()
    job, found = run_job(again, path, rows)
    assert job.decided_before == written
    assert len(found) == 10
    assert again.calls == (10 - written) * found["0.png"].calls


def test_a_certificate_outlives_the_row_that_it_was_made_for(bench, path, pictures):
    """Rows with the same content, of which the first one is gone, or has another picture by now."""
    rows, first = picture_rows(pictures[:3]), pictures[0].read_bytes()
    pictures[1].write_bytes(first)
    _, found = run_job(bench(), path, rows, most=1)
    made = found["0.png"].certificate
    assert (found["1.png"].same_as, found["1.png"].certificate) == ("0.png", None)
    again = bench()
    _, found = run_job(again, path, rows[1:])
    assert (found["1.png"].same_as, found["1.png"].certificate) == ("", made)
    pictures[0].write_bytes(pictures[2].read_bytes())
    _, found = run_job(again, path, rows)
    assert (found["0.png"].same_as, found["0.png"].certificate) == ("2.png", None)
    assert (found["1.png"].same_as, found["1.png"].certificate) == ("", made)
    pictures[0].write_bytes(first)
    _, found = run_job(again, path, rows)
    assert {(one.same_as, one.certificate == made) for one in found.values()} == {
        ("", True), ("", False)
    }  # fmt: skip
    assert again.calls == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_decided_row_is_not_written_again_beside_a_new_one_of_its_content(
    bench, path, pictures, order
):
    rows = picture_rows(pictures[:2])
    run_job(bench(), path, rows[:1])
    pictures[1].write_bytes(pictures[0].read_bytes())
    before = len(path.read_text().splitlines())
    _, found = run_job(bench(), path, [rows[i] for i in order])
    assert len(path.read_text().splitlines()) == before + 1
    assert (found["0.png"].same_as, found["1.png"].same_as) == ("", "0.png")


@pytest.mark.parametrize("torn", [1, 30, 200, -1])
def test_a_torn_last_line_costs_its_row_alone(bench, path, pictures, torn):
    run_job(bench(), path, picture_rows(pictures[:3]), most=1)
    whole = path.read_bytes()
    last = whole.splitlines()[-1]
    path.write_bytes(whole[: -len(last) - 1] + last[:torn])
    again = bench()
    _, found = run_job(again, path, picture_rows(pictures[:3]), most=1)
    assert {one.decision.value for one in found.values()} == {"pass"}
    assert again.calls == found["0.png"].calls


def test_a_log_of_other_settings_is_refused(bench, path, pictures):
    run_job(bench(), path, picture_rows(pictures[:1]))
    with pytest.raises(ConfigError, match="made with other settings"):
        run_job(bench(policy=OTHER), path, picture_rows(pictures[:1]))


OTHER = """
name: other
smoothing: {sigma: 0.5, radius: 0.25, alpha: 0.05, claim: verdict}
advanced: {sampling: {plan: fixed, expected_harmless_rate: 0.99}}
"""


def test_a_line_of_another_kind_is_named(bench, path, pictures):
    run_job(bench(), path, picture_rows(pictures[:1]))
    with path.open("a") as stream:
        stream.write(json.dumps({"type": "other"}) + "\n")
    with pytest.raises(ConfigError, match="not a line that 'guardrail moderate' writes"):
        run_job(bench(), path, picture_rows(pictures[:1]))


def test_the_money_of_a_job_is_never_exceeded_and_more_of_it_goes_on(bench, path, pictures):
    rows = picture_rows(pictures)
    model = bench()
    _, found = run_job(bench(), path.with_name("other.jsonl"), rows[:1])
    a_row = found["0.png"].cost_usd
    assert a_row == pytest.approx(found["0.png"].calls * USD_A_CALL)
    limit = 3.5 * a_row
    job, found = run_job(model, path, rows, most=1, allowance=limit)
    assert "limit of US$" in job.stopped
    assert model.calls * USD_A_CALL == pytest.approx(3 * a_row)
    assert len(found) == 3
    assert all(one.is_decided for one in found.values())
    job, found = run_job(model, path, rows, most=1, allowance=100 * a_row)
    assert job.stopped == ""
    assert all(one.is_decided for one in found.values())


def test_an_equal_row_that_is_asked_about_after_a_fault_is_not_paid_for_twice(
    bench, path, pictures
):
    """One fails; its line is written while an equal row is asked about: a third one waits."""
    model = bench()
    twins = [BulkRow(name, "What?", str(pictures[0])) for name in "ABC"]

    class Ask:
        def __init__(self):
            self.asked = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
            self.count, self.fault, self.gate = 0, asyncio.Event(), asyncio.Event()

        async def __call__(self, row, data, attempt):
            self.asked[self.count].set()
            self.count += 1
            if self.count == 1:
                await self.fault.wait()
                raise UpstreamError("down", status=500)
            await self.gate.wait()
            return await given(row, data, attempt)

    async def run():
        decider, ask = model.decider(), Ask()
        decider._ask = ask
        first = asyncio.ensure_future(decider.decide(twins[0]))
        await ask.asked[0].wait()
        second = asyncio.ensure_future(decider.decide(twins[1]))
        ask.fault.set()
        failed = await first
        assert not failed.is_decided
        await ask.asked[1].wait()
        decider.forget(failed)
        third = asyncio.ensure_future(decider.decide(twins[2]))
        await asyncio.sleep(0.05)
        ask.gate.set()
        found = await asyncio.gather(second, third)
        for outcome in found:
            decider.forget(outcome)
        assert not decider._under_way
        return ask.count, found

    given = model.decider()._ask
    count, found = asyncio.run(run())
    assert count == 2
    assert [one.decision.value for one in found] == ["pass", "pass"]
    assert sorted(one.same_as for one in found) == ["", found[0].name]


@pytest.mark.parametrize("error", [ConfigError("no package"), StorageError("no room")])
def test_a_fault_that_ends_the_job_loses_no_decision_that_is_made(bench, path, pictures, error):
    model = bench()
    rows = picture_rows(pictures[:4])

    async def run():
        with DecisionLog(path, model.settings.to_dict()) as log:
            decider = model.decider(log=log)
            given, made, over = decider._ask, [], asyncio.Event()

            async def ask(row, data, attempt):
                if row.name != "3.png":
                    made.append(await given(row, data, attempt))
                    if len(made) == 3:
                        over.set()
                await over.wait()
                if row.name == "3.png":
                    raise error
                return made.pop()

            decider._ask = ask
            await BulkJob(decider, log, 4).run(iter(rows))

    with pytest.raises(type(error)):
        asyncio.run(run())
    assert len(path.read_text().splitlines()) == 1 + 3
    again = bench()
    job, _ = run_job(again, path, rows)
    assert job.decided_before == 3


WITHOUT_USAGE = {
    "model": "scripted",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "a cat"}, "finish_reason": "stop"}
    ],
}


def test_a_model_that_reports_no_tokens_is_told_as_that_and_not_as_a_limit(bench, path, pictures):
    model = bench(lambda _: Step(response=WITHOUT_USAGE))
    job, _ = run_job(model, path, picture_rows(pictures), most=1, allowance=100.0)
    assert "is reached" not in job.stopped
    assert "not known" in job.stopped
    assert "usage" in job.stopped


def test_a_model_that_is_down_stops_the_job(bench, path, pictures):
    rows = [BulkRow(f"row {i}", f"FAIL {i}", str(pictures[0])) for i in range(3 * MOST_BARREN)]
    model = bench()
    job, found = run_job(model, path, rows)
    assert f"{MOST_BARREN} rows in a row could not be decided" in job.stopped
    assert MOST_BARREN <= len(found) <= MOST_BARREN + 20


def test_outcomes_come_back_from_their_fields_as_they_were(bench, path, pictures):
    _, found = run_job(bench(), path, picture_rows(pictures[:1]))
    (outcome,) = found.values()
    assert RowOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


class TestAllowance:
    def test_a_decision_waits_for_what_others_hold(self):
        async def run():
            money = JobAllowance(1.0)
            first = await money.reserve(None, 0.8)
            second = asyncio.ensure_future(money.reserve(None, 0.8))
            await asyncio.sleep(0)
            assert not second.done()
            await money.settle(first, 1, 0.1)
            assert (await second).usd == pytest.approx(0.8)
            assert money.spent_usd == pytest.approx(0.1)

        asyncio.run(run())

    def test_the_first_decision_tells_what_others_may_take(self):
        async def run():
            money = JobAllowance(10.0)
            first = await money.reserve(None, None)
            second = asyncio.ensure_future(money.reserve(None, None))
            await asyncio.sleep(0)
            assert first.usd == 10.0
            assert not second.done()
            await money.settle(first, 1, 0.1)
            assert (await second).usd == pytest.approx(0.2)

        asyncio.run(run())

    def test_nothing_begins_that_the_rest_cannot_pay(self):
        async def run():
            money = JobAllowance(1.0)
            await money.settle(await money.reserve(None, None), 9, 0.6)
            with pytest.raises(LimitError, match="limit of US\\$ 1 is reached"):
                await money.reserve(None, None)

        asyncio.run(run())

    def test_an_unknown_cost_counts_as_what_was_set_aside(self):
        async def run():
            money = JobAllowance(1.0, spent_usd=0.5)
            held = await money.reserve(None, 0.3)
            await money.settle(held, 1, None)
            assert money.spent_usd == pytest.approx(0.8)

        asyncio.run(run())

    @pytest.mark.parametrize("limit", [None, 0.3])
    def test_a_limit_used_up_by_unknown_costs_says_so(self, limit):
        async def run():
            money = JobAllowance(0.6)
            for _ in range(3):
                await money.settle(await money.reserve(None, limit), 1, None)

        with pytest.raises(LimitError, match=r"cannot be kept.* is not known.*usage"):
            asyncio.run(run())


@pytest.mark.parametrize(("room", "expected"), [(1, 1), (100, 2), (10_000, 4)])
def test_pictures_held_decoded_at_a_time_are_bounded_by_the_policy(
    bench, path, pictures, room, expected
):
    """Each has 48 pixels; a request may have 60 in any case."""
    limits = f"max_total_pixels: 60, max_pixels_at_once: {room}"
    model = bench(policy=POLICY.replace("limits: {", f"limits: {{{limits}, "))
    held = most = 0
    decide, full = model.engine.decide, asyncio.Event()

    async def watch(*args, **options):
        nonlocal held, most
        held += 1
        most = max(most, held)
        if most >= expected:
            full.set()
        await asyncio.wait_for(full.wait(), 30)
        await asyncio.sleep(0.05)  # time for one too many
        try:
            return await decide(*args, **options)
        finally:
            held -= 1

    model.engine.decide = watch
    _, found = run_job(model, path, picture_rows(pictures[:6]), most=4)
    assert [one.decision.value for one in found.values()] == ["pass"] * 6
    assert most == expected
