"""Shipped fakes with known truth, and scenarios that every way into the guard must decide alike."""
