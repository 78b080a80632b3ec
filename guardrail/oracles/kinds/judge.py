"""A language or guard model as judge."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.options import HarmOptions
from guardrail.section import FolderOrId

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.judge.asking import Logprobs
    from guardrail.upstreams.base import Upstream

__all__ = ["JudgeOptions"]


class JudgeOptions(HarmOptions):
    """A model that judges answers, reached like the model behind the guard."""

    kind: Literal["judge"]
    """A model as judge."""
    upstream: FolderOrId
    """Where the judge is: `openai_compatible:URL`, `litellm:MODEL`, `transformers:ID_OR_FOLDER`."""
    model: str = ""
    """The judge's name at an `openai_compatible` server."""
    template: Literal[
        "rubric", "llama_guard_3", "llama_guard_4", "shieldgemma", "granite_guardian", "nemotron"
    ] = "rubric"
    """How the judge is asked: by the family it is of, or by a rule for any model."""
    rubric: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """For the template `rubric`: the rule that answers must keep, instead of the default one."""
    form: Literal["chat", "prompt"] | None = None
    """Whether the model's own chat template makes the prompt (`chat`), or it is written out."""
    pictures: bool = False
    """Whether the judge sees the noisy pictures that the model saw."""
    each_field: bool = False
    """Whether every field of an answer (reasoning, each tool call) is judged alone as well, by a
    question more for each. Left out, one question is asked about the whole answer."""
    logprobs: bool | None = None
    """Whether the probabilities of tokens make the score: `true` requires them, `false` does not
    ask. Left out, an `openai_compatible` judge is asked and may answer without."""
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The environment variable with the judge's key, where it is not the usual one."""
    max_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    """Most tokens of a reply; the template's own number if left out."""
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most questions in flight at a time."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        from guardrail.oracles.judge.templates import build_template

        try:
            template = build_template(self.template, rubric=self.rubric, form=self.form)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if self.pictures and not template.sees_pictures:
            raise ValueError(
                f"the template '{self.template}' judges texts only; leave out pictures"
            )
        local = self.upstream.startswith(("transformers:", "builtin"))
        if self.template == "shieldgemma" and self.form != "prompt" and local:
            raise ValueError("a model in this process needs 'form: prompt' with shieldgemma")
        if self.upstream.startswith("openai_compatible:") and not self.model:
            raise ValueError("an openai_compatible judge needs 'model'")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.judge.asking import Asker
        from guardrail.oracles.judge.oracle import JudgeOracle
        from guardrail.oracles.judge.templates import build_template

        template = build_template(self.template, rubric=self.rubric, form=self.form)
        asker = Asker(
            self._upstream(folder),
            model=self.model,
            max_tokens=self.max_tokens or template.max_tokens,
            logprobs=self._logprobs(),
            max_parallel=self.max_parallel,
            deadline_s=self.deadline_s,
        )
        return JudgeOracle(
            template,
            asker,
            threshold=self.threshold,
            pictures=self.pictures,
            each_field=self.each_field,
        )

    def _upstream(self, folder: Path) -> Upstream:
        from guardrail.upstreams.registry import build_upstream

        kind, _, argument = self.upstream.partition(":")
        if kind == "transformers" and argument and (folder / argument).is_dir():
            return build_upstream(f"{kind}:{folder / argument}")
        options: dict[str, Any] = {"api_key": self._key()}
        if kind in ("openai_compatible", "litellm"):
            options |= {"timeout_s": self.deadline_s, "max_connections": self.max_parallel}
        return build_upstream(self.upstream, **options)

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the environment variable {self.api_key_env} is not set",
                field="oracle.api_key_env",
            )
        return key

    def _logprobs(self) -> Logprobs:
        from guardrail.oracles.judge.asking import Logprobs

        if self.logprobs is None:
            asked = self.upstream.startswith("openai_compatible:")
            return Logprobs.WANTED if asked else Logprobs.OFF
        return Logprobs.REQUIRED if self.logprobs else Logprobs.OFF
