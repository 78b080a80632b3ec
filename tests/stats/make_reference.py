"""Writes the tables of `test_reference_values.py`, from definitions alone, in 80 digits.

    python tests/stats/make_reference.py > rows.py

Nothing of the package is used: binomial tails are sums, quantiles and bounds are bisected, plans
are evaluated by a recursion over whole-number fractions. Numbers are printed to 30 digits.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import mpmath

mpmath.mp.dps = 80
DIGITS = 30
BISECTIONS = 270


def tail(k, n, p):
    """P[X >= k], summed over the shorter side."""
    p = mpmath.mpf(p)
    if n - k <= k:
        return mpmath.fsum(
            mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1)
        )
    return 1 - mpmath.fsum(mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(k))


def bisect(inside, low, high):
    """The edge of a condition that holds at `low` and fails at `high`."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return low


def lower(k, n, alpha):
    target = mpmath.mpf(alpha)
    return bisect(lambda p: tail(k, n, p) <= target, mpmath.mpf(0), mpmath.mpf(1))


def quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def wealth_above(k, n, q):
    half, q = mpmath.mpf("0.5"), mpmath.mpf(q)
    part = mpmath.betainc(k + half, n - k + half, q, 1)
    mass = mpmath.betainc(half, half, q, 1)
    return mpmath.log(part / mass) - k * mpmath.log(q) - (n - k) * mpmath.log(1 - q)


def false_pass(looks, most, least, q):
    """P(pass), over whole numbers with the denominator of q."""
    good, whole = Fraction(q).as_integer_ratio()
    alive, drawn, total = {0: 1}, 0, Fraction(0)
    for n, passes, blocks in zip(looks, most, least, strict=True):
        for _ in range(n - drawn):
            after = {}
            for h, mass in alive.items():
                after[h] = after.get(h, 0) + mass * good
                after[h + 1] = after.get(h + 1, 0) + mass * (whole - good)
            alive = after
        drawn = n
        total += Fraction(sum(m for h, m in alive.items() if h <= passes), whole**n)
        alive = {h: m for h, m in alive.items() if passes < h < blocks}
    return mpmath.mpf(total.numerator) / mpmath.mpf(total.denominator)


def shown(value):
    return repr(mpmath.nstr(value, DIGITS, strip_zeros=False))


ALPHAS = (0.05, 1e-3, 1e-6, 1e-12)
SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)
LONG = (20, 40, 80, 160)


def bounds():
    for n in SIZES:
        for k in sorted({1, (n + 1) // 2, n - 1, n} - {0}):
            for alpha in ALPHAS:
                yield f"({k}, {n}, {alpha!r}, {shown(lower(k, n, alpha))}),"


ERRORS = (0.0, 2.0**-22, 1e-3)
RADIUS_FLOORS = (0.5, 0.95, 0.1, 1e-4)


def radii():
    """r(floor; q) in sigmas: the quantile of q less the error, less that of floor plus error."""
    corners = [0.5 + 2.0**-j for j in (2, 3, 5, 8, 13, 21, 34)]
    corners += [1 - 10.0**-j for j in range(1, 16, 2)] + [0.01, 0.25]
    for q in corners:
        for floor in RADIUS_FLOORS:
            for error in ERRORS:
                high, low = mpmath.mpf(q) - mpmath.mpf(error), mpmath.mpf(floor) + error
                gap = quantile(high) - quantile(low)
                yield f"({q!r}, {floor!r}, {error!r}, {shown(gap)}),"


def required():
    """1 - q_req(r, floor), r in sigmas."""
    for in_sigmas in (0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
        for floor in RADIUS_FLOORS:
            for error in ERRORS:
                low = quantile(mpmath.mpf(floor) + error)
                q = mpmath.mpf(error) + mpmath.ncdf(low + mpmath.mpf(in_sigmas))
                if q < 1:
                    yield f"({in_sigmas!r}, {floor!r}, {error!r}, {shown(1 - q)}),"


def reached_floors():
    """floor(r; q), r in sigmas, where it is positive."""
    for in_sigmas in (0.0, 0.1, 0.5, 1.0, 2.0, 4.0):
        for q in (1 - 1e-12, 1 - 1e-5, 0.99, 0.7, 0.25, 0.01):
            for error in ERRORS:
                top = quantile(mpmath.mpf(q) - mpmath.mpf(error))
                floor = mpmath.ncdf(top - mpmath.mpf(in_sigmas)) - mpmath.mpf(error)
                if floor > 0:
                    yield f"({in_sigmas!r}, {q!r}, {error!r}, {shown(floor)}),"


def floors_with_misses():
    for floor in (1e-4, 0.01, 0.1, 0.3, 0.5, 0.95):
        for miss in (0.0, 1e-9, 0.01, 0.277, 0.5, 0.999):
            raised = mpmath.mpf(floor) + (1 - mpmath.mpf(floor)) * mpmath.mpf(miss)
            yield f"({floor!r}, {miss!r}, {shown(raised)}),"


def anytime():
    for n in SIZES:
        for k in sorted({(n + 1) // 2, n - 1, n} - {0}):
            for alpha in ALPHAS:
                limit = -mpmath.log(mpmath.mpf(alpha))
                half = mpmath.mpf("0.5")

                def refuted(q, k=k, n=n, limit=limit):
                    return q == 0 or wealth_above(k, n, q) >= limit

                with mpmath.workdps(40):
                    edge = (mpmath.mpf(k) - half) / n
                    value = edge if refuted(edge) else coarse(refuted, edge)
                yield f"({k}, {n}, {alpha!r}, {mpmath.nstr(value, 18)!r}),"


def coarse(inside, high):
    low = mpmath.mpf(0)
    for _ in range(75):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return low


def plans():
    """Staged tables with every fifth draw a look, at rates of all kinds."""
    for longest in LONG:
        for width in (0, 1, 3):
            looks = tuple(range(5, longest + 1, 5))
            most = tuple(max(-1, width - (longest - n) // 10) for n in looks)
            least = (*(width + 4 for _ in looks[:-1]), most[-1] + 1)
            least = tuple(min(b, n + 1) for b, n in zip(least, looks, strict=True))
            for q in (1e-9, 0.3, 0.6914624612740131, 0.8413447460685448, 0.97, 1 - 1e-9):
                value = shown(false_pass(looks, most, least, q))
                yield f"({longest}, {width}, {q!r}, {value}),"


def main():
    for name, rows in (
        ("BOUNDS", bounds()),
        ("RADII", radii()),
        ("REQUIRED", required()),
        ("REACHED_FLOORS", reached_floors()),
        ("FLOORS_WITH_MISSES", floors_with_misses()),
        ("ANYTIME", anytime()),
        ("PLANS", plans()),
    ):
        sys.stdout.write(f"{name} = [\n")
        for row in rows:
            sys.stdout.write(f"    {row}\n")
        sys.stdout.write("]\n\n")


if __name__ == "__main__":
    main()
