"""Projected gradient descent against a local model: how an adaptive attacker would go about it."""
