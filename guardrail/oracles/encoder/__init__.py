"""A small transformer that ships with the package and judges answers."""
