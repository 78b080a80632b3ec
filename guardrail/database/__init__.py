"""A SQL database by its URL: opened, brought to this version's schema, read and written.

SQLite by default, PostgreSQL where several machines share one. Everything here blocks, so it is
called from threads only, never from the event loop.
"""
