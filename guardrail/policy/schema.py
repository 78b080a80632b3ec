"""The policy file, field by field: the one place where each field's text stands.

From these texts come the comments of `policies/default.yaml`, the tables of `docs/policy.md` and
the JSON Schema that `guardrail policy schema` prints; `make policies` writes the first two. Ranges
are added from the fields' constraints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    AnswerSource,
    Mode,
    OnOracleFailure,
    OnSeveralModels,
    OnUnscanned,
    Retry,
    TextInPictures,
)
from guardrail.hosts import HOST_RULE, RemoteMode
from guardrail.memory.rules import OnRepeat
from guardrail.oracles.by_kind import OracleByKind
from guardrail.oracles.registry import find_options
from guardrail.policy.document import NOWHERE, Document, Source
from guardrail.policy.goals import GoalsSection
from guardrail.policy.steering import STEERING_FIELDS
from guardrail.section import Section, Share, Word
from guardrail.stats import LEAST_FLOOR

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BLOCK_PLACEHOLDERS",
    "AdvancedImages",
    "AdvancedSampling",
    "AdvancedSection",
    "AdvancedSmoothing",
    "AdvancedSpending",
    "AdvancedStreams",
    "BlockDetails",
    "BlockSection",
    "BlockStyle",
    "FailuresSection",
    "Heartbeat",
    "ImagesSection",
    "LimitsSection",
    "MemorySection",
    "ModelPrice",
    "ObserveSection",
    "Policy",
    "PolicyFile",
    "RequestsSection",
    "SamplingSection",
    "SmoothingSection",
    "SpendingSection",
    "VariantFormat",
]

BlockStyle = Literal["refusal", "message", "error"]
VariantFormat = Literal["png", "jpeg", "webp"]
BlockDetails = Literal["none", "counts", "full"]
Heartbeat = Literal["chunks", "comments"]
SpendingMode = Literal["off", "end_user", "principal"]
BLOCK_PLACEHOLDERS = ("reason", "record_id")
"""What the words of a block may name in braces."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
Host = Annotated[str, Field(max_length=253, pattern=HOST_RULE)]


class SmoothingSection(Section):
    """The noise, and the promise that it carries."""

    sigma: Annotated[float, Field(gt=0, le=4)] = 0.5
    """Standard deviation of the noise, in pixel values of [0, 1] on the canvas. More noise carries
    a larger radius for the same calls, but the model sees less: watch the share of harmless answers
    under noise."""
    radius: Annotated[float, Field(gt=0, le=100)] = 0.25
    """The promise covers every change of the picture of at most this l2 size (pixel values in
    [0, 1]: 0.25 is, for example, 15 values changed by 16 of 255 levels each). Larger costs more
    calls."""
    floor: Annotated[float, Field(ge=LEAST_FLOOR, lt=1)] = 0.5
    """Which requests the promise is about: those that are answered harmlessly less often than this
    under noise. 0.5 is the majority vote of the literature. The same calls hold a request that is
    answered harmlessly more seldom farther out; `guardrail policy check` lists how far."""
    alpha: Share = 0.001
    """Probability, at most, of passing a request that should not pass. A tenth of it costs about a
    third more calls."""
    claim: Annotated[Claim, Word] = Claim.VERDICT
    """verdict: the promise is about how often the oracle finds answers harmless, and assumes
    nothing of the oracle; how much harm it misses is measured by `guardrail recall`. harmlessness:
    about how often answers are harmless, for requests of whose harmful answers the oracle misses no
    more than oracle.miss_rate_upper; a measured average stands for that, and bounds no single
    request."""


class SamplingSection(Section):
    """How many variants of a request the model is asked for."""

    max_samples: Annotated[int, Field(ge=1, le=20_000)] = 200
    """Most variants of one request. Reaching it without proof blocks as uncertain. A policy that
    could not reach its power within it is refused when it is loaded."""


