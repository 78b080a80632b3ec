"""A hosted moderation endpoint."""
