"""The policy file, field by field; `guardrail policy schema` prints this as JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    AnswerSource,
    Mode,
    OnLimit,
    OnOracleFailure,
    OnUnscanned,
    OnUpstreamFailure,
    Retry,
)
from guardrail.memory.rules import OnRepeat
from guardrail.oracles.by_kind import OracleByKind
from guardrail.section import Section, Share, Word
from guardrail.stats import LEAST_FLOOR

__all__ = [
    "Block",
    "BlockDetails",
    "BlockStyle",
    "Failures",
    "Images",
    "Limits",
    "Memory",
    "ModelPrice",
    "Policy",
    "Sampling",
    "Smoothing",
    "Spending",
    "VariantFormat",
]

BlockStyle = Literal["refusal", "message", "error"]
VariantFormat = Literal["png", "jpeg", "webp"]
BlockDetails = Literal["none", "counts", "full"]
_Off = BeforeValidator(lambda value: "off" if value is False else value)  # YAML's reading of `off`
Remote = Annotated[Literal["off", "allow_list", "public"], _Off]
SpendingMode = Annotated[Literal["off", "end_user", "principal"], _Off]
Host = Annotated[
    str, Field(max_length=253, pattern=r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[1-9][0-9]{0,4})?$")
]


class Smoothing(Section):
    """The noise and the promise that it carries."""

    sigma: Annotated[float, Field(gt=0, le=4)] = 0.5
    """Standard deviation of the Gaussian noise, in canvas pixel values of [0, 1]."""
    radius: Annotated[float, Field(gt=0, le=100)] = 0.25
    """ℓ2 size of the image changes that the promise covers, in pixel values of [0, 1]."""
    radius_space: Annotated[RadiusSpace, Word] = RadiusSpace.CLIENT
    """Whether the radius is meant in the client's picture or on the canvas."""
    floor: Annotated[float, Field(ge=LEAST_FLOOR, lt=1)] = 0.5
    """The promise is about requests that are answered harmlessly less often than this. At the same
    cost, a request that is answered harmlessly more seldom is held farther out."""
    alpha: Share = 0.001
    """Probability, at most, of passing a request that should not pass."""
    canvas_max_side_px: Annotated[int, Field(ge=8, le=4096)] | None = 224
    """Pictures with a longer side are scaled down to it before the noise; null keeps their size."""
    canvas_min_side_px: Annotated[int, Field(ge=1, le=4096)] = 28
    """Pictures with a shorter side, once scaled down, are laid on white until they have it: they
    are never stretched. Vision models refuse pictures smaller than one of their patches."""
    claim: Annotated[Claim, Word] = Claim.VERDICT
    """`verdict` speaks of how often the oracle finds answers harmless; `harmlessness` of how often
    they are, for requests of whose harmful answers the oracle misses at most miss_rate_upper."""

    @model_validator(mode="after")
    def _canvas_has_room(self) -> Smoothing:
        most = self.canvas_max_side_px
        if most is not None and most < self.canvas_min_side_px:
            raise ValueError("canvas_min_side_px must be at most canvas_max_side_px")
        return self


class Sampling(Section):
    """How the samples are drawn and when to stop."""

    plan: Literal["optimal", "fixed"] = "optimal"
    """`optimal`: fewest expected calls; `fixed`: Clopper–Pearson on a fixed number, curtailed."""
    expected_harmless_rate: Share = 0.99
    """Share of harmless verdicts on usual traffic under noise; the plan is tuned to it."""
    expected_success_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.98
    """Share of calls that bring an answer. The others end in faults that may not be repeated and
    count as harmful, so the plan is tuned to the product of both rates."""
    power: Share = 0.99
    """Probability of passing a request whose harmless rate is the expected one, faults counted."""
    max_samples: Annotated[int, Field(ge=1, le=20_000)] = 200
    """Most variants of one request; reaching it without proof blocks as uncertain."""
    latency_weight: Annotated[float, Field(ge=0, le=10_000)] = 4.0
    """What waiting for one more wave of parallel calls is worth, in calls."""
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most calls of one request in flight at a time."""
    speculate: bool = False
    """Start the next wave before the last one is judged: more calls, less waiting."""
    probe_max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Variants answer with at most so many tokens, and the certificate speaks of such beginnings;
    the answer that leaves is asked for once more, whole, and judged whole. null: always whole."""
    judge_every_chars: Annotated[int, Field(ge=50, le=1_000_000)] | None = None
    """Watch variants of upstreams that stream (openai_compatible), judge them whenever they have
    grown by so many characters, and break off what is harmful already. null: judge when whole."""


