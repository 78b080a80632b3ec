"""Options that several commands share, and the engine they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrail.policy.shipped import shipped_names

if TYPE_CHECKING:
    from guardrail.engine.guard import Engine
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.records.recorder import Recorder
    from guardrail.upstreams.base import Upstream

__all__ = [
    "build_engine",
    "chosen_upstreams",
    "guard_options",
    "is_local",
    "open_recorder",
    "read_policy",
    "record_options",
    "upstream_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])
_SPECS = "builtin, openai_compatible:URL, litellm:MODEL or transformers:ID_OR_FOLDER."


def guard_options(function: _F) -> _F:
    """--upstream, --policy, --key-file."""
    option = click.option("--upstream", default="builtin", show_default=True, help=_SPECS)
    return option(_policy_options(function))


def upstream_options(function: _F) -> _F:
    """The same for commands that decide: --upstream may be given several times, or by a file."""
    for option in (
        click.option(
            "--upstreams",
            "upstreams_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="YAML file with the upstreams, their keys' variables and their limits; in place "
            "of --upstream.",
        ),
        click.option(
            "--upstream",
            "upstreams",
            multiple=True,
            help=f"{_SPECS} Given several times, a decision that one lets down is made again by "
            "the next.  [default: builtin]",
        ),
    ):
        function = option(function)
    return _policy_options(function)


def _policy_options(function: _F) -> _F:
    """--policy, --key-file."""
    for option in (
        click.option(
            "--key-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Secret that the noise grows from; made if it is not there. Without this option "
            "a fresh secret is drawn at every start, and verdicts cannot be replayed later.",
        ),
        click.option(
            "--policy",
            "policy_name",
            default="default",
            show_default=True,
            help=f"Policy file, or the name of a shipped one: {', '.join(shipped_names())}.",
        ),
    ):
        function = option(function)
    return function


def chosen_upstreams(specs: Sequence[str], file: Path | None) -> tuple[UpstreamEntry, ...]:
    """What --upstream and --upstreams ask for. Raises ConfigError."""
    from guardrail.policy.upstreams import load_upstreams, plain_entries

    if file is None:
        return plain_entries(specs or ("builtin",))
    if specs:
        raise click.UsageError("give --upstream or --upstreams, not both")
    return load_upstreams(file)


def is_local(upstreams: Sequence[UpstreamEntry]) -> bool:
    """Whether every model computes in this process and knows all its names."""
    return all(entry.is_local for entry in upstreams)


def record_options(function: _F) -> _F:
    """--records, --sign-key, --keep-content."""
    for option in (
        click.option(
            "--keep-content",
            is_flag=True,
            help="Keep what was asked and answered in the records too; hashes and lengths only "
            "without this option.",
        ),
        click.option(
            "--sign-key",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Ed25519 key that signs the records; made if it is not there, with its public "
            "half beside it.",
        ),
        click.option(
            "--records",
            "records_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Append one line of JSON for every decision, before its answer leaves.",
        ),
    ):
        function = option(function)
    return function


@contextmanager
def open_recorder(
    engine: Engine, records_file: Path | None, sign_key: Path | None, keep_content: bool
) -> Iterator[Recorder | None]:
    """What keeps the engine's decisions; None without --records. Raises ConfigError."""
    from guardrail.records.journal import FileJournal
    from guardrail.records.recorder import Recorder
    from guardrail.records.signing import load_or_create_signer

    if records_file is None:
        if sign_key is not None or keep_content:
            raise click.UsageError("--sign-key and --keep-content are for --records")
        yield None
        return
    signer = load_or_create_signer(sign_key) if sign_key else None
    journal = FileJournal(records_file, signer=signer)
    try:
        yield Recorder(journal, engine, keep_content=keep_content)
    finally:
        journal.close()


def read_policy(name: str) -> Policy:
    """A shipped policy by name, else a file. Raises ConfigError."""
    from guardrail.policy.load import load_policy

    return load_policy(name)


def build_engine(
    policy: Policy, upstream: str | Sequence[UpstreamEntry], key_file: Path | None
) -> Engine:
    """The engine for a policy, a model or several, and a key. Raises ConfigError."""
    from guardrail.engine.failover import FailoverEngine
    from guardrail.engine.guard import Engine
    from guardrail.engine.recall import check_recall
    from guardrail.images.keys import ephemeral, load_or_create_key
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.oracle import compile_oracle
    from guardrail.policy.upstreams import plain_entries

    entries = plain_entries((upstream,)) if isinstance(upstream, str) else tuple(upstream)
    rules = compile_policy(policy, upstreams=len(entries))
    members = [_opened(entry, policy, alone=len(entries) == 1) for entry in entries]
    oracle = compile_oracle(policy)
    for member in members:
        check_recall(rules.recall, member, oracle)
    key = load_or_create_key(key_file) if key_file else ephemeral()
    if len(members) == 1:
        return Engine(rules, members[0], oracle, key)
    return FailoverEngine(rules, members, oracle, key)


def _opened(entry: UpstreamEntry, policy: Policy, *, alone: bool) -> Upstream:
    from guardrail.policy.compile import variant_options
    from guardrail.policy.upstreams import open_upstream

    governed = open_upstream(entry, **variant_options(policy))
    # A model in this process has a line of its own, and nothing to fail over to.
    return governed.upstream if entry.is_local and alone and entry.is_plain else governed
