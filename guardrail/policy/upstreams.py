"""The upstreams file: which models answer, in which order, and how each may be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from guardrail.errors import ConfigError
from guardrail.files import read_secret_file, read_variable
from guardrail.policy.batch_section import BatchSection
from guardrail.policy.document import Source, read_document
from guardrail.policy.fields import schema_tree
from guardrail.policy.load import validate_content
from guardrail.policy.mistakes import raise_mistakes
from guardrail.section import FilePath, Section
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.registry import build_upstream, is_late, is_local
from guardrail.upstreams.request_frame import TokenLimitName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from guardrail.images.encode import ImageFormat
    from guardrail.upstreams.base import Upstream
    from guardrail.upstreams.limits.limiter import Limiter

__all__ = [
    "BreakerSection",
    "UpstreamEntry",
    "UpstreamsFile",
    "load_upstreams",
    "open_late_upstream",
    "open_upstream",
    "place_ledger",
    "plain_entries",
    "read_secrets",
]

_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
_Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
_Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_MAY_PASS = frozenset({408, 409, 425, *range(500, 600)})  # 429 is what `direct` is about
_OPENAI = "openai_compatible:"
_TRANSFORMERS = "transformers:"
_BATCH = "litellm_batch:"
_LOCAL_CONCURRENCY = 4096  # such a model gathers its calls into batches, and has a line of its own
_DEFAULTS = CallLimits()
_LIMITS = frozenset(
    {"max_concurrency", "max_queue", "requests_per_minute", "tokens_per_minute", "longest_pause_s",
     "breaker", "headers_env", "model_map"}
)  # fmt: skip
_FIRST_ALONE_S = 2.0  # a key that is refused is refused sooner; a slow first answer holds nobody up


def _check_undrawn(statuses: tuple[int, ...]) -> tuple[int, ...]:
    """Refuses statuses after which no call is repeated anyway."""
    if 429 in statuses:
        raise ValueError("say 'direct: true' if a 429 stands for no answer; list other statuses")
    if not _MAY_PASS.issuperset(statuses):
        raise ValueError("list statuses that may pass: 408, 409, 425 or 500 to 599")
    return statuses


class BreakerSection(Section):
    """When an upstream that fails is left alone."""

    faults: int = Field(default=_DEFAULTS.breaker_faults, ge=1, le=100_000)
    """Faults in a row, with no answer between them, after which it opens."""

    after_s: float = Field(default=_DEFAULTS.breaker_after_s, ge=0, le=3600, allow_inf_nan=False)
    """Seconds that it must have failed for."""

    open_s: _Seconds = _DEFAULTS.breaker_open_s
    """Seconds until one call is let through to try."""


class UpstreamEntry(Section):
    """One upstream."""

    upstream: str
    """builtin, openai_compatible:URL, litellm:MODEL, litellm_batch:MODEL or
    transformers:ID_OR_FOLDER."""

    api_key_env: _Variable | None = None
    """Environment variable that holds the key, or, with _FILE behind its name, the path of a file
    that does; none is sent without it (litellm looks for its providers' own variables)."""

    api_key_file: FilePath | None = None
    """File that holds the key, in place of api_key_env."""

    headers_env: dict[str, _Variable] = Field(default_factory=dict, max_length=32)
    """Environment variables that hold further headers, by the header's name."""

    model_map: dict[str, str] = Field(default_factory=dict, max_length=1000)
    """The provider's name of a model by the name that clients use."""

    token_limit_name: TokenLimitName | None = None
    """What max_tokens and max_completion_tokens are both sent as, for servers that ignore one."""

    direct: bool | None = None
    """Whether it answers 429 itself, before a model is asked: no gateway stands between that
    filters answers, retries or falls back. As a table of known providers says, if left out."""

    undrawn: Annotated[tuple[int, ...], Strict(strict=False), AfterValidator(_check_undrawn)] = (
        Field(default=(), max_length=32)
    )
    """Further statuses by which it says that it drew no answer, as 503: calls that end in them are
    repeated. Wrong ones void the promise."""

    device: Annotated[str, StringConstraints(pattern=r"^[a-z]+(:[0-9]{1,3})?$")] | None = None
    """Where transformers:ID_OR_FOLDER computes, in torch's words: cpu, cuda:1, mps. A GPU where
    there is one, if left out."""

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """What transformers:ID_OR_FOLDER computes in; bfloat16 on a GPU and float32 elsewhere, if left
    out. Certificates name it with the model's revision."""

    max_batch: int | None = Field(default=None, ge=1, le=4096)
    """Most variants that transformers:ID_OR_FOLDER computes at once; 64 by default, and fewer once
    memory has run out."""

    seeds: bool = False
    """Whether it honours the field `seed`; each variant is then sent one of its own."""

    timeout_s: _Seconds | None = None
    """Longest that one call may take; the policy's advanced.limits.call_timeout_s holds as well."""

    max_concurrency: int | None = Field(default=None, ge=1, le=65_536)
    """Most calls in flight; 64 by default, and unlimited for a model in this process."""

    max_queue: int = Field(default=_DEFAULTS.max_queue, ge=1, le=1_000_000)
    """Most calls that wait; further ones fail at once."""

    requests_per_minute: _Rate | None = None
    """Most calls per minute, sent evenly."""

    tokens_per_minute: _Rate | None = None
    """Most tokens per minute, by what earlier answers took."""

    longest_pause_s: _Seconds = _DEFAULTS.longest_pause_s
    """Longest that a provider's Retry-After stops all calls."""

    breaker: BreakerSection = BreakerSection()
    """When it is left alone."""

    batch: BatchSection | None = None
    """How litellm_batch:MODEL makes batches; its own ways, if left out."""

    @model_validator(mode="after")
    def _a_local_model_needs_no_network(self) -> Self:
        remote = ("api_key_env", "api_key_file", "headers_env", "model_map", "token_limit_name",
                  "timeout_s", "direct", "undrawn", "seeds")  # fmt: skip
        given = [name for name in remote if getattr(self, name)]
        if self.is_local and given:
            raise ValueError(f"a model in this process takes no {given[0]}; leave it out")
        return self

    @model_validator(mode="after")
    def _only_a_model_of_yours_is_placed(self) -> Self:
        given = [name for name, value in self.local_options.items() if value is not None]
        if given and not self.upstream.startswith(_TRANSFORMERS):
            raise ValueError(f"only {_TRANSFORMERS}ID_OR_FOLDER takes {given[0]}; leave it out")
        return self

    @model_validator(mode="after")
    def _batches_have_limits_of_their_own(self) -> Self:
        if self.batch is not None and not self.is_late:
            raise ValueError(f"only {_BATCH}MODEL takes batch; leave it out")
        given = sorted(_LIMITS & self.model_fields_set)
        if self.is_late and given:
            raise ValueError(f"{_BATCH}MODEL takes no {given[0]}; leave it out")
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the model computes in this process, where nothing is encoded or renamed."""
        return is_local(self.upstream)

    @property
    def is_late(self) -> bool:
        """Whether its answers take hours."""
        return is_late(self.upstream)

    @property
    def local_options(self) -> dict[str, Any]:
        """How a model in this process computes; None is its usual way."""
        return {"device": self.device, "dtype": self.dtype, "max_batch": self.max_batch}

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than where the model is."""
        return self == UpstreamEntry(upstream=self.upstream)

    @property
    def limits(self) -> CallLimits:
        usual = _LOCAL_CONCURRENCY if self.is_local else _DEFAULTS.max_concurrency
        return CallLimits(
            max_concurrency=self.max_concurrency or usual,
            max_queue=self.max_queue,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            longest_pause_s=self.longest_pause_s,
            breaker_faults=self.breaker.faults,
            breaker_after_s=self.breaker.after_s,
            breaker_open_s=self.breaker.open_s,
            first_alone_s=0.0 if self.is_local else _FIRST_ALONE_S,
        )


class UpstreamsFile(Section):
    """The whole file."""

    upstreams: Annotated[tuple[UpstreamEntry, ...], Strict(strict=False)] = Field(
        min_length=1, max_length=8
    )
    """In the order in which they are asked."""


def load_upstreams(path: str | Path) -> tuple[UpstreamEntry, ...]:
    """The entries of a file.

    Raises:
        ConfigError: it cannot be read, a field in it is wrong, or it names an environment variable
            that is not set.
    """
    file = Path(path)
    document = read_document(file, "list of upstreams")
    if not isinstance(document.content, dict):
        raise ConfigError(
            "this file is a mapping with a list, as in 'upstreams: [{upstream: builtin}]'",
            file=str(file),
        )
    source = Source(file.parent, (document,))
    content = schema_tree(UpstreamsFile).drop_idle(document.content)
    parsed = validate_content(UpstreamsFile, content, source, schema="docs/upstreams.md")
    raise_mistakes(
        [
            mistake
            for index, entry in enumerate(parsed.upstreams)
            for mistake in _check_environment(entry, source, f"upstreams.{index}")
        ]
    )
    return tuple(_place_files(entry, source.folder) for entry in parsed.upstreams)


def _place_files(entry: UpstreamEntry, folder: Path) -> UpstreamEntry:
    """The entry with whole paths of key file and ledger, which start at the folder of this file."""
    if entry.api_key_file is not None:
        entry = entry.model_copy(update={"api_key_file": str(folder / entry.api_key_file)})
    if entry.batch is not None and entry.batch.ledger is not None:
        entry = place_ledger(entry, folder / entry.batch.ledger)
    return entry


def place_ledger(entry: UpstreamEntry, ledger: Path) -> UpstreamEntry:
    """The entry with its ledger of batches at this place."""
    batch = (entry.batch or BatchSection()).model_copy(update={"ledger": str(ledger)})
    return entry.model_copy(update={"batch": batch})


def plain_entries(specs: Sequence[str]) -> tuple[UpstreamEntry, ...]:
    """Entries that say no more than where the models are.

    A key in OPENAI_API_KEY is sent to the first OpenAI-compatible one only: it is one provider's.
    """
    keyed = next((i for i, spec in enumerate(specs) if spec.startswith(_OPENAI)), None)
    key = "OPENAI_API_KEY" if read_variable("OPENAI_API_KEY") else None
    return tuple(
        UpstreamEntry(upstream=spec, api_key_env=key)
        if index == keyed
        else UpstreamEntry(upstream=spec)
        for index, spec in enumerate(specs)
    )


def open_upstream(
    entry: UpstreamEntry,
    *,
    variant_format: ImageFormat | None = None,
    jpeg_quality: int | None = None,
    limiter: Limiter | None = None,
) -> LimitedUpstream:
    """The upstream of an entry, behind its limiter, or behind one that is shared.

    Raises:
        ConfigError: it cannot be used.
    """
    if entry.is_local:
        local = build_upstream(entry.upstream, **entry.local_options)
        return LimitedUpstream(local, entry.limits, limiter=limiter)
    options: dict[str, Any] = {
        "api_key": _read_key(entry),
        "headers": {k: read_variable(v) for k, v in entry.headers_env.items()} or None,
        "model_map": entry.model_map or None,
        "token_limit_name": entry.token_limit_name,
        "direct": entry.direct,
        "undrawn": entry.undrawn or None,
        "seeds": entry.seeds or None,
        "timeout_s": entry.timeout_s,
        "max_connections": entry.limits.max_concurrency,
        "variant_format": variant_format,
        "jpeg_quality": jpeg_quality,
    }
    upstream = build_upstream(entry.upstream, keys_from_environment=False, **options)
    return LimitedUpstream(upstream, entry.limits, limiter=limiter)


def open_late_upstream(
    entry: UpstreamEntry,
    *,
    variant_format: ImageFormat | None = None,
    jpeg_quality: int | None = None,
) -> Upstream:
    """The upstream of an entry whose answers take hours; it has no limiter, as it waits itself.

    Raises:
        ConfigError: it cannot be used.
    """
    batch = entry.batch or BatchSection()
    return build_upstream(
        entry.upstream,
        keys_from_environment=False,
        may_be_late=True,
        ledger=batch.ledger,
        settings=batch.settings,
        price_share=batch.price_share,
        api_key=_read_key(entry),
        api_base=batch.api_base,
        token_limit_name=entry.token_limit_name,
        direct=entry.direct,
        undrawn=entry.undrawn or None,
        seeds=entry.seeds or None,
        timeout_s=entry.timeout_s,
        variant_format=variant_format,
        jpeg_quality=jpeg_quality,
    )


def read_secrets(entry: UpstreamEntry) -> tuple[str, ...]:
    """What the variables and the key file hold that an entry names; never to be shown."""
    return (_read_key(entry) or "", *map(read_variable, entry.headers_env.values()))


def _check_environment(entry: UpstreamEntry, source: Source, place: str) -> Iterator[ConfigError]:
    """Finds environment variables that the entry names and that are not set."""
    named = {f"headers_env.{name}": variable for name, variable in entry.headers_env.items()}
    if entry.api_key_env is not None:
        named["api_key_env"] = entry.api_key_env
    for field, variable in named.items():
        if not read_variable(variable):
            name = f"{place}.{field}"
            file, line = source.find_field(name)
            yield ConfigError(
                f"the environment variable {variable} is not set, nor {variable}_FILE; export one "
                "of them before the start",
                file=file,
                line=line,
                field=name,
            )


def _read_key(entry: UpstreamEntry) -> str | None:
    """Raises ConfigError."""
    if entry.api_key_file is not None:
        return read_secret_file(Path(entry.api_key_file), "key file")
    return read_variable(entry.api_key_env) if entry.api_key_env else None
