"""Tests of policies: cases with the decision that is expected of each."""
