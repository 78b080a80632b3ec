"""Records of decisions with views: they hold, are replayed, and are told in words."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from guardrail.cases.from_record import _check_certificate
from guardrail.cli.explain import command
from guardrail.cli.verify import command as verify_command
from guardrail.console.decision_view import _charts
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.recall import RecallStatement
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.threat_recall import Against, HeldShare
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.explanation import explain_record
from guardrail.records.recorder import build_record
from guardrail.records.replay import check_outcomes, replay
from guardrail.records.tally import tally_records
from guardrail.stats import RECALLS, Decision, RecallReach, recall_lower
from tests.grammar import disagreements

THREATS = {"crops": {"windows": 4, "sees": 3}, "suffix": {"words": 2}}


def seen(call):
    return call.pictures[0].shape[:2] if call.pictures else ()


def words(call):
    content = call.body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def is_view(call):
    return call.body["temperature"] == 0  # the request itself has another


SCRIPTS = {
    "passed": (lambda _: "a private answer", Decision.PASS),
    "a window": (  # and, without pictures, every call
        lambda call: "a forbidden answer" if seen(call) != (9, 12) else "a private answer",
        Decision.BLOCK,
    ),
    "a text": (
        lambda call: "a forbidden answer" if words(call) == "a secret" else "a private answer",
        Decision.BLOCK,
    ),
    "itself": (
        lambda call: "a forbidden answer" if words(call) == "a secret question" else "fine",
        Decision.BLOCK,
    ),
}


@pytest.mark.parametrize("pictures", [0, 1, 2])
@pytest.mark.parametrize("name", SCRIPTS)
def test_records_hold_and_are_replayed(kit, name, pictures):
    script, decision = SCRIPTS[name]
    threats = THREATS if pictures else {"suffix": {"words": 2}}
    smoothing = {"canvas_min_side_px": 1}
    record = kit.make_record(script, pictures=pictures, threats=threats, smoothing=smoothing)
    assert check_outcomes(record) is decision
    certificate = record.read_certificate()
    verify_certificate(decode_certificate(json.loads(json.dumps(record.certificate))))
    assert len(record.samples) >= certificate.samples
    assert replay(record, *kit.request(pictures), kit.KEY).decision is decision
    text = explain_record(record)
    assert "views of it were tested for the threat 'suffix'" in text
    if decision is Decision.PASS:
        assert record.reason is Reason.CERTIFIED
        assert "the answers to each of the" in text
        assert record.stopped_by is StoppedBy.NONE
    else:
        assert (record.action, record.reason) == (Action.BLOCK, Reason.HARMFUL)
        assert record.stopped_by is certificate.stopped_by is not StoppedBy.NONE
    others = [one for one in StoppedBy if one is not record.stopped_by]
    for one in others:
        with pytest.raises(CertificationError, match="another test than the one that stopped it"):
            check_outcomes(dataclasses.replace(record, stopped_by=one))
    other = "block" if decision is Decision.PASS else "pass"
    forged = {**record.certificate, "decision": other}
    with pytest.raises(CertificationError):
        check_outcomes(dataclasses.replace(record, certificate=forged, action=Action.PASS))


def test_what_each_test_stopped_is_added_up(kit):
    threats = {"crops": {"windows": 4, "sees": 3}, "suffix": {"words": 2}}
    scripts = [SCRIPTS[name][0] for name in ("passed", "a window", "a text")]
    sections = {"threats": threats, "smoothing": {"canvas_min_side_px": 1}}
    records = [kit.make_record(script, **sections) for script in scripts]
    records.append(kit.make_record(SCRIPTS["a window"][0], mode="observe", **sections))
    found = tally_records([record.to_dict() for record in records])
    groups = {name: tally.decisions for name, tally in found.groups["test"].items()}
    assert groups == {"crops": 2, "suffix": 1}
    plain = tally_records([kit.make_record((kit.HARM,)).to_dict()])
    assert list(plain.groups["test"]) == ["request"]
    untested = kit.make_record((kit.HARM,), pictures=0)
    assert list(tally_records([untested.to_dict()]).groups["test"]) == ["none"]
    untested = dataclasses.replace(untested, stopped_by=StoppedBy.CROPS)
    with pytest.raises(CertificationError, match="has no certificate"):
        check_outcomes(untested)


def test_the_view_that_ended_it_is_named(kit):
    script, _ = SCRIPTS["a window"]
    record = kit.make_record(script, threats={"crops": {"windows": 4, "sees": 3}})
    text = explain_record(record)
    assert "The decision ended at one of them, " in text
    assert "answers to it alone were not harmless" in text
    assert " pixels from column " in text
    text = explain_record(kit.make_record(SCRIPTS["a text"][0], pictures=0, threats=THREATS))
    assert "the text without its last 1" in text
    assert "of all answers are harmless." in text


@pytest.mark.parametrize("prompt", ["word", "two words"])
@pytest.mark.parametrize("harmful", [False, True])
def test_one_view_is_told_as_one(kit, tmp_path, monkeypatch, prompt, harmful):
    monkeypatch.setattr(kit, "PROMPT", prompt)

    def script(call):
        return "a forbidden answer" if harmful and is_view(call) else "fine"

    record = kit.make_record(script, threats={"suffix": {"words": 1}})
    views = len(record.read_certificate().threats[0].views)
    assert views == len(prompt.split())
    counted, where = ("1 view", "it") if views == 1 else ("2 views", "one of them")
    told = explain_record(record)
    assert f"{counted} of it" in told
    assert (f"The decision ended at {where}, " in told) is harmful
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(record.certificate))
    shown = CliRunner().invoke(command, [str(file)], catch_exceptions=False).output
    assert f" {counted}, " in shown
    assert not disagreements(f"{told}\n{shown}")


@pytest.mark.parametrize("pictures", [0, 1])
def test_explain_says_each_threat(kit, tmp_path, pictures):
    record = kit.make_record(SCRIPTS["passed"][0], pictures=pictures, threats=THREATS)
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(record.certificate))
    found = CliRunner().invoke(command, [str(file)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "Threat: suffix. A request that has a text of the user with a word" in found.output
    assert ("Threat: crops. " in found.output) is bool(pictures)
    found = CliRunner().invoke(command, [str(file), "--json"], catch_exceptions=False)
    row = json.loads(found.output)
    assert row["certified"] is True
    assert [one["threat"] for one in row["claims"]] == (
        ["l2", "crops", "suffix"] if pictures else ["suffix"]
    )


def measured(engine):
    """The engine with a recall, as its policy would name it."""
    shares = tuple(
        HeldShare(against, 240, recall_lower(240, 300, 0.01 / 2, 0.2))
        for against in (Against.CROPS, Against.SUFFIX)
    )
    recall = RecallStatement(
        requests=300,
        draws=100,
        beta=0.2,
        delta=0.01,
        alpha=engine.rules.alpha,
        reaches=tuple(map(RecallReach, RECALLS, (0.9, None, None))),
        clean_requests=40,
        clean_passed=39,
        view_draws=60,
        shares=shares,
        model="scripted",
        upstream_revision=engine.upstream.revision,
        oracle_revision=engine.oracle.revision,
        digest="ab" * 32,
    )
    engine.rules = dataclasses.replace(engine.rules, recall=recall)
    return engine


@pytest.mark.parametrize("name", ["passed", "a window"])
def test_what_was_measured_of_each_threat_is_said_everywhere(kit, tmp_path, name):
    engine = measured(kit.make_engine(SCRIPTS[name][0], threats=THREATS))
    record = build_record(*kit.decide(engine), engine)
    certificate = record.read_certificate()
    said = certificate.recall_statements
    assert list(said) == ["l2", "crops", "suffix"]
    told = explain_record(record)
    assert all(sentence in told.splitlines() for sentence in said.values())
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(record.certificate))
    for run in (command, verify_command):
        found = CliRunner().invoke(run, [str(file)], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        assert all(sentence in found.output for sentence in said.values())
        assert all(claim["statement"] in found.output for claim in certificate.claims)
    row = json.loads(CliRunner().invoke(command, [str(file), "--json"]).output)
    assert row["recall_statements"] == said


def test_no_case_is_made_of_what_is_not_kept(kit):
    record = kit.make_record(SCRIPTS["passed"][0], threats=THREATS)
    with pytest.raises(ConfigError, match="views of the request were judged"):
        _check_certificate(record, record.read_certificate())


def test_a_text_has_charts_without_radii(kit):
    record = kit.make_record(SCRIPTS["passed"][0], pictures=0, threats=THREATS)
    charts = _charts(record.read_certificate(), [])
    assert charts["promised"] == charts["earned"] == []
    assert charts["reach_chart"] is None
