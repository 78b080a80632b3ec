"""Which models answer one request: by policy one, as answers of several cannot be counted together.

A gateway may send the calls of one request to several models, and says which one in each answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.rules import OnSeveralModels
from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules

__all__ = ["SEVERAL_MODELS", "AnsweringModels"]

SEVERAL_MODELS = "upstream_several_models"
"""The code of the fault where answers to one request name several models as theirs."""


class AnsweringModels:
    """The models that the answers to variants of one request name as theirs.

    Attributes:
        names: in the order they were met; an answer without a name says nothing.
    """

    def __init__(self, rules: Rules) -> None:
        self.names: list[str] = []
        self._first_only = rules.on_several_models is OnSeveralModels.ERROR

    def note(self, model: str) -> None:
        """Notes the name that an answer gives; empty where it gives none.

        Such a fault is not transient: it ends the decision without a verdict, and hence never in
        a pass. It is raised outside the call, so that it says nothing about the upstream's health.

        Raises:
            UpstreamError: a second model answers, and the rules allow one only.
        """
        if not model:
            return
        if model not in self.names:
            self.names.append(model)
        # Each answer of a second model is refused, not only its first: a test that hears of several
        # answers at once counts those that came before it hears of a fault.
        if self._first_only and model != self.names[0]:
            raise UpstreamError(
                "the answers to one request came from several models, which a certificate cannot "
                "count together; name one model behind the upstream and switch its fallbacks and "
                "routing off, or set failures.several_models to mark",
                code=SEVERAL_MODELS,
            )