class Block(Section):
    """What a client sees of a blocked request."""

    style: BlockStyle = "refusal"
    """`refusal`: 200 with `message.refusal`; `message`: 200 with the text as content;
    `error`: 400."""
    text: Annotated[str, Field(min_length=1, max_length=2000)] = (
        "This request was blocked: its answer could not be shown to be harmless."
    )
    """The words of the refusal."""
    details: BlockDetails = "none"
    """What else is told: `none`: decision, reason, record and alpha; `counts`: also samples, calls
    and cost; `full`: also certificate and times. Counts are a graded score: whoever searches for a
    picture that passes is told by them which way to go. Records keep everything."""


class Spending(Section):
    """Whether the tries of one principal share alpha, or each has all of it."""

    mode: SpendingMode = "end_user"
    """`off`: each try is judged at alpha, so N tries of what should not pass do pass with
    probability up to N · alpha. `end_user`: the tries of an end user whom the caller names
    (`Guard(principal=…)`) share alpha; all others as under `off`. `principal`: also those of
    callers, of which a server has one: everybody who may reach it."""
    window_s: Annotated[float, Field(gt=0, le=31 * 86_400)] = 86_400.0
    """For how long a try that did not pass makes the later ones of its principal dearer."""


class Failures(Section):
    """What happens when a part fails. Verdicts always hold; configuration faults always fail."""

    upstream: Annotated[OnUpstreamFailure, Word] = OnUpstreamFailure.ERROR
    """The model gives no usable answer: `error` (502/504 or its own status) or `block`. Its 429 is
    always passed on."""
    oracle: Annotated[OnOracleFailure, Word] = OnOracleFailure.ERROR
    """Answers cannot be judged: `error` (503), `block`, or `pass_unscanned`, which fails open."""
    limit: Annotated[OnLimit, Word] = OnLimit.ERROR
    """Time, calls or cost of `limits` end a decision before it is made: `error` (503, 504), or
    `block`, which speaks like a judgement."""
    unscanned: Annotated[OnUnscanned, Word] = OnUnscanned.BLOCK
    """Parts of an answer that the oracle cannot look into (audio, pictures, ciphers): `block`, or
    `pass_unscanned`, which fails open, marks the answer and allows only the verdict claim."""
    refusals_are_harmless: bool = True
    """Whether the provider's own refusal or content filter may count as a harmless answer (the
    words of a refusal are judged like any others); if not, it counts as harmful."""


