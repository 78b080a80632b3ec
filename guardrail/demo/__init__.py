"""The demo: a clean, an attacked and a forbidden picture, undefended and behind the guard."""
