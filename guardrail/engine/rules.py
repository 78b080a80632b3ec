"""A compiled policy: plain values, all checked, nothing left to interpret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from guardrail.upstreams.prices import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.promise import Claim, RadiusSpace
    from guardrail.engine.recall import RecallStatement
    from guardrail.engine.threats import Threats
    from guardrail.stats import PlanKind
    from guardrail.types import Json

__all__ = [
    "MODEL_SIDE",
    "AnswerSource",
    "Denoise",
    "JudgingRules",
    "Mode",
    "OnOracleFailure",
    "OnSeveralModels",
    "OnUnscanned",
    "Retry",
    "Rules",
    "Side",
    "TextInPictures",
]

MODEL_SIDE: Literal["model"] = "model"
"""Stands for the side of the pictures that the model itself looks at."""

Side: TypeAlias = int | Literal["model"]
"""The longest side of a picture, in pixels; `preprocessing.py` finds the model's."""


class Mode(StrEnum):
    """`observe` decides and records but never blocks; what it would have blocked is marked."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class AnswerSource(StrEnum):
    """Which answer a passed picture request delivers."""

    SMOOTHED = "smoothed"
    CLEAN = "clean"


class Denoise(StrEnum):
    """Which filter a noisy picture goes through before the model; `custom` is a user's function."""

    NONE = "none"
    MEDIAN = "median"
    AREA = "area"
    CUSTOM = "custom"


class OnOracleFailure(StrEnum):
    """`pass_unscanned` fails open: the answer leaves unjudged and is marked so."""

    ERROR = "error"
    PASS_UNSCANNED = "pass_unscanned"  # noqa: S105 (a choice, not a password)


class OnSeveralModels(StrEnum):
    """Answers to the variants of one request that name several models as their own.

    `error` ends the decision, HTTP 502. `mark` counts them together; verdict and record name the
    models, and what passes is outside the certificate's claim.
    """

    ERROR = "error"
    MARK = "mark"


class OnUnscanned(StrEnum):
    """Parts that the oracle cannot look into (audio, pictures, unknown fields, ciphers).

    `pass_unscanned` fails open: the rest is judged, the answer leaves with those parts named, and
    no more than the verdict claim can be made.
    """

    BLOCK = "block"
    PASS_UNSCANNED = "pass_unscanned"  # noqa: S105 (a choice, not a password)


class TextInPictures(StrEnum):
    """`ocr` reads the client's pictures and blocks those whose text is harmful."""

    OFF = "off"
    OCR = "ocr"


class Retry(StrEnum):
    """Which calls and judgements are repeated, always with the same noise.

    `undrawn`: those of which it is certain that they drew nothing, so that each index has one
    answer at most. `any`: all that may pass; then the claim is about the model as it is asked so.
    """

    UNDRAWN = "undrawn"
    ANY = "any"

    def most_asked(self, retries: int) -> int:
        """How often the model may be asked for one answer, with so many repeats of a call."""
        return retries + 1 if self is Retry.ANY else 1


class JudgingRules(Protocol):
    """What of `Rules` the judging of one answer goes by."""

    @property
    def on_unscanned(self) -> OnUnscanned: ...

    @property
    def refusals_are_harmless(self) -> bool: ...

    @property
    def retries(self) -> int: ...

    @property
    def retry(self) -> Retry: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the engine needs to know of a policy.

    A field has the meaning, unit and range of the policy's field of that name, which
    `guardrail.policy.schema` explains (and docs/policy.md). These differ:

    Attributes:
        digest: SHA-256 (hex) of the policy's canonical form.
        promised_radius: `smoothing.radius`.
        kind: `advanced.sampling.plan`, how the sequential test is made.
        miss_rate_upper: f_U, in [0, 1), of the harmlessness claim; None for the verdict claim.
        delta: probability that f_U is too small as an average; None likewise.
        on_oracle_failure, on_unscanned, on_several_models: the fields of `failures`.
        max_cost_usd: `advanced.limits.max_cost_usd_per_request`.
        threats: what is covered beside small changes of pixels; None for nothing else.
        recall: what was measured of forbidden requests under this policy; None where nothing was.
        policy_fields: the policy's own fields, those that have their defaults left out; records
            keep them, and nothing is decided by them.
    """

    name: str
    digest: str
    mode: Mode
    claim: Claim
    sigma: float
    promised_radius: float
    radius_space: RadiusSpace
    floor: float
    alpha: float
    canvas_max_side_px: Side | None
    miss_rate_upper: float | None
    delta: float | None
    kind: PlanKind
    expected_harmless_rate: float
    power: float
    max_samples: int
    latency_weight: float
    max_parallel: int
    speculate: bool
    answer: AnswerSource
    on_oracle_failure: OnOracleFailure
    on_unscanned: OnUnscanned
    refusals_are_harmless: bool
    retries: int
    call_timeout_s: float
    deadline_s: float
    max_calls: int | None = None
    max_cost_usd: float | None = None
    prices: PriceBook = field(default_factory=PriceBook)
    probe_max_tokens: int | None = None
    judge_every_chars: int | None = None
    recall: RecallStatement | None = None
    canvas_limit_px: int | None = None
    canvas_min_side_px: int = 1
    denoise: Denoise = Denoise.NONE
    denoise_window_px: int = 3
    denoise_side_px: Side = MODEL_SIDE
    retry: Retry = Retry.UNDRAWN
    expected_success_rate: float = 1.0
    text_in_pictures: TextInPictures = TextInPictures.OFF
    on_several_models: OnSeveralModels = OnSeveralModels.ERROR
    threats: Threats | None = None
    policy_fields: Mapping[str, Json] = field(default_factory=dict, compare=False, repr=False)

    @property
    def asks_for_model_side(self) -> bool:
        """Whether the size of pictures depends on the model."""
        area = self.denoise is Denoise.AREA and self.denoise_side_px == MODEL_SIDE
        return area or self.canvas_max_side_px == MODEL_SIDE

    def tests(self, pictures: int) -> bool:
        """Whether requests with so many pictures are decided by a test, and so draw under a claim.

        Those without are where a suffix is covered; else one answer is judged, outside any claim.
        """
        return pictures > 0 or (self.threats is not None and self.threats.suffix is not None)

    @property
    def q1(self) -> float:
        """The rate of harmless outcomes that plans are made for: answers lost to faults count."""
        return self.expected_harmless_rate * self.expected_success_rate
