"""Verdicts that no sample has a part in, and how all of them look to a reader."""

import pytest

from guardrail.engine.verdict import Action, Reason
from guardrail.engine.verdicts import from_cancellation, from_limit


def test_a_client_that_left_gets_a_fault_and_no_judgement():
    verdict = from_cancellation()
    assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.CANCELLED)


@pytest.mark.parametrize(
    ("in_line", "status", "words"), [(True, 503, "waited in line"), (False, 504, "no judgement")]
)
def test_a_deadline_says_where_the_time_went(in_line, status, words):
    verdict = from_limit(Reason.DEADLINE, in_line=in_line)
    assert (verdict.action, verdict.failure.status) == (Action.FAULT, status)
    assert words in str(verdict.failure)


def test_notebooks_show_a_table_and_nothing_of_the_request(kit):
    verdict = kit.decide(kit.make_engine(["An answer."]), 1)
    for shown in (verdict, verdict.certificate):
        assert shown._repr_html_().startswith("<table>")
        assert "An answer." not in shown._repr_html_()
    assert verdict.to_dict()["action"] == "pass"
    assert "An answer." not in str(verdict.to_dict())
