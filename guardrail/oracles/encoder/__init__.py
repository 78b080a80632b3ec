"""A small transformer that ships with the package and judges answers, with their prompt if known."""
