"""What a certificate holds of each threat that is covered beside small changes of pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.engine.certifier import Count  # noqa: TC001 (read at run time by the codec)
from guardrail.engine.threat_wording import earned_sentence, promise_sentence
from guardrail.engine.threats import (
    Crops,
    Stickers,
    Suffix,
    SuffixUnit,
    Threat,
)
from guardrail.engine.wording import NOTHING_CERTIFIED
from guardrail.stats import Decision, Plan, PlanKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.engine.recall import RecallStatement
    from guardrail.engine.threats import Setting, View

__all__ = [
    "TestedThreat",
    "TestedView",
    "combine_decisions",
    "encode_threat",
    "promise_of",
    "view_numbers",
]


@dataclass(frozen=True, slots=True)
class TestedView:
    """One view and its counts.

    Attributes:
        picture: the number of the picture that is cut or masked; None for a suffix.
        box: top, left, height and width of the window or mask, in the client's pixels.
        cut: how many words or characters are taken off the text; None for pictures.
        counts: the state at every look of the plan that was visited; a test that another one's end
            cut short has no decision.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    picture: int | None
    box: tuple[int, int, int, int] | None
    cut: int | None
    counts: tuple[Count, ...]

    @property
    def samples(self) -> int:
        return self.counts[-1].samples if self.counts else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedThreat:
    """One threat: how it is covered, the test that all its views must pass, and their counts.

    Attributes:
        threat: which.
        windows, sees: of crops.
        masks, max_share: of stickers.
        words, characters: of a suffix, one of them.
        text_length: words or characters of the text that a suffix would stand behind.
        floor: harmless rate below which a view is held; the views have no noise and no radius, so
            their test is about this rate.
        temperature: that the views were asked with; None for that of the request.
        harmless_rate_lower: after a pass, a lower bound of the rates of all views; 0 otherwise.
        plan_kind, looks, pass_at_most, block_at_least, plan_digest: the test, the same for each.
        views: all of them.
    """

    __test__ = False

    threat: Threat
    windows: int | None = None
    sees: int | None = None
    masks: int | None = None
    max_share: float | None = None
    words: int | None = None
    characters: int | None = None
    text_length: int | None = None
    floor: float
    temperature: float | None = None
    harmless_rate_lower: float
    plan_kind: PlanKind
    looks: tuple[int, ...]
    pass_at_most: tuple[int, ...]
    block_at_least: tuple[int, ...]
    plan_digest: str
    views: tuple[TestedView, ...]

    @property
    def samples(self) -> int:
        """Draws that the tests of its views rest on."""
        return sum(view.samples for view in self.views)

    @property
    def setting(self) -> Setting | None:
        """The threat as the policy has it; None where the numbers are those of no threat."""
        own = {
            Threat.CROPS: (self.windows, self.sees),
            Threat.STICKERS: (self.masks, self.max_share),
            Threat.SUFFIX: (self.words, self.characters, self.text_length),
        }
        others = [value for threat, values in own.items() if threat is not self.threat
                  for value in values]  # fmt: skip
        if any(value is not None for value in others):
            return None
        if self.threat is Threat.SUFFIX:
            return self._suffix()
        if None in own[self.threat]:
            return None
        if self.threat is Threat.CROPS:
            return Crops(self.windows or 0, self.sees or 0)
        return Stickers(self.masks or 0, self.max_share or 0.0)

    def _suffix(self) -> Suffix | None:
        if self.text_length is None or (self.words is None) is (self.characters is None):
            return None
        unit = SuffixUnit.CHARACTERS if self.words is None else SuffixUnit.WORDS
        return Suffix(unit, self.words or self.characters or 0)

    def plan(self, alpha: float) -> Plan:
        """The test, rebuilt from its table. Raises CertificationError if it is not valid."""
        return Plan(
            kind=self.plan_kind,
            q_required=self.floor,
            alpha=alpha,
            looks=self.looks,
            pass_at_most=self.pass_at_most,
            block_at_least=self.block_at_least,
        )

    def stops(self, alpha: float) -> bool:
        """Whether the test of one of its views ended without a pass. Raises CertificationError."""
        plan = self.plan(alpha)
        last = (view.counts[-1] for view in self.views if view.counts)
        ends = (plan.decide(count.samples, count.harmful) for count in last)
        return any(end not in (None, Decision.PASS) for end in ends)

    def state(
        self,
        decision: Decision,
        alpha: float,
        *,
        recall: RecallStatement | None,
        probe_max_tokens: int | None,
        most_asked: int,
    ) -> dict[str, Any]:
        """Its claim, calls, curve and recall, for readers; the arguments are the certificate's.

        The curve has one point: with no noise there is no radius, and the floor is what is held.
        """
        setting = self.setting
        passed = decision is Decision.PASS and bool(self.views)
        rate = self.harmless_rate_lower
        asked: Any = {
            "probe_max_tokens": probe_max_tokens,
            "most_asked": most_asked,
            "temperature": self.temperature,
        }
        return {
            "threat": self.threat.value,
            "claim": ""
            if setting is None
            else promise_sentence(setting, floor=self.floor, alpha=alpha, **asked),
            "curve": [{"floor": self.floor, "radius": 0.0}],
            "views": len(self.views),
            "calls": self.samples,
            "statement": earned_sentence(views=len(self.views), rate=rate, alpha=alpha, **asked)
            if passed
            else NOTHING_CERTIFIED,
            "recall_statement": self.state_recall(recall),
        }

    def state_recall(self, recall: RecallStatement | None) -> str:
        """Which share of forbidden requests it holds, with clean ones; empty if not measured."""
        setting = self.setting
        if recall is None or setting is None:
            return ""
        shares = recall.state_threat(self.threat, setting)
        return f"{shares} {recall.clean_words}" if shares else ""


def view_numbers(view: View) -> tuple[int, int, int, int] | None:
    """Window or mask of a view as a certificate writes it."""
    box = view.box
    return None if box is None else (box.top, box.left, box.height, box.width)


def encode_threat(tested: TestedThreat) -> dict[str, Any]:
    """For JSON."""
    fields = dataclasses.asdict(tested)
    for name in ("looks", "pass_at_most", "block_at_least"):
        fields[name] = list(fields[name])
    fields["views"] = [
        {
            "picture": view.picture,
            "box": None if view.box is None else list(view.box),
            "cut": view.cut,
            "counts": [[count.samples, count.harmful] for count in view.counts],
        }
        for view in tested.views
    ]
    return fields


def promise_of(tested: TestedThreat) -> dict[str, Any]:
    """What of it is the same for all requests of the same sizes; nothing of text and outcome."""
    fields = encode_threat(tested)
    left_out = ("harmless_rate_lower", "text_length", "views")
    boxes = [[view.picture, view.box] for view in tested.views if view.box is not None]
    return {**{k: v for k, v in fields.items() if k not in left_out}, "boxes": boxes}


def combine_decisions(whole: Decision | None, views: Iterable[Decision | None]) -> Decision:
    """The decision of several tests, of which at most one has ended without a pass."""
    decisions: Sequence[Decision | None] = (whole, *views)
    for decision in decisions:
        if decision is not None and decision is not Decision.PASS:
            return decision
    return Decision.UNCERTAIN if None in decisions else Decision.PASS
