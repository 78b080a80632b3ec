"""Reads, decides and records the requests of a guard in this process."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from guardrail.api.admission import too_large
from guardrail.api.caller import ANYBODY
from guardrail.api.chat.reply import block_words
from guardrail.api.endpoint import decide_incoming, word_reply
from guardrail.api.recording import as_recording, decide_and_keep
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.api.strict_json import encode_json, parse_object
from guardrail.assembly import build_engine, read_model, read_upstreams
from guardrail.errors import ConfigError, RequestError
from guardrail.middleware.result import Result
from guardrail.policy.compile import variant_options
from guardrail.records.origin import Origin
from guardrail.upstreams.function import Call, FunctionUpstream

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.api.pictures.loader import ImageLoader
    from guardrail.assembly import KeySource, Model
    from guardrail.engine.engine import Engine
    from guardrail.images.filters import PictureFilter
    from guardrail.memory.ledger import Ledger
    from guardrail.middleware.loop_thread import Closing
    from guardrail.middleware.records import Records
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy
    from guardrail.types import Json
    from guardrail.upstreams.base import Upstream

__all__ = ["Decider"]


class Decider:
    """Decides requests, all of them on one event loop, by the parts that the proxy uses.

    Args:
        policy: as for the proxy.
        model: answers where a request brings no model of its own; a spec as for `--upstream`.
        upstreams: a file of upstreams in place of `model`.
        oracle: in place of the policy's.
        denoise: the filter between noise and model, where the policy asks for one of the user's.
        key: what the noise is derived from.
        records: where decisions are kept.
        ledger: counts the tries of principals; None makes one.

    Raises:
        ConfigError: an argument cannot be used.
    """

    def __init__(
        self,
        policy: Policy,
        model: str | Model | None,
        *,
        upstreams: str | os.PathLike[str] | None = None,
        oracle: object = None,
        denoise: PictureFilter | None = None,
        key: KeySource = None,
        records: Records,
        ledger: Ledger | None = None,
    ) -> None:
        if model is not None and upstreams is not None:
            raise ConfigError("give upstream or upstreams, not both", field="upstreams")
        self.policy = policy
        self._records = records
        self._has_model = model is not None or upstreams is not None
        self._owns_model = upstreams is not None or isinstance(model, str)
        self._owns_oracle = oracle is None
        chosen: Any = model if self._has_model else _refuse_call
        if self._owns_model:
            chosen = read_upstreams((model,) if isinstance(model, str) else (), upstreams)
        engine = build_engine(
            policy,
            chosen,
            key,
            oracle=oracle,
            denoise=denoise,
            is_placeholder=not self._has_model,
        )
        # One model in this process answers to any name: no caller could ask for the list.
        settings = ServerSettings()
        alone = policy.model_copy(update={"overrides": "off"})  # the list is a server's
        self._service = Service(alone, engine, settings, records.of(engine), ledger=ledger)

    @property
    def image_loader(self) -> ImageLoader:
        """Decodes the pictures of all requests, by the policy's limits."""
        return self._service.image_loader

    @property
    def engine(self) -> Engine:
        """What decides the requests that bring no model of their own."""
        return self._service.engine

    async def first_model(self) -> str:
        """The name of the first model of the guard's own; its upstream's where it lists none."""
        if not self._has_model:
            raise _no_model_error()
        upstream = self.engine.upstream
        return next(iter(await upstream.models()), upstream.name)

    def function(self, call: Call, **options: Any) -> FunctionUpstream:
        """A function as a model, pictures encoded as the policy says; see `FunctionUpstream`."""
        return FunctionUpstream(call, **options, **variant_options(self.policy))

    async def decide(
        self,
        request: Mapping[str, Json] | bytes,
        endpoint: Endpoint,
        model: Model | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        scope: str | None = None,
        principal: str | None = None,
        on_read: Callable[[Incoming], None] | None = None,
    ) -> Result:
        """Reads, decides, records and words one request, as the proxy does.

        Args:
            request: the body, parsed or not.
            endpoint: what kind of body it is.
            model: answers this request; None for the decider's own.
            loop: where the model's async function is called; None for the present one.
            scope: tells `model` apart from others of its name and revision; None where nothing
                does, so that its verdicts are neither remembered nor shared.
            principal: the end user whose try it is; None where nobody is named.
            on_read: told the request once it is read, before anything is decided.

        Raises:
            RequestError: the request cannot be read, or too many wait.
            ConfigError: there is no model.
            StorageError: the decision was not kept.
        """
        ticket = await self._service.admission.enter(ANYBODY)
        try:
            incoming = await asyncio.to_thread(self._read, request, endpoint, principal)
            if on_read is not None:
                on_read(incoming)
            engine = self._engine(model, loop)
            verdict, record_id = await decide_and_keep(
                as_recording(self._records.of(engine)),
                lambda: decide_incoming(
                    self._service,
                    engine,
                    incoming,
                    end_user=principal,
                    scope="" if model is None else scope,
                    loop=loop,
                    waits=True,  # functions of the caller may not be called once it has its answer
                ),
                incoming.chat,
                Origin(principal=principal or ""),
                incoming.sent,
            )
            reply = word_reply(
                self._service, endpoint, verdict, incoming, record_id, owner=principal
            )
            words = block_words(verdict, self.policy, record_id)
            return Result(verdict, record_id, incoming, reply, words)
        finally:
            ticket.release()

    def own_parts(self) -> Closing:
        """What closes the connections that this made itself, and refers to nothing else."""
        engine = self._service.engine
        parts: list[Upstream | Oracle] = [
            *([engine.upstream] if self._owns_model else []),
            *([engine.oracle] if self._owns_oracle else []),
        ]
        return functools.partial(_close_parts, parts)

    def describe(self) -> dict[str, str | None]:
        """Policy, model and oracle; no model where each request brings its own."""
        engine = self._service.engine
        return {
            "policy": self.policy.name,
            "upstream": engine.upstream.name if self._has_model else None,
            "oracle": engine.oracle.revision,
        }

    async def aclose(self) -> None:
        """Ends what is under way, and closes models, oracle and records, whatever fails."""
        try:
            await self._service.aclose()
        finally:
            await asyncio.to_thread(self._records.close)

    def _engine(self, model: Model | None, loop: asyncio.AbstractEventLoop | None) -> Engine:
        """The engine that decides one request, by the guard's own model or the request's."""
        engine = self._service.engine
        if model is not None:
            upstream = read_model(model, self.policy)
        elif self._has_model:
            upstream = engine.upstream
        else:
            raise _no_model_error()
        if isinstance(upstream, FunctionUpstream):
            upstream = upstream.on_loop(loop)
        if upstream is engine.upstream:
            return engine
        return engine.with_upstream(upstream)

    def _read(
        self, request: Mapping[str, Json] | bytes, endpoint: Endpoint, principal: str | None
    ) -> Incoming:
        limits = self.policy.advanced.limits
        raw = request if isinstance(request, bytes) else _encode(request)
        if len(raw) > limits.max_body_bytes:
            raise too_large(limits.max_body_bytes)
        return endpoint.read(
            parse_object(raw, self._service.request_rules.json),
            max_images=limits.max_images,
            limits=self._service.image_loader.limits,
            rules=self._service.request_rules,
            recall=self._service.items.recall_for(principal),
        )


async def _close_parts(parts: Sequence[Upstream | Oracle]) -> None:
    await asyncio.gather(*(part.aclose() for part in parts), return_exceptions=True)


def _no_model_error() -> ConfigError:
    return ConfigError(
        "this guard has no model of its own; give upstream=, or wrap a client", field="upstream"
    )


def _refuse_call(_body: Json) -> Json:
    raise ConfigError("there is no model")


def _encode(request: Mapping[str, Json]) -> bytes:
    """As JSON and back, so that what is judged is what a server would have received."""
    try:
        return encode_json(dict(request))
    except (TypeError, ValueError, RecursionError):
        raise RequestError(
            "the request holds a value that JSON cannot express; give numbers, texts, lists and "
            "dicts",
            code="invalid_json",
        ) from None
