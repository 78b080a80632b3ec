"""Decides equal requests once: shares decisions under way, and remembers verdicts.

1. Where an equal request is under way, its verdict serves this one too.
2. Where the verdict on an equal one is remembered and may serve this try, nothing is drawn.
3. Else `decide_spending`: the try takes its number, the engine draws, a pass gives it back.
4. A verdict that answers decided is remembered; one by a fault or a limit is not.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
from typing import TYPE_CHECKING

from guardrail.engine.canonical_chat import canonical_chat_offloaded, request_digest
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action
from guardrail.errors import RequestError
from guardrail.memory.remembered_verdict import RememberedVerdict, as_delivered_again
from guardrail.memory.rules import OnRepeat
from guardrail.memory.spending import decide_spending
from guardrail.memory.store import LocalVerdictStore
from guardrail.shared_tasks import SharedTasks
from guardrail.stats import spent_alpha
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from contextlib import AsyncExitStack
    from typing import Any

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.images.codec import Picture
    from guardrail.memory.allowance import Allowance
    from guardrail.memory.rules import MemoryRules
    from guardrail.memory.spending import Principal
    from guardrail.memory.store import VerdictStore
    from guardrail.types import Chat

__all__ = ["DecisionMemory"]

_LABEL = "guardrail/remembered/1"


class DecisionMemory:
    """Decides requests that a test decides once each, however often and by how many they are asked.

    A verdict is known by the canonical request (its model included), the policy, the revisions of
    upstream and oracle and the noise key; if any of them is new, the request is decided anew. What
    is remembered draws nothing and holds no try: a pass that is delivered again is still the one
    decision that drew it. A block serves only tries that are allowed no more alpha than the one
    that drew it. Faults and limits are not judgements and are not remembered, but those who waited
    for the same decision share them.

    Requests without pictures carry no certificate, unless the policy covers suffixes: each is one
    answer, judged once, and clients that ask again want another one. They are neither remembered
    nor shared. Nor is anything in `observe` mode, which must not change what clients get.

    Args:
        rules: what becomes of a request that was decided before.
        store: where verdicts are; a `LocalVerdictStore` where none is given.
    """

    store: VerdictStore

    def __init__(self, rules: MemoryRules, *, store: VerdictStore | None = None) -> None:
        self._rules = rules
        self.store = LocalVerdictStore(rules) if store is None else store
        self._tasks = SharedTasks["Verdict"]()

    async def decide(
        self,
        engine: Engine,
        chat: Chat,
        pictures: Sequence[Picture] = (),
        *,
        principal: Principal | None = None,
        allowance: Allowance | None = None,
        scope: str | None = "",
        loop: asyncio.AbstractEventLoop | None = None,
        deadline: float | None = None,
        held: AsyncExitStack | None = None,
        digest: bytes | None = None,
    ) -> Verdict:
        """The verdict on one request.

        If the caller is cancelled while others wait for the same decision, that goes on for them;
        else it is cancelled, and has ended when this returns. The caller must keep no reference to
        `pictures`: a request that waits for another one's decision releases its own.

        Args:
            engine: rules, model, oracle and key.
            chat: the request, its pictures replaced by placeholders.
            pictures: decoded, in the order of their placeholders.
            principal: whose try it is, see `decide_spending`. Principals never share a decision
                under way, since each has an alpha of its own.
            allowance: what the caller may still spend; nothing that is remembered or shared is
                taken from it.
            scope: tells apart tenants, and models that have name and revision in common; None where
                nothing does, so that the request is neither remembered nor shared.
            loop: where the model's function runs, if it must be a certain loop; requests of other
                loops are not shared, as theirs may end first.
            deadline: see `Engine.decide`.
            held: what the pictures need as long as they are used; it passes to the decision, or is
                closed where the request waits for another one's.
            digest: `request_digest` of chat and pictures, where it is known already.

        Raises:
            RequestError: see `decide_spending`.
            UpstreamError: the guard is shutting down.
        """
        tests = engine.rules.tests(chat.pictures)
        if scope is None or not tests or engine.rules.mode is Mode.OBSERVE:
            return await decide_spending(
                engine,
                chat,
                pictures,
                principal=principal,
                allowance=allowance,
                deadline=deadline,
                digest=digest,
            )
        started, leads = time.monotonic(), False
        asked = await canonical_chat_offloaded(chat)
        if digest is None:
            digest = await asyncio.to_thread(request_digest, asked, pictures)
        named, key = digest, _key(engine, asked.model, digest, scope)

        def begin(kept: AsyncExitStack) -> Coroutine[Any, Any, Verdict]:
            nonlocal leads
            leads = True
            if held is not None:
                kept.push_async_exit(held.pop_all())
            return self._look_up_or_draw(
                engine,
                asked,
                pictures,
                principal=principal,
                allowance=allowance,
                deadline=deadline,
                digest=named,
                key=key,
            )

        name = None if principal is None else principal.name
        async with self._tasks.join((key, name, loop), begin) as shared:
            pictures = ()
            if held is not None:
                await held.aclose()
            verdict = await shared.result()
        if leads and not verdict.remembered:
            return verdict
        elapsed_s = time.monotonic() - started
        untested = verdict.action is Action.BLOCK and verdict.certificate is None
        return dataclasses.replace(
            as_delivered_again(verdict),
            request_digest=named.hex() if untested else "",  # it is not remembered
            elapsed_s=elapsed_s,
            overhead_s=elapsed_s if leads else min(verdict.overhead_s, elapsed_s),
        )

    async def aclose(self) -> None:
        """Ends what is under way. What is remembered stays in its store."""
        await self._tasks.aclose()

    async def _look_up_or_draw(
        self,
        engine: Engine,
        chat: Chat,
        pictures: Sequence[Picture],
        *,
        principal: Principal | None,
        allowance: Allowance | None,
        deadline: float | None,
        digest: bytes,
        key: bytes,
    ) -> Verdict:
        known = await self._look_up(key)
        if known is not None and await _may_serve(known, engine, principal):
            return known.verdict
        verdict = await decide_spending(
            engine,
            chat,
            pictures,
            principal=principal,
            allowance=allowance,
            deadline=deadline,
            digest=digest,
        )
        await self._remember(key, verdict)
        return verdict

    async def _look_up(self, key: bytes) -> RememberedVerdict | None:
        data = await self.store.get(key)
        known = None if data is None else RememberedVerdict.decode(data)
        return known if known is not None and self._replays(known) else None

    async def _remember(self, key: bytes, verdict: Verdict) -> None:
        known = RememberedVerdict.from_verdict(verdict)
        if known is None or not self._replays(known):
            return
        data = known.encode()
        if data is not None:
            await self.store.put(key, data)

    def _replays(self, known: RememberedVerdict) -> bool:
        passed = known.verdict.action is Action.PASS
        on_repeat = self._rules.on_pass if passed else self._rules.on_block
        return on_repeat is OnRepeat.REPLAY


async def _may_serve(known: RememberedVerdict, engine: Engine, principal: Principal | None) -> bool:
    """Whether a remembered verdict may serve this try; a pass always may.

    A block was found at its decision's alpha; a test at a larger one might have passed.
    """
    if known.verdict.action is Action.PASS:
        return True
    if principal is None:
        return engine.rules.alpha <= known.alpha
    try:
        number = await principal.ledger.next_number(principal.name)
    except RequestError:
        return True  # no try is left, hence none at a larger alpha
    return spent_alpha(engine.rules.alpha, number) <= known.alpha


def _key(engine: Engine, model: str, digest: bytes, scope: str) -> bytes:
    """All that a verdict depends on beside chance; 32 bytes that hold nothing of the request."""
    words = [
        _LABEL,
        __version__,
        digest.hex(),
        engine.rules.digest,
        *engine.describe_preprocessing(model),
        engine.upstream.name,
        engine.upstream.revision,
        engine.oracle.revision,
        engine.key.key_id,
        # Else a pass would be remembered of a picture that has been listed since.
        "" if engine.known_pictures is None else engine.known_pictures.digest,
        scope,
    ]
    return hashlib.sha256(json.dumps(words).encode()).digest()