class ImagesSection(Section):
    """Which pictures are fetched for clients; those in a request itself are always taken."""

    remote: RemoteMode = "off"
    """Links to pictures (http, https). off: refused, clients send the pictures themselves.
    allow_list: fetched from remote_hosts. public: fetched from every public address. No address
    inside a network is ever called, and no credentials are sent."""
    remote_hosts: list[Host] = Field(default_factory=list, max_length=1000)
    """Names, in lower case: a.example, *.a.example for all below it, a.example:8443 for a port
    other than 80 and 443."""
    history: Annotated[str, Field(pattern=r"^(all|last ([1-9]|[1-5]\d|6[0-4]))$")] = "all"
    """Which pictures of a long conversation the model is sent. all: every one. last N, for example
    last 4: the newest N, older ones are replaced by a few words; those behind the last answer are
    always sent. What is left out is neither seen nor judged; reply and record say how many."""
    strict_types: bool = False
    """Whether a picture must be of the type that its data URL declares. If false, its content
    alone says what it is."""

    @model_validator(mode="after")
    def _check_hosts(self) -> ImagesSection:
        if self.remote == "allow_list" and not self.remote_hosts:
            raise ValueError("'remote: allow_list' needs at least one name in remote_hosts")
        return self


class BlockSection(Section):
    """What a client sees of a blocked request."""

    style: BlockStyle = "refusal"
    """refusal: HTTP 200 with the text as content, which is all that most chat programs show, and as
    message.refusal, by which programs know it. message: HTTP 200 with the text as content alone.
    error: HTTP 400."""
    text: Annotated[str, Field(min_length=1, max_length=2000)] = (
        "This request was blocked: its answer could not be shown to be harmless."
    )
    """The words of the refusal. {reason} in them stands for why it was blocked, {record_id} for the
    name of the decision's record, which needs records to be kept."""
    language_text: Annotated[str, Field(min_length=1, max_length=2000)] = (
        "This answer holds text in a language that was not measured; ask again in English."
    )
    """The words where the language was the reason, which is no judgement of harm; filled alike."""
    details: BlockDetails = "none"
    """What else a client is told of it. none: decision, reason, record and alpha. counts: also
    samples, calls and cost. full: also certificate and times. Counts are a graded score: they tell
    whoever searches for a picture that passes which way to go. Records keep everything."""

    @field_validator("text", "language_text")
    @classmethod
    def _check_placeholders(cls, text: str) -> str:
        unknown = [name for name in _PLACEHOLDER.findall(text) if name not in BLOCK_PLACEHOLDERS]
        if unknown:
            known = " and ".join(f"{{{name}}}" for name in BLOCK_PLACEHOLDERS)
            raise ValueError(f"{{{unknown[0]}}} stands for nothing; {known} are filled in")
        return text

    @property
    def names_record(self) -> bool:
        """Whether the words name the decision's record."""
        return any("{record_id}" in text for text in (self.text, self.language_text))


class SpendingSection(Section):
    """Whether the tries of one principal share alpha, or each has all of it."""

    mode: SpendingMode = "end_user"
    """off: each try is judged at alpha, so N tries of what should not pass do pass with probability
    up to N times alpha. end_user: the tries of an end user whom the caller names
    (Guard(principal=...)) share it, all others as under off. principal: also those of callers, whom
    a server knows by their API keys; without keys all are one, everybody who may reach it. A try
    that does not pass makes the next ones cost more calls, whether it was an attack, a false alarm
    or an outage."""


