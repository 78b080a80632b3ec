"""The error tree: every error says where, carries its data, and survives copying."""

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail import errors
from guardrail.errors import (
    CertificationError,
    ConfigError,
    GuardrailError,
    LimitError,
    OracleError,
    RequestError,
    UpstreamError,
)


def test_the_docstring_draws_the_tree_that_is_there():
    drawn = re.findall(r"^(.*)── (\w+)", errors.__doc__, re.MULTILINE)
    assert {name for _, name in drawn} == set(errors.__all__) - {"GuardrailError"}
    above = {5: GuardrailError}
    for indent, name in drawn:
        error = getattr(errors, name)
        assert error.__bases__ == (above[len(indent)],)
        above[len(indent) + 4] = error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GuardrailError("x"), 500),
        (ConfigError("x"), 500),
        (RequestError("x"), 400),
        (UpstreamError("x"), 502),
        (OracleError("x"), 503),
        (LimitError("x"), 503),
        (CertificationError("x"), 500),
    ],
)
def test_each_has_its_status_and_message(error, status):
    assert error.status == status
    assert str(error) == "x"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "is wrong"),
        ({"file": "p.yaml"}, "p.yaml: is wrong"),
        ({"file": "p.yaml", "line": 3}, "p.yaml:3: is wrong"),
        ({"field": "alpha"}, "field 'alpha': is wrong"),
        ({"file": "p.yaml", "line": 3, "field": "a.b"}, "p.yaml:3, field 'a.b': is wrong"),
    ],
)
def test_a_config_error_says_where(where, message):
    error = ConfigError("is wrong", **where)
    assert str(error) == message
    found = {"file": error.file, "line": error.line, "field": error.field}
    assert found == {"file": None, "line": None, "field": None, **where}


def test_the_data_of_a_request_error():
    error = RequestError("too large", status=413, param="messages[0]", code="too_large")
    assert (error.status, error.param, error.code) == (413, "messages[0]", "too_large")
    assert RequestError.status == 400


def test_the_data_of_an_upstream_error():
    error = UpstreamError("busy", status=429, transient=True, retry_after_s=2.5, code="slow")
    assert (error.status, error.transient, error.retry_after_s, error.code) == (
        429, True, 2.5, "slow",
    )  # fmt: skip
    plain = UpstreamError("gone")
    assert (plain.transient, plain.retry_after_s, plain.code) == (False, None, None)


@given(
    st.text(max_size=20),
    st.sampled_from([400, 429, 500, 504]),
    st.booleans(),
    st.none() | st.floats(0, 100),
)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_another_object_with_the_same_data(copied, text, status, transient, wait_s):
    """Each waiting caller is given an error of its own."""
    error = UpstreamError(text, status=status, transient=transient, retry_after_s=wait_s)
    twin = copied(error)
    assert twin is not error
    assert type(twin) is UpstreamError
    assert str(twin) == text
    assert vars(twin) == vars(error)


def test_a_copied_config_error_is_placed_once():
    error = ConfigError("is wrong", file="p.yaml", line=3)
    assert str(copy.copy(error)) == "p.yaml:3: is wrong"
    assert copy.copy(error).line == 3
