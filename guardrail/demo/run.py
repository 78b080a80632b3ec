"""Runs the demo: the real proxy on a free loopback port, a real OpenAI client in front of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guardrail.api.deployment import fixed_deployment
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.builtin.language import is_harmful
from guardrail.demo.scenes import PROMPT, DemoScene
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Reason, Verdict
from guardrail.errors import UpstreamError
from guardrail.images.codec import decode_image
from guardrail.oracles.base import Exchange
from guardrail.policy.compile import image_limits
from guardrail.server.app import create_deployed_app
from guardrail.server.serve import running_app
from guardrail.telemetry.telemetry import Telemetry, TelemetrySettings
from guardrail.types import Outcome, picture_chat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.routing import BaseRoute

    from guardrail.api.deployment import Deployment
    from guardrail.engine.engine import Engine
    from guardrail.policy.schema import Policy
    from guardrail.records.origin import Origin
    from guardrail.records.recorder import Recorder
    from guardrail.records.sent_pictures import PictureRoom, SentPictures
    from guardrail.types import Chat

__all__ = ["TOO_SLOW", "GuardTry", "OpenConsole", "SceneResult", "run_demo"]

TOO_SLOW = (
    "this machine is too slow, or busy with other work: let that end, or give a decision more time "
    "by advanced.limits.deadline_s and call_timeout_s of a policy of your own (--policy FILE)"
)
_MAX_TOKENS = 24
_HOPELESS = 3  # so many decisions without a judgement at the very beginning end the demo


@dataclass(frozen=True, slots=True)
class GuardTry:
    """One request through the proxy, as the client saw it.

    `certificate` is None where the decision ended before there could be one, and `was_late` says
    that it ended by time: its own deadline, or a call's.
    """

    passed: bool
    delivered: str
    decision: str
    reason: Reason
    was_late: bool
    samples: int
    harmless: int
    radius: float
    statement: str
    elapsed_ms: float
    certificate: dict[str, Any] | None
    attempt: str
    outcomes: tuple[Outcome, ...]
    chat: Chat

    @property
    def ending(self) -> str:
        """`pass`, `block`, or `none` where there was neither."""
        if self.passed:
            return "pass"
        return "none" if self.is_undecided else "block"

    @property
    def is_undecided(self) -> bool:
        """Whether nothing left and nothing was judged either, which says nothing of the guard."""
        return not self.passed and not self.reason.is_judgement

    @property
    def harmful_delivery(self) -> bool:
        """The truth, read off the built-in model's own vocabulary."""
        return self.passed and is_harmful(self.delivered)


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What three systems made of one picture.

    `undefended` are the model's answers; `judged_harmless` says which of them a single check by
    the oracle would have let through; `guard` are the tries through the proxy.
    """

    scene: DemoScene
    undefended: tuple[str, ...]
    judged_harmless: tuple[bool, ...]
    guard: tuple[GuardTry, ...] = field(default=())

    @property
    def harmful_undefended(self) -> tuple[bool, ...]:
        return tuple(is_harmful(text) for text in self.undefended)

    @property
    def harmful_single_check(self) -> tuple[bool, ...]:
        pairs = zip(self.harmful_undefended, self.judged_harmless, strict=True)
        return tuple(harmful and let_through for harmful, let_through in pairs)

    @property
    def decided(self) -> tuple[GuardTry, ...]:
        """The tries that ended with a judgement."""
        return tuple(one for one in self.guard if not one.is_undecided)

    @property
    def harmful_guarded(self) -> tuple[bool, ...]:
        return tuple(one.harmful_delivery for one in self.guard)


async def run_demo(
    policy: Policy,
    engine: Engine,
    scenes: Sequence[DemoScene],
    *,
    tries: int,
    done: Callable[[], None],
    recorder: Recorder | None = None,
    console: OpenConsole | None = None,
    then: Callable[[list[SceneResult]], Awaitable[None]] | None = None,
) -> list[SceneResult]:
    """Every scene through all three systems; `done` is called after each scene.

    Hostile ones go `tries` times through the guard, others once; the bare model and the single
    check, which cost little, are tried as often with every scene.

    Args:
        policy: decides.
        engine: the same, compiled.
        scenes: what is sent.
        tries: how often a hostile picture is sent.
        done: called after each scene.
        recorder: keeps the decisions; None keeps none.
        console: makes the routes of a console of the running proxy, and is told where it listens;
            None shows none.
        then: waited for before the proxy ends.

    Raises:
        UpstreamError: the bare model or the proxy failed, or the first decisions all ended without
            a judgement, as on a machine that is far too slow.
    """
    from openai import AsyncOpenAI

    keeping = _Keeping(recorder)
    kept = keeping.kept
    results: list[SceneResult] = []
    deployment = fixed_deployment(Service(_wait(policy), engine, ServerSettings(), keeping))
    routes = () if console is None else console.make_routes(deployment)
    # Hostile pictures that are blocked are what the demo shows.
    telemetry = Telemetry(TelemetrySettings(watches_spikes=False))
    app = create_deployed_app(deployment, telemetry=telemetry, beside=routes)
    async with running_app(app) as server:
        if console is not None:
            console.announce(server.url)
        client = AsyncOpenAI(base_url=server.base_url, api_key="none needed", max_retries=0)
        model = engine.upstream.name
        async with client:
            for scene in scenes:
                bare = await _ask_undefended(policy, engine, scene, tries)
                count = tries if scene.kind.is_hostile else 1
                guard = [await _ask_guarded(client, model, scene, i, kept) for i in range(count)]
                results.append(SceneResult(scene, *bare, guard=tuple(guard)))
                _check_hope([one for result in results for one in result.guard])
                done()
        if then is not None:
            await then(results)
    return results


def _wait(policy: Policy) -> Policy:
    """The policy, with verdicts that are waited for, as they are shown here.

    One that does not observe stays what it is, so that the console knows it by its text.
    """
    if policy.mode is not Mode.OBSERVE:
        return policy
    waiting = policy.observe.model_copy(update={"wait": True})
    return policy.model_copy(update={"observe": waiting})


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """How a console comes to the proxy of the demo: its routes, and who is told its address."""

    make_routes: Callable[[Deployment], Sequence[BaseRoute]]
    announce: Callable[[str], None]


class _Keeping:
    """Keeps decisions for the report, and in the records where there are any."""

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self.kept: dict[str, tuple[Verdict, Chat]] = {}

    @property
    def picture_room(self) -> PictureRoom | None:
        return None if self._recorder is None else self._recorder.picture_room

    async def keep(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> str:
        name = f"demo-{len(self.kept)}"
        if self._recorder is not None:
            name = await self._recorder.keep(verdict, chat, origin, sent)
        self.kept[name] = (verdict, chat)
        return name

    def keep_soon(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None = None
    ) -> None:
        if self._recorder is not None:
            self._recorder.keep_soon(verdict, chat, origin, sent)

    async def check(self) -> None:
        if self._recorder is not None:
            await self._recorder.check()


def _check_hope(tries: Sequence[GuardTry]) -> None:
    """Raises UpstreamError where the first decisions all ended without a judgement."""
    if len(tries) >= _HOPELESS and all(one.is_undecided for one in tries):
        reasons = ", ".join(sorted({one.reason.value for one in tries}))
        raise UpstreamError(
            f"the first {len(tries)} decisions all ended without a judgement ({reasons}); "
            + (TOO_SLOW if any(one.was_late for one in tries) else "see that the model answers")
        )


async def _ask_undefended(
    policy: Policy, engine: Engine, scene: DemoScene, tries: int
) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    picture = decode_image(
        scene.png, declared_media_type=None, limits=image_limits(policy), param=scene.name
    )
    chat = picture_chat(engine.upstream.name, PROMPT, {"max_tokens": _MAX_TOKENS})
    answers = await asyncio.gather(
        *(
            engine.upstream.complete(chat, [picture.pixels], seed=_seed(scene, i))
            for i in range(tries)
        )
    )
    texts = tuple(answer.text for answer in answers)
    judgements = await engine.oracle.judge([Exchange(PROMPT, text) for text in texts])
    return texts, tuple(j.outcome is Outcome.HARMLESS for j in judgements)


def _seed(scene: DemoScene, number: int) -> int:
    """Different for every scene and try, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{scene.name} {number}".encode()).digest()[:7], "big")


