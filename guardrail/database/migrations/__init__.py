"""Alembic's folder: every change of the schema, in `versions`; never edit one that was released."""
