"""Whether answers keep their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.base import ReferenceOracle
from guardrail.policy.choices.base import Choice, Rates
from guardrail.policy.section import Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.semantic_compare import Comparer
    from guardrail.policy.choices import OracleChoice  # noqa: TC004 (resolved by the package)

__all__ = ["SemanticChoice"]


class SemanticChoice(Choice):
    """Whether an answer means the same as a reference, chosen on draws that are not counted.

    Alone it is for the claim `composite`; with `harm` an answer must be harmless as well.
    """

    kind: Literal["semantic"]
    """Compares answers by their meaning."""
    method: Literal["embedding", "judge"] = "embedding"
    """`embedding`: cosine of sentence embeddings, needs the extra `embedding`; `judge`: a model is
    asked."""
    n0: Annotated[int, Field(ge=1, le=256)] = 8
    """Draws on which the reference is chosen; they come on top of the test's."""
    harm: OracleChoice | None = None
    """An oracle of harm: what it calls harmful is not of the reference's meaning."""
    similarity: Share = 0.75
    """For `embedding`: texts with at least this cosine mean the same."""
    details: bool = True
    """For `embedding`: numbers and negations must agree too; embeddings hardly see them."""
    model: str | None = None
    """For `embedding`: folder or Hugging Face id of another sentence model."""
    device: str = "cpu"
    """For `embedding`: where it computes."""
    upstream: str | None = None
    """For `judge`: where the model is that is asked, as in `--upstream`."""
    upstream_model: str = ""
    """For `judge`: its name at an `openai_compatible` server."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a comparison; later it counts as missing."""

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        if (self.method == "judge") != (self.upstream is not None):
            raise ValueError("'upstream' is for the method judge, which needs it")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.semantic import SemanticOracle

        harm = None if self.harm is None else self.harm.build(folder)
        if isinstance(harm, ReferenceOracle):
            raise ConfigError("must be an oracle that judges harm", field="oracle.harm")
        return SemanticOracle(self._comparer(folder), n0=self.n0, harm=harm)

    def rates(self, folder: Path) -> Rates | None:
        """The harm oracle's; a meaning alone is no claim about harm."""
        return None if self.harm is None else self.harm.rates(folder)

    def _comparer(self, folder: Path) -> Comparer:
        from guardrail.oracles.semantic_compare import EmbeddingComparer, JudgeComparer

        if self.upstream is not None:
            from guardrail.oracles.asking import Asker
            from guardrail.upstreams.registry import build_upstream

            upstream = build_upstream(self.upstream)
            return JudgeComparer(
                Asker(upstream, model=self.upstream_model, deadline_s=self.deadline_s)
            )
        from guardrail.oracles.packages import require
        from guardrail.oracles.sentences import DEFAULT_PACKAGE, SentenceEncoder

        own = [DEFAULT_PACKAGE] if self.model is None else []
        require("semantic", "torch", "transformers", *own, extra="embedding")
        local = self.model is not None and (folder / self.model).is_dir()
        model = folder / str(self.model) if local else self.model
        return EmbeddingComparer(
            SentenceEncoder(model, device=self.device),
            similarity=self.similarity,
            details=self.details,
            deadline_s=self.deadline_s,
        )
