"""The certificate: what was decided, what it proves, and all that is needed to compute it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeVar

from guardrail.engine.certifier import Count
from guardrail.engine.plan import Geometry, earned_radius, geometry, required_rate
from guardrail.engine.rules import Claim, RadiusSpace
from guardrail.errors import CertificationError
from guardrail.images.canvas import CanvasOperator
from guardrail.stats import Decision, Plan, PlanKind, RadiusInWords, explain_radius

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CERTIFICATE_VERSION", "Certificate", "PictureSize"]

CERTIFICATE_VERSION = 1

_T = TypeVar("_T")
_DERIVED = frozenset({"samples", "harmless", "statement", "radius_in_words"})
_MOST_SAMPLES = 20_000
_LARGEST_SIDE_PX = 2**20
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
_REFERENCE_KINDS = ("", "action", "meaning")
# Two machines may compute the normal quantile differently in its last bits.
_PORTABLE = 1e-12
_PORTABLE_RADIUS = 1e-6


@dataclass(frozen=True, slots=True)
class PictureSize:
    """(height, width) in pixels as the client sent it and as the noise met it."""

    client: tuple[int, int]
    canvas: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One decision about one request with pictures.

    `radius` is the certified ℓ2 radius, in `radius_space` and pixels in [0, 1]: at least the
    promised one after a pass, more where the pass proves more, 0 where nothing was certified.
    `counts` holds the state at every look of the plan that was visited. `plan` is the whole
    table, so that its false-pass probability can be recomputed from the certificate alone.
    `probe_max_tokens` is set where variants answered with no more tokens than that, so that the
    certificate speaks of beginnings of answers.
    `reference` names what answers were compared with, where the oracle is of that kind: chosen on
    draws that are not counted.
    `attempt` tells the draws from those of other decisions on the same request: noise and seeds
    follow from it, the key, the request and the policy.
    `digest` is the SHA-256 of the canonical JSON of all other fields.
    """

    decision: Decision
    claim: Claim
    radius: float
    radius_space: RadiusSpace
    norm: str = "l2"
    sigma: float
    floor: float
    alpha: float
    delta: float
    miss_rate_upper: float
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
    code_version: str
    created: str
    version: int = CERTIFICATE_VERSION
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
        """The claim in one sentence."""
        return _statement(self)

    def in_words(self, radius: float) -> RadiusInWords:
        """What `radius` means for the pictures of this certificate, which share it.

        They count side by side where their heights agree, else as one row of pixels; only the
        number of pixels enters the figures.
        """
        in_client = self.radius_space is RadiusSpace.CLIENT
        sizes = [size.client if in_client else size.canvas for size in self.pictures]
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

    def computed_digest(self) -> str:
        fields = {name: value for name, value in self.to_dict().items() if name != "digest"}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back to an equal certificate."""
        return {
            **dataclasses.asdict(self),
            "counts": [[count.samples, count.harmful] for count in self.counts],
            "pictures": [
                {"client": list(size.client), "canvas": list(size.canvas)} for size in self.pictures
            ],
            "looks": list(self.looks),
            "pass_at_most": list(self.pass_at_most),
            "block_at_least": list(self.block_at_least),
            "samples": self.samples,
            "harmless": self.harmless,
            "statement": self.statement,
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
        earned = _earned(self, plan)
        same = math.isclose(self.radius, earned, rel_tol=_PORTABLE_RADIUS)
        _require(same, "the radius is not what the decision earns")


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
    for name in ("alpha", "delta", "floor", "miss_rate_upper"):
        _require(0.0 <= getattr(certificate, name) < 1.0, f"its {name} is no probability below 1")
    _require(0.0 <= certificate.radius < math.inf, "its radius is no finite length")


def _possible(sizes: tuple[PictureSize, ...]) -> bool:
    sides = [pair for size in sizes for pair in zip(size.client, size.canvas, strict=True)]
    return bool(sides) and all(1 <= to <= of <= _LARGEST_SIDE_PX for of, to in sides)


def _verify_geometry(certificate: Certificate) -> None:
    sizes = certificate.pictures
    _require(_possible(sizes), "it names no picture, or one of an impossible size")
    where = geometry([CanvasOperator(size.client, size.canvas) for size in sizes])
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


def _earned(certificate: Certificate, plan: Plan) -> float:
    if certificate.decision is not Decision.PASS:
        return 0.0
    return earned_radius(certificate, _where(certificate), plan, certificate.counts[-1])


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


def _statement(certificate: Certificate) -> str:
    if certificate.decision is not Decision.PASS:
        return "Nothing is certified: the request was not shown to be harmless."
    harmlessness = certificate.claim is Claim.HARMLESSNESS
    failure = _exact(certificate.alpha) + (_exact(certificate.delta) if harmlessness else 0)
    radius = f"{_four_digits(_exact(certificate.radius))} ({certificate.radius_space} pixels"
    return (
        f"With probability at least {_floored(1 - failure)}, for every change of the image of ℓ2 "
        f"size at most {radius} in [0, 1]), {_what(certificate)} with probability at least "
        f"{_floored(_exact(certificate.floor))}."
    )


def _what(certificate: Certificate) -> str:
    """What holds of an answer. A reference is named by the oracle's own reading of answers."""
    harmlessness = certificate.claim is Claim.HARMLESSNESS
    answer = "the model's answer under the guard's noise"
    if certificate.probe_max_tokens is not None:
        answer += f", cut after {certificate.probe_max_tokens} tokens,"
    if not certificate.reference_kind:
        return (
            f"{answer} is truly harmless" if harmlessness else f"the oracle finds {answer} harmless"
        )
    also = " and it is truly harmless" if harmlessness else ""
    return (
        f"the oracle finds {answer} to be of the {certificate.reference_kind} "
        f"'{certificate.reference}'{also}"
    )


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))


def _floored(value: Decimal) -> str:
    """Nine decimals, rounded down, so that no displayed promise is larger than the real one."""
    text = f"{value.quantize(Decimal('1e-9'), ROUND_FLOOR):f}"
    return text.rstrip("0").rstrip(".")


def _four_digits(value: Decimal) -> str:
    """Four significant digits, rounded down."""
    last = Decimal(1).scaleb(value.adjusted() - 3)
    return f"{value.quantize(last, ROUND_FLOOR).normalize():f}"


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
    if any(size.keys() != {"client", "canvas"} for size in sizes):
        raise ValueError("a picture has a client and a canvas size")
    return tuple(PictureSize(_pair(size["client"]), _pair(size["canvas"])) for size in sizes)


def _checked(value: Any, kind: type[_T]) -> _T:
    """The value, of exactly this type: true is no number and a text no list."""
    if type(value) is not kind:
        raise TypeError(f"not a {kind.__name__}")
    return value


def _optional_integer(value: Any) -> int | None:
    return None if value is None else _integer(value)


_READERS: dict[Any, Callable[[Any], Any]] = {
    "Claim": Claim,
    "Decision": Decision,
    "PlanKind": PlanKind,
    "RadiusSpace": RadiusSpace,
    "float": _number,
    "int": _integer,
    "int | None": _optional_integer,
    "str": _text,
    "tuple[Count, ...]": _counts,
    "tuple[PictureSize, ...]": _pictures,
    "tuple[int, ...]": _integers,
}
"""How a field is read, by its declared type."""
