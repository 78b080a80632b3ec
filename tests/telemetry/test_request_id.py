"""Ids of requests: the client's own where it is well-formed, else a new one."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.telemetry.request_id import choose_request_id

MADE = re.compile(r"[0-9a-f]{32}")


@given(st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=128))
def test_a_well_formed_id_is_kept(given_id):
    kept = choose_request_id([given_id])
    assert kept == given_id if given_id[0].isalnum() else MADE.fullmatch(kept)


@pytest.mark.parametrize(
    "given_ids", [[], [""], ["a", "b"], ["x" * 129], ["a b"], ["a\r\nb"], ["ä"], ["-a"], ['a"b']]
)
def test_any_other_is_replaced_by_a_new_one(given_ids):
    first, second = choose_request_id(given_ids), choose_request_id(given_ids)
    assert MADE.fullmatch(first)
    assert first != second


@given(st.lists(st.text()))
def test_whatever_comes_the_id_can_stand_in_a_header_and_a_line(given_ids):
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", choose_request_id(given_ids))
