"""What outlives one decision: what was decided, and which tries of a principal count."""
