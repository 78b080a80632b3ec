"""The policy file, field by field: the one place where each field's text stands.

Those of `advanced` stand in `advanced.py`. From these texts come the comments of
`policies/default.yaml`, the tables of `docs/policy.md` and the JSON Schema that `guardrail policy
schema` prints; `make policies` writes the first two. Ranges are added from the fields' constraints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from guardrail.engine.promise import Claim
from guardrail.engine.rules import (
    AnswerSource,
    Denoise,
    Mode,
    OnOracleFailure,
    OnSeveralModels,
    OnUnscanned,
    TextInPictures,
)
from guardrail.hosts import HOST_RULE, RemoteMode
from guardrail.oracles.by_kind import OracleByKind
from guardrail.oracles.registry import find_options
from guardrail.policy.advanced import AdvancedSection
from guardrail.policy.document import NOWHERE, Document, Source
from guardrail.policy.goals import GoalsSection
from guardrail.policy.threats import ThreatsSection
from guardrail.section import FilePath, Section, Share, Word
from guardrail.stats import LEAST_FLOOR

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BLOCK_PLACEHOLDERS",
    "BlockDetails",
    "BlockSection",
    "BlockStyle",
    "FailuresSection",
    "ImagesSection",
    "KnownPicturesSection",
    "ObserveSection",
    "Policy",
    "PolicyFile",
    "SamplingSection",
    "SmoothingSection",
    "SpendingSection",
]

BlockStyle = Literal["refusal", "message", "error"]
BlockDetails = Literal["none", "counts", "full"]
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
    radius: Annotated[float, Field(gt=0, le=100)] = 0.4
    """The promise covers every change of the canvas of at most this l2 size (pixel values in
    [0, 1]: 0.4 is, for example, 40 values changed by 16 of 255 levels each), and so, of a picture
    that is scaled down to a k-th, every change of nearly k times this size. Larger costs more
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
    denoise: Annotated[Denoise, Word] = Denoise.NONE
    """Which filter a noisy picture goes through before the model sees it. It changes no promise, as
    it sees nothing but the noisy picture; whether it helps depends on model and sigma, so measure
    it. none: no filter. median: of the values around each pixel. area: averages over areas, down to
    a smaller side, with the contrast restored that clipping took. custom: a function given in
    Python (Guard(denoise=...)), which certificates name."""


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


class KnownPicturesSection(Section):
    """Pictures that people have judged: they are blocked before any model is asked."""

    lists: list[FilePath] = Field(default_factory=list, max_length=64)
    """Text files with one picture a line: the SHA-256 of its file (64 hexadecimal digits), by which
    the same file is found, or its perceptual hash (16 digits), by which near copies are; behind a #
    stands a comment. `guardrail policy fingerprint` prints such lines. A request with a picture on
    a list is blocked by the reason `known harmful picture`: that is a filter in front of the proof
    and no part of it, and no certificate covers it. Lists are read when the policy is loaded."""
    distance: Annotated[int, Field(ge=0, le=16)] = 6
    """So many of the 64 bits of two perceptual hashes may differ. 0 finds equal hashes only; 6
    finds pictures that were compressed again, resized or brightened a little; more finds more of
    them, and more that are none."""


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
    known_pictures: KnownPicturesSection = KnownPicturesSection()
    threats: ThreatsSection = ThreatsSection()
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
