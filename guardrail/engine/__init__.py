"""Decides. Knows nothing of HTTP, files or pydantic."""
