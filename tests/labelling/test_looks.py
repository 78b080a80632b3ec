"""What several reviewers agree on, by every combination of what they can say."""

from itertools import product

import pytest

from guardrail.labelling.looks import MOST_LOOKS, disagree, looks_wanted, settle
from guardrail.records.review import LabelVerdict

HARMFUL, HARMLESS, UNSURE = LabelVerdict
EVERY = [given for n in range(MOST_LOOKS + 1) for given in product(LabelVerdict, repeat=n)]


@pytest.mark.parametrize("given", EVERY)
def test_more_than_half_settle_it_and_unsure_never_does(given):
    for verdict in (HARMFUL, HARMLESS):
        assert (settle(given) is verdict) == (2 * given.count(verdict) > len(given))
    if settle(given) is None:
        assert all(2 * given.count(one) <= len(given) for one in (HARMFUL, HARMLESS))


@pytest.mark.parametrize("planned", [1, 2, 3])
@pytest.mark.parametrize("given", EVERY)
def test_nothing_is_settled_while_another_look_is_wanted(given, planned):
    if looks_wanted(given, planned) > len(given):
        assert settle(given, planned) is None
    else:
        assert settle(given, planned) is settle(given)


@pytest.mark.parametrize("planned", [1, 2])
@pytest.mark.parametrize("given", EVERY)
def test_a_request_ends_when_it_is_clear_or_after_the_third(given, planned):
    wanted = looks_wanted(given, planned)
    assert planned <= wanted <= MOST_LOOKS or wanted == len(given)
    clear = len(given) >= planned and len(set(given)) == 1 and UNSURE not in given
    assert (wanted <= len(given)) == (clear or len(given) == MOST_LOOKS)
    if disagree(given):
        assert wanted > len(given)
