"""Certified answers for LlamaIndex: a guarded LLM, and a workflow with a guarded step."""

from guardrail_llama_index.llm import GuardedLLM
from guardrail_llama_index.workflow import Answered, Asked, GuardedWorkflow, Withheld

__all__ = ["Answered", "Asked", "GuardedLLM", "GuardedWorkflow", "Withheld"]
