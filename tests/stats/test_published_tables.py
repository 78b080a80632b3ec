"""Our arithmetic against published certification tables (n = 100,000, alpha = .001)."""

from __future__ import annotations

import csv

import pytest

from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.radius import certified_radius

pytestmark = pytest.mark.no_cover  # counting lines would take as long again

N, ALPHA = 100_000, 0.001
SIGMAS = ("0.12", "0.25", "0.50", "1.00")


def rows(folder, sigma):
    with (folder / f"cohen_cifar10_sigma_{sigma}.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def bounds():
    return [harmless_rate_lower(k, N, ALPHA) for k in range(N // 2, N + 1)]


@pytest.fixture(scope="module")
def lattice(bounds):
    """Every radius that 100,000 draws can give, as the tables print it (3 significant digits)."""

    def printed(sigma):
        radii = (certified_radius(bound, sigma=float(sigma)) for bound in bounds)
        return {f"{radius:.3}": radius for radius in radii if radius is not None}

    return printed


@pytest.mark.parametrize(
    "sigma",
    [*(pytest.param(sigma, marks=pytest.mark.nightly) for sigma in SIGMAS[:-1]), SIGMAS[-1]],
)
def test_every_published_radius_lies_on_our_lattice(tables, lattice, sigma):
    ours = {float(text) for text in lattice(sigma)}
    found = rows(tables, sigma)
    assert len(found) == 500
    for row in found:
        if row["predict"] != "-1":
            assert float(row["radius"]) in ours, row


@pytest.mark.parametrize("sigma", SIGMAS)
def test_our_maximum_is_the_tables_maximum(tables, sigma):
    """At sigma = 1 no image was unanimous; the largest radius there has one dissenting draw."""
    dissent = 1 if sigma == "1.00" else 0
    ceiling = certified_radius(harmless_rate_lower(N - dissent, N, ALPHA), sigma=float(sigma))
    largest = max(float(row["radius"]) for row in rows(tables, sigma))
    assert float(f"{ceiling:.3}") == largest


@pytest.mark.parametrize("sigma", SIGMAS)
def test_abstentions_have_no_radius(tables, sigma):
    for row in rows(tables, sigma):
        if row["predict"] == "-1":
            assert float(row["radius"]) == 0.0


def test_a_wrong_alpha_would_be_noticed(tables):
    halved = certified_radius(harmless_rate_lower(N, N, ALPHA / 2), sigma=0.25)
    largest = max(float(row["radius"]) for row in rows(tables, "0.25"))
    assert float(f"{halved:.3}") != largest
