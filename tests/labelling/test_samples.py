"""Rounds of answers and of requests: how they are drawn, what they show, what is written."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from scipy.stats import multinomial

from guardrail.cli.records_labels import LabelUse, write_labels
from guardrail.demo.scenes import load_scenes
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, RequestError
from guardrail.evaluation.requests import read_requests
from guardrail.images.keys import SECRET_BYTES
from guardrail.images.limits import ImageLimits
from guardrail.labelling.export import all_labels, answer_rows, request_rows
from guardrail.labelling.oracle_errors import STEP, count_read, find_oracle_errors, share_delta
from guardrail.labelling.queue import judge, next_item, read_queue
from guardrail.labelling.request_draw import RequestDraw
from guardrail.labelling.rounds import Item, Round, RoundKind, newest_rounds
from guardrail.labelling.sample_effect import (
    RecallDesign,
    find_price,
    price_per_call,
    read_answer_effect,
    read_policy_of,
    read_request_effect,
)
from guardrail.labelling.standing import DELTA, find_standing
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.review import LabelVerdict
from guardrail.stats import fewest_requests, harmless_rate_upper
from guardrail.stats.optimal import optimal_plan
from guardrail.tuning.dataset import read_dataset
from tests.labelling.conftest import NOW, Decision, begin, open_kept, some
from tests.labelling.test_standing import STOPPED
from tests.records.conftest import CONTENT_KEYS

HARMFUL, HARMLESS, _ = LabelVerdict


def label_all(database, round_, say, reviewer="a"):
    while (item := next_item(database, round_, reviewer, NOW)) is not None:
        judge(database, round_, item.item_id, reviewer, say(item), NOW)


def truth(item):
    """What was stopped was rightly stopped."""
    return "harmful" if item.records[0][1] is Action.BLOCK else "harmless"


def test_every_request_has_the_same_chance_whatever_was_decided(sqlite_url):
    with open_kept(sqlite_url, some(30, 10)) as (database, _):
        drawn = Counter(
            item.records[0]
            for _ in range(40)
            for item in begin(database, count=10, kind=RoundKind.ANSWERS).items
        )
    stopped = sum(count for (_, action), count in drawn.items() if action is Action.BLOCK)
    assert 60 <= stopped <= 140  # of 400, a quarter; five standard deviations are 38
    assert len(drawn) == 40  # one of 40 is missed by all 40 draws once in 100,000 times


def test_equal_requests_are_one_and_what_was_tried_or_keeps_nothing_is_none(sqlite_url):
    decisions = [
        *some(3, 1),
        *some(2, 0),  # p0 and p1, before: a number later in the list is an earlier time
        *some(4, 4, route=TRIED_ROUTE),
        Decision("pass", "bare", None),
    ]
    with open_kept(sqlite_url, decisions) as (database, ids):
        round_ = begin(database, kind=RoundKind.ANSWERS)
        drawn = {item.records[0][0] for item in round_.items}
        assert drawn == {ids[4], ids[5], ids[2], ids[3]}  # of p0 and p1 the first decision
        assert (round_.sample.requests, round_.sample.passed_over) == (4, 0)
        assert round_.sample.found_harmful == {ids[3]}
        assert RequestDraw.from_json(round_.sample.to_json()) == round_.sample
        standing = find_standing(round_, {})
        assert (standing.let_through, standing.stopped) == (None, None)
        assert newest_rounds(database) == []


def test_an_empty_first_answer_gives_its_place_to_another(sqlite_url):
    decisions = [*some(3, 0), *(Decision("pass", f"e{i}", " ") for i in range(3))]
    with open_kept(sqlite_url, decisions) as (database, ids):
        for _ in range(5):
            round_ = begin(database, count=3, kind=RoundKind.ANSWERS)
            assert {item.records[0][0] for item in round_.items} == set(ids[:3])
    with (
        open_kept(sqlite_url.replace(".db", "2.db"), [Decision("pass", "p", None)]) as (
            database,
            _,
        ),
        pytest.raises(RequestError, match="--keep-content"),
    ):
        begin(database, kind=RoundKind.REQUESTS)


def test_labelled_answers_are_read_by_calibrate(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_kept(sqlite_url, some(6, 3)) as (database, _):
        round_ = begin(database, count=8, kind=RoundKind.ANSWERS)
        with pytest.raises(ConfigError, match="8 of the 8 drawn items"):
            answer_rows(database, round_, CONTENT_KEYS, NOW)
        odd = round_.items[-1]
        label_all(database, round_, lambda item: "unsure" if item is odd else truth(item))
        rows, unsettled, missing = answer_rows(database, round_, CONTENT_KEYS, NOW)
        assert (len(rows), unsettled, missing) == (7, 1, 0)
        assert all(row["harmful"] == ("bad" in row["response"]) for row in rows)
        assert len({row["group"] for row in rows}) == 7
        assert all_labels(database) == []  # they speak of an answer, not of the decision
    key = write_key(tmp_path)
    write_labels(sqlite_url, Path("answers.csv"), "newest", LabelUse.CALIBRATE, key)
    data = read_dataset(Path("answers.csv"))
    assert not data.weighted
    assert [row.harmful for row in data.rows] == [row["harmful"] for row in rows]
    with pytest.raises(ConfigError, match="for calibrate and not for recall"):
        write_labels(sqlite_url, Path("x.csv"), round_.round_id, LabelUse.RECALL, key)
    with pytest.raises(ConfigError, match="no such round of labels for recall"):
        write_labels(sqlite_url, Path("x.csv"), None, LabelUse.RECALL, key)
    with pytest.raises(ConfigError, match="--content-key"):
        write_labels(sqlite_url, Path("x.csv"), None, LabelUse.CALIBRATE)


def test_labelled_requests_are_read_by_recall(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_kept(sqlite_url, some(4, 3)) as (database, _):
        round_ = begin(database, kind=RoundKind.REQUESTS)
        label_all(database, round_, truth)
        found = request_rows(database, round_, CONTENT_KEYS, NOW)
        assert [len(found.forbidden), len(found.clean)] == [3, 4]
        assert (found.unsettled, found.missing, found.conversations) == (0, 0, 0)
    write_labels(sqlite_url, Path("f.jsonl"), None, LabelUse.RECALL, write_key(tmp_path))
    with pytest.raises(ConfigError, match="there is no picture"):
        read_set(Path("f.jsonl"))
    Path("p.png").write_bytes(load_scenes()[0].png)
    for name, wanted in (("f.jsonl", "asked b"), ("f.clean.jsonl", "asked p")):
        rows = [json.loads(line) for line in Path(name).read_text().splitlines()]
        filled = [{**row, "image": "p.png"} for row in rows]
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in filled))
        requests = read_set(Path(name))
        assert requests.requests == len(rows)
        assert all(one.prompt.startswith(wanted) for _, one in requests.drawn)


def read_set(path):
    return read_requests(path, prompt="?", parameters={}, limits=ImageLimits())


def write_key(folder):
    """The key of the records, as a file."""
    file = folder / "content.key"
    file.touch(mode=0o600)
    file.write_text("00" * SECRET_BYTES + "\n")
    return file


def test_what_answers_do_is_told_in_steps_of_the_order(sqlite_url):
    with open_kept(sqlite_url, some(STEP + 10, STEP - 5)) as (database, _):
        round_ = begin(database, kind=RoundKind.ANSWERS)
        for number, item in enumerate(round_.items, 1):
            judge(database, round_, item.item_id, "a", truth(item), NOW)
            verdicts = read_queue(database, round_, NOW).verdicts()
            assert count_read(round_, verdicts) == number
            if number == STEP - 1:
                assert read_answer_effect(database, round_, verdicts) is None
            if number == 2 * STEP - 1:
                effect = read_answer_effect(database, round_, verdicts)
                assert (effect.first, effect.last) == (1, STEP)
        effect = read_answer_effect(database, round_, verdicts)
        assert (effect.first, effect.last) == (2 * STEP + 1, 2 * STEP + 5)
        after = effect.after
        assert (after.harmful, after.misses, after.harmless, after.false_alarms) == (15, 0, 30, 0)
        assert after.miss_rate_upper == harmless_rate_upper(0, 15, DELTA / 2)
        assert after.miss_rate_upper < effect.before.miss_rate_upper < 1.0
        policy = read_policy_of(database, round_)
        assert policy.name == "test"
        assert effect.price_after == find_price(policy, after, price_per_call(database, round_))


def test_a_gap_in_the_order_is_waited_for(sqlite_url):
    with open_kept(sqlite_url, some(3 * STEP, 0)) as (database, _):
        round_ = begin(database, count=3 * STEP, kind=RoundKind.ANSWERS, second_share=1.0)
        said = {item.item_id: [HARMLESS, HARMLESS] for item in round_.items}
        assert count_read(round_, said) == 3 * STEP
        said[round_.items[STEP + 3].item_id] = [HARMLESS]
        assert count_read(round_, said) == STEP + 3


def test_collected_requests_say_which_recall_they_are_enough_for(sqlite_url):
    design = RecallDesign(100, (0.5, 0.9), DELTA / 3, 0.2)
    needed = fewest_requests(0.5, DELTA / 3, 0.2)
    with open_kept(sqlite_url, some(STEP, STEP)) as (database, _):
        round_ = begin(database, kind=RoundKind.REQUESTS)
        label_all(database, round_, truth)
        verdicts = read_queue(database, round_, NOW).verdicts()
        effect = read_request_effect(database, round_, verdicts, design)
        assert (effect.after.forbidden, effect.after.clean) == (STEP, STEP)
        assert effect.after.recall == (0.5 if needed <= STEP else None)
        assert effect.after.calls == 100 * STEP
        assert effect.after.usd is not None


@pytest.mark.parametrize("items", [1, 19, 20, 21, 40, 41, 600, 999, 1000])
def test_the_looks_share_delta(items):
    looks = sorted({*range(STEP, items, STEP), items})
    assert sum(share_delta(items, read) for read in looks) == pytest.approx(DELTA)


ITEMS = 3 * STEP


@cache
def miss_bound(misses, harmful, read):
    """Of a round of which so many of the first ones were labelled harmful, and so many missed."""
    items = tuple(Item(f"{i}", 1, ((f"r{i}", Action.PASS),)) for i in range(ITEMS))
    caught = frozenset(f"r{i}" for i in range(misses, harmful))
    draw = RequestDraw("", "", "0" * 64, 1000, tuple(f"r{i}" for i in range(ITEMS)), 0, caught)
    round_ = Round("round", NOW, "r", "test", STOPPED, STOPPED, items, RoundKind.ANSWERS, draw)
    said = {f"{i}": [HARMFUL if i < harmful else HARMLESS] for i in range(read)}
    return find_oracle_errors(round_, said, read).miss_rate_upper


@pytest.mark.parametrize("miss_rate", [0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("harmful_rate", [0.15, 0.6])
def test_no_look_fails_more_often_than_it_says(miss_rate, harmful_rate):
    """The probability that any look of a round bounds the miss rate too low, by recursion."""
    chances = (harmful_rate * miss_rate, harmful_rate * (1 - miss_rate), 1 - harmful_rate)
    step = [
        (misses, caught, multinomial.pmf((misses, caught, STEP - misses - caught), STEP, chances))
        for misses in range(STEP + 1)
        for caught in range(STEP + 1 - misses)
    ]
    alive, failed = {(0, 0): 1.0}, 0.0
    for read in range(STEP, ITEMS + 1, STEP):
        ahead = Counter()
        for (misses, caught), weight in alive.items():
            if weight > 1e-9:
                for more, found, chance in step:
                    ahead[misses + more, caught + found] += weight * chance
        low = {state for state in ahead if miss_bound(state[0], sum(state), read) < miss_rate}
        failed += sum(ahead.pop(state) for state in low)
        alive = ahead
    assert failed <= DELTA


def share_among_all(plan, miss_rate):
    """E[share of missed ones among a decision's answers], all of them harmful, by recursion."""
    alive, mean = {0: 1.0}, 0.0
    for n in range(1, plan.max_samples + 1):
        ahead = Counter()
        for caught, weight in alive.items():
            ahead[caught] += weight * miss_rate
            ahead[caught + 1] += weight * (1 - miss_rate)
        stopped = [caught for caught in ahead if plan.decide(n, caught) is not None]
        mean += sum(ahead.pop(caught) * (n - caught) / n for caught in stopped)
        alive = ahead
    assert not alive
    return mean


def test_an_answer_picked_among_all_of_a_decision_would_be_missed_too_rarely():
    """Why the first is taken: a decision ends when enough answers were found harmful."""
    plan = optimal_plan(0.6915, 0.001, q1=0.99, power=0.999, max_samples=61)
    assert share_among_all(plan, 0.5) == pytest.approx(0.367, abs=0.001)
    assert all(share_among_all(plan, rate) < 0.9 * rate for rate in (0.05, 0.2, 0.5, 0.7))
