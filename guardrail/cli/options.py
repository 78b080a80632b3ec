"""Options that several commands share, and the engine they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from guardrail.engine.guard import Engine
    from guardrail.policy.schema import Policy
    from guardrail.records.recorder import Recorder

__all__ = [
    "build_engine",
    "guard_options",
    "is_local",
    "open_recorder",
    "read_policy",
    "record_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def guard_options(function: _F) -> _F:
    """--upstream, --policy, --key-file."""
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
            help="Policy file, or the name of a shipped one: default, strict, observe, action, "
            "semantic.",
        ),
        click.option(
            "--upstream",
            default="builtin",
            show_default=True,
            help="builtin, openai_compatible:URL, litellm:MODEL or transformers:ID_OR_FOLDER.",
        ),
    ):
        function = option(function)
    return function


def is_local(upstream: str) -> bool:
    """Whether the model computes in this process, where nothing is encoded or renamed."""
    from guardrail.upstreams import registry

    return registry.is_local(upstream)


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
    from guardrail.policy.load import named_policy

    return named_policy(name)


def _travel(policy: Policy) -> dict[str, Any]:
    """How variants travel to a remote model."""
    return {"variant_format": policy.variant_format, "jpeg_quality": policy.variant_quality}


def build_engine(policy: Policy, upstream: str, key_file: Path | None) -> Engine:
    """The engine for a policy, a model and a key. Raises ConfigError."""
    from guardrail.engine.guard import Engine
    from guardrail.images.keys import ephemeral, load_or_create_key
    from guardrail.policy.compile import compile_policy
    from guardrail.policy.oracle import compile_oracle
    from guardrail.upstreams.registry import build_upstream

    return Engine(
        compile_policy(policy),
        build_upstream(upstream, **({} if is_local(upstream) else _travel(policy))),
        compile_oracle(policy),
        load_or_create_key(key_file) if key_file else ephemeral(),
    )
