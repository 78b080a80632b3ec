"""A list of phrases and patterns."""
