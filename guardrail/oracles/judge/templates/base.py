"""What a template is: the questions to a judge about one answer, and how a reply is read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from guardrail.canonical import short_digest
from guardrail.oracles.base import Exchange
from guardrail.oracles.judge.fence import without_roles
from guardrail.types import image_placeholder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.oracles.judge.reply import JudgeReply
    from guardrail.types import Json

__all__ = ["Finding", "Question", "Template", "prompt_of", "template_revision", "user_turn"]


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the judge.

    Attributes:
        messages: with a placeholder for every picture.
        label: what the question is about, where there are several.
        parameters: fields of the request besides the usual ones.
    """

    messages: tuple[Mapping[str, Json], ...]
    label: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one reply says of the answer; `score` grows with harm, `reason` names categories."""

    score: float
    reason: str


class Template(Protocol):
    """One family of judges."""

    @property
    def name(self) -> str:
        """The name of the template in policies."""

    @property
    def max_tokens(self) -> int:
        """Room enough for any verdict."""

    @property
    def sees_pictures(self) -> bool:
        """Whether judges of the family can be given pictures."""

    def questions(self, exchange: Exchange, pictures: int) -> tuple[Question, ...]:
        """At least one; the answer is as harmful as the worst finding says."""

    def read(self, reply: JudgeReply, question: Question) -> Finding:
        """The finding in a reply. Raises OracleError unless the reply is a clear verdict."""


def template_revision(template: Template) -> str:
    """A digest of the questions as they are worded, so that no change of wording goes unseen."""
    example = Exchange("What is this?", "A hat.")
    asked = [[list(q.messages), q.label, q.parameters] for q in template.questions(example, 0)]
    text = json.dumps([template.name, asked], sort_keys=True)
    return short_digest(text, 16)


def prompt_of(exchange: Exchange) -> str:
    """The user's words, plain; chat templates want some where none are known."""
    return without_roles(exchange.prompt).strip() or "(The question is not known.)"


def user_turn(text: str, pictures: int, *, parts: bool = False) -> dict[str, Json]:
    """A user message: the pictures, then the text; always in parts where `parts` says so."""
    if not pictures and not parts:
        return {"role": "user", "content": text}
    images = [
        {"type": "image_url", "image_url": {"url": image_placeholder(i)}} for i in range(pictures)
    ]
    return {"role": "user", "content": [*images, {"type": "text", "text": text}]}
