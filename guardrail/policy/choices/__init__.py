"""The kinds of oracles that a policy can choose: one file each, fields and bridge together."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Tag

from guardrail.policy.choices.action import ActionChoice
from guardrail.policy.choices.base import Choice, HarmChoice, Rates, ThreadedChoice
from guardrail.policy.choices.builtin import BuiltinChoice
from guardrail.policy.choices.cascade import CascadeChoice
from guardrail.policy.choices.classifier import ClassifierChoice
from guardrail.policy.choices.detoxify import DetoxifyChoice
from guardrail.policy.choices.embedding import EmbeddingChoice
from guardrail.policy.choices.ensemble import EnsembleChoice
from guardrail.policy.choices.judge import JudgeChoice
from guardrail.policy.choices.lexicon import LexiconChoice
from guardrail.policy.choices.moderation import ModerationChoice
from guardrail.policy.choices.semantic import SemanticChoice

__all__ = ["ORACLE_KINDS", "Choice", "HarmChoice", "OracleChoice", "Rates", "ThreadedChoice"]


def _kind(value: Any) -> str:
    """Which of the kinds a section is meant for; `builtin` where it does not say."""
    if isinstance(value, Choice):
        return str(getattr(value, "kind", ""))
    return str(value.get("kind", "builtin")) if isinstance(value, dict) else "builtin"


OracleChoice: TypeAlias = Annotated[
    Annotated[ActionChoice, Tag("action")]
    | Annotated[BuiltinChoice, Tag("builtin")]
    | Annotated[CascadeChoice, Tag("cascade")]
    | Annotated[ClassifierChoice, Tag("classifier")]
    | Annotated[DetoxifyChoice, Tag("detoxify")]
    | Annotated[EmbeddingChoice, Tag("embedding")]
    | Annotated[EnsembleChoice, Tag("ensemble")]
    | Annotated[JudgeChoice, Tag("judge")]
    | Annotated[LexiconChoice, Tag("lexicon")]
    | Annotated[ModerationChoice, Tag("moderation")]
    | Annotated[SemanticChoice, Tag("semantic")],
    Discriminator(_kind),
]
"""Any of them, told apart by `kind`."""

ORACLE_KINDS = (
    "action",
    "builtin",
    "cascade",
    "classifier",
    "detoxify",
    "embedding",
    "ensemble",
    "judge",
    "lexicon",
    "moderation",
    "semantic",
)

# These hold choices themselves, so they are finished once all are known.
for _nesting in (ActionChoice, EnsembleChoice, CascadeChoice, SemanticChoice):
    _nesting.model_rebuild(_types_namespace={"OracleChoice": OracleChoice})
