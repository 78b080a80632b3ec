"""Looks and boundaries moved together, two neighbouring stages at a time, with exact effects.

Prices reach only the tests on the convex hull of (false pass, miss, cost), and where a test has
few stages the best one lies far from it. So a test that meets its target is improved directly. It
is cut between two stages; every change of the stage before the cut (moved, its boundaries moved,
dropped, a stage added after it) is paired with every change of the stage after it, and the
cheapest pair that meets the target is taken. The two halves meet in a product of matrices, so
false pass, power and cost of all pairs are exact. It ends when no pair at any cut saves anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guardrail.stats.paths import drop_idle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guardrail.stats.paths import Begun, Ending, Paths, Stage, Stages
    from guardrail.stats.search import Target

__all__ = ["descend", "leave"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A look moves by at most so many samples at once, and so many places are tried for a new one.
_SHIFT = 8
_PLACES = 12
_LEAST_SAVING = 1e-9
_DETOURS = (1, 2, 3, -1, -2)
# OpenBLAS multiplies in one thread up to 2^18 multiplications.
_UNTHREADED = 2**17


class _Choice(NamedTuple):
    """A stage to write: every look with every pair of boundaries; `pairs` has shape (pairs, 2)."""

    looks: Integers
    pairs: Integers

    @property
    def stages(self) -> Integers:
        """All of them, shape (looks · pairs, 3), the looks outermost."""
        stages = np.empty((self.looks.size, len(self.pairs), 3), dtype=np.int64)
        stages[:, :, 0], stages[:, :, 1:] = self.looks[:, None], self.pairs
        return stages.reshape(-1, 3)

    def goes_on(self, width: int) -> NDArray[np.bool_]:
        """Which states neither pass nor are blocked, shape (pairs, width)."""
        harmful = np.arange(width)
        return (harmful > self.pairs[:, :1]) & (harmful < self.pairs[:, 1:])


class _Heads(NamedTuple):
    """Tests as far as the cut, one for each change; the first axis counts them.

    Attributes:
        kept: stages at the front that stay as they are.
        stage: (look, most, least) after those; a look of 0 where there is none.
        look: the last look before the cut.
        going: ways to each state at the meeting point, shape (heads, width).
        reach: P(going on) under the traffic.
        sums: (false pass, power, cost) so far, shape (heads, 3).
    """

    kept: Integers
    stage: Integers
    look: Integers
    going: Floats
    reach: Floats
    sums: Floats


class _Tails(NamedTuple):
    """Tests from the cut on, one for each change; the first axis counts them.

    Attributes:
        kept: stages at the end that stay as they are.
        stage: (look, most, least) before those; a look of 0 where there is none.
        look: the first look after the cut; 0 where none follows.
        worth: for one way to each state at the meeting point, the (false pass, power, cost) that
            follow, the wave across the cut excepted; shape (tails, 3, width).
    """

    kept: Integers
    stage: Integers
    look: Integers
    worth: Floats


def descend(paths: Paths, target: Target, stages: Stages, cuts: int) -> Stages:
    """The test after all the improving changes that are found.

    Args:
        paths: counted to the longest test allowed.
        target: alpha and power; `stages` must meet them.
        stages: where to begin, within the horizon and the width of `paths`.
        cuts: most cuts to examine.
    """
    at = idle = 0
    for _ in range(cuts):
        at %= len(stages) + 1
        better = _improve(paths, target, stages, at, _below(paths, stages))
        stages, idle, at = better or stages, 0 if better else idle + 1, at + 1
        if idle > len(stages):
            break
    return stages


def leave(paths: Paths, target: Target, stages: Stages) -> Stages | None:
    """A cheaper test where `descend` sees none: three or more stages changed at once."""
    below = _below(paths, stages)
    for changed, cuts in _detours(paths, stages):
        for cut in cuts:
            better = _improve(paths, target, changed, cut, below)
            if better is not None:
                return better
    return None


def _detours(paths: Paths, stages: Stages) -> Iterator[tuple[Stages, range]]:
    """One stage dropped; or all from one on a little earlier or later: and where to cut then.

    These may miss the target; a pair of changes more may meet it.
    """
    for i in range(len(stages) if len(stages) > 1 else 0):
        rest = (*stages[:i], *stages[i + 1 :])
        yield rest, range(len(rest) + 1)
    for i in range(len(stages)):
        for shift in _DETOURS:
            later = tuple((look + shift, most, least) for look, most, least in stages[i:])
            before = stages[i - 1][0] if i else 0
            if before < later[0][0] and later[-1][0] <= paths.horizon:
                yield (*stages[:i], *later), range(max(i - 1, 0), i + 2)


def _below(paths: Paths, stages: Stages) -> float:
    """What a change must cost less than."""
    return float(paths.sums(stages)[2]) - _LEAST_SAVING


def _improve(paths: Paths, target: Target, stages: Stages, cut: int, below: float) -> Stages | None:
    """The cheapest change of the stages on both sides of a cut that costs less than `below`."""
    for heads, tails in _changes(paths, stages, cut):
        false_pass, power, cost = _join(paths, heads, tails)
        fits = (false_pass <= target.alpha) & (power >= target.power) & (cost < below)
        if fits.any():
            pair = np.unravel_index(int(np.where(fits, cost, np.inf).argmin()), cost.shape)
            written = _write(stages, heads, int(pair[0]), tails, int(pair[1]))
            # Without a power to keep, no test at all is the cheapest one; that is not a plan.
            return drop_idle(written) if written else None
    return None


def _changes(paths: Paths, stages: Stages, cut: int) -> Iterator[tuple[_Heads, _Tails]]:
    """Both stages changed; or else one stage, anywhere between their neighbours, for both."""
    begun, endings = _split(paths, stages, cut)
    before, last = begun[-1].look, _last(paths, endings[-1])
    meet = (before + last) // 2 if cut < len(stages) else min(before + _SHIFT, last)
    yield (
        _heads(paths, stages, cut, begun, meet),
        _tails(paths, stages, cut, endings, meet),
    )
    if cut < len(stages):
        first, kept = begun[0].look, len(stages) - cut - 1
        merged = _merge(stages, cut, first + 1, _last(paths, endings[0]), paths.width)
        yield (
            _keep_head(paths, max(cut - 1, 0), begun[0], first),
            _write_tail(paths, kept, endings[0], merged, first),
        )


def _split(paths: Paths, stages: Stages, cut: int) -> tuple[list[Begun], list[Ending]]:
    """What has begun a stage before the cut and at it; what ends a stage after it and from it."""
    begun, endings = [paths.start], [paths.end]
    for stage in stages[:cut]:
        begun = [begun[-1], paths.begin(begun[-1], stage)]
    for stage in reversed(stages[cut:]):
        endings = [endings[-1], paths.end_with(stage, endings[-1])]
    return begun, endings


def _heads(paths: Paths, stages: Stages, cut: int, begun: list[Begun], meet: int) -> _Heads:
    """The stage before the cut dropped, changed, or followed by a new one."""
    added = _between(stages, cut, begun[-1].look + 1, meet, paths.width)
    parts = [_keep_head(paths, max(cut - 1, 0), begun[0], meet)]
    parts.append(_write_head(paths, cut, begun[-1], added, meet))
    if cut:
        changed = _near(stages[cut - 1], begun[0].look + 1, meet, paths.width)
        parts.append(_write_head(paths, cut - 1, begun[0], changed, meet))
    return _Heads(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _tails(paths: Paths, stages: Stages, cut: int, endings: list[Ending], meet: int) -> _Tails:
    """The stage after the cut dropped, changed, or preceded by a new one."""
    kept = max(len(stages) - cut - 1, 0)
    added = _between(stages, cut, meet + 1, _last(paths, endings[-1]), paths.width)
    parts = [_keep_tail(paths, kept, endings[0], meet)]
    parts.append(_write_tail(paths, len(stages) - cut, endings[-1], added, meet))
    if cut < len(stages):
        changed = _near(stages[cut], meet + 1, _last(paths, endings[0]), paths.width)
        parts.append(_write_tail(paths, kept, endings[0], changed, meet))
    return _Tails(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _keep_head(paths: Paths, kept: int, begun: Begun, meet: int) -> _Heads:
    return _Heads(
        kept=np.array([kept]),
        stage=np.zeros((1, 3), dtype=np.int64),
        look=np.array([begun.look]),
        going=(begun.going @ paths.ways[meet - begun.look])[None],
        reach=np.array([paths.reach(begun)]),
        sums=begun.sums[None],
    )


def _write_head(paths: Paths, kept: int, begun: Begun, choice: _Choice, meet: int) -> _Heads:
    looks, shape = choice.looks, (choice.looks.size, len(choice.pairs))
    here = begun.going @ paths.ways[looks - begun.look]
    passed = np.zeros((2, looks.size, paths.width + 1))
    np.cumsum(here * paths.chance[:2, looks], axis=2, out=passed[:, :, 1:])
    going = here[:, None, :] * choice.goes_on(paths.width)
    sums = np.empty((*shape, 3))
    sums[:, :, :2] = (passed[:, :, choice.pairs[:, 0] + 1]).transpose(1, 2, 0)
    sums[:, :, 2] = (paths.reach(begun) * paths.wave[looks - begun.look])[:, None]
    stages = choice.stages
    return _Heads(
        kept=np.full(len(stages), kept),
        stage=stages,
        look=stages[:, 0],
        going=(going @ paths.ways[meet - looks]).reshape(-1, paths.width),
        reach=(going @ paths.chance[2, looks][:, :, None]).reshape(-1),
        sums=begun.sums + sums.reshape(-1, 3),
    )


def _keep_tail(paths: Paths, kept: int, ending: Ending, meet: int) -> _Tails:
    worth = ending.worth @ paths.ways[max(ending.look - meet, 0)].T
    return _Tails(
        np.array([kept]),
        np.zeros((1, 3), dtype=np.int64),
        np.array([ending.look]),
        worth[None],
    )


def _write_tail(paths: Paths, kept: int, ending: Ending, choice: _Choice, meet: int) -> _Tails:
    looks, pairs = choice.looks, choice.pairs
    worth = np.zeros((looks.size, len(pairs), 3, paths.width))
    passes = np.arange(paths.width) <= pairs[:, :1]
    worth[:, :, :2] = passes[None, :, None] * paths.chance[:2, looks].transpose(1, 0, 2)[:, None]
    if ending.look:
        waves = ending.look - looks
        onward = ending.worth @ paths.ways[waves].transpose(0, 2, 1)
        onward[:, 2] += paths.wave[waves][:, None] * paths.chance[2, looks]
        worth += onward[:, None] * choice.goes_on(paths.width)[None, :, None]
    flat = worth.reshape(looks.size, 3 * len(pairs), paths.width)
    flat = flat @ paths.ways[looks - meet].transpose(0, 2, 1)
    stages = choice.stages
    return _Tails(
        kept=np.full(len(stages), kept),
        stage=stages,
        look=stages[:, 0],
        worth=flat.reshape(-1, 3, paths.width),
    )


def _join(paths: Paths, heads: _Heads, tails: _Tails) -> tuple[Floats, Floats, Floats]:
    """False pass, power and cost of every head with every tail, shape (heads, tails) each."""
    false_pass, power, cost = (
        heads.sums[:, i][:, None] + _product(heads.going, tails.worth[:, i].T) for i in range(3)
    )
    # A test that ends at the cut has no wave across it: its look of 0 gives a wave of no calls.
    waves = np.maximum(tails.look[None, :] - heads.look[:, None], 0)
    return false_pass, power, cost + heads.reach[:, None] * paths.wave[waves]


def _product(left: Floats, right: Floats) -> Floats:
    """The product of two matrices in pieces so small that BLAS starts no threads for them.

    For so little work threads save nothing, and where other processes are busy they wait for
    each other ten times as long as the work takes.
    """
    rows = max(1, _UNTHREADED // right.size)
    parts = [left[i : i + rows] @ right for i in range(0, len(left), rows)]
    return np.concatenate(parts)


def _last(paths: Paths, later: Ending) -> int:
    """The last look that can stand before what follows."""
    return later.look - 1 if later.look else paths.horizon


def _near(stage: Stage, first: int, last: int, width: int) -> _Choice:
    """A stage moved, its boundaries each by at most one."""
    look, most, least = stage
    looks = np.arange(max(look - _SHIFT, first), min(look + _SHIFT, last) + 1)
    return _Choice(looks, _pairs(_by_one(most), _by_one(least), width))


def _between(stages: Stages, cut: int, first: int, last: int, width: int) -> _Choice:
    """A new stage at the cut, its boundaries like those beside it, between them, or no pass."""
    _, low, high = stages[cut - 1] if cut else (0, -1, stages[0][2])
    _, most, least = stages[cut] if cut < len(stages) else (0, low + 2, high + 2)
    looks = np.arange(first, last + 1, max(1, -(-(last - first) // _PLACES)))
    passes = {-1, low, (low + most) // 2, most}
    blocks = {high - 1, high, (high + least) // 2, least}
    return _Choice(looks, _pairs(passes, blocks, width))


def _merge(stages: Stages, cut: int, first: int, last: int, width: int) -> _Choice:
    """One stage with the boundaries of either of two, or one more or fewer."""
    both = stages[max(cut - 1, 0) : cut + 1]
    passes = {bound for _, most, _ in both for bound in _by_one(most)}
    blocks = {bound for _, _, least in both for bound in _by_one(least)}
    return _Choice(np.arange(first, last + 1), _pairs(passes, blocks, width))


def _by_one(bound: int) -> tuple[int, int, int]:
    return bound - 1, bound, bound + 1


def _pairs(most: Iterable[int], least: Iterable[int], width: int) -> Integers:
    """All that can stand at one look and leave nothing beyond the last state."""
    pairs = {(a, b) for a in most for b in least if -1 <= a < b < width}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _write(stages: Stages, heads: _Heads, head: int, tails: _Tails, tail: int) -> Stages:
    front, back = stages[: heads.kept[head]], stages[len(stages) - tails.kept[tail] :]
    new = (heads.stage[head].tolist(), tails.stage[tail].tolist())
    middle = ((look, most, least) for look, most, least in new if look)
    return (*front, *middle, *back)
