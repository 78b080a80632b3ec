"""Remembered verdicts: equal requests are one decision, under way and afterwards."""
