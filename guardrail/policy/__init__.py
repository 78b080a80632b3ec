"""Policy files: what people write, checked, and compiled into the engine's rules."""
