"""API keys: who may ask, and how much. Keys are kept as digests only; a secret is shown once."""
