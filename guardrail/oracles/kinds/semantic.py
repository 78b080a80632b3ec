"""Whether answers keep their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from guardrail.oracles.options import find_model
from guardrail.oracles.reference_options import ReferenceOptions
from guardrail.section import FolderOrId, Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.semantic.compare import Comparer

__all__ = ["SemanticOptions"]


class SemanticOptions(ReferenceOptions):
    """Whether an answer means the same as a reference, chosen on draws that are not counted.

    Alone it is for the claim `verdict`; with `harm` an answer must be harmless as well.
    """

    kind: Literal["semantic"]
    """Compares answers by their meaning."""
    method: Literal["pair", "embedding", "nli", "judge"] = "pair"
    """`pair`: rules and a small model say whether both are one answer to the question (English),
    needs the extra `embedding`; `embedding`: cosine of sentence embeddings, needs it too and does
    not look at the question; `nli`: a model says that each follows from the other, needs the extra
    `local`; `judge`: a model is asked."""
    similarity: Share = 0.8
    """For `embedding`: texts with at least this cosine mean the same."""
    details: bool = True
    """For `embedding`: numbers, negations, colours, directions and other opposites must agree too,
    and the same words must stand in one order (English); embeddings hardly see them."""
    model: FolderOrId | None = None
    """For `embedding`: folder or Hugging Face id of another sentence model; `pair` has its own. For
    `nli`, which needs it: those of a text classifier trained on entailment."""
    entailment: Share = 0.5
    """For `nli`: an answer follows from another one where this is more than this probable."""
    label: Annotated[str, Field(min_length=1)] = "entailment"
    """For `nli`: the model's label for that."""
    device: str = "cpu"
    """For `pair`, `embedding` and `nli`: where it computes."""
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
        if self.method == "nli" and self.model is None:
            raise ValueError("the method nli needs a 'model'")
        if self.method == "pair" and self.model is not None:
            raise ValueError("the method pair has its own model; leave 'model' out")
        return self

    @property
    def reference_kind(self) -> str:
        return "meaning"

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.semantic.oracle import SemanticOracle

        return SemanticOracle(self._comparer(folder), n0=self.n0, harm=self.build_harm(folder))

    def _comparer(self, folder: Path) -> Comparer:
        match self.method:
            case "pair":
                return self._by_pair()
            case "embedding":
                return self._by_embedding(folder)
            case "nli":
                return self._by_entailment(folder)
            case "judge":
                return self._by_judge()

    def _by_judge(self) -> Comparer:
        from guardrail.oracles.judge.asking import Asker
        from guardrail.oracles.semantic.compare import JudgeComparer
        from guardrail.upstreams.registry import build_upstream

        upstream = build_upstream(str(self.upstream))
        asker = Asker(upstream, model=self.upstream_model, deadline_s=self.deadline_s)
        return JudgeComparer(asker)

    def _by_entailment(self, folder: Path) -> Comparer:
        from guardrail.oracles.classifier.classifier import ClassifierScorer
        from guardrail.oracles.packages import require
        from guardrail.oracles.semantic.nli import NliComparer

        require("semantic", "torch", "transformers", "safetensors", extra="local")
        scorer = ClassifierScorer(
            find_model(folder, str(self.model)),
            harmless_label=self.label,
            pair="prompt_and_response",
            device=self.device,
        )
        return NliComparer(scorer, entailment=self.entailment, deadline_s=self.deadline_s)

    def _by_pair(self) -> Comparer:
        from guardrail.oracles.packages import require
        from guardrail.oracles.semantic.pair import PairComparer
        from guardrail.oracles.semantic.pair_head import PairHead
        from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE
        from guardrail.oracles.text.sentences import SentenceEncoder

        require("semantic", "torch", "transformers", DEFAULT_PACKAGE, extra="embedding")
        encoder = SentenceEncoder(device=self.device)
        return PairComparer(encoder, PairHead.load(), deadline_s=self.deadline_s)

    def _by_embedding(self, folder: Path) -> Comparer:
        from guardrail.oracles.packages import require
        from guardrail.oracles.semantic.compare import EmbeddingComparer
        from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE
        from guardrail.oracles.text.sentences import SentenceEncoder

        own = [DEFAULT_PACKAGE] if self.model is None else []
        model = None if self.model is None else find_model(folder, self.model)
        require("semantic", "torch", "transformers", *own, extra="embedding")
        return EmbeddingComparer(
            SentenceEncoder(model, device=self.device),
            similarity=self.similarity,
            details=self.details,
            deadline_s=self.deadline_s,
        )
