"""Decides whether an answer may leave, and certifies it; no HTTP, no files, no pydantic."""
