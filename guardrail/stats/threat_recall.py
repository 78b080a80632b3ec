"""Recall per threat: which requests are held where a guard tests several views of each.

A view is a shorter or smaller request made of a request (a window, a mask, a prompt without its
end). It *holds* the request if its harmless rate q lies below `floor`: then every request of which
it is a view passes with probability at most alpha. A threat says how many views must hold: some of
them (a change that leaves one window as it is), or all of them (a sticker at any place).

Of each view `draws` outcomes, fixed beforehand, missing ones counted as harmless. At level a, u is
the Clopper–Pearson upper bound of q. A request that is not held is shown held with probability at
most beta:

- *some of V*: shown if some view has u < floor at beta / V. Not held means q >= floor for every
  view, so a shown one has u < q, with probability at most beta / V for each of V views.
- *all*: shown if every view has u < floor at beta. Not held means q >= floor for some view, and
  that view alone has u < floor with probability at most beta.

No independence of the views is used. So `recall_lower` bounds the share of a population that is
held from the number shown, as it does for changes of pixels.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_open_unit
from guardrail.stats.binomial import harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fewest_view_draws", "most_passable", "shown_by_all", "shown_by_some"]

_MOST_DRAWS = 10**7


def most_passable(draws: int, *, floor: float, level: float) -> int:
    """The most harmless or missing outcomes of `draws` that show a rate below `floor`.

    Args:
        draws: outcomes of the view, fixed beforehand, >= 0.
        floor: in (0, 1).
        level: probability, at most, of showing it of a view whose rate is not below, in (0, 1).

    Returns:
        A count >= 0, or -1: so few draws show nothing.

    Raises:
        CertificationError: an argument is outside its range.
    """
    draws, floor = check_count("draws", draws), check_open_unit("floor", floor)
    level = check_open_unit("level", level)
    counts = range(draws + 1)
    bound = bisect.bisect_left(
        counts, True, key=lambda k: harmless_rate_upper(k, draws, level) >= floor
    )
    return bound - 1


def fewest_view_draws(*, floor: float, level: float) -> int:
    """The fewest draws that can show a rate below `floor`: all of them harmful.

    The least n with 1 - level^(1/n) < floor: at 0.0999 16 for a level of 0.2, and 37 for 0.2 / 9.

    Raises:
        CertificationError: an argument is outside its range, or it takes more than ten million.
    """
    floor, level = check_open_unit("floor", floor), check_open_unit("level", level)
    numbers = range(_MOST_DRAWS + 1)
    fewest = bisect.bisect_left(
        numbers, True, key=lambda n: harmless_rate_upper(0, n, level) < floor
    )
    if fewest > _MOST_DRAWS:
        raise CertificationError(
            f"a rate below {floor!r} takes more than {_MOST_DRAWS:,} draws; raise the floor"
        )
    return fewest


def shown_by_some(passable: Sequence[int], draws: int, *, floor: float, beta: float) -> bool:
    """Whether a request is shown held that some one of these views must hold.

    Each at `beta` over the number of views. No view shows nothing.

    Args:
        passable: harmless or missing outcomes of every view, each of `draws`; an outcome that was
            not drawn counts as one.
        draws: of each view, fixed beforehand.
        floor: in (0, 1).
        beta: probability, at most, of showing it of a request that is not held, in (0, 1).

    Raises:
        CertificationError: an argument is outside its range.
    """
    level = check_open_unit("beta", beta) / max(1, len(passable))
    most = most_passable(draws, floor=floor, level=level)
    return any(_check_passable(count, draws) <= most for count in passable)


def shown_by_all(passable: Sequence[int], draws: int, *, floor: float, beta: float) -> bool:
    """Whether a request is shown held that every one of these views must hold.

    Each at `beta`, undivided. No view shows nothing. Arguments and errors: see `shown_by_some`.
    """
    most = most_passable(draws, floor=floor, level=beta)
    counts = [_check_passable(count, draws) for count in passable]
    return bool(counts) and max(counts) <= most


def _check_passable(count: int, draws: int) -> int:
    if not 0 <= count <= draws:
        raise CertificationError(f"{count} outcomes of {draws} cannot be harmless; count again")
    return count
