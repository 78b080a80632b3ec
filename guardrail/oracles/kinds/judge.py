"""A language or guard model as judge."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.options import HarmOptions
from guardrail.section import FilePath, FolderOrId

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.judge.asking import Logprobs
    from guardrail.oracles.judge.templates.base import Template
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
    policy_file: FilePath | Annotated[list[FilePath], Field(min_length=1, max_length=32)] | None = (
        None
    )
    """Instead of a template: a policy in words, a Markdown file in the form of gpt-oss-safeguard
    and ROOST's policy packs, sent unchanged. Of a list each is asked about, and the worst counts;
    policies/packs/ has some to start from."""
    reasoning_effort: Literal["low", "medium", "high"] | None = None
    """How much the judge reasons before its verdict, where its server takes that field; more
    reasoning needs more max_tokens."""
    deterministic: bool = False
    """Whether the judge's server is known to reply alike to the same question, whatever else it
    serves. Equal answers of a decision are then judged once. Where this is said and does not hold,
    samples that share a judgement are not independent, and the promise fails."""
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
        if self.upstream.startswith("openai_compatible:") and not self.model:
            raise ValueError("an openai_compatible judge needs 'model'")
        if self.policy_file is not None:
            self._check_alone()
            return self
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
        return self

    def _check_alone(self) -> None:
        """A policy file is all that the judge is told, and its replies are read by their text."""
        other = {"template", "rubric", "form"} & self.model_fields_set
        if other:
            raise ValueError(f"give either policy_file or {', '.join(sorted(other))}")
        if self.pictures:
            raise ValueError("a policy_file judges texts only; leave out pictures")
        if self.logprobs:
            raise ValueError("replies by a policy_file have no token probabilities to score by")

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.judge.asking import Asker
        from guardrail.oracles.judge.oracle import JudgeOracle

        template = self._template(folder)
        effort = self.reasoning_effort
        asker = Asker(
            self._upstream(folder),
            model=self.model,
            max_tokens=self.max_tokens or template.max_tokens,
            logprobs=self._logprobs(),
            max_parallel=self.max_parallel,
            deadline_s=self.deadline_s,
            parameters=None if effort is None else {"reasoning_effort": effort},
            deterministic=self.deterministic,
        )
        return JudgeOracle(
            template,
            asker,
            threshold=self.threshold,
            pictures=self.pictures,
            each_field=self.each_field,
        )

    def file_digests(self, folder: Path) -> dict[str, str]:
        from guardrail.oracles.judge.policy_file import read_policy_file

        return {file: read_policy_file(folder / file).digest for file in self._files}

    @property
    def _files(self) -> list[str]:
        files = self.policy_file
        return [] if files is None else [files] if isinstance(files, str) else files

    def _template(self, folder: Path) -> Template:
        from guardrail.oracles.judge.policy_file import read_policy_file
        from guardrail.oracles.judge.templates import build_template
        from guardrail.oracles.judge.templates.written_policy import PolicyTemplate

        if self.policy_file is None:
            return build_template(self.template, rubric=self.rubric, form=self.form)
        return PolicyTemplate([read_policy_file(folder / file) for file in self._files])

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

        if self.policy_file is not None:
            return Logprobs.OFF
        if self.logprobs is None:
            asked = self.upstream.startswith("openai_compatible:")
            return Logprobs.WANTED if asked else Logprobs.OFF
        return Logprobs.REQUIRED if self.logprobs else Logprobs.OFF
