"""What outlives one decision: remembered verdicts, and the attempts counted for a principal."""
