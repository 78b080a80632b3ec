"""The two sentences, word by word, and that no number in them says more than is true."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.promise import Claim, Reach
from guardrail.engine.wording import (
    NOTHING_CERTIFIED,
    digits_down,
    digits_up,
    evasion_sentence,
    format_reaches,
    recall_sentence,
    stability_sentence,
)
from guardrail.stats import RECALLS, RecallReach

REACHES = (
    Reach(0.5, 0.25339999),
    Reach(0.2, 0.6740001),
    Reach(0.1, 0.89409),
    Reach(0.05, 1.0758),
    Reach(0.01, 1.4172999),
)
CONDITION = {"miss_rate_upper": 0.277, "delta": 0.001}


def test_the_promise_about_verdicts():
    assert evasion_sentence(Claim.VERDICT, REACHES, alpha=0.001) == (
        "A request whose answers under the guard's noise the oracle finds harmless with "
        "probability below τ passes, after any change of its pixels by at most r, with probability "
        "at most 0.001 a try: τ 0.5 → r 0.2533, τ 0.2 → r 0.674, τ 0.1 → r 0.894, τ 0.05 → r "
        "1.075, τ 0.01 → r 1.417 (decoded 8-bit pixels in [0, 1])."
    )


def test_the_promise_about_harmlessness_names_its_condition():
    assert evasion_sentence(Claim.HARMLESSNESS, REACHES, alpha=0.001, **CONDITION) == (
        "A request that is answered truly harmlessly with probability below τ under the guard's "
        "noise, and of whose harmful answers the oracle misses at most 0.277, passes, after any "
        "change of its pixels by at most r, with probability at most 0.001 a try: τ 0.5 → r "
        "0.2533, τ 0.2 → r 0.674, τ 0.1 → r 0.894, τ 0.05 → r 1.075, τ 0.01 → r 1.417 (decoded "
        "8-bit pixels in [0, 1]). (0.277 bounds the average over labelled answers, with confidence "
        "0.999; it does not bound a single request.)"
    )


def test_the_promise_says_how_the_model_is_asked():
    asked = {"alpha": 0.01, "probe_max_tokens": 20, "most_asked": 3}
    of_verdicts = evasion_sentence(Claim.VERDICT, REACHES[:1], **asked)
    assert "answers under the guard's noise, cut at 20 tokens, the oracle finds" in of_verdicts
    of_harm = evasion_sentence(Claim.HARMLESSNESS, REACHES[:1], **asked, **CONDITION)
    assert "under the guard's noise, answers cut at 20 tokens, and of whose" in of_harm
    compared = evasion_sentence(Claim.VERDICT, REACHES[:1], reference_kind="action", **asked)
    assert "the unchanged request's answers, cut at 20 tokens, have" in compared
    for said in (of_verdicts, of_harm, compared):
        assert said.endswith(" The model is asked up to 3 times, until an answer comes.")


def test_what_a_pass_proved_about_verdicts():
    sentence = stability_sentence(Claim.VERDICT, REACHES, alpha=0.001)
    assert sentence == (
        "Unless an event of probability at most 0.001 occurred while guard and model made their "
        "draws: to every request that differs from this one in nothing but pixels, by an ℓ2 "
        "distance of at most 0.2533 / 0.674 / 0.894 / 1.075 / 1.417 (decoded 8-bit pixels in "
        "[0, 1]), the model's answers under the guard's noise are found harmless by the oracle "
        "with probability at least 0.5 / 0.2 / 0.1 / 0.05 / 0.01."
    )


def test_what_a_pass_proved_about_harmlessness_names_its_condition():
    sentence = stability_sentence(Claim.HARMLESSNESS, REACHES, alpha=0.001, **CONDITION)
    assert sentence == (
        "Unless an event of probability at most 0.001 occurred while guard and model made their "
        "draws: every request that differs from this one in nothing but pixels, by an ℓ2 distance "
        "of at most 0.2533 / 0.674 / 0.894 / 1.075 / 1.417 (decoded 8-bit pixels in [0, 1]), this "
        "one included, is answered truly harmlessly with probability at least 0.5 / 0.2 / 0.1 / "
        "0.05 / 0.01 under the guard's noise or is one of whose harmful answers the oracle misses "
        "more than 0.277. (0.277 bounds the average over labelled answers, with confidence 0.999; "
        "it does not bound a single request.)"
    )


def test_beginnings_of_answers_and_what_they_were_compared_with():
    extra = {"probe_max_tokens": 16, "reference_kind": "action", "reference": "move(to=left)"}
    verdict = stability_sentence(Claim.VERDICT, REACHES, alpha=0.001, **extra)
    assert (
        "the model's answers under the guard's noise, cut at 16 tokens, are found to be of the "
        "action 'move(to=left)' by the oracle with probability at least 0.5 /"
    ) in verdict
    harmless = stability_sentence(Claim.HARMLESSNESS, REACHES, alpha=0.001, **extra, **CONDITION)
    assert (
        "is answered truly harmlessly, by answers that the oracle finds to be of the action "
        "'move(to=left)', with probability at least 0.5 / 0.2 / 0.1 / 0.05 / 0.01 under the "
        "guard's noise, answers cut at 16 tokens, or is one of whose"
    ) in harmless


@pytest.mark.parametrize("claim", list(Claim))
def test_an_answer_outside_the_claim_is_said_to_be(claim):
    inside, outside = (
        stability_sentence(claim, REACHES, alpha=0.01, outside_claim=flag) for flag in (False, True)
    )
    assert outside == (
        f"{inside} The answer that was delivered is none of these: it lies outside this claim."
    )


@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize("kind", ["action", "meaning"])
def test_answers_that_are_compared_are_promised_by_what_they_are(claim, kind):
    sentence = evasion_sentence(claim, REACHES[:1], alpha=0.01, reference_kind=kind)
    assert sentence == (
        f"After any change of a request's pixels by at most r, an answer passes whose {kind} the "
        "unchanged request's answers have with probability below τ under the guard's noise, as the "
        "oracle reads them, with probability at most 0.01 a try: τ 0.5 → r 0.2533 (decoded 8-bit "
        "pixels in [0, 1])."
    )


PARTLY = (Reach(0.5, None), Reach(0.2, None), Reach(0.1, 0.0), Reach(0.05, 0.181))


@pytest.mark.parametrize("claim", list(Claim))
def test_what_is_not_reached_is_left_out_of_what_was_proved(claim):
    """And 0 is not: there the sentence speaks of the request itself."""
    sentence = stability_sentence(claim, PARTLY, alpha=0.01)
    assert "by an ℓ2 distance of at most 0 / 0.181 (" in sentence
    assert "with probability at least 0.1 / 0.05" in sentence
    assert "0.5" not in sentence


@pytest.mark.parametrize("claim", list(Claim))
def test_what_is_not_reached_is_none_in_what_is_promised(claim):
    sentence = evasion_sentence(claim, PARTLY, alpha=0.01)
    assert ": τ 0.5 → r none, τ 0.2 → r none, τ 0.1 → r 0, τ 0.05 → r 0.181 (" in sentence


def test_nothing_is_nothing():
    assert NOTHING_CERTIFIED.startswith("Nothing is certified: ")
    assert "harmful" not in NOTHING_CERTIFIED


@pytest.mark.parametrize(
    ("value", "down", "up"),
    [
        (0.25, "0.25", "0.25"),
        (0.99995, "0.9999", "1"),
        (1.23456e-7, "0.0000001234", "0.0000001235"),
        (123456.0, "123400", "123500"),
        (0.0, "0", "0"),
        (1.0, "1", "1"),
        (0.1, "0.1", "0.1"),
        (6.0792710185e-4, "0.0006079", "0.000608"),
    ],
)
def test_four_digits(value, down, up):
    assert (digits_down(value), digits_up(value)) == (down, up)


numbers = st.floats(0.0, 1e9)
shares = st.floats(1e-12, 1.0)


@given(numbers)
def test_digits_are_on_their_side_and_near(value):
    """A float is the decimal that it prints as; the last of four digits is off by less than 1."""
    exact, down, up = Decimal(repr(value)), Decimal(digits_down(value)), Decimal(digits_up(value))
    assert down <= exact <= up
    unit = Decimal(1).scaleb(exact.adjusted() - 3)
    assert exact - down < unit
    assert up - exact < unit


reach_rows = st.lists(
    st.tuples(st.floats(1e-4, 0.9999), st.none() | st.floats(0.0, 100.0)), min_size=1, max_size=6
)


def decimals(text):
    return [Decimal(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


@given(st.sampled_from(Claim), reach_rows, shares, shares, st.floats(0.0, 0.9999))
def test_no_number_of_the_promise_says_too_much(claim, rows, alpha, miss, delta):
    """Radii and floors down: at a lower floor fewer requests are spoken of. Alpha up."""
    reaches = [Reach(floor, radius) for floor, radius in rows]
    sentence = evasion_sentence(claim, reaches, alpha=alpha, miss_rate_upper=miss, delta=delta)
    shown = re.search(r"at most (\S+) a try: (.*) \(decoded", sentence)
    assert Decimal(shown[1]) >= Decimal(repr(alpha))
    for text, (floor, radius) in zip(shown[2].split(", "), rows, strict=True):
        said = re.fullmatch(r"τ (\S+) → r (\S+)", text)
        assert Decimal(said[1]) <= Decimal(repr(floor))
        assert (said[2] == "none") == (radius is None)
        if radius is not None:
            assert Decimal(said[2]) <= Decimal(repr(radius))
    check_condition(claim, sentence, miss, delta)


@given(st.sampled_from(Claim), reach_rows, shares, shares, st.floats(0.0, 0.9999))
def test_no_number_of_what_was_proved_says_too_much(claim, rows, alpha, miss, delta):
    reaches = [Reach(floor, radius) for floor, radius in rows]
    sentence = stability_sentence(claim, reaches, alpha=alpha, miss_rate_upper=miss, delta=delta)
    shown = re.search(
        r"at most (\S+) occurred .* at most (.*) \(decoded.* at least ([\d. /]*\d)", sentence
    )
    reached = [(floor, radius) for floor, radius in rows if radius is not None]
    if not reached:
        return
    assert Decimal(shown[1]) >= Decimal(repr(alpha))
    radii, floors = decimals(shown[2]), decimals(shown[3])
    for radius, floor, (true_floor, true_radius) in zip(radii, floors, reached, strict=True):
        assert radius <= Decimal(repr(true_radius))
        assert floor <= Decimal(repr(true_floor))
    check_condition(claim, sentence, miss, delta)


def check_condition(claim, sentence, miss, delta):
    """f_U exactly as it is, since a condition may be rounded neither way; the confidence down."""
    found = re.search(r"\((\S+) bounds the average .* with confidence (\S+);", sentence)
    assert (found is not None) == (claim is Claim.HARMLESSNESS)
    if found:
        assert Decimal(found[1]) == Decimal(repr(miss))
        assert 0 <= 1 - Decimal(repr(delta)) - Decimal(found[2]) <= Decimal("1e-4")
        assert re.search(r"misses (?:at most|more than) (\d\S*?)[,.]? ", sentence)[1] == found[1]


@pytest.mark.parametrize("delta", [1e-15, 1e-30, 5e-324])
def test_a_delta_too_small_to_be_seen_is_no_certainty(delta):
    sentence = evasion_sentence(
        Claim.HARMLESSNESS, REACHES, alpha=0.01, miss_rate_upper=0.1, delta=delta
    )
    assert "with confidence 0.9999;" in sentence


def test_without_bounds_the_condition_is_empty_and_says_so():
    """Rules that lack them are refused where they are made; the sentence fails closed."""
    sentence = evasion_sentence(Claim.HARMLESSNESS, REACHES, alpha=0.01)
    assert "misses at most 1, passes" in sentence
    assert "with confidence 0;" in sentence


def test_reaches_by_themselves():
    assert format_reaches(PARTLY[1:3]) == "τ 0.2 → r none, τ 0.1 → r 0"


radii_of_shares = st.lists(st.none() | st.floats(0.0, 100.0), min_size=3, max_size=3)


@given(radii_of_shares, shares, st.floats(1e-9, 0.9999), st.integers(1, 10**9))
def test_no_number_of_a_recall_says_too_much(radii, alpha, delta, requests):
    reaches = tuple(map(RecallReach, RECALLS, radii))
    sentence = recall_sentence(reaches, requests=requests, alpha=alpha, delta=delta)
    confidence = Decimal(re.search(r"\(confidence (\d\.?\d*)", sentence)[1])
    assert 0 <= 1 - Decimal(repr(delta)) - confidence <= Decimal("1e-4")
    assert f"{requests:,}" in sentence
    reached = [(one.recall, one.radius) for one in reaches if one.radius is not None]
    if not reached:
        assert "at most" not in sentence
        return
    pattern = r"at least (.*) are such .* within (.*) \(decoded.* probability (\S+) a try"
    shown = re.search(pattern, sentence)
    assert Decimal(shown[3]) >= Decimal(repr(alpha))
    said = zip(decimals(shown[1]), decimals(shown[2]), strict=True)
    for (share, radius), (true_share, true_radius) in zip(said, reached, strict=True):
        assert share == Decimal(repr(true_share))
        assert radius <= Decimal(repr(true_radius))
