"""The stage catches an adapter that decides otherwise."""

import dataclasses

import pytest

from guardrail.engine.verdict import Action
from guardrail.images.codec import parse_data_url
from guardrail.images.limits import ImageLimits
from guardrail.testing.journal import comparable
from guardrail.testing.scenarios import SCENARIOS, picture_url
from guardrail.testing.stage import stage

clean = SCENARIOS[0]


def test_nothing_recorded_is_noticed():
    with stage(clean) as played, pytest.raises(ValueError, match="not enough values"):
        played.check()


def test_another_verdict_is_noticed():
    with stage(clean) as played:
        played.guard.complete_sync(clean.request)
        (record,) = played.journal.records
        played.journal.records[:] = [dataclasses.replace(record, action=Action.BLOCK)]
        with pytest.raises(AssertionError):
            played.check()


def test_another_request_is_noticed():
    with stage(clean) as played:
        played.guard.complete_sync({**clean.request, "temperature": 0.5})
        with pytest.raises(AssertionError):
            played.check()


def test_what_is_comparable_leaves_out_time_place_and_way():
    with stage(clean) as played:
        played.guard.complete_sync(clean.request)
        played.guard.complete_sync(clean.request)
        one, other = played.journal.records
    assert one.record_id != other.record_id
    assert comparable(one) == comparable(other)
    assert {"created", "upstream"} & set(comparable(one)) == set()
    assert comparable(one)["certificate"]["request_digest"] == one.request_digest


def test_pictures_differ_by_their_seed():
    assert picture_url(0) == picture_url(0) != picture_url(1)
    media_type, data = parse_data_url(picture_url(), limits=ImageLimits(), param="x")
    assert media_type == "image/png"
    assert data.startswith(b"\x89PNG")


def test_scenarios_have_names_of_their_own():
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
