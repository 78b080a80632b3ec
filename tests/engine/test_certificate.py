"""The certificate: its round trip, its words, and that no changed field survives."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.engine.certificate.codec import (
    decode_certificate,
    digest_certificate,
    digest_promise,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Count
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import Retry
from guardrail.engine.wording import NOTHING_CERTIFIED, stability_sentence
from guardrail.errors import CertificationError
from guardrail.stats import FLOORS, Decision, PlanKind
from guardrail.upstreams.scripted import Fault, Step


@pytest.fixture(scope="module")
def passed(kit):
    """Of a picture that was scaled down, by a plan with several looks."""
    rules = {"kind": PlanKind.OPTIMAL, "latency_weight": 1.0, "max_parallel": 8, "alpha": 0.001}
    verdict = kit.decide(
        kit.make_engine(**rules), [kit.make_picture(20, 30), kit.make_picture(16, 9)]
    )
    return verdict.certificate


@pytest.fixture(scope="module")
def blocked(kit):
    return kit.decide(kit.make_engine([kit.HARM]), 1).certificate


@pytest.fixture(scope="module")
def cut_short(kit):
    script = [*["A cat."] * 5, Step(fault=Fault.HANG)]
    return kit.decide(kit.make_engine(script, deadline_s=0.4), 1).certificate


@pytest.fixture(params=["passed", "blocked", "cut_short"])
def certificate(request):
    return request.getfixturevalue(request.param)


def through_json(certificate):
    return json.loads(json.dumps(encode_certificate(certificate), allow_nan=False))


@pytest.mark.no_cover
def test_it_holds_and_comes_back_from_json(certificate):
    data = through_json(certificate)
    back = decode_certificate(data)
    assert back == certificate
    verify_certificate(back, data)
    verify_certificate(back)


def test_whole_numbers_may_lose_their_point(passed):
    """JavaScript writes 1.0 as 1; that is the same certificate."""
    data = through_json(passed)
    data["miss_rate_upper"], data["delta"] = 0, 0
    certificate = dataclasses.replace(passed, miss_rate_upper=0.0, delta=0.0)
    assert digest_certificate(decode_certificate(data)) == digest_certificate(certificate)


def test_what_they_decided(passed, blocked, cut_short):
    assert passed.decision is Decision.PASS
    assert passed.radius >= passed.promised_radius
    assert passed.harmless_rate_lower >= passed.q_required
    assert [reach.floor for reach in passed.stability] == list(FLOORS)
    assert (blocked.decision, blocked.radius) == (Decision.BLOCK, 0.0)
    assert (cut_short.decision, cut_short.radius) == (Decision.UNCERTAIN, 0.0)
    for certificate in (blocked, cut_short):
        assert (certificate.harmless_rate_lower, certificate.stability) == (0.0, ())
    assert passed.harmless == passed.samples > 0
    assert blocked.harmful == blocked.samples > 0
    assert (passed.harmful, blocked.harmless) == (0, 0)


def test_the_radius_is_said_in_terms_of_the_picture(passed, blocked):
    """A change of every value by the even share of the radius uses up just the radius."""
    words = encode_certificate(passed)["radius_in_words"]
    values = sum(h * w * 3 for size in passed.pictures for h, w in [size.client])
    assert words["rms_levels"] == words["linf_levels"] <= 255 * passed.radius / values**0.5
    assert words["rms_levels"] == pytest.approx(255 * passed.radius / values**0.5, rel=1e-9)
    assert (words["full_pixels"], words["full_values"]) == (0, 0)
    assert encode_certificate(blocked)["radius_in_words"] is None


def test_before_the_first_look_there_is_no_count(passed):
    nothing = {"radius": 0.0, "harmless_rate_lower": 0.0, "stability": ()}
    fresh = dataclasses.replace(passed, counts=(), decision=Decision.UNCERTAIN, **nothing)
    verify_certificate(seal_certificate(fresh))
    assert (fresh.samples, fresh.harmful, fresh.harmless) == (0, 0, 0)


def changed(value):
    """Values of the same shape that differ from `value` in one place."""
    match value:
        case None:
            return [{"rms_levels": 1.0}]
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [value * 1.001 + 1e-6, value * 0.999]
        case str():
            return [value + "x", value[:-1]] if value else ["x"]
        case list():
            inner = [
                [*value[:i], other, *value[i + 1 :]]
                for i, item in enumerate(value)
                for other in changed(item)
            ]
            return [*inner, value[:-1], [*value, copy.deepcopy(value[-1])]] if value else [[1]]
        case dict():
            return [{**value, key: new} for key, item in value.items() for new in changed(item)]
        case _:
            raise TypeError(type(value))


def test_every_changed_field_is_found(certificate):
    """Also the derived ones, and whether the change is for better or worse."""
    data = through_json(certificate)
    tried = 0
    for name in data:
        for value in changed(data[name]):
            if value == data[name]:
                continue
            tampered = {**data, name: value}
            with pytest.raises(CertificationError):
                verify_certificate(decode_certificate(tampered), tampered)
            tried += 1
    assert tried > 2 * len(data)


# Words about the decision that nothing else in the certificate could contradict.
FREE = {"policy", "policy_digest", "request_digest", "key_id", "upstream", "upstream_revision"}
FREE |= {"oracle_revision", "attempt", "code_version", "created", "outside_claim"}
# Computed when it is written, never read back.
DERIVED = {"samples", "harmless", "statement", "recall_statement", "radius_in_words"}


def test_statistics_are_recomputed_even_under_a_new_digest(passed):
    """Whoever changes a number and seals it again is found by the mathematics."""
    data = through_json(passed)
    statistics = data.keys() - FREE - {"digest", *DERIVED}
    assert {"sigma", "alpha", "floor", "radius", "counts", "looks", "operator_norm"} <= statistics
    for name in statistics:
        for value in changed(data[name]):
            with pytest.raises(CertificationError):
                verify_certificate(seal_certificate(decode_certificate({**data, name: value})))


class TestRetry:
    """The rule for repeats is part of what is claimed."""

    def test_the_rule_stands_in_it(self, kit, passed):
        assert (passed.retry, passed.retries) == (Retry.UNDRAWN, kit.RULES.retries)
        assert "The model is asked" not in passed.statement

    def test_any_repeat_makes_the_claim_about_the_model_as_it_is_asked(self, kit):
        certificate = kit.decide(kit.make_engine(retry=Retry.ANY, retries=2), 1).certificate
        assert certificate.statement.endswith(
            " The model is asked up to 3 times, until an answer comes."
        )
        data = through_json(certificate)
        verify_certificate(decode_certificate(data), data)

    def test_without_repeats_one_answer_is_one_answer(self, kit):
        certificate = kit.decide(kit.make_engine(retry=Retry.ANY, retries=0), 1).certificate
        assert "The model is asked" not in certificate.statement

    @pytest.mark.parametrize("changes", [{"retry": Retry.UNDRAWN}, {"retries": 1}], ids=str)
    def test_an_edited_rule_is_found_and_resealed_it_says_another_sentence(self, kit, changes):
        certificate = kit.decide(kit.make_engine(retry=Retry.ANY, retries=2), 1).certificate
        edited = dataclasses.replace(certificate, **changes)
        with pytest.raises(CertificationError, match="digest"):
            verify_certificate(edited)
        assert edited.statement != certificate.statement
        said = {**through_json(seal_certificate(edited)), "statement": certificate.statement}
        with pytest.raises(CertificationError, match="derived field"):
            verify_certificate(decode_certificate(said), said)

    def test_a_negative_number_of_repeats_is_impossible(self, passed):
        with pytest.raises(CertificationError, match="repeats is negative"):
            verify_certificate(seal_certificate(dataclasses.replace(passed, retries=-1)))


FORGERIES = {
    "a larger radius": lambda c: {"radius": c.radius * 2, "promised_radius": c.promised_radius * 2},
    "a radius for a block": lambda _: {"decision": Decision.BLOCK},
    "another claim": lambda _: {"claim": Claim.VERDICT},
    "another claim with its bounds": lambda _: {
        "claim": Claim.VERDICT,
        "miss_rate_upper": None,
        "delta": None,
    },
    "no bound on the misses": lambda _: {"miss_rate_upper": None},
    "no delta": lambda _: {"delta": None},
    "a negative miss rate": lambda _: {"miss_rate_upper": -0.01},
    "an earned rate without a pass": lambda _: {"decision": Decision.UNCERTAIN, "counts": ()},
    "a higher earned rate": lambda c: {"harmless_rate_lower": c.harmless_rate_lower + 1e-6},
    "one radius less": lambda c: {"stability": c.stability[:-1]},
    "no radii by floor": lambda _: {"stability": ()},
    "a negative radius": lambda c: {
        "stability": (dataclasses.replace(c.stability[0], radius=-0.25), *c.stability[1:])
    },
    "a floor of 1": lambda c: {
        "stability": (dataclasses.replace(c.stability[0], floor=1.0), *c.stability[1:])
    },
    "a larger promise": lambda c: {"promised_radius": c.promised_radius * 1.01},
    "another norm": lambda _: {"norm": "linf"},
    "a smaller miss rate": lambda _: {"miss_rate_upper": 0.0},
    "a higher floor": lambda _: {"floor": 0.9},
    "more noise": lambda _: {"sigma": 1.0},
    "a smaller operator norm": lambda c: {"operator_norm": c.operator_norm / 2},
    "larger pictures": lambda c: {
        "pictures": tuple(
            dataclasses.replace(size, client=(size.client[0] * 2, size.client[1] * 2))
            for size in c.pictures
        )
    },
    "no picture": lambda _: {"pictures": ()},
    "a canvas larger than its picture": lambda c: {
        "pictures": tuple(
            dataclasses.replace(size, client=size.canvas, canvas=size.client) for size in c.pictures
        )
    },
    "a picture scaled up": lambda c: {
        "pictures": tuple(
            dataclasses.replace(size, client=size.scaled, scaled=size.client, canvas=size.client)
            for size in c.pictures
        )
    },
    "a canvas smaller than what lies on it": lambda c: {
        "pictures": tuple(dataclasses.replace(size, canvas=(1, 1)) for size in c.pictures)
    },
    "a canvas with margins that it did not have": lambda c: {
        "pictures": tuple(dataclasses.replace(size, canvas=(2000, 2000)) for size in c.pictures)
    },
    "an impossible size": lambda c: {
        "pictures": (dataclasses.replace(c.pictures[0], client=(10**400, 10**400)),)
    },
    "no size": lambda c: {"pictures": (dataclasses.replace(c.pictures[0], canvas=(0, 0)),)},
    "a smaller alpha": lambda c: {"alpha": c.alpha / 10},
    "an easier plan": lambda c: {"pass_at_most": tuple(n + 1 for n in c.pass_at_most)},
    "a plan without end": lambda c: {
        "looks": (*c.looks[:-1], 10**12),
    },
    "fewer harmful": lambda c: {"counts": (Count(c.counts[0].samples, -1),)},
    "more harmful than draws": lambda c: {"counts": (Count(c.looks[0], c.looks[0] + 1),)},
    "a look left out": lambda c: {"counts": (Count(c.looks[1], 0),)},
    "a look that is none": lambda c: {"counts": (Count(c.looks[0] - 1, 0),)},
    "going on after a pass": lambda c: {
        "looks": (*c.looks, c.looks[-1] + 1),
        "counts": (*c.counts, Count(c.looks[-1] + 1, 0)),
    },
    "no counts": lambda _: {"counts": ()},
    "a delta of one": lambda _: {"delta": 1.0},
    "another version": lambda _: {"version": 2},
    "no plan": lambda _: {"looks": (), "pass_at_most": (), "block_at_least": ()},
    "no noise": lambda _: {"sigma": 0.0},
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_forgeries_under_new_digests_are_found(passed, forgery):
    """Whoever knows how the digests are made is still found by the mathematics."""
    forged = dataclasses.replace(passed, **forgery(passed))
    assert forged != passed
    for reseal in (
        lambda: forged,
        lambda: dataclasses.replace(forged, promise_digest=digest_promise(forged)),
    ):
        with pytest.raises(CertificationError):
            verify_certificate(seal_certificate(reseal()))


def test_a_forged_plan_is_found_even_with_its_own_digest(passed):
    """A table that passes more often than alpha is no plan, whatever its digest says."""
    plan_like = dataclasses.replace(
        passed, looks=(1,), pass_at_most=(0,), block_at_least=(1,), counts=(Count(1, 0),)
    )
    with pytest.raises(CertificationError, match="more than alpha"):
        verify_certificate(seal_certificate(plan_like))


def test_messages_name_what_fails(passed):
    data = through_json(passed)
    with pytest.raises(CertificationError, match="'sigma' is missing"):
        decode_certificate({k: v for k, v in data.items() if k != "sigma"})
    with pytest.raises(CertificationError, match="unknown field 'colour'"):
        decode_certificate({**data, "colour": "red"})
    with pytest.raises(CertificationError, match="derived field"):
        verify_certificate(decode_certificate(data), {**data, "samples": 7})
    with pytest.raises(CertificationError, match="digest does not match"):
        verify_certificate(dataclasses.replace(passed, policy="other"))


WRONG = {
    "decision": ["maybe", None, ["pass"]],
    "sigma": ["0.5", True, None, float("nan"), float("inf"), 10**400],
    "looks": [[3.0], ["3"], [True], {"3": 3}, "3", None],
    "counts": [[[1]], [[1, 2, 3]], [[1.5, 0]], {}, "", [["1", "0"]]],
    "pictures": [[{}], [{"client": [1, 1]}], [[1, 1]], {}, [{"client": [1], "canvas": [1, 1]}]],
    "policy": [7, None, ["default"]],
    "version": [True, 1.0, "1"],
    "delta": ["0.1", True, float("nan")],
    "outside_claim": [0, None, "false"],
    "stability": [
        {},
        [[0.5, 0.1]],
        [{"floor": 0.5}],
        [{"floor": None, "radius": 0.1}],
        [{"floor": 0.5, "radius": "0.1"}],
        [{"floor": 0.5, "radius": 0.1, "q": 1.0}],
    ],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_types_are_refused_by_name(passed, name, value):
    with pytest.raises(CertificationError, match=f"'{name}' has a wrong type"):
        decode_certificate({**through_json(passed), name: value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.no_cover
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused_as_such(passed, data):
    """Whatever stands in whichever field: the same certificate, or a CertificationError."""
    fields = through_json(passed)
    name = data.draw(st.sampled_from(sorted(fields)))
    tampered = {**fields, name: data.draw(JSON)}
    try:
        certificate = decode_certificate(tampered)
        verify_certificate(certificate, tampered)
    except CertificationError:
        return
    assert certificate == passed


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", 1e19), ("floor", -1e30), ("delta", 1.0), ("radius", -0.25)]
)
def test_a_number_out_of_its_range_is_refused_by_name(passed, name, value):
    tampered = {**through_json(passed), name: value}
    with pytest.raises(CertificationError, match=f"its {name} is no"):
        verify_certificate(decode_certificate(tampered))


def test_its_sentence_says_what_it_holds(passed):
    """Word by word in `test_wording.py`; here, that the right numbers are handed on."""
    assert passed.statement == stability_sentence(
        Claim.HARMLESSNESS,
        passed.stability,
        alpha=0.001,
        miss_rate_upper=0.01,
        delta=0.001,
    )


def test_nothing_is_claimed_of_what_did_not_pass(blocked, cut_short):
    for certificate in (blocked, cut_short):
        assert certificate.statement == NOTHING_CERTIFIED


def test_a_decision_for_a_smaller_alpha_says_so(kit):
    certificate = kit.decide(kit.make_engine(), 1, alpha=1e-4).certificate
    assert certificate.alpha == 1e-4
    verify_certificate(certificate)


@pytest.mark.parametrize("space", list(RadiusSpace))
@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize("kind", [PlanKind.FIXED, PlanKind.OPTIMAL])
def test_every_kind_of_promise_can_be_verified(kit, space, claim, kind):
    engine = kit.make_engine(radius_space=space, claim=claim, kind=kind, sigma=1.0)
    certificate = kit.decide(engine, [kit.make_picture(9, 30)]).certificate
    assert certificate.decision is Decision.PASS
    assert certificate.claim is claim
    data = through_json(certificate)
    verify_certificate(decode_certificate(data), data)


def test_it_names_what_decided(kit, passed):
    assert (passed.upstream, passed.upstream_revision) == ("scripted", "scripted")
    assert passed.oracle_revision == "words"
    assert passed.key_id == kit.KEY.key_id
    assert passed.policy_digest == kit.RULES.digest
    assert kit.KEY.secret.hex() not in json.dumps(encode_certificate(passed))
