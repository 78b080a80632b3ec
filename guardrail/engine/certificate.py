"""The certificate: what was decided, what it proves, and all that is needed to compute it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeVar, assert_never

from guardrail.engine.certifier import Count
from guardrail.engine.plan import (
    Geometry,
    Reach,
    earned_radius,
    geometry,
    harmless_lower,
    radii_by_floor,
    required_rate,
)
from guardrail.engine.recall import RecallStatement
from guardrail.engine.rules import Claim, RadiusSpace, Retry
from guardrail.engine.wording import NOTHING_CERTIFIED, stability_sentence
from guardrail.errors import CertificationError
from guardrail.images.canvas import CanvasOperator
from guardrail.stats import Decision, Plan, PlanKind, RadiusInWords, RecallReach, explain_radius

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CERTIFICATE_VERSION", "Certificate", "PictureSize"]

CERTIFICATE_VERSION = 1

_T = TypeVar("_T")
_DERIVED = frozenset({"samples", "harmless", "statement", "recall_statement", "radius_in_words"})
_MOST_SAMPLES = 20_000
_LARGEST_SIDE_PX = 2**20
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
_REFERENCE_KINDS = ("", "action", "meaning")
# What the promise is for requests of these sizes, with nothing of the outcome.
_PROMISE = (
    "claim",
    "sigma",
    "floor",
    "alpha",
    "miss_rate_upper",
    "delta",
    "promised_radius",
    "radius_space",
    "norm",
    "pictures",
    "operator_norm",
    "grid_slack",
    "sampler_error",
    "q_required",
    "plan_digest",
    "probe_max_tokens",
    "retry",
    "retries",
    "recall",
)
# Two machines may compute the normal quantile differently in its last bits.
_PORTABLE = 1e-12


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
            1 <= scaled <= client <= _LARGEST_SIDE_PX and scaled <= canvas <= _LARGEST_SIDE_PX
            for client, scaled, canvas in sides
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One decision about one request with pictures.

    Where the decision is a pass, `harmless_rate_lower` is the bound that it earned (0 otherwise),
    and all that it proves follows from that: `radius`, the ℓ2 radius at the policy's own floor, at
    least the promised one, and `stability`, the radii at further floors (empty without a pass). All
    are in `radius_space` and pixels in [0, 1], rounded down. They speak of requests near this one;
    none of them bounds what an attacker may change (that is the policy's promise).
    `miss_rate_upper` and `delta` belong to the harmlessness claim and are null for the other.
    `counts` holds the state at every look of the plan that was visited. `plan` is the whole
    table, so that its false-pass probability can be recomputed from the certificate alone.
    `probe_max_tokens` is set where variants answered with no more tokens than that, so that the
    certificate speaks of beginnings of answers.
    `outside_claim` says that the delivered answer, if any, is none that the certificate speaks of.
    `reference` names what answers were compared with, where the oracle is of that kind: chosen on
    draws that are not counted.
    `attempt` tells the draws from those of other decisions on the same request: noise and seeds
    follow from it, the key, the request and the policy.
    `retry` says which calls were repeated, `retries` times at most: under `any` the claim is about
    the model as it is asked so.
    `recall` repeats what was measured of forbidden requests under this policy, model and oracle;
    it is about a population, not about this request. Null where nothing was measured.
    `promise_digest` is the SHA-256 of the canonical JSON of the promise alone: equal for all
    decisions at the same alpha about requests of the same sizes under the same policy. It binds
    what no arithmetic can contradict, such as delta.
    `digest` is the SHA-256 of the canonical JSON of all other fields.
    """

    decision: Decision
    claim: Claim
    harmless_rate_lower: float
    radius: float
    stability: tuple[Reach, ...]
    radius_space: RadiusSpace
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
    code_version: str
    created: str
    version: int = CERTIFICATE_VERSION
    promise_digest: str = field(default="")
    digest: str = field(default="")

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
    def statement(self) -> str:
        """What the decision proved, in one sentence."""
        if self.decision is not Decision.PASS:
            return NOTHING_CERTIFIED
        return stability_sentence(
            self.claim,
            self.stability,
            alpha=self.alpha,
            space=self.radius_space,
            miss_rate_upper=self.miss_rate_upper,
            delta=self.delta,
            probe_max_tokens=self.probe_max_tokens,
            reference_kind=self.reference_kind,
            reference=self.reference,
            outside_claim=self.outside_claim,
            most_asked=1 if self.retry is Retry.UNDRAWN else self.retries + 1,
        )

    @property
    def recall_statement(self) -> str:
        """What was measured of forbidden requests, in words; empty where nothing was."""
        return "" if self.recall is None else self.recall.sentence

    def in_words(self, radius: float) -> RadiusInWords:
        """What `radius` means for the pictures of this certificate, which share it.

        They count side by side where their heights agree, else as one row of pixels; only the
        number of pixels enters the figures.
        """
        in_client = self.radius_space is RadiusSpace.CLIENT
        sizes = [size.client if in_client else size.scaled for size in self.pictures]
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

    def sealed(self) -> Self:
        """The same certificate with its digest set."""
        return dataclasses.replace(self, digest=self.computed_digest())

    def computed_promise_digest(self) -> str:
        fields = dataclasses.asdict(self)
        return _sha256({name: fields[name] for name in _PROMISE})

    def computed_digest(self) -> str:
        return _sha256({name: value for name, value in self.to_dict().items() if name != "digest"})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back to an equal certificate."""
        return {
            **dataclasses.asdict(self),
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
            "recall": None if self.recall is None else _recall_dict(self.recall),
            "radius_in_words": _words(self),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_dict` wrote.

        Raises:
            CertificationError: names a field that is missing, unknown or of the wrong type.
        """
        known = {f.name: f.type for f in dataclasses.fields(cls)}
        unknown = set(data) - known.keys() - _DERIVED
        if unknown:
            raise CertificationError(
                f"this is no certificate of version {CERTIFICATE_VERSION}: it has the unknown "
                f"field '{min(map(str, unknown))}'; give one that guardrail wrote"
            )
        return cls(**{name: _read(data, name, kind) for name, kind in known.items()})

    def verify(self, data: Mapping[str, Any] | None = None) -> None:
        """Recomputes everything that can be recomputed from the certificate alone.

        Args:
            data: the dictionary that it was read from, to check the derived fields as well.

        Raises:
            CertificationError: names the first thing that does not hold.
        """
        # First, because the sentence that the digest covers can only be written of such numbers.
        _verify_ranges(self)
        _require(self.digest == self.computed_digest(), "its digest does not match its fields")
        _require(data is None or dict(data) == self.to_dict(), "a derived field was changed")
        known = self.version == CERTIFICATE_VERSION and self.norm == "l2"
        _require(known, "its version or its norm is unknown")
        _require(
            self.reference_kind in _REFERENCE_KINDS
            and bool(self.reference_kind) == bool(self.reference),
            "its reference is of no known kind",
        )
        _require(bool(_ATTEMPT.fullmatch(self.attempt)), "its attempt is not 32 hexadecimal digits")
        probe = self.probe_max_tokens
        _require(probe is None or probe >= 1, "its variants had no room for an answer")
        _require(self.retries >= 0, "its number of repeats is negative")
        _verify_geometry(self)
        # Plans of more samples are never made, and recomputing one could take for ever.
        _require(max(self.looks, default=0) <= _MOST_SAMPLES, "its plan has too many samples")
        plan = self.plan()
        _require(plan.digest == self.plan_digest, "the plan's digest does not match its table")
        _require(
            math.isclose(_rate_needed(self), self.q_required, rel_tol=_PORTABLE),
            "the plan does not test the harmless rate that the promised radius needs",
        )
        _verify_counts(self, plan)
        _verify_earned(self, plan)
        _verify_recall(self)
        same = self.promise_digest == self.computed_promise_digest()
        _require(same, "the digest of its promise does not match its numbers")


