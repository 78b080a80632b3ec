"""What a guard is made of, and the way of one request through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.api.admission import too_large
from guardrail.api.endpoint import check_model, decided_with
from guardrail.api.service import Service
from guardrail.api.settings import Settings
from guardrail.api.strict_json import encode_json
from guardrail.engine.guard import Engine
from guardrail.engine.recall import check_recall
from guardrail.errors import ConfigError, RequestError
from guardrail.images.keys import NoiseKey, ephemeral, load_or_create_key
from guardrail.middleware.decided import Decided
from guardrail.policy.compile import compile_policy, variant_options
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.function import Call, FunctionUpstream
from guardrail.upstreams.registry import build_upstream, is_local

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from guardrail.api.chat.request import Incoming
    from guardrail.api.endpoint import Form
    from guardrail.memory.ledger import Ledger
    from guardrail.middleware.records import Records
    from guardrail.oracles.base import Oracle
    from guardrail.types import Json

__all__ = ["Decider", "Model", "key_of", "policy_of"]

Model: TypeAlias = Upstream | Call
"""What answers: an upstream, or a function from a request's body to a chat completion."""


def policy_of(policy: str | os.PathLike[str] | Policy) -> Policy:
    """A policy as it is, by the name of a shipped one, or from a file. Raises ConfigError."""
    return policy if isinstance(policy, Policy) else load_policy(policy)


def key_of(key: str | os.PathLike[str] | NoiseKey | None) -> NoiseKey:
    """A key as it is, from a file, or a fresh one. Raises ConfigError."""
    if isinstance(key, NoiseKey):
        return key
    return ephemeral() if key is None else load_or_create_key(key)


class Decider:
    """Decides requests, all of them on one event loop, by the parts that the proxy uses.

    Args:
        policy: as for the proxy.
        model: answers where a request brings no model of its own; a spec as for `--upstream`.
        oracle: in place of the policy's.
        key: the noise grows from it.
        records: where decisions are kept.
        ledger: counts the tries of principals; None makes one.

    Raises:
        ConfigError: the policy, the spec or the oracle cannot be used.
    """

    def __init__(
        self,
        policy: Policy,
        model: str | Model | None,
        *,
        oracle: Oracle | None,
        key: NoiseKey,
        records: Records,
        ledger: Ledger | None = None,
    ) -> None:
        self.policy = policy
        self._rules = compile_policy(policy)
        self._key = key
        self._records = records
        self._oracle = oracle or compile_oracle(policy)
        self._model = None if model is None else self._built(model)
        if self._model is not None:
            # Of a model that is given later, certificates tell whether it was the measured one.
            check_recall(self._rules.recall, self._model, self._oracle)
        self._service = self._shared(model, ledger)

    def function(self, call: Call, **options: Any) -> FunctionUpstream:
        """A function as a model, pictures encoded as the policy says; see `FunctionUpstream`."""
        return FunctionUpstream(call, **options, **variant_options(self.policy))

    async def decide(
        self,
        request: Mapping[str, Json] | bytes,
        form: Form,
        model: Model | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        scope: str | None = None,
        principal: str | None = None,
    ) -> Decided:
        """Reads, decides, records and words one request, as the proxy does.

        Args:
            request: the body, parsed or not.
            form: what kind of body it is.
            model: answers this request; None for the decider's own.
            loop: where the model's async function is called; None for the present one.
            scope: tells `model` apart from others of its name and revision; None where nothing
                does, so that its verdicts are neither remembered nor shared.
            principal: the end user whose try it is; None where nobody is named.

        Raises:
            RequestError: the request cannot be read, or too many wait.
            ConfigError: nothing answers, or the decision was not kept.
        """
        ticket = await self._service.admission.enter()
        try:
            incoming = await asyncio.to_thread(self._read, request, form)
            upstream = await self._upstream(model, incoming.chat.model)
            if isinstance(upstream, FunctionUpstream):
                upstream = upstream.on_loop(loop)
            engine = Engine(self._rules, upstream, self._oracle, self._key)
            verdict = await decided_with(
                self._service,
                engine,
                incoming,
                end_user=principal,
                scope="" if model is None else scope,
                loop=loop,
            )
            record_id = self._records.of(engine)(verdict, incoming.chat)
            reply = form.reply(verdict, incoming, self.policy, record_id)
            return Decided(verdict, record_id, incoming, reply, self.policy.block.text)
        finally:
            ticket.release()

    async def aclose(self) -> None:
        """Ends what is under way, and closes model, oracle and records, whatever fails."""
        await self._service.decisions.aclose()
        try:
            if self._model is not None:
                await self._model.aclose()
        finally:
            try:
                await self._oracle.aclose()
            finally:
                self._service.desk.close()
                self._records.close()

    def _built(self, model: str | Model) -> Upstream:
        """The upstream that a spec, a function or an upstream stands for. Raises ConfigError."""
        if isinstance(model, str):
            return build_upstream(
                model, **({} if is_local(model) else variant_options(self.policy))
            )
        if isinstance(model, Upstream):
            return model
        return self.function(model, name="function", revision="")

    def _shared(self, model: str | Model | None, ledger: Ledger | None) -> Service:
        """What the proxy's routes share: places, pictures, and the names of a local model."""
        upstream = self._model or self.function(_nobody, name="none", revision="")
        engine = Engine(self._rules, upstream, self._oracle, self._key)
        # A model in this process answers to no names but its own.
        listed_only = isinstance(model, str) and is_local(model)
        settings = Settings(known_models_only=listed_only)
        return Service(self.policy, engine, settings, ledger=ledger)

    async def _upstream(self, model: Model | None, name: str) -> Upstream:
        if model is not None:
            return self._built(model)
        if self._model is None:
            raise ConfigError(
                "this guard has no model of its own; give upstream=, or wrap a client",
                field="upstream",
            )
        await check_model(self._service, name)
        return self._model

    def _read(self, request: Mapping[str, Json] | bytes, form: Form) -> Incoming:
        limits = self.policy.advanced.limits
        raw = request if isinstance(request, bytes) else _encoded(request)
        if len(raw) > limits.max_body_bytes:
            raise too_large(limits.max_body_bytes)
        return form.read(raw, max_images=limits.max_images, limits=self._service.desk.limits)


def _nobody(_body: Json) -> Json:
    raise ConfigError("there is no model")


def _encoded(request: Mapping[str, Json]) -> bytes:
    """As JSON and back, so that what is judged is what a server would have received."""
    try:
        return encode_json(dict(request))
    except (TypeError, ValueError, RecursionError):
        raise RequestError(
            "the request holds a value that JSON cannot express; give numbers, texts, lists and "
            "dicts",
            code="invalid_json",
        ) from None
