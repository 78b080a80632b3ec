"""All tests of one decision: that of the request itself, and one for each of its views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.stopped_by import StoppedBy
from guardrail.stats import Decision

if TYPE_CHECKING:
    from guardrail.engine.certifier import Certifier
    from guardrail.engine.threats import View
    from guardrail.stats import Plan

__all__ = ["DecisionTests", "ViewTest"]


@dataclass(frozen=True, slots=True)
class ViewTest:
    """One view and its test."""

    view: View
    certifier: Certifier


@dataclass(frozen=True, slots=True)
class DecisionTests:
    """All tests of a decision, each at the decision's own alpha.

    Attributes:
        whole: of the request itself; the answer that leaves is one of its draws.
        views: of its views; empty where nothing but small changes of pixels is covered.
        view_plan: the test of each view; None where there can be none.
        text_length: words or characters of the text that a suffix would stand behind; None where
            no suffix is covered.
        has_pictures: whether the request has any.
        own_view: the view that is the request itself, which `whole` tests like every view; None
            where there is none.
    """

    whole: Certifier
    views: tuple[ViewTest, ...] = ()
    view_plan: Plan | None = None
    text_length: int | None = None
    has_pictures: bool = True
    own_view: View | None = None

    @property
    def stopped_by(self) -> StoppedBy:
        """The one that ended without a pass; there is one at most."""
        if self.whole.decision not in (None, Decision.PASS):
            return StoppedBy.REQUEST
        for run in self.views:
            if run.certifier.decision not in (None, Decision.PASS):
                return StoppedBy(run.view.threat.value)
        return StoppedBy.NONE
