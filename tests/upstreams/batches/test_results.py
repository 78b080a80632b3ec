"""Lines of a batch: one line is one request's, or nobody's."""

import json

from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import UpstreamError
from guardrail.upstreams.batches.results import BatchResults, read_answer_line, read_line_id

IDS = ["a" * 32, "b" * 32]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
COMPLETION = {
    "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]
}


def result_of(call):
    """What it returns and what it raises."""
    try:
        return call(), None
    except UpstreamError as fault:
        return None, fault


@given(lines=st.lists(st.tuples(st.sampled_from([*IDS, "other"]), st.integers()), max_size=6))
def test_a_request_has_its_line_only_where_there_is_just_one(lines):
    results = BatchResults()
    for request_id, number in lines:
        results.add(json.dumps({"custom_id": request_id, "number": number}).encode())
    for request_id in IDS:
        own = [number for found, number in lines if found == request_id]
        found, fault = result_of(lambda request_id=request_id: results.find(request_id))
        assert (fault is None) is (len(own) == 1)
        if fault is None:
            assert [json.loads(found)["number"]] == own
        else:
            assert (fault.transient, fault.undrawn) == (True, False)


@given(line=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_line_holds_it_is_a_request_s_or_nobody_s(line):
    assert read_line_id(line) is None or json.loads(line)["custom_id"] == read_line_id(line)


@given(
    entry=st.fixed_dictionaries(
        {},
        optional={
            "error": JSON,
            "response": JSON
            | st.fixed_dictionaries(
                {"status_code": JSON | st.sampled_from([200, 200.0, True, 429, 503, 0, 999])},
                optional={"body": JSON | st.just(COMPLETION)},
            ),
        },
    )
)
def test_an_answer_is_a_completion_with_status_200_and_no_error(entry):
    line = json.dumps({"custom_id": IDS[0], **entry}).encode()
    answer, fault = result_of(lambda: read_answer_line(line, undrawn={429}))
    response = entry.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    if fault is None:
        assert (answer.text, status) == ("x", 200)
        assert not entry.get("error")
    else:
        assert not fault.undrawn or status == 429
