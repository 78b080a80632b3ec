"""Every field of a certificate with threats, changed: what `verify` refuses, sealed anew or not."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from guardrail.engine.certificate.codec import (
    decode_certificate,
    digest_promise,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.promise import Claim
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit, Threats
from guardrail.errors import CertificationError
from guardrail.stats import Decision

pytestmark = pytest.mark.no_cover

THREATS = Threats(
    floor=0.1,
    expected_harmless_rate=0.99,
    power=0.9,
    crops=Crops(4, 3),
    stickers=Stickers(4, 0.02),
    suffix=Suffix(SuffixUnit.WORDS, 2),
)
DERIVED = {"samples", "harmless", "statement", "recall_statement", "radius_in_words", "claims"}
# What nobody can know from a certificate: names, how the model was asked, and numbers of a threat
# that lead to these very views.
STATED = {
    *("policy", "policy_digest", "request_digest", "attempt", "key_id", "code_version", "created"),
    *("upstream", "upstream_revision", "oracle_revision", "denoise", "canvas", "outside_claim"),
    *("canvas_max_side_px", "canvas_side_source", "probe_max_tokens", "retry", "retries"),
    *("digest", "promise_digest", "sees", "max_share", "words", "text_length"),
}


@pytest.fixture(scope="module", params=["pictures", "text", "stopped"])
def certificate(kit, request):
    pixels = np.random.default_rng(1).integers(0, 200, (12, 16, 3), dtype=np.uint8)
    script = ["a forbidden word"] if request.param == "stopped" else ["A cat."]
    engine = kit.make_engine(
        script, claim=Claim.VERDICT, alpha=0.01, canvas_max_side_px=None, threats=THREATS
    )
    pictures = [] if request.param == "text" else [kit.picture_of(pixels)]
    made = kit.decide(engine, pictures, kit.make_chat(len(pictures), "say what it is ")).certificate
    assert made.decision is (Decision.BLOCK if request.param == "stopped" else Decision.PASS)
    return made


def leaves(value, path=()):
    """Every value, lists as a whole too, with its place."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
        return
    yield path, value
    for place, one in enumerate(value if isinstance(value, list) else ()):
        yield from leaves(one, (*path, place))


def changes(value):
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1, 0, 10**9, None, str(value)]
        case float():
            return [value * (1 + 1e-6), value + 0.01, value - 0.01, 0.0, 1e300, None]
        case str():
            return [f"{value}x", "", "pass", "uncertain", "suffix", "fixed", None]
        case None:
            return [1, 0.5, "x"]
        case [] | [_]:
            return [value * 2, []]
        case list():
            return [value[:-1], value[1:], value[::-1]]
        case _:
            raise TypeError(value)


def forgeries(data):
    for path, value in leaves(data):
        for changed in changes(value):
            if changed == value:
                continue
            forged = copy.deepcopy(data)
            place = forged
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = changed
            yield path, forged


def proof(certificate):
    """All that it says was shown."""
    of_threats = [
        (one.threat, one.floor, one.harmless_rate_lower, len(one.views))
        for one in certificate.threats
    ]
    of_request = certificate.harmless_rate_lower, certificate.radius, certificate.stability
    return certificate.decision, of_request, of_threats


EVERY = [pytest.param(47, id="some"), pytest.param(1, id="all", marks=pytest.mark.nightly)]


@pytest.mark.parametrize("every", EVERY)
def test_no_field_can_be_changed(certificate, every):
    data = json.loads(json.dumps(encode_certificate(certificate)))
    verify_certificate(decode_certificate(data), data)
    held = [path for path, forged in [*forgeries(data)][::every] if is_held(forged)]
    assert held == []


def is_held(data):
    try:
        verify_certificate(decode_certificate(data), data)
    except CertificationError:
        return False
    return True


@pytest.mark.parametrize("every", EVERY)
def test_sealed_anew_a_changed_field_shows_no_more_than_before(certificate, every):
    """Whoever has the program can seal a certificate; its numbers must still follow from others."""
    data = json.loads(json.dumps(encode_certificate(certificate)))
    passed = certificate.decision is Decision.PASS
    for path, forged in [*forgeries(data)][::every]:
        if path[0] in DERIVED or path[0] == path[-1] == "threats":
            continue  # written anew; a threat that is not named is not claimed
        try:
            changed = decode_certificate(forged)
            promise = digest_promise(changed)
            changed = seal_certificate(dataclasses.replace(changed, promise_digest=promise))
            verify_certificate(changed, encode_certificate(changed))
        except (CertificationError, OverflowError):
            continue  # the latter while it is sealed: no such radius can be said in words
        assert not passed or STATED & {*path}, path
        assert changed.decision is not Decision.PASS or proof(changed) == proof(certificate), path
