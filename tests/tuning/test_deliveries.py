"""The list of what left: every answer, whatever the reason, and nothing else."""

import json
from datetime import UTC, datetime

import pytest

from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, ConfigError
from guardrail.tuning.deliveries import DeliveryWindow, delivered_text, find_deliveries

ALWAYS = DeliveryWindow()


def ids(deliveries):
    return [item.record_id for item in deliveries.items]


class TestList:
    def test_holds_every_answer_that_left_whatever_the_reason(self, delivered, record_file):
        file = record_file(
            delivered(0),
            delivered(1, action=Action.BLOCK, reason=Reason.HARMFUL),
            delivered(2, reason=Reason.UNSCANNED, unscanned=("audio",)),
            delivered(3, action=Action.FAULT, reason=Reason.UPSTREAM_FAILED),
            delivered(4, reason=Reason.HARMFUL, would_block=True),
            delivered(5, content=None),
            delivered(6, remembered=True),
        )
        left = ["r0000", "r0002", "r0004", "r0005", "r0006"]
        assert ids(find_deliveries([file], ALWAYS)) == left

    def test_of_a_window_has_both_its_ends(self, delivered, record_file):
        file = record_file(*(delivered(i) for i in range(10)))
        window = DeliveryWindow(
            datetime.fromisoformat("2026-03-03T12:00"), datetime(2026, 3, 5, 12, tzinfo=UTC)
        )
        found = find_deliveries([file], window)
        assert ids(found) == ["r0002", "r0003", "r0004"]
        assert (found.since, found.until) == (
            "2026-03-03T12:00:00+00:00",
            "2026-03-05T12:00:00+00:00",
        )

    def test_without_a_window_goes_from_the_first_to_the_last(self, delivered, record_file):
        found = find_deliveries([record_file(delivered(7), delivered(2), delivered(4))], ALWAYS)
        assert (found.since[:10], found.until[:10]) == ("2026-03-03", "2026-03-08")
        again = DeliveryWindow(
            datetime.fromisoformat(found.since), datetime.fromisoformat(found.until)
        )
        assert again.holds(datetime(2026, 3, 8, 12, tzinfo=UTC))

    def test_has_one_digest_however_it_is_spread_over_files(self, delivered, record_file):
        one = record_file(*(delivered(i) for i in range(4)))
        rows = [json.loads(line) for line in one.read_text().splitlines()]
        halves = []
        for name, part in (("a", rows[:2]), ("b", rows[2:])):
            path = one.with_name(f"{name}.jsonl")
            path.write_text("".join(json.dumps(r, sort_keys=True, separators=(",", ":")) + "\n"
                                    for r in part))  # fmt: skip
            halves.append(path)
        digest = find_deliveries([one], ALWAYS).digest
        assert digest == find_deliveries(halves[::-1], ALWAYS).digest
        assert digest != find_deliveries([halves[0]], ALWAYS).digest

    def test_is_of_one_policy(self, delivered, record_file):
        other = {"policy_digest": "cd" * 32, "policy": "q"}
        file = record_file(delivered(0), delivered(1, **other))
        with pytest.raises(ConfigError, match=r"ab{1,16}a?\S* \(p\), cdcdcdcdcdcdcdcd \(q\)"):
            find_deliveries([file], ALWAYS)
        found = find_deliveries([file], ALWAYS, policy_digest="cdc")
        assert (ids(found), found.policy, found.policy_digest) == (["r0001"], "q", "cd" * 32)


class TestText:
    def test_is_all_that_the_client_could_read(self, delivered):
        def text(**message):
            return delivered_text(
                delivered(0, content={"answer": {"role": "assistant", **message}})
            )

        assert text(content="words") == "words"
        assert text(content="words", reasoning_content="why", refusal=None) == (
            'words\n{"reasoning_content": "why"}'
        )
        assert text(content=None, tool_calls=[{"id": "1"}]) == '{"tool_calls": [{"id": "1"}]}'
        assert text(content=[{"type": "image_url"}]) == '{"content": [{"type": "image_url"}]}'
        assert text(content=" ") == ""

    @pytest.mark.parametrize("content", [None, {"dropped": True}, {"answer": None}])
    def test_is_empty_where_nothing_was_kept(self, delivered, content):
        assert delivered_text(delivered(0, content=content)) == ""


class TestRefusals:
    def test_nothing_left(self, delivered, record_file):
        file = record_file(delivered(0, action=Action.BLOCK))
        with pytest.raises(ConfigError, match="no answer left in this window"):
            find_deliveries([file], ALWAYS)

    def test_a_file_twice(self, delivered, record_file):
        file = record_file(delivered(0))
        with pytest.raises(ConfigError, match=r"records.jsonl:1: .*a second time"):
            find_deliveries([file, file], ALWAYS)

    def test_a_record_that_was_taken_out(self, delivered, record_file):
        file = record_file(*(delivered(i) for i in range(3)))
        lines = file.read_text().splitlines(keepends=True)
        file.write_text(lines[0] + lines[2])
        with pytest.raises(CertificationError, match=r"records.jsonl:2: .*removed, added or moved"):
            find_deliveries([file], ALWAYS)

    def test_an_answer_that_was_changed(self, delivered, record_file):
        file = record_file(delivered(0))
        file.write_text(file.read_text().replace("answer 0", "answer X"))
        with pytest.raises(CertificationError, match="content was changed"):
            find_deliveries([file], ALWAYS)

    def test_a_time_that_is_none(self, delivered, record_file):
        with pytest.raises(CertificationError, match=r"records.jsonl:1: the record's time"):
            find_deliveries([record_file(delivered(0, created="yesterday"))], ALWAYS)

    def test_records_that_are_not_signed(self, delivered, record_file, tmp_path):
        signing = pytest.importorskip("guardrail.records.signing")
        signing.load_or_create_signer(tmp_path / "key")
        (public,) = [path for path in tmp_path.iterdir() if path.suffix == ".pub"]
        verifier = signing.load_verifier(public)
        with pytest.raises(CertificationError, match="not signed"):
            find_deliveries([record_file(delivered(0))], ALWAYS, verifier=verifier)
