"""Certified answers for the OpenAI Agents SDK: guarded models, and an output guardrail."""

from guardrail_openai_agents.model import GuardedModel
from guardrail_openai_agents.output import judged_output
from guardrail_openai_agents.provider import GuardedModelProvider

__all__ = ["GuardedModel", "GuardedModelProvider", "judged_output"]
