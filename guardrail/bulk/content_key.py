"""What a decision of a bulk job is found by again: all that it depends on but chance."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.engine import Engine
    from guardrail.types import Json

__all__ = ["JobSettings"]

_LABEL = "guardrail/bulk/1"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What all decisions of a job have in common.

    Attributes:
        policy: its name; `policy_digest` names the version.
        model: as the upstream is asked for it.
        upstream: where that is.
        oracle_revision: of the oracle.
        key_id: of the noise key.
        parameters: further fields of every request.
    """

    policy: str
    policy_digest: str
    model: str
    upstream: str
    oracle_revision: str
    key_id: str
    parameters: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Engine, model: str, parameters: Mapping[str, Json]) -> JobSettings:
        return cls(
            policy=engine.rules.name,
            policy_digest=engine.rules.digest,
            model=model,
            upstream=engine.upstream.name,
            oracle_revision=engine.oracle.revision,
            key_id=engine.key.key_id,
            parameters=parameters,
        )

    def to_dict(self) -> dict[str, Json]:
        """The head of the job's log: a job with others is another job."""
        return {
            "policy": self.policy,
            "policy_digest": self.policy_digest,
            "model": self.model,
            "upstream": self.upstream,
            "oracle_revision": self.oracle_revision,
            "key_id": self.key_id,
            "parameters": dict(self.parameters),
        }

    def content_key(self, picture_sha256: str, prompt: str) -> str:
        """SHA-256 (hexadecimal) over picture, question, policy, model, oracle and key."""
        words = [_LABEL, picture_sha256, prompt, json.dumps(self.to_dict(), sort_keys=True)]
        text = json.dumps(words, ensure_ascii=True)  # a lone surrogate in a prompt has a form, too
        return hashlib.sha256(text.encode("ascii")).hexdigest()