class Images(Section):
    """Which pictures are fetched for clients; those in a request itself are always taken."""

    remote: Remote = "off"
    """Links to pictures: `off` refuses them, `allow_list` follows those to `remote_hosts`,
    `public` those to any public address."""
    remote_hosts: list[Host] = Field(default_factory=list, max_length=1000)
    """Lower-case names: `a.example`, `*.a.example` for all below it, `a.example:8443` for a port
    other than 80 and 443."""
    remote_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Longest time for one picture to arrive, redirects and all."""
    remote_max_redirects: Annotated[int, Field(ge=0, le=10)] = 3
    """Most redirects of one link; each is checked like the link itself."""

    @model_validator(mode="after")
    def _hosts_are_named(self) -> Images:
        if self.remote == "allow_list" and not self.remote_hosts:
            raise ValueError("'remote: allow_list' needs at least one name in remote_hosts")
        return self


class Limits(Section):
    """Bounds on what one request may cost."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Largest request body."""
    max_images: Annotated[int, Field(ge=1, le=64)] = 8
    """Most pictures of one request."""
    max_image_bytes: Annotated[int, Field(ge=64)] = 20 * 1024 * 1024
    """Largest encoded picture."""
    max_image_pixels: Annotated[int, Field(ge=1)] = 24_000_000
    """Most pixels of one picture, checked before it is decoded."""
    max_total_pixels: Annotated[int, Field(ge=1)] = 48_000_000
    """Most pixels of all pictures of one request together."""
    max_image_side_px: Annotated[int, Field(ge=1)] = 8192
    """Longest side of a picture."""
    max_pixels_at_once: Annotated[int, Field(ge=1)] = 192_000_000
    """Most pixels held decoded at a time, over all requests; more wait, in order."""
    call_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Longest wait for one call to the model."""
    deadline_s: Annotated[float, Field(gt=0, le=7200)] = 180.0
    """Longest time for one decision, repeats and all; it then ends by `failures.limit`."""
    max_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Most calls to the model for one decision, repeated ones included; the next one ends it by
    `failures.limit`."""
    max_cost_usd_per_request: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Most that the calls of one decision may cost; models without a known price are refused."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a call or judgement is repeated, with the same noise, where `retry` allows it."""
    retry: Annotated[Retry, Word] = Retry.UNDRAWN
    """Which are repeated. `undrawn`: only those that certainly drew no answer, so that each variant
    has one at most. `any`: all that may pass; the certificate then speaks of the model as it is
    asked so, and harm that comes as a fault is asked for again."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Most requests decided at a time; more wait, in order."""
    max_waiting_requests: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Most requests that wait; more are answered 503 with Retry-After."""


class Memory(Section):
    """What becomes of a request with pictures that was decided before."""

    # A policy that is written out can be read again: Python has the first two words for itself.
    model_config = ConfigDict(serialize_by_alias=True)

    on_pass: Annotated[OnRepeat, Word] = Field(default=OnRepeat.REPLAY, alias="pass")
    """`replay`: the same answer again, from memory; `redraw`: a new decision, which may be another
    one and deliver another answer."""
    on_block: Annotated[OnRepeat, Word] = Field(default=OnRepeat.REPLAY, alias="block")
    """The same where it was blocked by a judgement; faults and limits are never remembered."""
    ttl_s: Annotated[float, Field(gt=0, le=30 * 24 * 3600)] = 3600.0
    """For how long a verdict is remembered."""
    max_entries: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Most verdicts that are remembered; those not asked for longest go first."""
    max_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Most that they may take, in bytes."""


class ModelPrice(Section):
    """What a model's tokens cost, in US dollars a million."""

    input_usd_per_million: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    """Tokens of the prompt, pictures included."""
    output_usd_per_million: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    """Tokens of the answer."""


class Policy(Section):
    """One policy. Every field has a default but the name and the oracle."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
    """Shown in certificates and response headers."""
    mode: Annotated[Mode, Word] = Mode.ENFORCE
    """`enforce`, or `observe`: decide and record, never block, mark what would be blocked."""
    smoothing: Smoothing = Smoothing()
    """The noise and the promise that it carries."""
    sampling: Sampling = Sampling()
    """How the samples are drawn and when to stop."""
    oracle: OracleByKind
    """Who judges answers, and how often it misses harm."""
    recall: Annotated[str, Field(min_length=1)] | None = None
    """A file that `guardrail recall` wrote: which share of forbidden requests this policy stops,
    and how far out. Certificates and `guardrail policy check` repeat it. null: nothing is said."""
    answer: Annotated[AnswerSource, Word] = AnswerSource.SMOOTHED
    """`smoothed`: a harmless answer to a noisy variant; `clean`: the answer to the picture itself,
    judged but outside the claim."""
    variant_format: VariantFormat = "png"
    """How variants are encoded for a remote model."""
    variant_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Of `jpeg` (always 4:4:4) and `webp`: what is higher is larger and nearer to the pixels."""
    images: Images = Images()
    """Which pictures are fetched for clients."""
    block: Block = Block()
    """What a client sees of a blocked request."""
    spending: Spending = Spending()
    """Whether the tries of one principal share alpha."""
    failures: Failures = Failures()
    """What happens when a part fails."""
    limits: Limits = Limits()
    """Bounds on what one request may cost."""
    memory: Memory = Memory()
    """What becomes of a request that was decided before."""
    prices: dict[str, ModelPrice] = Field(default_factory=dict)
    """Prices by model, before litellm's list where litellm is installed; `*` is every other one."""

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Where paths in the policy start: the folder of its file, or the working directory."""
        return self._folder

    def placed(self, folder: Path) -> Policy:
        """The same policy, its paths starting at `folder`."""
        moved = self.model_copy()
        moved._folder = folder  # noqa: SLF001 (a copy of its own class)
        return moved
