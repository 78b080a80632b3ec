"""The one place where a guard is put together: policy, models, oracle, key and records.

The proxy, the commands and `Guard` all build their engines here. Everything that a person can
hand over is checked here as well, so that a wrong argument is named before the first request.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from guardrail.engine.budget import check_prices
from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.preprocessing import check_filter, settle
from guardrail.engine.recall import check_recall
from guardrail.engine.rules import TextInPictures
from guardrail.errors import ConfigError
from guardrail.images.filters import PictureFilter
from guardrail.images.keys import NoiseKey, ephemeral
from guardrail.key_files import load_or_create_key
from guardrail.oracles.function import as_oracle
from guardrail.picture_text.check import PictureTextJudge
from guardrail.picture_text.reader import OcrReader
from guardrail.picture_text.request_head import RequestScorer
from guardrail.policy.compile import compile_policy, variant_options
from guardrail.policy.known_pictures import read_known_pictures
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.policy.upstreams import (
    UpstreamEntry,
    load_upstreams,
    open_late_upstream,
    open_upstream,
    plain_entries,
)
from guardrail.upstreams.base import Upstream, answers_late, known_models
from guardrail.upstreams.function import Call, FunctionUpstream
from guardrail.upstreams.registry import late_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guardrail.engine.rules import Rules
    from guardrail.oracles.base import Oracle
    from guardrail.picture_text.check import PictureTextCheck
    from guardrail.records.options import RecordOptions
    from guardrail.records.recorder import Recorder
    from guardrail.records.writer import RecordWriter
    from guardrail.upstreams.limits.limiter import Limiter

__all__ = [
    "KeySource",
    "Model",
    "PolicySource",
    "Upstreams",
    "build_engine",
    "check_argument",
    "is_local",
    "join_engine",
    "open_entry",
    "open_record_writer",
    "open_recorder",
    "open_records",
    "read_key",
    "read_model",
    "read_oracle",
    "read_policy",
    "read_upstreams",
]

PolicySource: TypeAlias = str | os.PathLike[str] | Policy
"""The name of a shipped policy, a file, or a policy."""

KeySource: TypeAlias = str | os.PathLike[str] | NoiseKey | None
"""A key, its file, which is made if it is not there, or None for a fresh one."""

Model: TypeAlias = Upstream | Call
"""What answers: an upstream, or a function from a request's body to a chat completion."""

Upstreams: TypeAlias = str | tuple[UpstreamEntry, ...] | Model
"""A spec, entries in the order in which they are asked, an upstream or a function."""


def check_argument(value: object, kinds: Any, field: str, expected: str) -> None:
    """Raises ConfigError where an argument is of none of these types."""
    if not isinstance(value, kinds):
        raise ConfigError(f"must be {expected}, not {_type_name(value)}", field=field)


def read_policy(source: PolicySource) -> Policy:
    """The policy of an argument. Raises ConfigError."""
    if isinstance(source, Policy):
        return source
    check_argument(
        source, (str, os.PathLike), "policy", "the name of a shipped policy, a file or a Policy"
    )
    return load_policy(source)


def read_key(source: KeySource) -> NoiseKey:
    """The key of an argument. Raises ConfigError."""
    if source is None:
        return ephemeral()
    if isinstance(source, NoiseKey):
        return source
    check_argument(source, (str, os.PathLike), "key", "a file or a NoiseKey")
    return load_or_create_key(source)


def read_upstreams(
    specs: Sequence[str] = (), file: str | os.PathLike[str] | None = None
) -> tuple[UpstreamEntry, ...]:
    """The upstreams of a list of specs or of a file; the built-in model where neither is given.

    Args:
        specs: `builtin`, `openai_compatible:URL`, `litellm:MODEL`, `litellm_batch:MODEL` or
            `transformers:ID_OR_FOLDER`, in the order in which they are asked.
        file: see docs/upstreams.md.

    Raises:
        ConfigError: both are given, or the file cannot be used.
    """
    if file is None:
        return plain_entries(specs or ("builtin",))
    if specs:
        raise ConfigError("give upstream or upstreams, not both", field="upstreams")
    check_argument(file, (str, os.PathLike), "upstreams", "a file of upstreams")
    return load_upstreams(os.fspath(file))


def is_local(upstreams: Sequence[UpstreamEntry]) -> bool:
    """Whether every model computes in this process and knows all its names."""
    return all(entry.is_local for entry in upstreams)


def read_oracle(oracle: object, policy: Policy) -> Oracle:
    """The oracle of an argument, or of the policy where it is None. Raises ConfigError."""
    return compile_oracle(policy) if oracle is None else as_oracle(oracle)


def read_model(model: object, policy: Policy) -> Upstream:
    """The upstream that an upstream or a function stands for. Raises ConfigError."""
    if isinstance(model, Upstream):
        return model
    if callable(model):
        return FunctionUpstream(model, name="function", revision="", **variant_options(policy))
    hint = ""
    if isinstance(model, list | tuple):
        hint = "; for several models give upstreams=FILE"
    elif type(model).__module__.partition(".")[0] == "openai":
        hint = "; for this client call guard.wrap(client)"
    raise ConfigError(
        "must be a spec such as openai_compatible:URL, an Upstream, or a function that takes a "
        f"chat completion request, not {_type_name(model)}{hint}",
        field="upstream",
    )


