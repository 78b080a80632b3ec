"""Decisions made anew, with calls, where the recorded draws do not say how a policy decides.

Such a decision is another try: its noise and its answers are new. It is a draw of what the policy
would do, not the counterfactual with the same noise. Only the decisions that the records leave open
are tried again, and those are no sample of all: put among the others they would bias every share
(the tests that ended early keep their lucky or unlucky answers, the open ones get new ones). So the
replay stays as it was, and the fresh tries have a table of their own.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.engine.canonical_chat import request_digest
from guardrail.errors import GuardrailError
from guardrail.records.endings import how_ended
from guardrail.records.replay import name_request
from guardrail.replay.decisions import ENDINGS
from guardrail.replay.endings import Ending, Need, tabulate_endings
from guardrail.replay.rejudging import open_kept
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Verdict
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.records.content import ContentKeys
    from guardrail.replay.policy_replay import PolicyReplay

__all__ = ["DecidedAnew", "FreshTry", "KnownPictures", "decide_anew", "find_undecided"]

_BY_CALLS = (Need.CALLS, Need.NEW_DRAWS, Need.ANSWERS, Need.PICTURES)


@dataclass(frozen=True, slots=True)
class KnownPictures:
    """Pictures that requests may have held, and the key by which records name requests.

    Attributes:
        pictures: decoded; records of one picture are looked for among them.
        keys: noise keys, present and retired.
    """

    pictures: Sequence[Picture]
    keys: Sequence[NoiseKey]

    def find(self, chat: Chat, digest: str) -> Picture | None:
        """The picture with which a chat is the request of this name."""
        for picture in self.pictures:
            name = request_digest(chat, [picture]).hex()
            if any(name_request(name, key) == digest for key in self.keys):
                return picture
        return None


@dataclass(frozen=True, slots=True)
class FreshTry:
    """A request that was decided again.

    Attributes:
        record_id: of the recorded decision.
        before: how that one ended.
        after: how the new one did.
    """

    record_id: str
    before: Ending
    after: Ending


@dataclass(frozen=True, slots=True)
class DecidedAnew:
    """What was decided with calls.

    Attributes:
        tries: the new decisions.
        calls: made for them; may exceed the limit by those of the last decision.
        cost_usd: of those whose cost is known.
        without_prompt: decisions whose prompt is not kept, or cannot be opened.
        without_picture: decisions whose pictures are not at hand, as none are taken from records.
        not_taken: requests that the policy does not take, or that could not be decided.
        left: decisions for which no call was left.
    """

    tries: tuple[FreshTry, ...] = ()
    calls: int = 0
    cost_usd: float = 0.0
    without_prompt: int = 0
    without_picture: int = 0
    not_taken: int = 0
    left: int = 0

    @property
    def table(self) -> dict[str, dict[str, int]]:
        """Counts by how decisions ended before (outer names) and in the new try."""
        counts = Counter((one.before, one.after) for one in self.tries)
        return tabulate_endings(lambda before, after: counts[before, after])

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tries one by one, for JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del plain["tries"]
        return {"decided": len(self.tries), **plain, "table": self.table}


def find_undecided(found: PolicyReplay) -> frozenset[str]:
    """The ids of records that a decision made anew could settle."""
    rows = np.flatnonzero(np.isin(found.need, _BY_CALLS))
    return frozenset(found.decisions.record_ids[row] for row in rows)


async def decide_anew(
    found: PolicyReplay,
    documents: Iterable[Mapping[str, Any]],
    engine: Engine,
    *,
    content_keys: ContentKeys | None,
    most_calls: int | None,
    budget_usd: float | None,
    known: KnownPictures | None = None,
    step: Callable[[], None] = lambda: None,
) -> DecidedAnew:
    """Decides requests again by the new policy's engine, one after the other.

    The replay itself is not changed by it.

    Args:
        found: the replay.
        documents: the records to decide, with their contents.
        engine: of the policy that is asked about.
        content_keys: open sealed contents.
        most_calls: no decision begins once so many calls have been made.
        budget_usd: likewise, of their known cost.
        known: pictures of requests; None where only texts can be asked again.
        step: called after each record.

    Raises:
        ConfigError: a content was sealed with another key.
        CertificationError: a content was changed.
    """
    before = dict(zip(found.decisions.record_ids, found.before.tolist(), strict=True))
    done = DecidedAnew()
    for document in documents:
        step()
        chat = _read_chat(document, content_keys)
        if chat is None:
            done = dataclasses.replace(done, without_prompt=done.without_prompt + 1)
            continue
        pictures = _find_pictures(chat, document, known)
        if pictures is None:
            done = dataclasses.replace(done, without_picture=done.without_picture + 1)
            continue
        over = most_calls is not None and done.calls >= most_calls
        if over or (budget_usd is not None and done.cost_usd >= budget_usd):
            done = dataclasses.replace(done, left=done.left + 1)
            continue
        verdict = await _decide(engine, chat, pictures)
        if verdict is None:
            done = dataclasses.replace(done, not_taken=done.not_taken + 1)
            continue
        name = document["record_id"]
        fresh = FreshTry(name, Ending(before[name]), _ending(verdict, engine))
        done = dataclasses.replace(
            done,
            tries=(*done.tries, fresh),
            calls=done.calls + verdict.usage.calls,
            cost_usd=done.cost_usd + (verdict.cost_usd or 0.0),
        )
    return done


def _read_chat(document: Mapping[str, Any], content_keys: ContentKeys | None) -> Chat | None:
    content = open_kept(document, content_keys)
    messages, parameters = content.get("messages"), content.get("parameters")
    if not isinstance(messages, list) or not isinstance(parameters, dict):
        return None
    return Chat(document["model"], tuple(messages), parameters, document["pictures"])


def _find_pictures(
    chat: Chat, document: Mapping[str, Any], known: KnownPictures | None
) -> tuple[Picture, ...] | None:
    if chat.pictures == 0:
        return ()
    if known is None or chat.pictures > 1:
        return None
    picture = known.find(chat, document["request_digest"])
    return None if picture is None else (picture,)


async def _decide(engine: Engine, chat: Chat, pictures: Sequence[Picture]) -> Verdict | None:
    try:
        return await engine.decide(chat, pictures)
    except GuardrailError:
        return None


def _ending(verdict: Verdict, engine: Engine) -> Ending:
    facts = {"reason": verdict.reason, "action": verdict.action, "mode": engine.rules.mode,
             "would_block": verdict.would_block}  # fmt: skip
    return ENDINGS[how_ended(facts)]
