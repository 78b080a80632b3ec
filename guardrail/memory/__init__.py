"""What outlives one decision: remembered verdicts, and the tries counted for a principal."""