def build_engine(
    policy: Policy,
    upstreams: Upstreams,
    key: KeySource = None,
    *,
    oracle: object = None,
    denoise: PictureFilter | None = None,
    is_placeholder: bool = False,
    may_be_late: bool = False,
) -> Engine:
    """The engine for a policy, a model or several, and a key.

    Args:
        policy: what is decided by.
        upstreams: the models.
        key: what the noise is derived from.
        oracle: judges in place of the policy's.
        denoise: the filter between noise and model, where the policy says 'denoise: custom'.
        is_placeholder: whether each request brings a model of its own in place of these; then the
            policy's recall is not compared with them.
        may_be_late: whether who asks can wait for hours, as a model behind a batch API takes it.

    Raises:
        ConfigError: one of them cannot be used, the policy names a recall that was measured on
            another model or oracle, it limits the cost of a model whose price is not known, it
            asks for the size of pictures of a model of which that is not known, or a model
            answers too late.
    """
    check_argument(denoise, (PictureFilter, type(None)), "denoise", "a PictureFilter or None")
    members = _open_upstreams(policy, upstreams, may_be_late=may_be_late)
    judge = read_oracle(oracle, policy)
    return join_engine(
        policy,
        members,
        judge,
        read_key(key),
        denoise=denoise,
        is_placeholder=is_placeholder,
        may_be_late=may_be_late,
    )


def join_engine(
    policy: Policy,
    members: Sequence[Upstream],
    oracle: Oracle,
    key: NoiseKey,
    *,
    denoise: PictureFilter | None = None,
    is_placeholder: bool = False,
    may_be_late: bool = False,
) -> Engine:
    """The engine of parts that are there already; see `build_engine`. Raises ConfigError."""
    late = next((member for member in members if answers_late(member)), None)
    if late is not None and not (may_be_late and len(members) == 1):
        raise late_error(late.name)
    rules = compile_policy(policy, upstreams=len(members))
    check_filter(rules, denoise)
    for member in () if is_placeholder else members:
        check_recall(rules.recall, member, oracle)
        check_prices(rules, member)
        for model in known_models(member):
            settle(rules, member, model, denoise)
    known = read_known_pictures(policy)
    check = _open_text_check(rules)
    if len(members) == 1:
        return Engine(rules, members[0], oracle, key, check, denoise, known)
    return FailoverEngine(rules, members, oracle, key, check, denoise, known)


def _open_text_check(rules: Rules) -> PictureTextCheck | None:
    """What reads the pictures of requests, where the policy asks for it. Raises ConfigError."""
    match rules.text_in_pictures:
        case TextInPictures.OFF:
            return None
        case TextInPictures.OCR:
            return PictureTextJudge(OcrReader(), RequestScorer())
        case _:
            assert_never(rules.text_in_pictures)


def _open_upstreams(policy: Policy, upstreams: Upstreams, *, may_be_late: bool) -> list[Upstream]:
    entries = plain_entries((upstreams,)) if isinstance(upstreams, str) else upstreams
    if isinstance(entries, tuple) and all(isinstance(entry, UpstreamEntry) for entry in entries):
        alone = len(entries) == 1
        if may_be_late and alone and entries[0].is_late:
            return [open_late_upstream(entries[0], **variant_options(policy))]
        return [open_entry(entry, policy, alone=alone) for entry in entries]
    return [read_model(entries, policy)]


def open_entry(
    entry: UpstreamEntry, policy: Policy, *, alone: bool, limiter: Limiter | None = None
) -> Upstream:
    """The upstream of one entry, `alone` or one of several. Raises ConfigError."""
    governed = open_upstream(entry, **variant_options(policy), limiter=limiter)
    # A model in this process has a line of its own, and nothing to fail over to.
    return governed.upstream if entry.is_local and alone and entry.is_plain else governed


@contextmanager
def open_recorder(engine: Engine, options: RecordOptions) -> Iterator[Recorder | None]:
    """What keeps the decisions of one engine; see `open_records`."""
    with open_records(options) as recorder_of:
        yield recorder_of(engine)


@contextmanager
def open_records(options: RecordOptions) -> Iterator[Callable[[Engine], Recorder | None]]:
    """What makes recorders of engines, all of one journal; of None where nothing is kept.

    Raises:
        ConfigError: a file or address cannot be used.
        StorageError: the database cannot be reached.
    """
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.records.recorder import Recorder
    from guardrail.records.sent_pictures import PictureRoom

    keys = load_or_create_content_keys(options.content_key) if options.content_key else None
    with open_record_writer(options) as writer:
        if writer is None:
            yield lambda _engine: None
            return
        room = PictureRoom() if options.keep_pictures else None
        yield lambda engine: Recorder(
            writer, engine, content_keys=keys, picture_room=room, mode=options.mode
        )


@contextmanager
def open_record_writer(options: RecordOptions) -> Iterator[RecordWriter | None]:
    """What writes records that are made elsewhere; None where nothing is kept.

    Raises:
        ConfigError: a file or address cannot be used.
        StorageError: the database cannot be reached.
    """
    from guardrail.records.open import open_journal, open_pruner
    from guardrail.records.signing import load_or_create_signer
    from guardrail.records.writer import RecordWriter

    if options.place is None:
        yield None
        return
    signer = load_or_create_signer(options.sign_key) if options.sign_key else None
    with (
        closing(open_journal(options.place, signer=signer)) as journal,
        open_pruner(options.place, options.retention, signer),
        closing(RecordWriter(journal)) as writer,
    ):
        yield writer


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