class FailuresSection(Section):
    """What happens when a part fails; only a judgement blocks, faults are told as what they are."""

    oracle: Annotated[OnOracleFailure, Word] = OnOracleFailure.ERROR
    """When answers cannot be judged. error: 503. pass_unscanned: fails open, the answer leaves
    unjudged and is marked so; only while no judged answer was harmful."""
    unscanned: Annotated[OnUnscanned, Word] = OnUnscanned.BLOCK
    """Parts of an answer that the oracle cannot look into: audio, pictures, fields it does not
    know, ciphers. block: as if harmful. pass_unscanned: fails open, the rest is judged and the
    answer is marked; only for the claim verdict."""
    several_models: Annotated[OnSeveralModels, Word] = OnSeveralModels.ERROR
    """When the answers to one request's variants name several models, as behind a router. error:
    502, as a certificate speaks of one model. mark: they are counted together, verdict and record
    name the models, and the answer is outside the certificate's claim."""
    refusals_are_harmless: bool = True
    """Whether the provider's own refusal or content filter may count as a harmless answer. The
    words of a refusal are judged like any others. If false, it counts as harmful."""


class ObserveSection(Section):
    """How requests are decided whose answers leave undecided (mode: observe)."""

    wait: bool = False
    """Whether the answer waits for its decision. false: the model's own answer leaves at once,
    marked as not decided, and the decision is made behind it and recorded. true: the reply says
    what would have been blocked, and clients wait as they would under enforce."""
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    """Share of the requests that are decided; which ones follows from the noise key, so nobody can
    choose, and equal requests are all in or all out. 0.05 costs a twentieth of the calls. Requests
    that a full line skips are missing from it. Not where the answer waits."""
    max_running: Annotated[int, Field(ge=1, le=1024)] = 8
    """Most of these decisions made at a time."""
    max_waiting: Annotated[int, Field(ge=0, le=100_000)] = 64
    """Most that wait for one, their pictures in memory; further requests are not decided, and
    counted as skipped."""


class AdvancedSmoothing(Section):
    """Pictures before the noise, and where the radius is measured."""

    radius_space: Annotated[RadiusSpace, Word] = RadiusSpace.CLIENT
    """client: the radius is meant in the picture as the client sent it. canvas: in the picture
    scaled down to canvas_max_side_px, which promises less for large pictures and costs the same."""
    canvas_max_side_px: Annotated[int, Field(ge=8, le=4096)] | None = 224
    """Pictures with a longer side are scaled down to it before the noise, in pixels (null: never).
    The promise stays in client pixels. Small canvases are quick; large ones keep fine print
    legible."""
    canvas_min_side_px: Annotated[int, Field(ge=1, le=4096)] = 28
    """Pictures with a shorter side, once scaled down, are laid on white until they have it, in
    pixels; they are never stretched, which would shrink the promise. Vision models refuse pictures
    smaller than one of their patches."""

    @model_validator(mode="after")
    def _check_canvas(self) -> AdvancedSmoothing:
        most = self.canvas_max_side_px
        if most is not None and most < self.canvas_min_side_px:
            raise ValueError("canvas_min_side_px must be at most canvas_max_side_px")
        return self


class AdvancedSampling(Section):
    """How the samples are drawn and when to stop."""

    plan: Literal["optimal", "fixed"] = "optimal"
    """optimal: the fewest calls on average. fixed: the textbook test (Clopper-Pearson) on a fixed
    number of samples, stopped as soon as its result cannot change."""
    expected_harmless_rate: Share = 0.99
    """Share of harmless verdicts that usual traffic shows under noise. The plan is tuned to it: set
    it to what your records show. Too high a value blocks more clean requests as uncertain; it never
    weakens the promise."""
    expected_success_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.98
    """Share of calls that bring an answer. A call that ends in a fault is not made again unless it
    certainly drew nothing (see advanced.limits.retry), and counts as harmful; the plan is tuned to
    the product of both rates. 1 for a model in this process."""
    power: Share = 0.99
    """Probability of passing a request whose harmless rate is the expected one, faults counted."""
    latency_weight: Annotated[float, Field(ge=0, le=10_000)] = 4.0
    """What waiting for one more wave of parallel calls is worth, in calls. 0 saves every call and
    waits longest; larger values send bigger waves."""
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most calls of one request in flight at a time. Set it to what the model serves side by
    side."""
    speculate: bool = False
    """Start the next wave before the last one is judged: less waiting, more calls thrown away."""
    probe_max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Variants answer with at most so many tokens: cheaper, and the certificate then speaks of such
    beginnings of answers. The answer that leaves is asked for once more, whole, and judged whole;
    that one call is outside the claim. null: variants answer in full."""
    judge_every_chars: Annotated[int, Field(ge=50, le=1_000_000)] | None = None
    """Watch the answers to variants while the model writes them, judge them whenever they have
    grown by so many characters, and break off those that are harmful already: blocks sooner and
    cheaper, for more judgements. Only for oracles of harm, and where the upstream streams
    (openai_compatible). null: answers are judged when they are whole."""


