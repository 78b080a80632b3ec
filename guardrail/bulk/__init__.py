"""Moderates an operator's own pictures in bulk: one decision a row, each paid for once."""
