"""Arguments: what is refused, and that the message names the argument and the wish."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guardrail.errors import CertificationError, GuardrailError
from guardrail.stats._checks import (
    check_count,
    check_counts,
    check_increasing,
    check_non_negative,
    check_open_unit,
    check_positive,
    check_unit,
)


@pytest.mark.parametrize("value", [0, 1, 10**12, np.int64(5), np.uint8(3)])
def test_counts(value):
    assert check_count("calls", value) == int(value)
    assert type(check_count("calls", value)) is int


@pytest.mark.parametrize("value", [-1, 1.0, "3", None, True, False, np.float64(2), math.nan])
def test_what_is_no_count(value):
    with pytest.raises(
        CertificationError, match=r"calls is .*, but must be an integer of at least"
    ):
        check_count("calls", value)


def test_a_least_count():
    assert check_count("calls", 3, least=3) == 3
    with pytest.raises(CertificationError, match="at least 4"):
        check_count("calls", 3, least=4)


def test_a_count_out_of_a_count():
    assert check_counts(0, 0) == (0, 0)
    assert check_counts(np.int32(2), 3) == (2, 3)
    with pytest.raises(CertificationError, match="at most n = 3"):
        check_counts(4, 3)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.0, np.float32(0.25)])
def test_probabilities(value):
    assert check_unit("p", value) == float(value)
    assert type(check_unit("p", value)) is float


@pytest.mark.parametrize("value", [-1e-300, 1.0000001, math.nan, math.inf, -math.inf])
def test_what_is_no_probability(value):
    with pytest.raises(CertificationError, match="p is"):
        check_unit("p", value)
    with pytest.raises(CertificationError, match="p is"):
        check_open_unit("p", value)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_open_unit_excludes_its_ends(value):
    with pytest.raises(CertificationError, match="strictly between 0 and 1"):
        check_open_unit("p", value)


def test_the_open_unit_includes_everything_else():
    for value in (5e-324, 0.5, math.nextafter(1.0, 0.0)):
        assert check_open_unit("p", value) == value


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_is_not_positive(value):
    with pytest.raises(CertificationError, match="sigma is"):
        check_positive("sigma", value)


@pytest.mark.parametrize("value", [-1e-9, math.inf, math.nan])
def test_what_is_negative(value):
    with pytest.raises(CertificationError, match="slack is"):
        check_non_negative("slack", value)


def test_positive_and_non_negative():
    assert check_positive("sigma", 2) == 2.0
    assert check_non_negative("slack", 0) == 0.0


def test_increasing_rows():
    assert check_increasing("looks", range(1, 4)) == (1, 2, 3)
    assert check_increasing("looks", [np.int64(4)]) == (4,)
    for row in ((), (2, 1), (1, 1), (0, 1), (1.5,)):
        with pytest.raises(CertificationError, match="looks"):
            check_increasing("looks", row)


def test_refusals_are_this_packages_errors():
    assert issubclass(CertificationError, GuardrailError)
    assert not issubclass(CertificationError, ValueError)
