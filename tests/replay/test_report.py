"""The report and its numbers; texts of strangers stay text."""

import dataclasses
import json

from guardrail.replay.intervals import Label
from guardrail.replay.loading import load_decisions
from guardrail.replay.replay import replay_policy
from guardrail.replay.report import write_report
from guardrail.replay.summary import summarize_replay

HOSTILE = '<script>alert(1)</script>\x1b[31m"=cmd()'


def make_records(kit, policy):
    worlds = [kit.World(salt=i, harm=harm) for i, harm in enumerate([0, 0, 0.2, 0.9, 0.9])]
    return [kit.decide(kit.make_engine(policy, world), number=i)[1]
            for i, world in enumerate(worlds)]  # fmt: skip


def test_the_page_holds_all_and_runs_nothing(kit, tmp_path):
    policy = kit.make_policy()
    records = make_records(kit, policy)
    odd = dataclasses.replace(records[0], record_id=HOSTILE, policy=HOSTILE,
                              policy_fields={"name": HOSTILE})  # fmt: skip
    decisions = load_decisions([one.to_dict() for one in [*records, odd]])
    other = kit.make_policy("new", oracle={"threshold": 0.99}, limits={"max_images": 3})
    found = replay_policy(decisions, other)
    labels = {one.record_id: label for one, label in zip(records, [
        Label.HARMLESS, Label.HARMFUL, Label.UNSURE, Label.HARMLESS, Label.HARMFUL,
    ], strict=True)}  # fmt: skip
    summary = summarize_replay(found, labels)
    page = tmp_path / "page.html"
    write_report(page, found, summary)
    text = page.read_text()
    assert "<script" not in text
    assert "\x1b" not in text
    assert "default-src 'none'" in text
    assert "&lt;script&gt;" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "now let through" in text
    assert "Against labels" in text
    assert "oracle.threshold" in text
    assert "advanced.limits.max_images" in text
    assert any(one.record_id in text for one in records[3:])
    facts = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert facts["decisions"] == 6
    assert facts["now_let_through"]["count"] == len(facts["changed"]) >= 1
    assert facts["table"]["stopped"]["let through"] == facts["now_let_through"]["count"]
    assert facts["made_by"][1]["differs_in"] is None
    assert facts["unseen"] == ["advanced.limits.max_images"]
    total = sum(count for row in facts["table"].values() for count in row.values())
    assert total == 6


def test_the_same_policy_changes_nothing(kit, tmp_path):
    policy = kit.make_policy(mode="observe")
    found = kit.replay(make_records(kit, policy), policy)
    summary = summarize_replay(found)
    assert summary.stay == 5
    assert summary.calls[0] == summary.calls[1] > 0
    assert not summary.needs
    assert summary.only_observes
    page = tmp_path / "page.html"
    write_report(page, found, summary)
    assert "only observes" in page.read_text()
