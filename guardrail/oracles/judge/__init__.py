"""A language or guard model that is asked whether an answer is harmful."""
