"""What each kind of request brings of its own, and the decision that is common to all."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol

from guardrail.api.caller import ANYBODY
from guardrail.api.overrides import answer_by_override
from guardrail.engine.budget import has_price
from guardrail.engine.canonical_chat import canonical_chat_offloaded, request_digest
from guardrail.engine.rules import Mode
from guardrail.errors import RequestError, UpstreamError
from guardrail.records.origin import UNKNOWN_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence

    from guardrail.api.caller import Caller
    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.api.items import Recall
    from guardrail.api.opening import Opening
    from guardrail.api.request_rules import RequestRules
    from guardrail.api.service import Service
    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.images.codec import ImageLimits, Picture
    from guardrail.policy.schema import Policy
    from guardrail.records.origin import Origin
    from guardrail.types import Chat, Json

__all__ = [
    "Endpoint",
    "check_listed",
    "check_model",
    "decide_incoming",
    "word_reply",
]


_MOST_NAMED = 8
_P = ParamSpec("_P")


class _Read(Protocol):
    def __call__(
        self,
        body: Mapping[str, Json],
        /,
        *,
        max_images: int,
        limits: ImageLimits,
        rules: RequestRules,
        recall: Recall = ...,
    ) -> Incoming: ...


class _Events(Protocol):
    def __call__(
        self, reply: Reply, incoming: Incoming, opening: Opening | None = ..., /
    ) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is particular to a route.

    Attributes:
        read: a request's body to a chat; `recall` finds items that it names. Raises RequestError.
        reply: the whole answer to a verdict, the same for plain and streamed requests; its last
            argument is the name of the decision's record, None where none is kept.
        events: that answer, or an error, as the events of a stream, or as the rest of one that
            has begun.
        wait: the next event of a stream that waits for its verdict; None where it has none.
        asks_verdict: whether clients ask for the verdict, and not for an answer.
    """

    read: _Read
    reply: Callable[[Verdict, Incoming, Policy, str | None], Reply]
    events: _Events
    wait: Callable[[Incoming, Opening], bytes] | None = None
    asks_verdict: bool = False


def word_reply(
    service: Service,
    endpoint: Endpoint,
    verdict: Verdict,
    incoming: Incoming,
    record_id: str | None,
    *,
    owner: str | None = None,
) -> Reply:
    """The whole answer; what later requests of this owner may name of it is kept."""
    reply = endpoint.reply(verdict, incoming, service.policy, record_id)
    if incoming.keeps_items and not reply.is_error:
        service.items.keep(reply.body["output"], owner)
    return _add_left_out(reply, incoming.chat)


def _add_left_out(reply: Reply, chat: Chat) -> Reply:
    """The reply, which says what of the request was left out, where it has a `guardrail` object."""
    left_out = chat.left_out
    if "guardrail" not in reply.body or not (left_out.fields or left_out.pictures):
        return reply
    about = {"fields": list(left_out.fields), "pictures": left_out.pictures}
    return replace(
        reply,
        body={**reply.body, "guardrail": {**reply.body["guardrail"], "left_out": about}},
        headers={**reply.headers, "x-guardrail-pictures-left-out": str(left_out.pictures)},
    )


async def check_model(service: Service, model: str) -> None:
    """Raises RequestError where there is no such model, as far as that must be known beforehand.

    It must where only listed models are known, and where the cost is limited and this one has no
    price: one that nobody has is the client's mistake, and one that is there the operator's.
    """
    engine = service.engine
    if service.settings.known_models_only:
        await check_listed(service, model)
    elif not has_price(engine.rules, engine.upstream, model):
        with contextlib.suppress(UpstreamError):  # one that lists nothing, or is down
            await check_listed(service, model)


async def check_listed(service: Service, model: str) -> None:
    """Raises RequestError where the upstream does not list this model."""
    models = await service.models.get()
    if model not in models:
        named = ", ".join(f"'{name}'" for name in models[:_MOST_NAMED])
        more = ", and others, which GET /v1/models lists" if len(models) > _MOST_NAMED else ""
        raise RequestError(
            f"model: there is no such model here; ask for {named or 'none: it lists none'}{more}",
            status=404,
            param="model",
            code="model_not_found",
        )


