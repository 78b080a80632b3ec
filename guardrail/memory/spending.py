"""Decides at the alpha that the principal has left, see `guardrail.stats.spent_alpha`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from guardrail.engine.rules import Mode
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.memory.allowance import reserve_budget
from guardrail.memory.ledger import attempts_spent_error
from guardrail.stats import spent_alpha

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.engine import Engine
    from guardrail.engine.rules import Rules
    from guardrail.images.codec import Picture
    from guardrail.memory.allowance import Allowance
    from guardrail.memory.ledger import Ledger
    from guardrail.types import Chat

__all__ = ["Principal", "decide_spending", "is_pass", "spends_alpha"]


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Whose try a decision is.

    Attributes:
        name: an API key or an authenticated user: what an attacker cannot multiply. Never a field
            of a request that an untrusted client writes.
        ledger: knows the numbers that its tries hold.
    """

    name: str = dataclasses.field(repr=False)
    ledger: Ledger = dataclasses.field(repr=False)


def spends_alpha(rules: Rules, chat: Chat) -> bool:
    """Whether a decision draws under the claim, and so must hold a number.

    Texts without pictures are judged once, outside any claim, unless suffixes are covered. In
    `observe` mode whatever the model says is delivered, so there is nothing that alpha could guard.
    """
    return rules.tests(chat.pictures) and rules.mode is Mode.ENFORCE


def is_pass(verdict: Verdict) -> bool:
    """Whether a decision passed by its test; answers that leave for other reasons did not."""
    return verdict.action is Action.PASS and verdict.reason is Reason.CERTIFIED


async def decide_spending(
    engine: Engine,
    chat: Chat,
    pictures: Sequence[Picture] = (),
    *,
    principal: Principal | None,
    allowance: Allowance | None = None,
    deadline: float | None = None,
    digest: bytes | None = None,
) -> Verdict:
    """`Engine.decide` at the alpha of the principal's next number, which is held before a draw.

    The number is given back if the decision passes, or if no test at that alpha fits the policy's
    `max_samples`: then nothing is drawn, and the verdict is a failure with status 429. Whatever
    else happens keeps it: a block, a limit of time or cost, a fault, a crash, a client that left.

    Args:
        engine: decides.
        chat: the request.
        pictures: decoded.
        principal: whose try it is; None judges it at the policy's alpha, and N tries of a request
            that should not pass then pass with probability up to N · alpha.
        allowance: what the caller may still spend on calls.
        deadline: as for `Engine.decide`.
        digest: likewise.

    Raises:
        RequestError: as `Engine.decide`, the ledger takes no further try (429 or 503), or the
            allowance has too little left (429).
    """
    if principal is None or not spends_alpha(engine.rules, chat):
        async with reserve_budget(engine, pictures, chat.model, None, allowance) as budget:
            return await engine.decide(
                chat, pictures, deadline=deadline, budget=budget, digest=digest
            )
    ledger = principal.ledger
    hold = await ledger.take(principal.name)
    alpha = spent_alpha(engine.rules.alpha, hold.number)
    is_free = True  # nothing is drawn before the calls are reserved
    try:
        async with reserve_budget(engine, pictures, chat.model, alpha, allowance) as budget:
            is_free = False
            verdict = await engine.decide(
                chat, pictures, alpha=alpha, deadline=deadline, budget=budget, digest=digest
            )
        # Only what ended before a draw is not certifiable, see `FailoverEngine.decide`.
        drew_nothing = verdict.reason is Reason.NOT_CERTIFIABLE
        is_free = drew_nothing or is_pass(verdict)
    finally:
        await (ledger.give_back(hold) if is_free else ledger.keep(hold))
    verdict = dataclasses.replace(verdict, spending_number=hold.number)
    if drew_nothing and hold.number > 1:
        return _fail_as_spent(verdict, await ledger.wait_s(principal.name))
    return verdict


def _fail_as_spent(verdict: Verdict, wait_s: float | None) -> Verdict:
    """No block, as nothing was drawn and nothing is known of the request."""
    return dataclasses.replace(
        verdict,
        action=Action.FAULT,
        reason=Reason.ATTEMPTS_SPENT,
        failure=attempts_spent_error(wait_s),
    )
