"""Labelled answers: read, scored, and turned into thresholds with bounds."""
