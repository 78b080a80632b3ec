"""Attacked pictures against the certificate of the pass of their clean one."""

import asyncio
import dataclasses
import math

import pytest

from guardrail.demo.positions import Side, explain_position, locate_attacks
from guardrail.demo.run import run_demo
from guardrail.demo.scenes import SceneKind
from guardrail.demo.sides import find_sides, side_row
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.wording import digits_down
from guardrail.stats import certified_floor


@pytest.fixture
def clean(policy, engine, scenes):
    running = run_demo(policy, engine, scenes[:1], tries=1, done=lambda: None)
    (result,) = asyncio.run(running)
    assert result.guard[0].decision == "pass"
    return result


@pytest.fixture
def certificate(clean):
    return decode_certificate(clean.guard[0].certificate)


def moved(clean, l2, number=1):
    """The clean picture's result again, as if it were one that was moved so far."""
    kind = SceneKind.ATTACKED_SMALL
    scene = dataclasses.replace(
        clean.scene, name=f"{kind}-{number}", kind=kind, clean=clean.scene.name, l2=l2
    )
    return dataclasses.replace(clean, scene=scene)


def locate(clean, l2):
    (position,) = locate_attacks([clean, moved(clean, l2)]).values()
    return position


def test_the_radius_itself_is_inside_and_what_is_farther_is_not(clean, certificate):
    inside = locate(clean, certificate.radius)
    outside = locate(clean, math.nextafter(certificate.radius, math.inf))
    assert (inside.side, inside.reach.floor) == (Side.INSIDE, certificate.floor)
    assert outside.side is Side.OUTSIDE
    assert outside.reach.floor < certificate.floor
    assert inside.radius == outside.radius == certificate.radius


def test_what_is_said_of_a_picture_is_what_its_certificate_says_at_its_distance(clean, certificate):
    """Never more than follows from the bound that the pass earned, at any distance."""
    last = certificate.stability[-1].radius
    for i in range(1, 60):
        l2 = 1.2 * last * i / 59
        position = locate(clean, l2)
        held = certified_floor(
            l2, certificate.harmless_rate_lower, sigma=certificate.sigma,
            operator_norm=certificate.operator_norm, grid_slack=certificate.grid_slack,
            sampler_error=certificate.sampler_error,
        )  # fmt: skip
        floors = [reach.floor for reach in certificate.stability if reach.floor <= held]
        stated = None if position.reach is None else position.reach.floor
        assert stated == max(floors, default=None)
        assert (position.side is Side.INSIDE) is (held >= certificate.floor)
        if position.reach is None:
            assert position.claim == ""
        else:
            assert l2 <= position.reach.radius
            assert position.claim == certificate.state_stability([position.reach])
            assert f"at least {digits_down(stated)}" in position.claim


def test_it_is_said_in_words(clean, certificate):
    near, radius = certificate.radius / 2, digits_down(certificate.radius)
    told = explain_position(locate(clean, near))
    assert f"inside of the radius {radius} that the pass of clean-1 certified" in told
    assert "an ℓ2 distance of at most" in told
    assert "It is no promise that this picture passes" in told
    told = explain_position(locate(clean, 1.01 * certificate.radius))
    assert "nothing is proven of it at that rate. At a lower one" in told
    assert "with probability at least 0.2" in told
    far = certificate.stability[-1]
    told = explain_position(locate(clean, 1.01 * far.radius))
    assert f"and of {digits_down(far.radius)} at the lowest, 0.01: nothing is proven of it." in told
    assert "probability at least" not in told


def test_where_the_clean_picture_did_not_pass_there_is_no_radius(clean):
    (one,) = clean.guard
    attacked = moved(clean, 0.1)
    for guard in (
        dataclasses.replace(one, certificate=None),
        dataclasses.replace(one, certificate=blocked(one)),
    ):
        without = dataclasses.replace(clean, guard=(guard,))
        for results in ([without, attacked], [attacked]):
            (position,) = locate_attacks(results).values()
            assert (position.side, position.radius) == (Side.UNCERTIFIED, None)
            assert "clean-1 did not pass, so nothing is certified" in explain_position(position)


def blocked(one):
    return {**one.certificate, "decision": "block", "radius": 0.0, "stability": []}


def test_sides_are_counted(clean, certificate):
    radius, far = certificate.radius, certificate.stability[-1].radius
    sizes = [0.5 * radius, 0.25 * radius, 1.01 * radius, 2 * far]
    attacked = [moved(clean, l2, number) for number, l2 in enumerate(sizes)]
    sides = find_sides([clean, *attacked])
    assert list(sides) == [Side.INSIDE, Side.OUTSIDE]
    inside, outside = sides.values()
    assert (inside.decisions, inside.passed, inside.guard) == (2, 2, 0)
    assert inside.to_dict()["attack_l2"] == [0.25 * radius, 0.5 * radius]
    assert outside.to_dict()["pictures_by_certified_floor"] == [[0.2, 1], [None, 1]]
    assert side_row(Side.OUTSIDE, outside)[3] == "0.2: 1\nnone: 1"
    assert find_sides([clean]) == {}
    (alone,) = find_sides(attacked).values()
    assert alone.radius is None
    assert side_row(Side.UNCERTIFIED, alone)[2:4] == ("-", "none: 4")


def test_only_attacked_pictures_have_a_place(clean):
    assert locate_attacks([clean]) == {}