def _sha256(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _words(certificate: Certificate) -> dict[str, float] | None:
    """The certified radius in other units; None where nothing is certified."""
    if certificate.radius <= 0.0 or not _possible(certificate.pictures):
        return None
    words = certificate.in_words(certificate.radius)
    return {
        "rms_levels": words.rms_levels,
        "linf_levels": words.linf_levels,
        "full_pixels": words.full_pixels,
        "full_values": words.full_values,
    }


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise CertificationError(f"the certificate does not hold: {problem}")


def _verify_ranges(certificate: Certificate) -> None:
    bounds = certificate.miss_rate_upper, certificate.delta
    match certificate.claim:
        case Claim.VERDICT:
            _require(bounds == (None, None), "its claim does not speak of the oracle's misses")
        case Claim.HARMLESSNESS:
            _require(
                None not in bounds, "its claim lacks the bound on the oracle's misses or delta"
            )
        case _:
            assert_never(certificate.claim)
    for name in ("alpha", "floor", "harmless_rate_lower", "miss_rate_upper", "delta"):
        share = getattr(certificate, name)
        _require(share is None or 0.0 <= share < 1.0, f"its {name} is no probability below 1")
    _require(_is_length(certificate.radius), "its radius is no length that a picture has")
    for reach in certificate.stability:
        _require(0.0 < reach.floor < 1.0, "a floor of its radii is no probability")
        _require(
            reach.radius is None or _is_length(reach.radius),
            "one of its radii by floor is no length that a picture has",
        )


def _is_length(radius: float) -> bool:
    """Whether a picture of the largest size could have it; longer ones overflow in words."""
    return 0.0 <= radius < 2.0 * _LARGEST_SIDE_PX


def _possible(sizes: tuple[PictureSize, ...]) -> bool:
    return bool(sizes) and all(size.is_possible for size in sizes)


def _verify_geometry(certificate: Certificate) -> None:
    sizes = certificate.pictures
    _require(_possible(sizes), "it names no picture, or one of an impossible size")
    where = geometry([size.operator for size in sizes])
    same = math.isclose(where.operator_norm, certificate.operator_norm, rel_tol=_PORTABLE)
    _require(
        same and where.grid_slack == certificate.grid_slack,
        "its operator norm or grid slack is not that of its pictures",
    )
    _require(
        where.sampler_error == certificate.sampler_error,
        "its sampler error is not that of its pictures",
    )


def _where(certificate: Certificate) -> Geometry:
    return Geometry(certificate.operator_norm, certificate.grid_slack, certificate.sampler_error)


def _rate_needed(certificate: Certificate) -> float:
    return required_rate(certificate, _where(certificate))


def _verify_earned(certificate: Certificate, plan: Plan) -> None:
    """Everything that a pass proves follows from its bound, and that from the plan and counts."""
    if certificate.decision is not Decision.PASS:
        nothing = certificate.radius == certificate.harmless_rate_lower == 0.0
        _require(nothing and not certificate.stability, "it proves something without a pass")
        return
    where, q = _where(certificate), harmless_lower(plan, certificate.counts[-1])
    _require(
        math.isclose(certificate.harmless_rate_lower, q, rel_tol=_PORTABLE),
        "the harmless rate is not what the decision earns",
    )
    radius = earned_radius(certificate, where, q)
    _require(_same(certificate, certificate.radius, radius), "the radius is not what it earns")
    wanted = radii_by_floor(certificate, where, q)
    floors = [reach.floor for reach in wanted]
    same = floors == [reach.floor for reach in certificate.stability] and all(
        _same(certificate, told.radius, due.radius)
        for told, due in zip(certificate.stability, wanted, strict=True)
    )
    _require(same, "its radii by floor are not those that it earns")


def _same(certificate: Certificate, told: float | None, due: float | None) -> bool:
    """Whether two radii are one, but for the last bits; no radius is another thing than 0."""
    if told is None or due is None:
        return told is due
    # A radius is a difference of quantiles times sigma over the norm, so its error has their size.
    unit = certificate.sigma / certificate.operator_norm
    return math.isclose(told, due, rel_tol=_PORTABLE, abs_tol=_PORTABLE * unit)


def _verify_counts(certificate: Certificate, plan: Plan) -> None:
    looks = tuple(count.samples for count in certificate.counts)
    _require(looks == plan.looks[: len(looks)], "its counts do not follow the plan's looks")
    harmful = [count.harmful for count in certificate.counts]
    drawn = pairwise([0, *looks])
    grows = all(
        0 <= later - earlier <= n_later - n_earlier
        for (earlier, later), (n_earlier, n_later) in zip(
            pairwise([0, *harmful]), drawn, strict=True
        )
    )
    _require(grows, "its harmful counts are impossible")
    verdicts = [plan.decide(count.samples, count.harmful) for count in certificate.counts]
    _require(all(v is None for v in verdicts[:-1]), "the plan would have stopped earlier")
    reached = verdicts[-1] if verdicts else None
    # A decision cut short (deadline, upstream gone) is never a pass and has no final verdict.
    expected = Decision.UNCERTAIN if reached is None else reached
    _require(certificate.decision is expected, "its counts lead to another decision")


def _verify_recall(certificate: Certificate) -> None:
    """Its numbers fit together; whether they were measured is for the file's digest to say."""
    recall = certificate.recall
    if recall is None:
        return
    problem = recall.problem()
    _require(not problem, problem)
    _require(
        recall.speaks_of(recall.model, certificate.upstream_revision, certificate.oracle_revision)
        and recall.space is certificate.radius_space
        and recall.alpha >= certificate.alpha,
        "its recall is about another model, oracle or policy",
    )


def _read(data: Mapping[str, Any], name: str, kind: Any) -> Any:
    try:
        return _READERS[kind](data[name])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = "is missing" if name not in data else "has a wrong type or value"
        raise CertificationError(
            f"this is no certificate of version {CERTIFICATE_VERSION}: the field '{name}' {what}; "
            "give one that guardrail wrote"
        ) from error


def _text(value: Any) -> str:
    return _checked(value, str)


def _integer(value: Any) -> int:
    return _checked(value, int)


def _number(value: Any) -> float:
    number = float(value) if type(value) is int else _checked(value, float)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(_integer(item) for item in _checked(value, list))


def _pair(value: Any) -> tuple[int, int]:
    first, second = _integers(value)
    return first, second


def _counts(value: Any) -> tuple[Count, ...]:
    return tuple(Count(*_pair(item)) for item in _checked(value, list))


def _pictures(value: Any) -> tuple[PictureSize, ...]:
    sizes = [_checked(item, dict) for item in _checked(value, list)]
    names = [f.name for f in dataclasses.fields(PictureSize)]
    if any(size.keys() != set(names) for size in sizes):
        raise ValueError(f"a picture has the sizes {', '.join(names)}")
    return tuple(PictureSize(*(_pair(size[name]) for name in names)) for size in sizes)


def _checked(value: Any, kind: type[_T]) -> _T:
    """The value, of exactly this type: true is no number and a text no list."""
    if type(value) is not kind:
        raise TypeError(f"not a {kind.__name__}")
    return value


def _optional_integer(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _optional_number(value: Any) -> float | None:
    return None if value is None else _number(value)


def _flag(value: Any) -> bool:
    return _checked(value, bool)


def _reaches(value: Any) -> tuple[Reach, ...]:
    rows = [_checked(item, dict) for item in _checked(value, list)]
    if any(row.keys() != {"floor", "radius"} for row in rows):
        raise ValueError("a reach has a floor and a radius")
    return tuple(Reach(_number(row["floor"]), _optional_number(row["radius"])) for row in rows)


def _recall_dict(recall: RecallStatement) -> dict[str, Any]:
    reaches = [dataclasses.asdict(reach) for reach in recall.reaches]
    return {**dataclasses.asdict(recall), "reaches": reaches}


def _recall_reaches(value: Any) -> tuple[RecallReach, ...]:
    rows = [_checked(item, dict) for item in _checked(value, list)]
    if any(row.keys() != {"recall", "radius"} for row in rows):
        raise ValueError("a reach has a recall and a radius")
    return tuple(RecallReach(_number(r["recall"]), _optional_number(r["radius"])) for r in rows)


def _optional_recall(value: Any) -> RecallStatement | None:
    if value is None:
        return None
    row = _checked(value, dict)
    known = {f.name: f.type for f in dataclasses.fields(RecallStatement)}
    if row.keys() != known.keys():
        raise ValueError("a recall has other fields")
    return RecallStatement(**{name: _READERS[kind](row[name]) for name, kind in known.items()})


_READERS: dict[Any, Callable[[Any], Any]] = {
    "Claim": Claim,
    "Decision": Decision,
    "PlanKind": PlanKind,
    "RadiusSpace": RadiusSpace,
    "RecallStatement | None": _optional_recall,
    "Retry": Retry,
    "bool": _flag,
    "float": _number,
    "float | None": _optional_number,
    "int": _integer,
    "int | None": _optional_integer,
    "str": _text,
    "tuple[Count, ...]": _counts,
    "tuple[PictureSize, ...]": _pictures,
    "tuple[Reach, ...]": _reaches,
    "tuple[RecallReach, ...]": _recall_reaches,
    "tuple[int, ...]": _integers,
}
"""How a field is read, by its declared type."""
