"""No number of a certificate's promise can be edited: `verify` fails after any one of them was."""

import dataclasses
import json

import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    digest_promise,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.recall import RecallStatement
from guardrail.errors import CertificationError
from guardrail.oracles.base import Judgement, Reference
from guardrail.stats import RECALLS, Decision, PlanKind, RecallReach
from guardrail.types import Outcome

# Computed when a certificate is written, never read back.
DERIVED = {"samples", "harmless", "statement", "recall_statement", "radius_in_words"}


class Same:
    """Compares answers with the first one; the reference is of the kind it was made for."""

    revision = "same"
    n0 = 2

    def __init__(self, kind, text=""):
        self.kind, self.text = kind, text

    async def judge(self, exchanges):
        outcomes = [
            Outcome.HARMLESS if e.response == self.text else Outcome.HARMFUL for e in exchanges
        ]
        return [Judgement(outcome, 0.0) for outcome in outcomes]

    async def reference(self, exchanges):
        return Reference(self.kind, "to the left", Same(self.kind, exchanges[0].response))

    async def aclose(self):
        pass


RECALL = RecallStatement(
    requests=300,
    draws=100,
    beta=0.2,
    delta=0.01,
    alpha=0.05,
    reaches=tuple(map(RecallReach, RECALLS, (0.96, 0.58, None))),
    clean_requests=50,
    clean_passed=48,
    view_draws=0,
    shares=(),
    model="model",
    upstream_revision="scripted",
    oracle_revision="words",
    digest="ab" * 32,
)
WAVES = {"kind": PlanKind.OPTIMAL, "alpha": 0.01, "latency_weight": 1.0, "max_parallel": 8}
CASES = {
    "verdict, one harmful": ({"claim": Claim.VERDICT, "power": 0.99}, [(3, 4)]),
    "harmlessness": ({"claim": Claim.HARMLESSNESS, "sigma": 0.4, "floor": 0.3}, [(3, 4)]),
    "two pictures": ({"claim": Claim.HARMLESSNESS, **WAVES}, [(20, 30), (16, 9)]),
    "on the canvas": (
        {"claim": Claim.VERDICT, "radius_space": RadiusSpace.CANVAS, **WAVES}, [(9, 30)],
    ),
    "a low floor": ({"claim": Claim.VERDICT, "floor": 0.02, "promised_radius": 0.6}, [(9, 9)]),
    "an action": ({"claim": Claim.VERDICT, "probe_max_tokens": 5}, [(3, 4)]),
    "a meaning": ({"claim": Claim.HARMLESSNESS}, [(3, 4)]),
    "with a recall": ({"claim": Claim.VERDICT, "alpha": 0.05, "recall": RECALL}, [(3, 4)]),
}  # fmt: skip


NIGHTLY = ("harmlessness", "on the canvas", "a low floor", "an action", "a meaning")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, marks=[pytest.mark.nightly] if case in NIGHTLY else []) for case in CASES
    ],
)
def certificate(request, kit):
    changes, shapes = CASES[request.param]
    pictures = [kit.make_picture(*shape, seed=i) for i, shape in enumerate(shapes)]
    oracle = {"an action": Same("action"), "a meaning": Same("meaning")}.get(request.param)
    bad = 3 if "power" in changes else -1
    engine = kit.make_engine(
        lambda call: kit.HARM if call.index == bad else "A cat.", oracle=oracle, **changes
    )
    verdict = kit.decide(engine, pictures)
    assert verdict.certificate.decision is Decision.PASS
    assert verdict.certificate.harmful == (bad > 0)
    verify_certificate(verdict.certificate)
    return verdict.certificate


def edited(certificate, edit_numbers):
    """(path, certificate) for every number and every edit of it that can be read at all."""
    data = json.loads(json.dumps(encode_certificate(certificate)))
    given = {name: value for name, value in data.items() if name not in DERIVED}
    lost = []
    for row, reach in enumerate(data["stability"]):
        radii = [*data["stability"][:row], {**reach, "radius": None}, *data["stability"][row + 1 :]]
        if reach["radius"] is not None:
            lost.append((("stability", row, "radius"), {**given, "stability": radii}))
    for path, tampered in [*edit_numbers(given), *lost]:
        try:
            yield path, decode_certificate(tampered)
        except CertificationError:
            continue


def with_plan(certificate):
    return dataclasses.replace(certificate, plan_digest=certificate.plan().digest)


