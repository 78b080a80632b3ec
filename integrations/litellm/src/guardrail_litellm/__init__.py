"""Certified answers inside LiteLLM: a guardrail for its proxy, and a provider around any model."""

from guardrail_litellm.certified import CertifiedGuardrail
from guardrail_litellm.provider import CertifiedProvider

__all__ = ["CertifiedGuardrail", "CertifiedProvider"]