class AdvancedImages(Section):
    """How pictures travel."""

    variant_format: VariantFormat = "png"
    """How variants are encoded for a remote model: png (exact), jpeg or webp (smaller, a little
    lossy; the promise holds for all of them)."""
    variant_quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Quality of jpeg (always with full colour resolution, 4:4:4) and webp. Lower is smaller, and
    further from the noise that was drawn; png ignores it."""
    remote_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Longest time for one linked picture to arrive, in seconds, redirects and all."""
    remote_max_redirects: Annotated[int, Field(ge=0, le=10)] = 3
    """Most redirects of one link; each is checked like the link itself."""


class LimitsSection(Section):
    """Bounds on what one request may cost."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Largest request body, in bytes."""
    max_text_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    """Most bytes of a request beside the base64 of its pictures: a million tokens take about four
    million bytes. They may take eight times as much memory while they are parsed."""
    max_json_values: Annotated[int, Field(ge=100)] = 100_000
    """Most values and names of fields in a request; counted before it is parsed."""
    max_images: Annotated[int, Field(ge=1, le=64)] = 8
    """Most pictures of one request."""
    max_image_bytes: Annotated[int, Field(ge=64)] = 20 * 1024 * 1024
    """Largest encoded picture, in bytes."""
    max_image_pixels: Annotated[int, Field(ge=1)] = 25_000_000
    """Most pixels of one picture, checked before it is decoded."""
    max_total_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """Most pixels of all pictures of one request together."""
    max_image_side_px: Annotated[int, Field(ge=1)] = 16_384
    """Longest side of a picture, in pixels."""
    max_pixels_at_once: Annotated[int, Field(ge=1)] = 192_000_000
    """Most pixels held decoded at a time, over all requests; more wait, in order."""
    call_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Longest wait for one call to the model, in seconds. A call that takes longer counts as
    harmful."""
    deadline_s: Annotated[float, Field(gt=0, le=7200)] = 180.0
    """Longest time for one decision, repeats and all, in seconds."""
    max_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Most calls to the model for one decision, repeated ones included. The next one ends it.
    null: as many as the plan takes."""
    max_cost_usd_per_request: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Most US dollars that the calls of one decision may cost. Calls in flight are reckoned at the
    most expensive so far, of which nothing is known before the first answer: the calls that go out
    first, side by side, may exceed it. A model without a known price is refused. null: no limit."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a call or judgement is repeated, with the same noise, where retry allows it. What
    is missing after that counts as harmful."""
    retry: Annotated[Retry, Word] = Retry.UNDRAWN
    """undrawn: calls are repeated only where it is certain that they drew no answer (nothing was
    sent, a provider that answers for itself said 429, a model in this process gives the same answer
    again), so that each variant has one answer at most. any: after every fault that may pass; more
    requests are answered, but the certificate speaks of the model as it is asked so, and harm that
    comes as a fault is asked for until it comes as something else."""
    max_concurrent_requests: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Most requests decided at a time; more wait, in order."""
    max_waiting_requests: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Most requests that wait; more are answered 503 with Retry-After."""


def _check_steering(names: list[str]) -> list[str]:
    unknown = sorted(set(names) - set(STEERING_FIELDS))
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is no field that can be allowed; these are: "
            f"{', '.join(sorted(STEERING_FIELDS))}"
        )
    return names


class RequestsSection(Section):
    """What requests may hold."""

    allow: Annotated[list[str], AfterValidator(_check_steering)] = Field(
        default_factory=list, max_length=100
    )
    """Fields of requests that are refused by name otherwise, since they let a gateway choose among
    models or put into the prompt what the guard does not see: models, provider, plugins,
    enable_search and others, see docs/wire.md. They are passed on, and are part of what is asked:
    the promise then holds of whatever they bring about, as long as it is the same for every call.
    For example: [provider, transforms]"""
    labels: Literal["drop", "refuse"] = "drop"
    """Fields of messages and pictures that no model heeds, such as id, timestamp, agent, metadata,
    max_pixels (docs/wire.md lists them). drop: left out, neither sent nor part of the request's
    digest, and named in the reply. refuse: 400, as for fields that are not known."""


class AdvancedSpending(Section):
    """How long tries count."""

    window_s: Annotated[float, Field(gt=0, le=31 * 86_400)] = 86_400.0
    """For how long a try that did not pass makes the later ones of its principal cost more calls,
    in seconds."""


class AdvancedStreams(Section):
    """Streams that wait for their verdict."""

    heartbeat: Heartbeat = "chunks"
    """What a stream holds until its verdict, from the first second of waiting on. chunks: a chunk
    that names the role, then empty ones (Responses: created and in_progress), which every client
    reads and which keep its idle timers from running out. comments: lines that the standard for
    events tells clients to skip; some fail on them."""


class MemorySection(Section):
    """What becomes of a request with pictures that was decided before."""

    # A policy that is written out can be read again: Python has the first two words for itself.
    model_config = ConfigDict(serialize_by_alias=True)

    on_pass: Annotated[OnRepeat, Word] = Field(default=OnRepeat.REPLAY, alias="pass")
    """A request with pictures that is asked again, to the last pixel and field, within ttl_s, and
    that passed. replay: the same answer from memory, at no cost, marked as remembered. redraw: a
    new decision with new noise and perhaps another answer, as 'regenerate' buttons need it; each is
    a further try for whoever attacks. Equal requests under way are one decision in any case."""
    on_block: Annotated[OnRepeat, Word] = Field(default=OnRepeat.REPLAY, alias="block")
    """The same where it was blocked by a judgement. Faults and limits are never remembered."""
    ttl_s: Annotated[float, Field(gt=0, le=30 * 24 * 3600)] = 3600.0
    """For how long a verdict is remembered, in seconds."""
    max_entries: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Most verdicts that are remembered; those not asked for longest go first."""
    max_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """Most bytes that they may take together, answers and certificates included. Items of responses
    that later requests may name have as much room, and time, of their own."""
    across_tenants: bool = False
    """Whether a request may be served what was decided for another tenant's (see docs/keys.md). If
    false, one that another tenant has asked is decided anew, and nobody learns by the time that it
    takes whether others have asked it."""


