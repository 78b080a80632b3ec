"""Bytes to pixels to noisy variants: no network, no models."""
