"""Texts taken apart for scoring: normal forms, n-grams, windows and sentence embeddings."""
