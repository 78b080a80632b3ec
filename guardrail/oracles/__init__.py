"""Oracles put an answer into a class: harmless or harmful, an action, a meaning."""
