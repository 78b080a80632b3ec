"""The rules that hold for every adapter."""

import guardrail_litellm

from guardrail.testing.adapters import check_adapter


def test_it_is_thin_and_decides_nothing():
    check_adapter(guardrail_litellm)
