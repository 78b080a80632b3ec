"""The section `advanced` of the policy file, field by field, as in `schema.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from guardrail.engine.promise import RadiusSpace
from guardrail.engine.rules import MODEL_SIDE, Retry
from guardrail.memory.rules import OnRepeat
from guardrail.policy.steering import STEERING_FIELDS
from guardrail.section import Section, Share, Word

__all__ = [
    "AdvancedImages",
    "AdvancedSampling",
    "AdvancedSection",
    "AdvancedSmoothing",
    "AdvancedSpending",
    "AdvancedStreams",
    "Heartbeat",
    "LimitsSection",
    "MemorySection",
    "ModelPrice",
    "RequestsSection",
    "VariantFormat",
]

VariantFormat = Literal["png", "jpeg", "webp"]
Heartbeat = Literal["chunks", "comments"]


class AdvancedSmoothing(Section):
    """Pictures before the noise, and where the radius is measured."""

    radius_space: Annotated[RadiusSpace, Word] = RadiusSpace.CANVAS
    """Where smoothing.radius is meant; certificates are always in pixels as the client sent them.
    canvas: on the canvas, so that pictures of all sizes cost about the same calls, and one that is
    scaled down to a k-th is promised nearly k times the radius: the radius over the norm of its
    resize, which certificates name; several pictures by the one that is scaled least. client: in
    the client's picture, so that all are promised the same, and larger ones cost fewer calls."""
    canvas_max_side_px: Annotated[int, Field(ge=8, le=4096)] | Literal["model"] | None = MODEL_SIDE
    """Pictures with a longer side are scaled down to it before the noise, in pixels (null: never).
    Small canvases are quick and carry a larger radius; large ones keep fine print legible. model:
    the side that the model itself scales pictures to, beyond which it sees nothing, within
    canvas_limit_px: that of a model in this process as its settings say, of others by their name,
    where docs/policy.md lists it."""
    canvas_limit_px: Annotated[int, Field(ge=8, le=4096)] | None = 224
    """Under 'canvas_max_side_px: model', the longest side of all: it stands also for models whose
    own is not known. null: no limit, and such models fail."""
    canvas_min_side_px: Annotated[int, Field(ge=1, le=4096)] = 28
    """Pictures with a shorter side, once scaled down, are laid on white until they have it, in
    pixels; they are never stretched, which would shrink the promise. Vision models refuse pictures
    smaller than one of their patches."""
    denoise_window_px: Literal[3, 5] = 3
    """Side of the window of 'denoise: median', in pixels."""
    denoise_side_px: Annotated[int, Field(ge=8, le=4096)] | Literal["model"] = MODEL_SIDE
    """The longest side that 'denoise: area' leaves, in pixels; model: as in canvas_max_side_px."""

    @model_validator(mode="after")
    def _check_canvas(self) -> AdvancedSmoothing:
        for name in ("canvas_max_side_px", "canvas_limit_px", "denoise_side_px"):
            most = getattr(self, name)
            if isinstance(most, int) and most < self.canvas_min_side_px:
                raise ValueError(f"canvas_min_side_px must be at most {name}")
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
