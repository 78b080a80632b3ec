"""The search for a policy's numbers that meet its goals, on labelled requests."""
