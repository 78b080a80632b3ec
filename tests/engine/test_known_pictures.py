"""A picture on a list is blocked before any call, whatever the model would say."""

import dataclasses

import pytest

from guardrail.engine.failover import FailoverEngine
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason
from guardrail.images.known_pictures import KnownPicture, KnownPictures
from guardrail.upstreams.scripted import Scripted

SHA = "ab" * 32
KNOWN = KnownPictures({SHA: ("list.txt", 7)}, [], 6)


def pictures(kit, *known):
    """Two pictures of which those with these numbers are known."""
    return tuple(
        dataclasses.replace(one, sha256=SHA if i in known else "cd" * 32)
        for i, one in enumerate(kit.make_pictures(2))
    )


def make_engine(kit, **changes):
    upstream = Scripted(["A cat."])
    return (
        kit.Engine(kit.make_rules(**changes), upstream, kit.Words(), kit.KEY, known_pictures=KNOWN),
        upstream,
    )


@pytest.mark.parametrize("place", [0, 1])
def test_it_is_blocked_before_any_call_and_outside_any_certificate(kit, place):
    engine, upstream = make_engine(kit)
    verdict = kit.decide(engine, pictures(kit, place))
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.KNOWN_PICTURE)
    assert verdict.reason.is_judgement
    assert verdict.known_picture == KnownPicture("list.txt", 7, None)
    assert upstream.calls == []
    assert (verdict.certificate, verdict.samples, verdict.failure) == (None, (), None)
    assert len(verdict.request_digest) == 64
    told = {"file": "list.txt", "line": 7, "distance": None}
    assert verdict.to_dict()["known_picture"] == told


def test_other_pictures_are_decided_as_without_a_list(kit):
    engine, upstream = make_engine(kit, deadline_s=600.0)
    with_list = kit.decide(engine, pictures(kit))
    without = kit.decide(kit.make_engine(deadline_s=600.0), pictures(kit))
    assert with_list.reason is Reason.CERTIFIED
    assert with_list.known_picture is None
    assert len(upstream.calls) == len(without.samples)
    assert with_list.certificate.radius == without.certificate.radius


def test_in_observe_mode_it_is_told_and_not_blocked(kit):
    engine, upstream = make_engine(kit, mode=Mode.OBSERVE)
    verdict = kit.decide(engine, pictures(kit, 0))
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.KNOWN_PICTURE)
    assert verdict.would_block
    assert len(upstream.calls) == 1  # the model's own answer


def test_engines_for_other_models_and_oracles_go_by_the_same_lists(kit):
    engine, _ = make_engine(kit)
    several = FailoverEngine(
        engine.rules, [Scripted(["A."]), Scripted(["B."])], kit.Words(), kit.KEY,
        known_pictures=KNOWN,
    )  # fmt: skip
    others = [engine.with_oracle(kit.Words()), engine.with_upstream(Scripted(["A dog."])),
              several, several.with_oracle(kit.Words())]  # fmt: skip
    for other in others:
        assert kit.decide(other, pictures(kit, 0)).reason is Reason.KNOWN_PICTURE
