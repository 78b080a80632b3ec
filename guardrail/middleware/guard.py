"""`Guard`: certified answers in this process, without a server."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from guardrail.api.chat.endpoint import CHAT_ENDPOINT
from guardrail.api.chat.stream import chunks
from guardrail.assembly import check_argument, read_policy
from guardrail.errors import ConfigError, GuardrailError
from guardrail.memory.ledger import Ledger
from guardrail.middleware.decider import Decider
from guardrail.middleware.http_answer import answer_of, answer_to_error
from guardrail.middleware.records import Records
from guardrail.middleware.runtime import Runtime
from guardrail.notebook import html_table, one_line

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping

    from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

    from guardrail.api.recording import RecordFunction
    from guardrail.assembly import KeySource, Model, PolicySource
    from guardrail.bulk.outcome import RowOutcome
    from guardrail.images.filters import PictureFilter
    from guardrail.middleware.heartbeats import Heartbeats
    from guardrail.middleware.http_answer import HttpAnswer
    from guardrail.middleware.moderation import ModerationItem
    from guardrail.middleware.openai_types import (
        AsyncGuardedAzureOpenAI,
        AsyncGuardedOpenAI,
        GuardedAzureOpenAI,
        GuardedOpenAI,
    )
    from guardrail.middleware.result import OnBlock, Result
    from guardrail.oracles.base import Oracle
    from guardrail.oracles.function import JudgeFunction
    from guardrail.policy.schema import Policy
    from guardrail.records.journal import Journal
    from guardrail.types import Json

__all__ = ["Guard", "wrap"]

_ClientT = TypeVar("_ClientT")


def wrap(runtime: Runtime, client: _ClientT, principal: str | None) -> _ClientT:
    """See `Guard.wrap`."""
    made: Any
    if _comes_from("openai", type(client).__mro__):
        from guardrail.middleware.openai_client import wrap_client

        made = wrap_client(runtime, client, principal)
    elif callable(client) and _comes_from("litellm", [client]):
        from guardrail.middleware.litellm_call import wrap_call

        made = wrap_call(runtime, client, principal)
    else:
        raise ConfigError(
            "only openai.OpenAI, openai.AsyncOpenAI, litellm.completion and litellm.acompletion "
            "can be wrapped; for all else give upstream= a function that asks your client"
        )
    return cast("_ClientT", made)


def _comes_from(package: str, things: Any) -> bool:
    modules = (str(getattr(thing, "__module__", "")) for thing in things)
    return any(module.partition(".")[0] == package for module in modules)


class Guard:
    """Asks a model about noisy variants of a request and passes an answer only with a proof.

    Used from any thread, with or without a running event loop: decisions are made on a loop of
    the guard's own, and async functions given as model are awaited on their caller's. A context
    manager, sync and async.

    Args:
        policy: the name of a shipped policy, a file, or a policy.
        upstream: what answers: `builtin`, `openai_compatible:URL`, `litellm:MODEL`,
            `transformers:ID_OR_FOLDER`, an `Upstream`, or a function that takes the body of a
            chat completion request and returns the completion (async, or called in a thread).
            None where each call brings its own, and for `wrap`.
        upstreams: a file of upstreams, with their limits and keys, in place of `upstream`; a
            decision that one lets down is made again by the next, as the proxy does it.
        key: the secret that noise is derived from, or its file, which is made if it is not there;
            without it every guard draws a fresh one.
        oracle: in place of the policy's; or a function, plain or async, that takes the text of an
            answer and returns whether it is harmful, or a score (0.5 and more is harmful).
        denoise: the filter between noise and model, where the policy says 'denoise: custom': a
            `PictureFilter`, which must be a function of the noisy picture alone.
        record: told of every decision; returns the name under which it is kept. Plain or async.
        records: a file of records to append to, the URL of a database, or a journal.
        on_block: `raise` raises ContentBlocked; `refusal` returns the answer that the policy
            words, as the proxy does.
        principal: the end user whose tries share the policy's alpha (`spending`), where a call
            names no other: an authenticated user, never a field that the user writes. None: each
            try has all of it, and N tries pass falsely with probability up to N times alpha.
        ledger: counts the tries. Guards that serve the same users in one process must share one:
            what a user tried with one of them then counts with all. None makes one.

    Raises:
        ConfigError: an argument cannot be used.
    """

    def __init__(
        self,
        policy: PolicySource = "default",
        upstream: str | Model | None = None,
        *,
        upstreams: str | os.PathLike[str] | None = None,
        key: KeySource = None,
        oracle: Oracle | JudgeFunction | None = None,
        denoise: PictureFilter | None = None,
        record: RecordFunction | None = None,
        records: str | os.PathLike[str] | Journal | None = None,
        on_block: OnBlock = "raise",
        principal: str | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        check_argument(principal, (str, type(None)), "principal", "a name or None")
        check_argument(ledger, (Ledger, type(None)), "ledger", "a Ledger or None")
        decider = Decider(
            read_policy(policy),
            upstream,
            upstreams=upstreams,
            oracle=oracle,
            denoise=denoise,
            key=key,
            records=Records(record, records),
            ledger=ledger,
        )
        self._runtime = Runtime(decider, on_block, principal=principal)

    def __repr__(self) -> str:
        return one_line("Guard", self.to_dict())

    def _repr_html_(self) -> str:
        return html_table("Guard", self.to_dict())

    def to_dict(self) -> dict[str, str | None]:
        """What decides: the policy, the model (None where requests bring theirs) and the oracle."""
        return self._runtime.decider.describe()

    @property
    def policy(self) -> Policy:
        """The policy that it decides by."""
        return self._runtime.decider.policy

    # Decisions

    async def decide(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        principal: str | None = None,
    ) -> Result:
        """The decision on one chat completion request, a block and a failed model included.

        Args:
            request: the body that OpenAI's API takes; pictures as data URLs.
            upstream: answers this request, in place of the guard's own.
            principal: whose try it is, in place of the guard's own.

        Raises:
            RequestError: the request cannot be read, too many wait, or no further try of this
                principal can be counted.
            ConfigError: there is no model, the guard is closed, or the decision was not kept.
        """
        return await self._runtime.decide(request, CHAT_ENDPOINT, upstream, principal=principal)

    def decide_sync(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        principal: str | None = None,
    ) -> Result:
        """`decide` for callers without an event loop; waits."""
        return self._runtime.decide_sync(request, CHAT_ENDPOINT, upstream, principal=principal)

    async def complete(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        on_block: OnBlock | None = None,
        principal: str | None = None,
    ) -> dict[str, Json]:
        """The chat completion, with the `guardrail` object beside it; arguments as for `decide`.

        Raises:
            ContentBlocked: the answer is withheld, and `on_block` says `raise`, or the policy's
                block style is `error`.
            UpstreamError: the model did not answer.
            OracleError: its answers could not be judged.
            GuardrailError: see `decide`.
        """
        result = await self.decide(request, upstream=upstream, principal=principal)
        return result.body(on_block or self._runtime.on_block)

    def complete_sync(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        on_block: OnBlock | None = None,
        principal: str | None = None,
    ) -> dict[str, Json]:
        """`complete` for callers without an event loop; waits."""
        result = self.decide_sync(request, upstream=upstream, principal=principal)
        return result.body(on_block or self._runtime.on_block)

    async def stream(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        on_block: OnBlock | None = None,
        principal: str | None = None,
    ) -> AsyncIterator[dict[str, Json]]:
        """`complete` as chunks, none of which comes before the verdict on the whole answer."""
        result = await self.decide(
            {**request, "stream": True}, upstream=upstream, principal=principal
        )
        completion = result.body(on_block or self._runtime.on_block)
        for chunk in chunks(completion, result.incoming.include_usage):
            yield chunk

    def stream_sync(
        self,
        request: Mapping[str, Json],
        *,
        upstream: Model | None = None,
        on_block: OnBlock | None = None,
        principal: str | None = None,
    ) -> Iterator[dict[str, Json]]:
        """`stream` for callers without an event loop; waits."""
        result = self.decide_sync(
            {**request, "stream": True}, upstream=upstream, principal=principal
        )
        completion = result.body(on_block or self._runtime.on_block)
        yield from chunks(completion, result.incoming.include_usage)

    async def respond(
        self,
        request: Mapping[str, Json] | bytes,
        *,
        upstream: Model | None = None,
        principal: str | None = None,
        heartbeats: Heartbeats | None = None,
    ) -> HttpAnswer:
        """What the proxy would send, as bytes; for web frameworks. Blocks and faults included.

        Args:
            request: as for `decide`, or the body as it came.
            upstream: likewise.
            principal: likewise.
            heartbeats: gives what a stream sends until this returns.
        """
        on_read = None
        if heartbeats is not None:
            on_read = functools.partial(heartbeats.begin, self.policy, CHAT_ENDPOINT)
        try:
            result = await self._runtime.decide(
                request, CHAT_ENDPOINT, upstream, principal=principal, on_read=on_read
            )
        except GuardrailError as error:
            return answer_to_error(error)
        opening = None if heartbeats is None else heartbeats.opening
        return answer_of(result, CHAT_ENDPOINT, opening)

    # Many pictures

    def moderate(
        self,
        items: Iterable[ModerationItem] | AsyncIterable[ModerationItem],
        *,
        prompt: str = "What is shown in this picture?",
        model: str = "",
        jobs: int = 8,
        keep_answers: bool = False,
        principal: str | None = None,
    ) -> AsyncIterator[RowOutcome]:
        """What becomes of each picture of a stream, as it is decided and not in its order.

        No more than `jobs` pictures are held at a time. A picture that cannot be read and a model
        that fails are outcomes of their own (`not decided`), neither passes nor blocks.

        Args:
            items: pictures (files, URLs of buckets, bytes), pairs of a picture and a question, or
                mappings with `image` and perhaps `prompt` and `id`. An iterable that is not async
                is read in a thread.
            prompt: the question where an item brings none; `{FIELD}` in it stands for a field of
                the mapping.
            model: as the upstream is asked for it; empty for the first that it lists.
            jobs: pictures that are decided at a time.
            keep_answers: whether outcomes hold the answers that pass.
            principal: as for `decide`.

        Raises:
            ConfigError: there is no model, or the guard is closed.
        """
        from guardrail.middleware.moderation import ModerationOptions, moderate_items

        options = ModerationOptions(prompt, model, jobs, keep_answers, principal)
        return moderate_items(self._runtime, items, options)

    def moderate_sync(
        self,
        items: Iterable[ModerationItem],
        *,
        prompt: str = "What is shown in this picture?",
        model: str = "",
        jobs: int = 8,
        keep_answers: bool = False,
        principal: str | None = None,
    ) -> Iterator[RowOutcome]:
        """`moderate` for callers without an event loop; waits for each outcome."""
        from guardrail.middleware.moderation import ModerationOptions, moderate_items_sync

        options = ModerationOptions(prompt, model, jobs, keep_answers, principal)
        return moderate_items_sync(self._runtime, items, options)

    # Clients

    @overload
    def wrap(self, client: AzureOpenAI, *, principal: str | None = None) -> GuardedAzureOpenAI: ...
    @overload
    def wrap(
        self, client: AsyncAzureOpenAI, *, principal: str | None = None
    ) -> AsyncGuardedAzureOpenAI: ...
    @overload
    def wrap(self, client: OpenAI, *, principal: str | None = None) -> GuardedOpenAI: ...
    @overload
    def wrap(self, client: AsyncOpenAI, *, principal: str | None = None) -> AsyncGuardedOpenAI: ...
    @overload
    def wrap(self, client: _ClientT, *, principal: str | None = None) -> _ClientT: ...
    def wrap(self, client: Any, *, principal: str | None = None) -> Any:
        """The same client with guarded answers; every variant goes through the original one.

        Takes `openai.OpenAI`, `openai.AsyncOpenAI` and their Azure variants, whose chat completions
        and responses are guarded, and `litellm.completion` and `litellm.acompletion`.

        Args:
            client: sends the calls.
            principal: whose tries its requests are, in place of the guard's own.

        Raises:
            ConfigError: this is none of them.
        """
        return wrap(self._runtime, client, principal)

    # Closing

    async def aclose(self) -> None:
        """Closes the guard's own upstream, oracle and file of records; what still runs ends."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """`aclose` for callers without an event loop."""
        self._runtime.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
