"""Which action of a closed set an answer takes, and whether it stays the same."""