def _may_be_cut(
    decide: Callable[Concatenate[Service, _P], Coroutine[Any, Any, Verdict]],
) -> Callable[Concatenate[Service, _P], Coroutine[Any, Any, Verdict]]:
    """The same, but where the server's end comes before: that is a fault then."""

    @functools.wraps(decide)
    async def with_drain(service: Service, /, *args: _P.args, **options: _P.kwargs) -> Verdict:
        return await service.drain.decide(decide(service, *args, **options))

    return with_drain


@_may_be_cut
async def decide_incoming(
    service: Service,
    engine: Engine,
    incoming: Incoming,
    *,
    caller: Caller = ANYBODY,
    end_user: str | None = None,
    scope: str | None = "",
    loop: asyncio.AbstractEventLoop | None = None,
    waits: bool = False,
    origin: Origin = UNKNOWN_ORIGIN,
    opened: Callable[[], None] = lambda: None,
) -> Verdict:
    """The verdict on one request; getting the pictures takes of the same time.

    Where the policy heeds overrides, an entry about this very request comes before any decision but
    the block of a known picture.

    Args:
        service: what all requests share.
        engine: decides, unless an equal request is or was decided.
        incoming: the request.
        caller: who asks, whose limits hold.
        end_user: whose try it is, as a trusted caller names them.
        scope: see `DecisionMemory.decide`; what belongs to one tenant is told apart here.
        loop: see there.
        waits: whether the verdict is what is asked for, so that it must be there in observe mode.
        origin: where the request came from, for the record of a decision that follows its answer.
        opened: called when the encoded pictures are held no longer.

    Raises:
        RequestError: see `DecisionMemory.decide`; or the pictures cannot be had.
    """
    deadline = asyncio.get_running_loop().time() + engine.rules.deadline_s
    async with AsyncExitStack() as held:
        pictures = await _open_pictures(service, incoming, held, deadline)
        opened()
        if engine.rules.mode is Mode.OBSERVE and not (waits or service.policy.observe.wait):
            return await service.observer.answer(
                engine,
                incoming.chat,
                pictures,
                allowance=service.allowance(caller),
                deadline=deadline,
                held=held,
                origin=origin,
                sent=incoming.sent,
            )
        chat, digest = incoming.chat, None
        if service.policy.overrides == "on" and engine.rules.mode is Mode.ENFORCE:
            assert service.overrides is not None  # see `Service`
            chat = await canonical_chat_offloaded(chat)
            digest = await asyncio.to_thread(request_digest, chat, pictures)
            entry = await service.overrides.find(engine, digest)
            if entry is not None and not await _is_known(engine, pictures):
                allowance = service.allowance(caller)
                return await answer_by_override(
                    engine, entry, chat, pictures, digest, allowance=allowance, deadline=deadline
                )
        return await service.decisions.decide(
            engine,
            chat,
            pictures,
            principal=service.principal(end_user, caller),
            allowance=service.allowance(caller),
            scope=scope if scope is None else service.memory_scope(caller) + scope,
            loop=loop,
            deadline=deadline,
            held=held,
            digest=digest,
        )


async def _is_known(engine: Engine, pictures: Sequence[Picture]) -> bool:
    """Whether a picture is on a list, which the engine blocks whatever people said of a request."""
    known = engine.known_pictures
    return known is not None and await asyncio.to_thread(known.find, pictures) is not None


async def _open_pictures(
    service: Service, incoming: Incoming, held: AsyncExitStack, deadline: float
) -> tuple[Picture, ...]:
    """The pictures, decoded, as long as `held` is. Raises RequestError."""
    if not incoming.sources:
        return ()
    keep = functools.partial(incoming.sent.fill, room=service.picture_room)
    try:
        async with asyncio.timeout_at(deadline):
            return await held.enter_async_context(service.image_loader.open(incoming.sources, keep))
    except TimeoutError:
        raise RequestError(
            "the pictures could not be fetched and decoded before the decision's deadline; "
            "retry later, or raise advanced.limits.deadline_s",
            status=503,
            code="overloaded",
        ) from None
