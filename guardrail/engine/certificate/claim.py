"""The certificate: what was decided, what it proves, and all that is needed to compute it again."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardrail.engine.certificate.threats import TestedThreat, TestedView, encode_threat
from guardrail.engine.certifier import Count
from guardrail.engine.plan import Geometry, radii_by_floor
from guardrail.engine.preprocessing import NO_FILTER
from guardrail.engine.promise import Claim, Reach
from guardrail.engine.recall import RecallStatement
from guardrail.engine.rules import Retry
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.wording import (
    NOTHING_CERTIFIED,
    describe_canvas,
    evasion_sentence,
    stability_sentence,
    text_sentence,
)
from guardrail.images.canvas import CanvasOperator
from guardrail.notebook import html_table, one_line
from guardrail.stats import Decision, Plan, PlanKind, RadiusInWords, explain_radius

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CERTIFICATE_VERSION", "LARGEST_SIDE_PX", "Certificate", "PictureSize"]

CERTIFICATE_VERSION = 1
LARGEST_SIDE_PX = 2**20


@dataclass(frozen=True, slots=True)
class PictureSize:
    """One picture's sizes, each (height, width) in pixels.

    Attributes:
        client: as the client sent it, upright.
        scaled: scaled down; distances between pictures are no longer changed after that.
        canvas: with white margins where a side was too short; noise meets all of it.
    """

    client: tuple[int, int]
    scaled: tuple[int, int]
    canvas: tuple[int, int]

    @property
    def operator(self) -> CanvasOperator:
        """The map from the client's picture to its canvas."""
        return CanvasOperator(self.client, self.scaled, self.canvas)

    @property
    def is_possible(self) -> bool:
        sides = zip(self.client, self.scaled, self.canvas, strict=True)
        return all(
            1 <= scaled <= client <= LARGEST_SIDE_PX and scaled <= canvas <= LARGEST_SIDE_PX
            for client, scaled, canvas in sides
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Certificate:
    """One decision about one request with pictures.

    Where the decision is a pass, `harmless_rate_lower` is the bound that it earned (0 otherwise),
    and all that it proves follows from that: `radius`, the ℓ2 radius at the policy's own floor, at
    least the promised one, and `stability`, the radii at further floors (empty without a pass). All
    are in client pixels in [0, 1], rounded down. They speak of requests near this one;
    none of them bounds what an attacker may change (that is the policy's promise).
    `miss_rate_upper` and `delta` belong to the harmlessness claim and are null for the other.
    `counts` holds the state at every look of the plan that was visited. `plan` is the whole
    table, so that its false-pass probability can be recomputed from the certificate alone.
    `probe_max_tokens` is set where variants answered with no more tokens than that, so that the
    certificate speaks of beginnings of answers.
    `canvas_max_side_px` is the longest side of a canvas that was used (null: nothing is scaled
    down) and `canvas_side_source` where it is from: `policy`, or what is known of the model.
    `denoise` names the filter that noisy pictures went through before the model, `none` for none.
    It belongs to the model that the claim is about, and changes no number of it.
    `outside_claim` says that the delivered answer, if any, is none that the certificate speaks of.
    `reference` names what answers were compared with, where the oracle is of that kind: chosen on
    draws that are not counted.
    `attempt` tells the draws from those of other decisions on the same request: noise and seeds
    follow from it, the key, the request and the policy.
    `retry` says which calls were repeated, `retries` times at most: under `any` the claim is about
    the model as it is asked so.
    `recall` repeats what was measured of forbidden requests under this policy, model and oracle;
    it is about a population, not about this request. Null where nothing was measured; its `shares`
    are those of the `threats`, none where only small changes of pixels were measured.
    `threats` are those covered beside small changes of pixels, each with the views that were tested
    for it. `decision` is then that of all tests together: a pass takes a pass of each, and `counts`
    are those of the request itself. Without pictures the request itself is tested at the floor of
    the threats, without noise: `sigma`, `radius` and `promised_radius` are 0 then.
    `promise_digest` is the SHA-256 of the canonical JSON of the promise alone: equal for all
    decisions at the same alpha about requests of the same sizes under the same policy.
    It also covers what cannot be recomputed, such as delta.
    `digest` is the SHA-256 of the canonical JSON of all other fields.
    """

    decision: Decision
    claim: Claim
    harmless_rate_lower: float
    radius: float
    stability: tuple[Reach, ...]
    norm: str = "l2"
    sigma: float
    floor: float
    alpha: float
    miss_rate_upper: float | None
    delta: float | None
    promised_radius: float
    operator_norm: float
    grid_slack: float
    sampler_error: float
    pictures: tuple[PictureSize, ...]
    canvas_max_side_px: int | None
    canvas_side_source: str
    denoise: str
    plan_kind: PlanKind
    q_required: float
    looks: tuple[int, ...]
    pass_at_most: tuple[int, ...]
    block_at_least: tuple[int, ...]
    plan_digest: str
    counts: tuple[Count, ...]
    policy: str
    policy_digest: str
    request_digest: str
    attempt: str
    key_id: str
    upstream: str
    upstream_revision: str
    oracle_revision: str
    reference_kind: str = ""
    reference: str = ""
    probe_max_tokens: int | None = None
    retry: Retry
    retries: int
    outside_claim: bool = False
    recall: RecallStatement | None = None
    threats: tuple[TestedThreat, ...] = ()
    code_version: str
    created: str
    version: int = CERTIFICATE_VERSION
    promise_digest: str = field(default="")
    digest: str = field(default="")

    def __repr__(self) -> str:
        return one_line("Certificate", self._facts())

    def _repr_html_(self) -> str:
        return html_table("Certificate", {**self._facts(), "statement": self.statement})

    def _facts(self) -> dict[str, object]:
        return {
            "decision": self.decision.value,
            "harmless": f"{self.harmless} of {self.samples}",
            "harmless_rate_lower": f"{math.floor(self.harmless_rate_lower * 1e4) / 1e4:g}",
            "radius": f"{math.floor(self.radius * 1e4) / 1e4:g} (client pixels)",
            "alpha": f"{self.alpha:g}",
            "policy": self.policy,
            "upstream": self.upstream,
            "canvas": describe_canvas(self.canvas_max_side_px, self.canvas_side_source),
            "denoise": self.denoise,
        }

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; `decode_certificate` reads it back to an equal certificate."""
        fields = dataclasses.asdict(self)
        if self.threats:
            fields["threats"] = [encode_threat(tested) for tested in self.threats]
            fields["claims"] = self.claims
        else:
            del fields["threats"]
        return {
            **fields,
            "counts": [[count.samples, count.harmful] for count in self.counts],
            "pictures": [
                {name: list(side) for name, side in dataclasses.asdict(size).items()}
                for size in self.pictures
            ],
            "looks": list(self.looks),
            "pass_at_most": list(self.pass_at_most),
            "block_at_least": list(self.block_at_least),
            "stability": [dataclasses.asdict(reach) for reach in self.stability],
            "samples": self.samples,
            "harmless": self.harmless,
            "statement": self.statement,
            "recall_statement": self.recall_statement,
            "recall": None if self.recall is None else self.recall.to_dict(),
            "radius_in_words": self._radius_dict(),
        }

    def _radius_dict(self) -> dict[str, float] | None:
        """The certified radius in other units; None where nothing is certified."""
        if self.radius <= 0.0 or not self.has_possible_sizes:
            return None
        words = self.in_words(self.radius)
        return {
            "rms_levels": words.rms_levels,
            "linf_levels": words.linf_levels,
            "full_pixels": words.full_pixels,
            "full_values": words.full_values,
        }

    @property
    def samples(self) -> int:
        """Variants that the decision rests on."""
        return self.counts[-1].samples if self.counts else 0

    @property
    def harmful(self) -> int:
        """Harmful or missing ones among them."""
        return self.counts[-1].harmful if self.counts else 0

    @property
    def harmless(self) -> int:
        return self.samples - self.harmful

    @property
    def stopped_by(self) -> StoppedBy:
        """Which test ended the decision without a pass. Raises CertificationError."""
        # First, as a view that is the request itself has the same counts.
        own = self.plan().decide(self.samples, self.harmful) if self.counts else None
        if own not in (None, Decision.PASS):
            return StoppedBy.REQUEST
        for tested in self.threats:
            if tested.stops(self.alpha):
                return StoppedBy(tested.threat.value)
        return StoppedBy.NONE

    @property
    def has_possible_sizes(self) -> bool:
        """Whether it names pictures, all of sizes that there are."""
        return bool(self.pictures) and all(size.is_possible for size in self.pictures)

    def is_itself(self, view: TestedView) -> bool:
        """Whether a view is the request itself, whose test is the one that `counts` are of."""
        return not self.pictures and view.cut == 0 and view.counts == self.counts

    @property
    def geometry(self) -> Geometry:
        """How distances between the client's pictures become distances on their canvases."""
        return Geometry(self.operator_norm, self.grid_slack, self.sampler_error)

    @property
    def statement(self) -> str:
        """What the decision proved, in one sentence."""
        return self.state_stability(self.stability)

    def state_stability(self, reaches: Iterable[Reach]) -> str:
        """The same, for some radii of it."""
        if self.decision is not Decision.PASS:
            return NOTHING_CERTIFIED
        if not self.pictures:
            return text_sentence(
                self.harmless_rate_lower,
                alpha=self.alpha,
                probe_max_tokens=self.probe_max_tokens,
                outside_claim=self.outside_claim,
                most_asked=self._most_asked,
            )
        return stability_sentence(
            self.claim,
            reaches,
            alpha=self.alpha,
            miss_rate_upper=self.miss_rate_upper,
            delta=self.delta,
            probe_max_tokens=self.probe_max_tokens,
            reference_kind=self.reference_kind,
            reference=self.reference,
            outside_claim=self.outside_claim,
            most_asked=self._most_asked,
            denoise="" if self.denoise == NO_FILTER else self.denoise,
        )

    def state_evasion(self, reaches: Iterable[Reach]) -> str:
        """What the policy promised of every try at this decision's alpha, for some radii."""
        return evasion_sentence(
            self.claim,
            reaches,
            alpha=self.alpha,
            miss_rate_upper=self.miss_rate_upper,
            delta=self.delta,
            probe_max_tokens=self.probe_max_tokens,
            reference_kind=self.reference_kind,
            most_asked=self._most_asked,
        )

    @property
    def _most_asked(self) -> int:
        return self.retry.most_asked(self.retries)

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Of every threat its claim, its curve, its calls, what a pass showed, and its recall."""
        own = []
        if self.pictures:
            promised = radii_by_floor(self, self.geometry, self.q_required)
            own.append(
                {
                    "threat": self.norm,
                    "claim": self.state_evasion(promised),
                    "curve": [dataclasses.asdict(reach) for reach in promised],
                    "views": 1,
                    "calls": self.samples,
                    "statement": self.statement,
                    "recall_statement": self.recall_statement,
                }
            )
        asked: Any = {
            "recall": self.recall,
            "probe_max_tokens": self.probe_max_tokens,
            "most_asked": self._most_asked,
        }
        return [*own, *(one.state(self.decision, self.alpha, **asked) for one in self.threats)]

    @property
    def recall_statement(self) -> str:
        """What was measured of forbidden requests, in words; empty where nothing was.

        Of changes of their pixels; `claims` has it of every threat.
        """
        return "" if self.recall is None else self.recall.sentence

    @property
    def recall_statements(self) -> dict[str, str]:
        """The same of every threat, changes of pixels included; only what was measured."""
        if self.recall is None:
            return {}
        settings = {one.threat: one.setting for one in self.threats}
        return self.recall.sentences({t: at for t, at in settings.items() if at is not None})

    def in_words(self, radius: float) -> RadiusInWords:
        """What `radius` means for the pictures of this certificate, which share it.

        They count side by side where their heights agree, else as one row of pixels; only the
        number of pixels enters the figures.
        """
        sizes = [size.client for size in self.pictures]
        heights = {height for height, _ in sizes}
        if len(heights) == 1:
            return explain_radius(radius, sum(width for _, width in sizes), heights.pop())
        return explain_radius(radius, sum(height * width for height, width in sizes), 1)

    def plan(self) -> Plan:
        """The test, rebuilt from its table. Raises CertificationError if it is not valid."""
        return Plan(
            kind=self.plan_kind,
            q_required=self.q_required,
            alpha=self.alpha,
            looks=self.looks,
            pass_at_most=self.pass_at_most,
            block_at_least=self.block_at_least,
        )