def with_promise(certificate):
    promise = digest_promise(certificate)
    return dataclasses.replace(with_plan(certificate), promise_digest=promise)


def survivors(certificates, reseal):
    """Those of the edits that `verify` does not notice."""
    for path, new in certificates:
        try:
            resealed = seal_certificate(reseal(new))
            verify_certificate(resealed)
        except CertificationError:
            continue
        yield path, resealed


@pytest.mark.no_cover
@pytest.mark.parametrize("reseal", [lambda c: c, with_plan], ids=["digest", "and the plan's"])
def test_verify_fails_after_any_one_number_of_the_promise_is_edited(
    certificate, reseal, edit_numbers
):
    """Under a new digest, and under a new digest of the plan as well.

    One thing stands in a certificate that nothing said depends on: how many harmful outcomes there
    were at an earlier look from which the plan would have gone on anyway.
    """
    tried = list(edited(certificate, edit_numbers))
    paths = {path for path, _ in tried}
    assert {("alpha",), ("floor",), ("stability", 0, "radius"), ("pass_at_most", 0)} <= paths
    for path, resealed in survivors(tried, reseal):
        name, look, column = path
        assert (name, column) == ("counts", 1)
        assert look < len(certificate.counts) - 1
        assert resealed.statement == certificate.statement


# What only the digest of the promise binds: no arithmetic can contradict it.
BOUND = {"delta", "probe_max_tokens", "retries", "recall"}


def test_the_mathematics_alone_notices_every_number_that_is_said(certificate, edit_numbers):
    """Whoever knows how all three digests are made is still held to true statements.

    Sizes that leave norm, slack and error as they are, and boundaries that leave the test valid,
    may be edited then; what is said stays word for word the same, and still follows. So may the
    side of a canvas that is larger than the pictures.
    """
    sizes = {"pictures", "canvas_max_side_px"}
    for path, resealed in survivors(edited(certificate, edit_numbers), with_promise):
        assert path[0] in {*BOUND, *sizes, "block_at_least", "counts"}, path
        if path[0] not in BOUND:
            assert resealed.statement == certificate.statement


def test_a_radius_of_zero_is_not_the_same_as_none(kit):
    """At 0 the sentence would speak of the picture itself, which nothing shows."""
    rules = {"claim": Claim.VERDICT, "floor": 0.02, "promised_radius": 0.6}
    certificate = kit.decide(kit.make_engine(**rules), 1).certificate
    none = [reach.floor for reach in certificate.stability if reach.radius is None]
    assert none == [0.5]
    assert "0.5 /" not in certificate.statement
    nil = (dataclasses.replace(certificate.stability[0], radius=0.0), *certificate.stability[1:])
    forged = seal_certificate(with_promise(dataclasses.replace(certificate, stability=nil)))
    assert "0.5 /" in forged.statement
    with pytest.raises(CertificationError, match="radii by floor"):
        verify_certificate(forged)


def test_the_last_bits_of_another_machine_are_no_edit(certificate):
    """Its quantiles may differ there, and nothing that is shown does."""
    stability = tuple(
        reach if reach.radius is None
        else dataclasses.replace(reach, radius=reach.radius * (1 + 4e-16))
        for reach in certificate.stability
    )  # fmt: skip
    rate = certificate.harmless_rate_lower * (1 - 4e-16)
    elsewhere = {"stability": stability, "harmless_rate_lower": rate}
    verify_certificate(seal_certificate(dataclasses.replace(certificate, **elsewhere)))


def test_decisions_under_one_promise_share_its_digest(kit):
    """Whatever came of them; another number of the policy is another promise."""
    passed = kit.decide(kit.make_engine(), 1).certificate
    blocked = kit.decide(kit.make_engine([kit.HARM]), [kit.make_picture(seed=7)]).certificate
    assert blocked.decision is Decision.BLOCK
    assert passed.promise_digest == blocked.promise_digest == digest_promise(passed)
    others = [{"delta": 0.002}, {"miss_rate_upper": 0.02}, {"alpha": 0.04}, {"sigma": 0.6}]
    digests = {kit.decide(kit.make_engine(**o), 1).certificate.promise_digest for o in others}
    sized = kit.decide(kit.make_engine(), [kit.make_picture(9, 30)]).certificate.promise_digest
    assert len({*digests, sized, passed.promise_digest}) == len(others) + 2