async def _ask_guarded(
    client: Any, model: str, scene: DemoScene, number: int, kept: dict[str, tuple[Verdict, Chat]]
) -> GuardTry:
    """One request; every try is another user's, and hence another request with other noise.

    Raises:
        UpstreamError: the proxy made no decision.
    """
    from openai import APIError, APIStatusError

    url = "data:image/png;base64," + base64.b64encode(scene.png).decode()
    started = time.monotonic()
    content = [
        {"type": "text", "text": PROMPT},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    passed, delivered = False, ""
    try:
        completion = await client.chat.completions.create(
            model=model,
            max_tokens=_MAX_TOKENS,
            user=f"try {number}",
            messages=[{"role": "user", "content": content}],
        )
    except APIStatusError as error:
        about = error.response.json().get("guardrail")
        if about is None:
            raise _undecided_try(scene, error) from error
    except APIError as error:
        raise _undecided_try(scene, error) from error
    else:
        choice = completion.choices[0]
        passed = choice.finish_reason != "content_filter"
        delivered = choice.message.content or ""
        about = completion.model_extra["guardrail"]
    elapsed_ms = 1000 * (time.monotonic() - started)
    # A client is told no counts of a block; the decision itself has them.
    verdict, chat = kept[about["record_id"]]
    certificate = {} if verdict.certificate is None else encode_certificate(verdict.certificate)
    return GuardTry(
        passed=passed,
        delivered=delivered if passed else "",
        decision=certificate.get("decision", about["decision"]),
        reason=verdict.reason,
        was_late=_was_late(verdict),
        samples=certificate.get("samples", 0),
        harmless=certificate.get("harmless", 0),
        radius=certificate.get("radius", 0.0),
        statement=certificate.get("statement", ""),
        elapsed_ms=elapsed_ms,
        certificate=certificate or None,
        attempt=verdict.attempt,
        outcomes=tuple(sample.outcome for sample in verdict.samples),
        chat=chat,
    )


def _undecided_try(scene: DemoScene, error: Exception) -> UpstreamError:
    return UpstreamError(f"the proxy did not decide on {scene.name}: {error}")


def _was_late(verdict: Verdict) -> bool:
    """Whether time ended the decision: its own, or that of calls that then were missing."""
    failure = verdict.failure
    timed_out = isinstance(failure, UpstreamError) and failure.status == 504
    return verdict.reason is Reason.DEADLINE or timed_out
