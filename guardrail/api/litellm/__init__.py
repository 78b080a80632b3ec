"""LiteLLM's Generic Guardrail API."""
