"""Several tests of one decision side by side: all must pass, and the first that does not ends it.

Every test counts its own outcomes in the order of their index. In which order the tests get their
draws, and where one of them is broken off, changes no promise: a decision passes only where each
has passed, run to its end. So the draws go where they are cheapest: first to tests that have seen
harm, then to those that need the fewest further draws to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.engine.certifier import Certifier
    from guardrail.engine.verdict import Sample
    from guardrail.types import Outcome

__all__ = ["JointTest"]

_MOST_DRAWS = 2**20
"""Of one test; more than any plan has."""


class JointTest:
    """Counts the outcomes of several tests, see `OutcomeCounter`.

    A draw is known by a number for all tests together, see `locate`.

    Attributes:
        tests: as they were given.
        decision: None while draws are needed; a pass only once all tests have passed.
        stopped: the place of the test that ended without a pass; None while there is none. Outcomes
            that arrive after it are not counted, so that there is one at most.
    """

    def __init__(self, tests: Sequence[Certifier]) -> None:
        self.tests = tuple(tests)
        self.decision: Decision | None = None
        self.stopped: int | None = None
        self._counted: set[int] = set()

    def locate(self, draw: int) -> tuple[int, int]:
        """The place of a draw's test, and its index there."""
        return divmod(draw, _MOST_DRAWS)

    def launch(self, room: int) -> Sequence[int]:
        """Draws to make now, at most `room`; each is handed out once."""
        draws: list[int] = []
        for place in sorted(range(len(self.tests)), key=self._cost):
            indices = self.tests[place].launch(room - len(draws))
            draws += [place * _MOST_DRAWS + index for index in indices]
        return draws

    def record(self, draw: int, outcome: Outcome) -> None:
        """Takes the outcome of a draw that was handed out. Raises CertificationError."""
        if self.decision is not None:
            return
        place, index = self.locate(draw)
        self._counted.add(draw)
        test = self.tests[place]
        test.record(index, outcome)
        if test.decision is Decision.PASS:
            passed = all(one.decision is Decision.PASS for one in self.tests)
            self.decision = Decision.PASS if passed else None
        elif test.decision is not None:
            self.decision, self.stopped = test.decision, place

    def split(self, samples: Mapping[int, Sample]) -> list[dict[int, Sample]]:
        """The samples that were counted, for each test by their index in it."""
        split: list[dict[int, Sample]] = [{} for _ in self.tests]
        for draw in sorted(self._counted & samples.keys()):
            place, index = self.locate(draw)
            split[place][index] = samples[draw]
        return split

    def _cost(self, place: int) -> tuple[bool, int, int]:
        test = self.tests[place]
        seen = test.consumed
        return seen.harmful == 0, test.horizon - seen.samples, place