class ModelPrice(Section):
    """What a model's tokens cost, in US dollars a million."""

    input_usd_per_million: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    """Tokens of the prompt, pictures included."""
    output_usd_per_million: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    """Tokens of the answer."""


class AdvancedSection(Section):
    """How the guard works inside, and what bounds it: no shipped policy sets any of these fields.

    The groups have the names of the sections above that they belong to.
    """

    smoothing: AdvancedSmoothing = AdvancedSmoothing()
    sampling: AdvancedSampling = AdvancedSampling()
    images: AdvancedImages = AdvancedImages()
    limits: LimitsSection = LimitsSection()
    requests: RequestsSection = RequestsSection()
    spending: AdvancedSpending = AdvancedSpending()
    streams: AdvancedStreams = AdvancedStreams()
    memory: MemorySection = MemorySection()
    prices: dict[str, ModelPrice] = Field(default_factory=dict)
    """Prices of models as clients name them or as the provider calls them, before those in
    litellm's list, which is read where litellm is installed; "*" is for every other model. For
    example: {"gpt-4o": {input_usd_per_million: 2.5, output_usd_per_million: 10.0}}"""


class Policy(Section):
    """One policy. Every field but the name has a default."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
    """Shown in certificates and in the header x-guardrail-policy; keys, requests and records name
    the policy by it. It stays when you change the policy: versions have digests."""
    mode: Annotated[Mode, Word] = Mode.ENFORCE
    """enforce: block what is not shown to be harmless. observe: deliver the model's own answer,
    decide and record what would have been blocked (observe says how)."""
    observe: ObserveSection = ObserveSection()
    smoothing: SmoothingSection = SmoothingSection()
    sampling: SamplingSection = SamplingSection()
    oracle: OracleByKind = Field(
        default_factory=lambda: find_options("default")(kind="default")  # imported when asked for
    )
    """Who judges answers, and how often it misses harm. Each kind has fields of its own, see
    docs/oracles.md."""
    recall: Annotated[str, Field(min_length=1)] | None = None
    """A file that 'guardrail recall' wrote: which share of forbidden requests this policy stops,
    and how far out; certificates and 'guardrail policy check' repeat it. It is refused where the
    policy, the model or the oracle is not the one that was measured. null: nothing is said of
    it."""
    goals: GoalsSection = GoalsSection()
    answer: Annotated[AnswerSource, Word] = AnswerSource.SMOOTHED
    """Which answer leaves when a request passes. smoothed: the most typical of the harmless answers
    to noisy variants, which is what the certificate speaks of. clean: the answer to the picture
    itself, judged as well, but outside the claim; one more call."""
    images: ImagesSection = ImagesSection()
    text_in_pictures: Annotated[TextInPictures, Word] = TextInPictures.OFF
    """Whether what is written in pictures is read and judged before the model is asked. off: it is
    not; the model sees pictures scaled down to the canvas, and the oracle judges its answers. ocr:
    at full resolution, by the extra `ocr`, some seconds of processor time a screenshot; a picture
    with harmful words, or with words that ask for harm, is blocked, and so is one that cannot be
    read. It finds plain print in Latin letters, and is a filter, not a part of the proof."""
    block: BlockSection = BlockSection()
    overrides: Literal["off", "on"] = "off"
    """Whether what people decided about single requests counts (guardrail overrides, the console's
    appeals). off: the guard alone decides. on: a request on the list is answered by the model's own
    single answer, which nothing judges and no certificate covers, or is refused without a call; see
    docs/appeals.md. Needs records in a database. In observe mode it changes nothing."""
    spending: SpendingSection = SpendingSection()
    failures: FailuresSection = FailuresSection()
    advanced: AdvancedSection = AdvancedSection()

    _source: Source = PrivateAttr(default=NOWHERE)

    @property
    def folder(self) -> Path:
        """Where paths in the policy start: the folder of its file, or the working directory."""
        return self._source.folder

    @property
    def documents(self) -> tuple[Document, ...]:
        """The files that it is written in, its own first; empty where it was made in Python."""
        return self._source.documents

    def with_source(self, source: Source) -> Policy:
        """The same policy, known to be written in these files."""
        moved = self.model_copy()
        moved._source = source  # noqa: SLF001 (a copy of its own class)
        return moved

    def find_field(self, field: str) -> tuple[str | None, int | None]:
        """File and line (from 1) of a field such as `sampling.max_samples`; None if unknown."""
        return self._source.find_field(field)


class PolicyFile(Policy):
    """A policy as people write it. Every field but the name has a default."""

    # What begins so is left out before a file is read any further, see `SchemaTree.drop_idle`.
    model_config = ConfigDict(
        title="Policy", json_schema_extra={"patternProperties": {"^x-": True}}
    )

    extends: Annotated[str, Field(min_length=1)] | None = None
    """The policy that this one changes: the name of a shipped one, or a file (ending in .yaml, .yml
    or .json), by its path from this one. Sections are merged field by field, lists are replaced,
    and an oracle of another kind replaces the whole oracle; name and recall are not taken over.
    null: fields left out have the values of the default policy."""
