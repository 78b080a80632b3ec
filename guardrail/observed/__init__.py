"""What observe mode saw: counted from records, and whether it is enough to enforce."""
