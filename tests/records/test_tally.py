"""Records added up, read from files and databases alike."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.records.documents import open_documents
from guardrail.records.endings import HowEnded, how_ended
from guardrail.records.open import open_journal
from guardrail.records.tally import BY, tally_records


def dated(record, hour, **facts):
    return dataclasses.replace(
        record, record_id=f"{hour:02}" * 16, created=f"2026-03-01T{hour:02}:30:00+00:00", **facts
    )


@pytest.fixture
def records(passed, blocked):
    fault = {"action": Action.FAULT, "certificate": None, "samples": (), "noise_digest": ""}
    return [
        dated(passed, 1, cost_usd=0.5, api_key_id="k1"),
        dated(blocked, 2, cost_usd=None, api_key_id="k1"),
        dated(blocked, 3, mode=Mode.OBSERVE, action=Action.PASS, would_block=True),
        dated(passed, 4, reason=Reason.DEADLINE, **fault),
        dated(passed, 5, reason=Reason.UPSTREAM_FAILED, **fault),
        dated(passed, 6, remembered=True, calls=0, samples=(), noise_digest=""),
    ]


@pytest.mark.parametrize("name", ["records.jsonl", "records.db"])
def test_all_is_added_up(records, tmp_path, name):
    place = str(tmp_path / name)
    journal = open_journal(place)
    journal.append_all(records)
    journal.close()
    with open_documents(place) as documents:
        assert documents.count() == 6
        assert len(list(documents)) == len(list(documents)) == 6  # may be read again
        found = tally_records(documents)
    total = found.total
    assert total.decisions == 6
    assert total.remembered == 1
    assert {ended: total.endings[ended] for ended in HowEnded} == {
        HowEnded.LET_THROUGH: 2, HowEnded.STOPPED: 1, HowEnded.WOULD_STOP: 1, HowEnded.FAULT: 1,
        HowEnded.LIMIT: 1, HowEnded.NOT_DECIDED: 0, HowEnded.OVERRIDDEN: 0,
    }  # fmt: skip
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["total"]["cost_usd"] == 0.5
    assert facts["total"]["calls"] == sum(one.calls for one in records)
    assert set(facts["by"]) == set(BY)
    assert facts["by"]["api key"]["k1"]["decisions"] == 2
    assert list(facts["by"]["hour (UTC)"]) == [f"2026-03-01 0{hour}:00" for hour in range(1, 7)]
    assert facts["by"]["reason"]["harmful"]["decisions"] == 2
    assert sum(one["decisions"] for one in facts["by"]["field"].values()) == 2
    since, until = (datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (2, 4))
    with open_documents(place, since=since, until=until) as documents:
        assert tally_records(documents).total.decisions == 2


def test_what_is_no_record_is_named(records):
    broken = {**records[0].to_dict(), "reason": "because"}
    with pytest.raises(CertificationError, match="01010101"):
        tally_records([broken])
    with pytest.raises(ConfigError), open_documents("/nowhere/records.jsonl"):
        pass


def test_lines_that_are_no_json_are_refused(tmp_path):
    file = tmp_path / "records.jsonl"
    for text in ("{", "[]\n", '{"created": "soon"}\n'):
        file.write_text(text)
        now = datetime.now(UTC)
        with open_documents(str(file), since=now) as read, pytest.raises(CertificationError):
            list(read)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_ends_somehow_and_only_judgements_stop(reason):
    for mode in Mode:
        for action in Action:
            facts = {"mode": mode, "action": action, "reason": reason, "would_block": False}
            ended = how_ended(facts)
            if reason is Reason.OVERRIDE:
                assert ended is HowEnded.OVERRIDDEN
                continue
            assert (ended is HowEnded.STOPPED) == (action is Action.BLOCK)
            if reason.is_judgement and action is Action.FAULT and reason not in (
                Reason.CERTIFIED, Reason.NO_IMAGE):  # fmt: skip
                assert ended is HowEnded.FAULT
            assert how_ended({**facts, "would_block": True}) is HowEnded.WOULD_STOP
